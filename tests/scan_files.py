"""Small scans and foreign files for the tests of the file layer."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from tomodiff.geometry import ConeBeam, Grid, ParallelBeam
from tomodiff.result import Dataset, Result

VIEWS, ROWS, COLUMNS = 24, 5, 7


def counts(rng: np.random.Generator, n: int = VIEWS) -> np.ndarray:
    """Frames (n, v, u) of uint16 counts."""
    return rng.integers(100, 60000, (n, ROWS, COLUMNS)).astype(np.uint16)


def parallel_dataset(rng: np.random.Generator) -> Dataset:
    """A scan of counts with everything a file can hold except weights."""
    angles = np.linspace(0, np.pi, VIEWS, endpoint=False)
    return Dataset(
        counts(rng),
        ParallelBeam(angles, (ROWS, COLUMNS), (0.002, 0.003), axis_offset=0.0007),
        "counts",
        counts(rng, 3),
        counts(rng, 2),
        meta={"energy_kev": 25.5, "sample": "tooth \N{GREEK SMALL LETTER MU}", "seed": 3},
        history=("simulated",),
    )


def cone_dataset(rng: np.random.Generator) -> Dataset:
    """A scan of line integrals with weights that plain fields cannot describe: cone, offset, tilted."""
    scan = ConeBeam(
        np.linspace(0, 2 * np.pi, VIEWS, endpoint=False), 110.0, 300.0, (ROWS, COLUMNS), (0.35, 0.4),
        axis_offset=0.27, detector_offset=(0.5, -0.25), detector_tilt=(0.01, 0.02, -0.03),
    )  # fmt: skip
    data = rng.standard_normal((VIEWS, ROWS, COLUMNS)).astype(np.float32)
    weights = rng.random((VIEWS, ROWS, COLUMNS)).astype(np.float32)
    return Dataset(data, scan, "line_integrals", weights=weights)


def result(rng: np.random.Generator, *, turned: bool = False) -> Result:
    """A small volume on an anisotropic, off-centre grid."""
    rotation = None
    if turned:
        c, s = np.cos(0.3), np.sin(0.3)
        rotation = [[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]
    grid = Grid((3, 4, 5), (0.3, 0.2, 0.1), (1.0, -2.0, 3.5), rotation)
    volume = rng.standard_normal(grid.shape).astype(np.float32)
    return Result(volume, grid, history=[{"iteration": 1, "objective": 2.5}], meta={"command": "test \N{DEGREE SIGN}"})


def write_foreign_dx(
    path: Path,
    data: np.ndarray,
    theta: np.ndarray | None,
    unit: str | None = "degrees",
    flats: np.ndarray | None = None,
) -> Path:
    """A Data Exchange file as a beamline writes it: plain fields only."""
    with h5py.File(path, "w") as file:
        file["exchange/data"] = data
        if theta is not None:
            file["exchange/theta"] = theta
            if unit is not None:
                file["exchange/theta"].attrs["units"] = unit
        if flats is not None:
            file["exchange/data_white"] = flats
    return path


def write_foreign_nx(path: Path, frames: np.ndarray, key: np.ndarray, angles: np.ndarray, unit: str = "degree") -> Path:
    """A bare NXtomo file."""
    with h5py.File(path, "w") as file:
        file["entry/instrument/detector/data"] = frames
        file["entry/instrument/detector/image_key"] = key
        file["entry/sample/rotation_angle"] = angles
        file["entry/sample/rotation_angle"].attrs["units"] = unit
    return path
