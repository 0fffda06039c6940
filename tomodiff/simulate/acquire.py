"""A simulated measurement: a phantom in front of an imperfect instrument."""

from __future__ import annotations

import numpy as np

from tomodiff.geometry import Scan, TurningScan
from tomodiff.result import Dataset
from tomodiff.simulate.ellipsoids import Ellipsoids, Floats, sub_pixels
from tomodiff.simulate.instrument import Beam, Detector, Misalignment

IDEAL = Misalignment()


def transmissions(phantom: Ellipsoids, scan: Scan, oversample: int = 2) -> Floats:
    """The share (view, v, u) of the beam that reaches each pixel: exp(-line integral), averaged over the pixel's area.

    The average is over oversample x oversample sub-pixels, of intensities as in a real detector, so at edges it is not
    the exponential of the mean line integral.
    """
    shifts = sub_pixels(oversample)
    total = np.zeros((len(scan), *scan.detector_shape))
    for shift in shifts:
        for view, image in enumerate(phantom.images(scan, shift)):
            total[view] += np.exp(-image)
    return total / len(shifts)


def simulate_scan(
    phantom: Ellipsoids,
    scan: Scan,
    *,
    rng: np.random.Generator,
    beam: Beam | None = None,
    detector: Detector | None = None,
    misalignment: Misalignment = IDEAL,
    oversample: int = 2,
) -> Dataset:
    """The raw scan (kind "counts", with flats and darks) of `phantom`; `scan` is the geometry that its file states.

    `meta["truth"]` holds what a real scan would not tell: the true geometry as Scan.to_dict() ("scan"), the column of
    the rotation axis ("axis_column", None where there is no axis), each view's flux, the dead pixels as [v, u] and how
    many counts saturated.  Beam and detector are Beam() and Detector() unless given.
    """
    beam, detector = beam or Beam(), detector or Detector()
    true = misalignment.apply(scan, rng)
    through = transmissions(phantom, true, oversample)
    shape = scan.detector_shape
    bright = beam.image(shape)
    flux = beam.flux(len(scan), rng)
    gain, gain_drift = detector.gains(shape, rng)
    dead = np.zeros(shape, dtype=bool)
    dead.flat[rng.choice(dead.size, size=detector.dead_pixels, replace=False)] = True
    flats = _frames(detector, [bright] * detector.flats, dead, rng)
    darks = _frames(detector, [np.zeros(shape)] * detector.darks, dead, rng)
    counts = np.empty(through.shape, dtype=detector.dtype)
    for view in range(len(scan)):
        through_scan = view / max(1, len(scan) - 1)
        response = np.maximum(1 + gain + through_scan * gain_drift, 0.0)
        counts[view] = detector.read(bright * flux[view] * through[view] * response, dead, rng)
    truth = {
        "scan": true.to_dict(),
        "axis_column": scan.axis_column + misalignment.axis_shift if isinstance(scan, TurningScan) else None,
        "flux": flux.tolist(),
        "dead_pixels": np.argwhere(dead).tolist(),
        "saturated": int((counts == 65535).sum()) if detector.dtype == "uint16" else 0,
    }
    rays = f"{oversample}x{oversample} rays a pixel"
    made = f"simulated {len(phantom)} ellipsoids, {rays}; {beam}; {detector}; {misalignment}"
    return Dataset(counts, scan, "counts", flats, darks, meta={"truth": truth}, history=(made,))


def _frames(
    detector: Detector, expected: list[Floats], dead: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """A stack (n, v, u) of frames without sample, or None where none are taken."""
    return np.stack([detector.read(image, dead, rng) for image in expected]) if expected else None
