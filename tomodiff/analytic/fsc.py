"""Fourier shell correlation: of half maps, of a map and a model, corrected for the mask, and along cones.

Curves have n // 2 + 1 values, one per shell (`shells`), the first 1. Sources: Rosenthal and Henderson 2003, J. Mol.
Biol. 333, 721 (0.143 for half maps; 0.5 for a map against a perfect model); Chen et al. 2013, Ultramicroscopy 135, 24
(correction for the mask); RELION 3.1, src/postprocessing.cpp (where phases are randomised).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomodiff.analytic.shells import back, check_map, frequencies, radius, shell_index, shell_sums, transform

HALF_MAPS = 0.143
MODEL = 0.5
RANDOM_FROM = 0.8
"""Phases are randomised from the shell where the FSC without a mask falls below this (RELION)."""
SHELLS_KEPT = 2
"""The correction starts so many shells after the first with random phases (RELION)."""


@dataclass(frozen=True, eq=False)
class FscCurves:
    """The FSC of two half maps: as they are, masked, masked after randomising phases, and corrected for the mask.

    Without a mask `masked` and `randomised` are None and `corrected` is the first; where the FSC never fell far enough
    to randomise phases, `randomised` and `randomised_from` are None and `corrected` is `masked`.
    """

    unmasked: np.ndarray
    masked: np.ndarray | None
    randomised: np.ndarray | None
    corrected: np.ndarray
    randomised_from: int | None


def fsc(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n // 2 + 1,) Fourier shell correlation of two maps; 0 in shells where either has nothing."""
    n = check_map("a", a)
    check_map("b", b, a)
    return of_transforms(transform(a), transform(b), n)


def of_transforms(A: np.ndarray, B: np.ndarray, n: int) -> np.ndarray:
    """The FSC of two maps, from their half transforms."""
    both = shell_sums((A * B.conj()).real, n)
    curve = normalised(both, shell_sums(power(A), n), shell_sums(power(B), n))
    curve[0] = 1.0  # means of opposite sign would give -1, which says nothing of resolution (RELION)
    return curve


