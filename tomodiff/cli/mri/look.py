"""What `tomodiff info` says of k-space."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tomodiff.cli.console import note, tell

BART = (".cfl", ".hdr")


def is_kspace(file: Path) -> bool:
    """Whether a file is one of ISMRMRD or BART."""
    if file.suffix.lower() in BART:
        return True
    if not file.is_file():
        return False
    import h5py

    from tomodiff.files.kspace.ismrmrd import find_ismrmrd

    try:
        with h5py.File(file, "r") as opened:
            return find_ismrmrd(opened) is not None
    except (OSError, KeyError, RuntimeError):
        return False


def describe(file: Path) -> None:
    """Print what is in it; of a trajectory or other array of BART its dimensions alone."""
    from tomodiff.errors import DataError
    from tomodiff.files.kspace import read_kspace
    from tomodiff.files.kspace.bart import read_cfl

    try:
        found = read_kspace(file)
    except DataError:
        if file.suffix.lower() not in BART:
            raise
        tell({"format": "BART", "dimensions": " x ".join(map(str, read_cfl(file).shape))})
        return
    shown: dict[str, Any] = {
        "format": found.meta["format"],
        "trajectory": found.meta.get("trajectory", "Cartesian"),
        "coils": len(found.data),
        "samples": f"{found.data.shape[1]}, {found.readout} in a readout",
        "image": " x ".join(map(str, found.shape)),
    }
    if found.frames > 1:
        shown["images in time"] = found.frames
    if found.pixel_mm:
        shown["pixel"] = " x ".join(f"{mm:.4g}" for mm in found.pixel_mm) + " mm"
    tell(shown)
    for line in found.history:
        note(line)
