"""Volumes as DICOM CT series: a folder NAME.dcm with a file for each slice (the extra `medical` installs pydicom).

Values are rounded to 16 bits over the range of the volume, with RescaleSlope and RescaleIntercept to get them back
(RescaleType says the unit).  Positions are x, y, z of the grid in mm as they are; DICOM calls +x left, +y posterior and
+z superior.  A turned grid is written with its axes.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.files.placement import placed
from tomodiff.geometry import Grid
from tomodiff.result import Result

NEEDED = "DICOM series need"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
LEVELS = 65535


def check(path: Path, result: Result) -> None:
    """Raise ConfigError where pydicom is missing, or a slice is too large."""
    library("pydicom", "medical", NEEDED)
    if max(result.grid.shape[1:]) > LEVELS:
        raise ConfigError(f"{path}: expected at most {LEVELS} rows and columns for DICOM, found {result.grid.shape}")


def write(folder: Path, result: Result) -> None:
    """Write the slices into a folder that is there."""
    pydicom = library("pydicom", "medical", NEEDED)
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    study, series, frame, now = generate_uid(), generate_uid(), generate_uid(), datetime.datetime.now()
    low, high = float(result.volume.min()), float(result.volume.max())
    slope = (high - low) / LEVELS or 1.0
    placement, (dz, dy, dx) = result.grid.world_from_index, result.grid.spacing
    for k, plane in enumerate(result.volume):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(CT_IMAGE), generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{k + 1:05d}.dcm"
        image = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
        image.SOPClassUID, image.SOPInstanceUID = UID(CT_IMAGE), meta.MediaStorageSOPInstanceUID
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.Modality, image.PatientName, image.PatientID = "CT", "tomodiff", "tomodiff"
        image.PatientBirthDate = image.PatientSex = image.ReferringPhysicianName = image.AccessionNumber = ""
        image.StudyID, image.SeriesNumber, image.InstanceNumber = "1", 1, k + 1
        image.StudyDate = image.ContentDate = now.strftime("%Y%m%d")
        image.StudyTime = image.ContentTime = now.strftime("%H%M%S")
        image.SeriesDescription = f"{result.quantity} in {result.unit}"[:64]
        image.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        image.ImagePositionPatient = [_number(v) for v in placement @ [0, 0, k, 1]]
        image.ImageOrientationPatient = [_number(v) for v in (*(placement[:, 0] / dx), *(placement[:, 1] / dy))]
        image.PixelSpacing, image.SliceThickness = [_number(dy), _number(dx)], _number(dz)
        image.Rows, image.Columns = plane.shape
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = _number(slope), _number(low), result.unit[:16]
        image.KVP = None
        image.PixelData = np.rint((plane.astype(np.float64) - low) / slope).clip(0, LEVELS).astype("<u2").tobytes()
        pydicom.dcmwrite(path, image, enforce_file_format=True)


def _number(value: float) -> str:
    """A decimal string of at most 16 characters, as DICOM wants."""
    return next(text for n in range(15, 0, -1) if len(text := f"{float(value):.{n}g}") <= 16)


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files."""
    return any(_is_dicom(file) for file in sorted(folder.iterdir())[:3])


def read(folder: Path) -> tuple[np.ndarray, Grid, dict[str, Any]]:
    """The volume of the one series in a folder, by position, in the units of its rescaling, and its grid."""
    pydicom = library("pydicom", "medical", NEEDED)
    try:
        slices = [pydicom.dcmread(file) for file in sorted(folder.iterdir()) if _is_dicom(file)]
        if len({s.SeriesInstanceUID for s in slices}) != 1:
            raise DataError(folder, "SeriesInstanceUID", "slices of one series", f"{len(slices)} files of several")
        axes = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
        normal = np.cross(axes[0], axes[1])
        slices.sort(key=lambda s: float(np.dot(normal, np.array(s.ImagePositionPatient, float))))
        places = np.array([s.ImagePositionPatient for s in slices], float)
        dy, dx = map(float, slices[0].PixelSpacing)
        volume = np.stack([_values(s) for s in slices]).astype(np.float32)
    except DataError:
        raise
    except (AttributeError, ValueError, TypeError, KeyError, EOFError, OSError, RuntimeError) as error:
        raise DataError(folder, "", "a DICOM series of images", f"{type(error).__name__}: {error}") from error
    along = (places - places[0]) @ normal
    gaps = np.diff(along) if len(slices) > 1 else np.array([float(slices[0].get("SliceThickness", 1))])
    if np.ptp(gaps) > 1e-3 * gaps.mean() or gaps.min() <= 0:
        raise DataError(folder, "ImagePositionPatient", "slices at even steps", f"{gaps.min():g} to {gaps.max():g} mm")
    steps = np.stack([axes[0] * dx, axes[1] * dy, normal * gaps.mean()], 1)
    found, grid, meta = placed(volume, steps, places[0], folder)
    meta |= {"unit": str(slices[0].get("RescaleType", "") or ""), "modality": str(slices[0].get("Modality", ""))}
    return found, grid, meta


def _is_dicom(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _values(image: Any) -> np.ndarray:
    """The pixels of a slice in the units of its rescaling."""
    return np.asarray(image.pixel_array * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0)))
