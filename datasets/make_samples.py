"""Make the sample scans in this folder: python -m datasets.make_samples [FOLDER], in the repository.

ct_sample.h5 is a cone-beam scan of a tooth-like phantom (`tomodiff.simulate.sample`).  Its projections are closed-form
line integrals, averaged as intensities over 3 x 3 rays a pixel, so no projector of this package takes part.  The
instrument has the faults that corrections are for; README.md lists them.  The file states the nominal geometry, with
the rotation axis in the middle of the detector; the true one stands under "truth" in its metadata.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import numpy as np

from tomodiff.analytic import fdk
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam, fit_grid
from tomodiff.report.truth import compare
from tomodiff.result import Dataset, Result
from tomodiff.simulate import Beam, Detector, Ellipsoids, Misalignment, sample, simulate_scan

SEED = 20261123
VIEWS, ROWS, COLUMNS = 120, 96, 128
PIXEL = 0.3
SOURCE_AXIS, SOURCE_DETECTOR = 60.0, 180.0
"""Lengths in mm: a voxel is 0.1 mm, the cone opens 4.6 degrees to each side of the middle plane."""

RADIUS, DENSITY = 4.6, 0.08
"""Of the specimen, mm and 1/mm: about half of the beam passes."""

AXIS_SHIFT = 3.4
"""Columns by which the axis projects beside the one that the file states."""

BEAM = Beam(i0=2e4, drift=0.03)
DETECTOR = Detector(flats=10, darks=5, gain_error=0.01, dead_pixels=1, dtype="uint16")
OVERSAMPLE = 3


def specimen() -> Ellipsoids:
    """The object."""
    return sample(np.random.default_rng(SEED), RADIUS, DENSITY)


def nominal() -> ConeBeam:
    """The geometry that the file states."""
    angles = np.arange(VIEWS) * 2 * np.pi / VIEWS
    return ConeBeam(angles, SOURCE_AXIS, SOURCE_DETECTOR, (ROWS, COLUMNS), PIXEL)


def truth() -> Result:
    """The object as voxels, on the grid that fits the true geometry."""
    grid = fit_grid(true_scan())
    return Result(specimen().voxelise(grid).astype(np.float32), grid)


def true_scan() -> ConeBeam:
    """The geometry in which the scan is taken."""
    return nominal().with_axis_offset(AXIS_SHIFT * PIXEL)


def yardstick(known: Result) -> float:
    """PSNR in dB of FDK (ram-lak) of this scan without noise or faults and with its true geometry.

    This is what the sampling alone, so many views of so many pixels, costs the standard method.
    """
    scan = true_scan()
    perfect = specimen().project(scan, OVERSAMPLE).astype(np.float32)
    return float(compare(Result(fdk(perfect, scan, known.grid), known.grid), known)["psnr_db"])


def measured() -> Dataset:
    """The scan as the instrument delivers it."""
    return simulate_scan(
        specimen(),
        nominal(),
        rng=np.random.default_rng([SEED, 1]),
        beam=BEAM,
        detector=DETECTOR,
        misalignment=Misalignment(axis_shift=AXIS_SHIFT),
        oversample=OVERSAMPLE,
    )


def make_ct(folder: Path) -> Path:
    """Write ct_sample.h5 into `folder`."""
    known, scan = truth(), measured()
    meta = {
        **scan.meta,
        "sample": "simulated tooth-like specimen",
        "made_by": f"datasets/make_samples.py, seed {SEED}, numpy {metadata.version('numpy')}",
        "truth": {**scan.meta["truth"], "fdk_of_perfect_data_psnr_db": round(yardstick(known), 2)},
    }
    path = folder / "ct_sample.h5"
    write_scan(path, scan.replace(meta=meta), known, compression="gzip")
    return path


if __name__ == "__main__":
    made = make_ct(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
    print(f"{made}  {made.stat().st_size / 1e6:.2f} MB")
