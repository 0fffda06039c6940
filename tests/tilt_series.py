"""A tilt series on disk, for the tests of jobs."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np

from tomodiff.geometry.tilt import TiltSeries
from tomodiff.simulate import ellipsoid

PIXEL, ROWS, COLUMNS = 5.0, 20, 32


def write_series(folder: Path) -> Path:
    """Nine simulated tilts with crooked images, and how IMOD would align them: ts.mrc, ts.xf, ts.tlt."""
    rng = np.random.default_rng(3)
    tilts, axis = np.linspace(-60, 60, 9), np.deg2rad(4.0)
    D = rng.uniform(-2, 2, (9, 2)).round(3)
    c, s = np.cos(axis), np.sin(axis)
    rows = [f"{c:.9f} {s:.9f} {-s:.9f} {c:.9f} {dx:.3f} {dy:.3f}\n" for dx, dy in D]
    (folder / "ts.xf").write_text("".join(rows))
    (folder / "ts.tlt").write_text("".join(f"{t:.2f}\n" for t in tilts))
    shift = (-0.5 - D @ np.array([[c, s], [-s, c]])) * PIXEL  # -inverse(A) D about (n - 1) / 2
    true = TiltSeries(np.deg2rad(tilts), PIXEL, (ROWS, COLUMNS), axis=np.full(9, axis), shift=shift)
    images = ellipsoid((12.0, -8.0, 10.0), (30.0, 24.0, 20.0), 0.01).project(true.scan(), oversample=2)
    images += rng.normal(0, 0.02, images.shape)
    with mrcfile.new(folder / "ts.mrc") as mrc:
        mrc.set_data(images.astype(np.float32))
    return folder