def masked_fsc(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The FSC of two maps, both multiplied with a mask.

    Of a map against a model of it, `resolution(curve, pixel, MODEL)` says how far they agree.
    """
    check_mask(mask, a)
    return fsc(a * mask, b * mask)


def randomise_phases(volume: np.ndarray, shell: int, rng: np.random.Generator) -> np.ndarray:
    """A map with the same amplitudes and random phases at radii of at least `shell` steps."""
    n = check_map("volume", volume)
    F = transform(volume)
    z, y, x = frequencies(n)
    far = z * z + y * y + x * x >= shell * shell
    # The transform of real noise: phases are uniform, and those of k and -k opposite.
    precision = np.float32 if F.dtype == np.complex64 else np.float64
    noise = transform(rng.standard_normal((n, n, n), precision))[far]
    F[far] = np.abs(F[far]) * (noise / np.abs(noise))
    return back(F, n, volume.dtype)


def gold_standard(
    half1: np.ndarray,
    half2: np.ndarray,
    mask: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    randomise_at: float = RANDOM_FROM,
) -> FscCurves:
    """All curves of two half maps, as relion_postprocess computes them. A mask needs `rng` for the random phases."""
    unmasked = fsc(half1, half2)
    if mask is None:
        return FscCurves(unmasked, None, None, unmasked, None)
    masked = masked_fsc(half1, half2, mask)
    fallen = np.flatnonzero(unmasked[1:] < randomise_at)
    if not fallen.size:
        return FscCurves(unmasked, masked, None, masked, None)
    if rng is None:
        raise ValueError("rng: expected a random generator, for the phases that a mask needs, found None")
    start = int(fallen[0]) + 1
    randomised = masked_fsc(randomise_phases(half1, start, rng), randomise_phases(half2, start, rng), mask)
    return FscCurves(unmasked, masked, randomised, corrected(masked, randomised, start), start)


def corrected(masked: np.ndarray, randomised: np.ndarray, randomised_from: int) -> np.ndarray:
    """(FSC - random) / (1 - random) where phases were random, which takes away what the mask alone correlates."""
    made = masked.copy()
    there = slice(randomised_from + SHELLS_KEPT, None)
    made[there] = (masked[there] - randomised[there]) / (1 - randomised[there])
    return made


def resolution_shell(curve: np.ndarray, threshold: float = HALF_MAPS) -> int:
    """The last shell before the curve first falls below the threshold."""
    below = np.flatnonzero(curve < threshold)
    return max(int(below[0]) - 1, 0) if below.size else len(curve) - 1


def resolution(curve: np.ndarray, pixel: float, threshold: float = HALF_MAPS, n: int | None = None) -> float:
    """Angstrom, as RELION reports it: of the last shell before the curve first falls below the threshold.

    Infinite where that is the origin. n: the side of the box, by default the even one that the curve belongs to.
    """
    shell = resolution_shell(curve, threshold)
    return math.inf if shell == 0 else side(curve, n) * pixel / shell


def crossing(curve: np.ndarray, pixel: float, threshold: float = HALF_MAPS, n: int | None = None) -> float:
    """Angstrom where straight lines through the curve first pass the threshold; of the last shell if they do not."""
    shell = resolution_shell(curve, threshold)
    at = float(shell)
    if shell + 1 < len(curve):
        at += float(np.clip((curve[shell] - threshold) / (curve[shell] - curve[shell + 1]), 0, 1))
    return math.inf if at == 0 else side(curve, n) * pixel / at


def side(curve: np.ndarray, n: int | None = None) -> int:
    """The side of the box that a curve belongs to."""
    return 2 * (len(curve) - 1) if n is None else n


def shell_frequencies(curve: np.ndarray, pixel: float, n: int | None = None) -> np.ndarray:
    """Spatial frequencies of the shells of a curve, in 1/angstrom."""
    return np.arange(len(curve)) / (side(curve, n) * pixel)


def conical_fsc(a: np.ndarray, b: np.ndarray, along: np.ndarray, half_angle: float = math.radians(20)) -> np.ndarray:
    """(m, n // 2 + 1) the FSC within a double cone about each direction (m, 3) (x, y, z) (Tan et al. 2017, Nat. Methods
    14, 793). Mask the maps first. Low shells in which a cone has no entries take their values from those beside them.
    """
    n = check_map("a", a)
    check_map("b", b, a)
    A, B = transform(a), transform(b)
    there = (shell_index(n) <= n // 2) & (shell_index(n) > 0)
    shell = shell_index(n)[there]
    z, y, x = (np.broadcast_to(k, there.shape)[there] for k in frequencies(n))
    unit = np.stack([x, y, z], -1).astype(np.float32) / radius(n)[there][:, None]
    sums = [(A * B.conj()).real[there], power(A)[there], power(B)[there]]
    curves = np.empty((len(along), n // 2 + 1))
    for curve, direction in zip(curves, along, strict=True):
        inside = np.abs(unit @ np.asarray(direction, np.float32)) >= np.float32(math.cos(half_angle))
        totals = [np.bincount(shell[inside], s[inside], n // 2 + 1) for s in sums]
        reached = np.bincount(shell[inside], minlength=n // 2 + 1) > 0
        found = normalised(*totals)
        reached[0], found[0] = True, 1.0
        curve[:] = np.interp(np.arange(n // 2 + 1), np.flatnonzero(reached), found[reached])
    return curves


@dataclass(frozen=True)
class Anisotropy:
    """How resolution depends on direction: angstrom of the best and the worst cone, their mean, and cFAR, the smallest
    over the largest area under a cone's curve (1: isotropic)."""

    best: float
    worst: float
    mean: float
    cfar: float


def anisotropy(curves: np.ndarray, pixel: float, threshold: float = HALF_MAPS, n: int | None = None) -> Anisotropy:
    """A summary of conical curves (m, shells)."""
    found = np.array([crossing(curve, pixel, threshold, n) for curve in curves])
    areas = np.maximum(curves, 0).sum(1)
    return Anisotropy(float(found.min()), float(found.max()), float(found.mean()), float(areas.min() / areas.max()))


def check_mask(mask: np.ndarray, like: np.ndarray) -> None:
    """Raise ValueError unless a mask has the map's shape and values between 0 and 1 that are not all 0."""
    check_map("mask", mask, like)
    low, high = float(mask.min()), float(mask.max())
    rounding = 1e-6
    if low < -rounding or high > 1 + rounding or high == 0:
        raise ValueError(f"mask: expected values between 0 and 1, not all 0, found {low:g} to {high:g}")


def normalised(both: np.ndarray, of_a: np.ndarray, of_b: np.ndarray) -> np.ndarray:
    """both / sqrt(of_a of_b), 0 where either is 0."""
    scale = np.sqrt(of_a) * np.sqrt(of_b)
    return np.divide(both, scale, out=np.zeros_like(both), where=scale > 0)


def power(F: np.ndarray) -> np.ndarray:
    """|F|^2."""
    return np.asarray(F.real**2 + F.imag**2)
