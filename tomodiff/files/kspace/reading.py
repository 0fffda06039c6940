"""Raw data of magnetic resonance from whatever file holds it."""

from __future__ import annotations

from pathlib import Path

import h5py

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.kspace.bart import read_bart
from tomodiff.files.kspace.ismrmrd import read_ismrmrd
from tomodiff.files.kspace.kspace import KSpace


def read_kspace(
    path: str | Path, *, trajectory: str | Path | None = None, slice_number: int = 0, trajectory_unit: str = "auto"
) -> KSpace:
    """K-space of an ISMRMRD file (.h5, .mrd) or a BART pair (.cfl, .hdr).

    trajectory: BART's, a pair of files of its own; slice_number, trajectory_unit: of ISMRMRD (see `read_ismrmrd`).
    DataError for what is wrong in a file, ConfigError for what is wrong in the request.
    """
    path = Path(path)
    if path.suffix in (".cfl", ".hdr") or (not path.is_file() and path.with_suffix(".cfl").exists()):
        if slice_number or trajectory_unit != "auto":
            raise ConfigError("slice, trajectory-unit: expected an ISMRMRD file, found one of BART")
        return read_bart(path, None if trajectory is None else Path(trajectory))
    if not path.is_file():
        raise DataError(path, "", "a file of ISMRMRD or BART", "no file")
    if trajectory is not None:
        raise ConfigError(f"trajectory: expected k-space of BART beside it, found {path}; ISMRMRD carries its own")
    if not h5py.is_hdf5(path):
        raise DataError(
            path, "", "ISMRMRD (HDF5) or BART (.cfl and .hdr)", f"a {path.suffix or 'nameless'} file that is neither"
        )
    return read_ismrmrd(path, slice_number, trajectory_unit)
