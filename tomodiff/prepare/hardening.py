"""Beam hardening: line integrals of a polychromatic beam, which grow less than the thickness, made linear in it.

Either by a polynomial whose coefficients were measured, or by the curve of one material under a known spectrum (Herman
1979, Phys. Med. Biol. 24, 81).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.prepare.record import expect_kind, record
from tomodiff.prepare.spectrum import attenuation, tube_spectrum
from tomodiff.result import Dataset

Floats = NDArray[np.float64]

DEEPEST = 12.0
"""Largest polychromatic line integral of a material's curve."""

LEAST_RISE = 4.0
"""Line integral up to which a correction must rise."""

POINTS = 2048
"""Points of a material's curve."""


@dataclass(frozen=True, eq=False)
class Hardening:
    """How line integrals are made linear: `measured` values (n,), ascending, and what each becomes in `linear` (n,);
    beyond the last the line through the last two goes on.  `about` says where that comes from."""

    measured: Floats
    linear: Floats
    about: str

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """The linear line integrals, in the same shape and dtype; values below 0 are scaled like the first."""
        made = np.interp(values, self.measured, self.linear).astype(values.dtype)
        first = float((self.linear[1] - self.linear[0]) / (self.measured[1] - self.measured[0]))
        last = float((self.linear[-1] - self.linear[-2]) / (self.measured[-1] - self.measured[-2]))
        low, high = values < self.measured[0], values > self.measured[-1]
        made[low] = float(self.linear[0]) + first * (values[low] - float(self.measured[0]))
        made[high] = float(self.linear[-1]) + last * (values[high] - float(self.measured[-1]))
        return made


def polynomial(coefficients: Sequence[float]) -> Hardening:
    """p becomes c[0] p + c[1] p^2 + ...  ConfigError where that falls before 4; where it falls later,
    up to 12, it goes on straight from there."""
    c = np.asarray(coefficients, np.float64)
    if c.ndim != 1 or not len(c) or not np.isfinite(c).all():
        raise ConfigError(f"hardening: expected coefficients of p, p^2, ..., got {coefficients}")
    p = np.linspace(0, DEEPEST, POINTS)
    linear = np.polynomial.Polynomial([0.0, *c])(p)
    falls = np.flatnonzero(np.diff(linear) <= 0)
    if falls.size and p[falls[0]] < LEAST_RISE:
        raise ConfigError(
            f"hardening: the polynomial {coefficients} falls from a line integral of {p[falls[0]]:.2f} on"
        )
    end = len(p) if not falls.size else int(falls[0]) + 1  # beyond it goes on as it rose last
    text = " + ".join(f"{a:g} p^{i}" for i, a in enumerate(c, 1))
    return Hardening(p[:end], linear[:end], text)


def of_material(
    material: str,
    kv: float,
    filters_mm: Mapping[str, float] | None = None,
    density: float | None = None,
    counting: bool = False,
) -> Hardening:
    """The curve of one material (a formula or a name, density in g/cm^3) under a tube's spectrum.

    Line integrals become mu t, with mu the material's mean attenuation of the unhardened beam, so that thin samples
    keep their values.  counting: the detector counts photons; others weigh each with its energy.  Needs the extra
    `spectral`.
    """
    energies, photons = tube_spectrum(kv, filters_mm)
    mu = attenuation(material, energies, density)
    weight = photons if counting else photons * energies
    weight = weight / weight.sum()
    initial = float(weight @ mu)
    thickness = np.concatenate([[0.0], np.geomspace(1e-4, 40 * DEEPEST, 8 * POINTS) / initial])
    measured = -np.log(np.maximum(np.exp(-thickness[:, None] * mu) @ weight, 1e-300))
    kept = measured <= DEEPEST
    filters = "".join(f", {mm:g} mm {name}" for name, mm in (filters_mm or {}).items())
    return Hardening(measured[kept], initial * thickness[kept], f"{material} at {kv:g} kV{filters}")


def linearise(dataset: Dataset, hardening: Hardening) -> Dataset:
    """Line integrals (view, v, u) that are linear in the thickness of the material."""
    expect_kind(dataset, "linearise", "line_integrals")
    data = np.empty(dataset.data.shape, np.result_type(dataset.data.dtype, np.float32))
    for i, view in enumerate(dataset.data):
        data[i] = hardening(view)
    largest = [float(dataset.data.max()), float(data.max())]
    line = f"{hardening.about}: the largest line integral, {largest[0]:.3g}, became {largest[1]:.3g}"
    numbers = {"curve": hardening.about, "largest_before": largest[0], "largest_after": largest[1]}
    warnings = []
    if largest[0] > hardening.measured[-1]:
        warnings.append(f"line integrals up to {largest[0]:.3g} go beyond the curve, which ends at "
                        f"{hardening.measured[-1]:.3g}; it is continued straight")  # fmt: skip
    return record(dataset.replace(data=data), "linearise", line, numbers, warnings)
