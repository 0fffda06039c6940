"""Phase retrieval from one distance: propagated images of one material become its thickness.

Paganin's filter inverts the transport of intensity for a sample of one material, whose refractive index decrement
delta and absorption index beta have a known ratio (Paganin et al. 2002, J. Microsc. 206, 33, eq. 10):

    exp(-mu t) = F^-1 [ F[I / I0] / (1 + pi lambda z (delta / beta) |k|^2) ],     k in cycles per length

The generalised filter takes the Laplacian on the pixel grid instead, which blurs fine detail less (Paganin et al. 2020,
J. Opt. 22, 115607): |k|^2 becomes (2 - cos(2 pi W kx) - cos(2 pi W ky)) / (2 pi^2 W^2) for pixels of size W.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry import ConeBeam, ParallelBeam, Scan
from tomodiff.prepare.record import expect_kind, pixel_mm, record
from tomodiff.prepare.threads import each
from tomodiff.result import Dataset

HC = 1.239841984e-6
"""Planck's constant times the speed of light in keV mm (CODATA 2018)."""

REACH = 7.0
"""Decay lengths of the filter (its response to a point falls as exp(-r / length)) beyond which nothing is left."""


@dataclass(frozen=True)
class PhaseRetrieval:
    """delta / beta of the material, photon energy in keV, distance from sample to detector in mm (None takes energy or
    distance from the file), and whether the filter is the `generalised` one instead of Paganin's."""

    delta_beta: float
    energy_kev: float | None = None
    propagation_mm: float | None = None
    generalised: bool = False

    def __post_init__(self) -> None:
        for name in ("delta_beta", "energy_kev", "propagation_mm"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise ConfigError(f"phase retrieval: {name}: expected a number above 0, got {value}")

    def at(self, scan: Scan, meta: Mapping[str, Any]) -> PhaseRetrieval:
        """The same with what the file says (`meta` of a dataset) for None.  DataError where it does not say it."""
        energy, distance = self.energy_kev, self.propagation_mm
        name = str(meta.get("source", meta.get("file", "dataset")))
        if energy is None:
            energy = meta.get("energy_kev")
        if energy is None:
            hint = "Give prepare.energy_kev"
            raise DataError(name, "energy_kev", "the photon energy, for phase retrieval", "none", hint)
        if distance is None and isinstance(scan, ConeBeam):
            distance = scan.source_detector - scan.source_axis
        if distance is None:
            distance = meta.get("detector_distance_mm")
        if distance is None:
            hint = "Give prepare.propagation_mm"
            raise DataError(name, "distance", "that from sample to detector in mm", "none", hint)
        return PhaseRetrieval(self.delta_beta, float(energy), float(distance), self.generalised)

    def squared_length(self, scan: Scan) -> float:
        """lambda z (delta / beta) / (4 pi) in mm^2, the square of the filter's decay length, at the sample: a cone of
        rays acts as a parallel beam over z / M with pixels of 1 / M (M the magnification)."""
        assert self.energy_kev is not None and self.propagation_mm is not None
        return HC / self.energy_kev * self.propagation_mm / magnification(scan) * self.delta_beta / (4 * np.pi)

    def margin(self, scan: Scan) -> int:
        """Pixels over which the filter blurs, so that what lies further away does not matter."""
        pixel = min(scan.pixel) / magnification(scan)
        return int(np.ceil(REACH * np.sqrt(self.squared_length(scan)) / pixel)) + 2


def magnification(scan: Scan) -> float:
    """How much larger the axis appears on the detector."""
    return scan.source_detector / scan.source_axis if isinstance(scan, ConeBeam) else 1.0


def retrieve_phase(dataset: Dataset, how: PhaseRetrieval, threads: int = 1) -> Dataset:
    """Transmissions (view, v, u) as the sample would give them by absorption alone, without its fringes.

    What -log of them then gives is mu t of the material.  ConfigError for scans whose pixels have no single size.
    """
    expect_kind(dataset, "retrieve_phase", "transmission")
    scan = dataset.scan
    if not isinstance(scan, ParallelBeam | ConeBeam):
        raise ConfigError(f"phase retrieval: expected a parallel or cone beam, got a {type(scan).__name__} scan")
    known = how.at(scan, dataset.meta)
    pixel = [size / magnification(scan) for size in pixel_mm(dataset, "retrieve_phase")]
    squared = known.squared_length(scan)
    pad = known.margin(scan)
    nv, nu = scan.detector_shape
    # more padding than the image is wide would only repeat its edges: the filter has a gain of one there
    pads = [min(pad, 2 * nv) if nv > 1 else 0, min(pad, 2 * nu)]
    shape = [scipy.fft.next_fast_len(n + 2 * p, True) for n, p in zip((nv, nu), pads, strict=True)]
    response = _response(shape, pixel, squared, known.generalised, flat=nv == 1)
    result = np.empty(dataset.data.shape, np.float32)

    def view(i: int) -> None:
        image = np.asarray(dataset.data[i], np.float32)
        around = [(p, n - size - p) for n, size, p in zip(shape, image.shape, pads, strict=True)]
        spectrum = scipy.fft.rfft2(np.pad(image, around, mode="edge"))
        result[i] = scipy.fft.irfft2(spectrum * response, shape)[pads[0] : pads[0] + nv, pads[1] : pads[1] + nu]

    each(view, len(result), threads)
    numbers = {
        "filter": "generalised" if known.generalised else "paganin",
        "delta_beta": known.delta_beta,
        "energy_kev": known.energy_kev,
        "propagation_mm": known.propagation_mm,
        "blur_pixels": float(np.sqrt(squared) / min(pixel)),
    }
    line = (
        f"{numbers['filter']} filter with delta/beta {known.delta_beta:g}, {known.energy_kev:g} keV, "
        f"{known.propagation_mm:g} mm: blurs over {numbers['blur_pixels']:.3g} pixels"
    )
    return record(dataset.replace(data=result), "retrieve_phase", line, numbers)


def _response(
    shape: list[int], pixel: list[float], squared: float, generalised: bool, flat: bool
) -> NDArray[np.float32]:
    """What the filter multiplies the half spectrum (v, u) with; flat: one row, which knows nothing of v."""
    ky, kx = scipy.fft.fftfreq(shape[0], pixel[0])[:, None], scipy.fft.rfftfreq(shape[1], pixel[1])[None]
    terms: Any = []
    for k, width in ((ky, pixel[0]), (kx, pixel[1])):
        angular = 2 * np.pi * k
        terms.append((2 - 2 * np.cos(angular * width)) / width**2 if generalised else angular**2)
    total = terms[1] if flat else terms[0] + terms[1]
    return np.asarray(1 / (1 + squared * total), np.float32)
