"""Scans into files: Data Exchange, NXtomo or a folder of TIFFs, each with our own geometry in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.files.atomic import replacing
from tomodiff.files.dxchange import write_dxchange
from tomodiff.files.nxtomo_writer import write_nxtomo
from tomodiff.files.tiff_scan import SIDECAR
from tomodiff.files.tiff_writer import write_tiff_scan
from tomodiff.result import Dataset, Result

WRITERS = {".h5": write_dxchange, ".hdf5": write_dxchange, ".nxs": write_nxtomo, ".nx": write_nxtomo}


def write_scan(
    path: str | Path, dataset: Dataset, truth: Result | None = None, *, compression: str | None = None
) -> None:
    """Write a scan: .h5 Data Exchange, .nxs NXtomo, a path without a suffix a folder of TIFFs.

    `truth` is the volume that was simulated, where there is one; `compression` None or "gzip".  The scan appears
    whole or not at all.  A scan that is there is replaced; any other folder is not.  Raises ConfigError for an
    unknown suffix or a place that cannot be written to, DataError for a full disk.
    """
    folder = str(path).endswith("/") or Path(path).suffix == ""
    path = Path(path)
    if compression not in (None, "gzip"):
        raise ConfigError(f"compression: expected gzip or none, found {compression!r}")
    stacks = [dataset.data, dataset.flats, dataset.darks, dataset.weights, None if truth is None else truth.volume]
    n_bytes = sum(int(np.prod(a.shape)) * a.dtype.itemsize for a in stacks if a is not None)
    if folder:
        if dataset.weights is not None:
            raise ConfigError(f"{path}: a folder of TIFFs cannot hold the weights of a dataset; write .h5 or .nxs")
        if path.exists() and not (path / SIDECAR).exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f"{path}: expected a new folder, or a scan to replace, found other things there")
        with replacing(path, n_bytes, folder=True) as temporary:
            write_tiff_scan(temporary, dataset, truth, compression)
        return
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(f"{path}: expected {', '.join(WRITERS)} or a folder (no suffix), found {path.suffix!r}")
    with replacing(path, n_bytes) as temporary:
        writer(temporary, dataset, truth, compression)
