"""Files in and out: scans (Data Exchange, NXtomo, TIFF) and volumes (HDF5, TIFF, MRC, NIfTI, NumPy)."""

from __future__ import annotations

from tomodiff.files.carried import read_truth
from tomodiff.files.checks import Problem, check_dataset
from tomodiff.files.provenance import checksum
from tomodiff.files.reading import ScanInfo, probe, read
from tomodiff.files.scans import write_scan
from tomodiff.files.volumes.formats import read_volume, write

__all__ = [
    "Problem",
    "ScanInfo",
    "check_dataset",
    "checksum",
    "probe",
    "read",
    "read_truth",
    "read_volume",
    "write",
    "write_scan",
]
