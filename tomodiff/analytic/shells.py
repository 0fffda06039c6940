"""Shells of a cubic map's Fourier transform: sums over them and filters that depend on the radius alone.

Transforms are the half that SciPy's rfftn returns.  Radii are in steps of the transform (1 / (n pixel)); a shell holds
the entries whose radius rounds to its number.  Each entry of the half counts once, as in RELION (src/fftw.cpp, getFSC):
pairs k, -k in the plane kx = 0 count twice, others once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft


def check_map(name: str, volume: np.ndarray, like: np.ndarray | None = None) -> int:
    """The side of a cubic, finite map.  Raises ValueError naming the argument."""
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ValueError(f"{name}: expected a cubic map (z, y, x), found shape {volume.shape}")
    if like is not None and volume.shape != like.shape:
        raise ValueError(f"{name}: expected the shape {like.shape} of the other map, found {volume.shape}")
    if not np.isfinite(volume).all():
        raise ValueError(f"{name}: expected finite values, found NaN or infinity")
    return int(volume.shape[0])


def transform(volume: np.ndarray) -> np.ndarray:
    """rfftn of a map, in its own precision (float64 for integers)."""
    return np.asarray(scipy.fft.rfftn(volume))


def back(half: np.ndarray, n: int, dtype: Any = np.float64) -> np.ndarray:
    """The map whose transform this is."""
    return np.asarray(scipy.fft.irfftn(half, (n, n, n)), dtype)


def frequencies(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z, y, x of every entry of the half transform, in steps, to be broadcast."""
    full = np.fft.fftfreq(n, 1 / n)
    return full[:, None, None], full[:, None], np.arange(n // 2 + 1.0)


def radius(n: int) -> np.ndarray:
    """(n, n, n // 2 + 1) float32 distance of every entry from the origin."""
    z, y, x = frequencies(n)
    return np.sqrt(z * z + y * y + x * x).astype(np.float32)


@lru_cache(maxsize=2)
def shell_index(n: int) -> np.ndarray:
    """(n, n, n // 2 + 1) int32 number of the shell of every entry; n // 2 + 1 for all in the corners. Read-only."""
    z, y, x = frequencies(n)
    rounded = np.floor(np.sqrt(z * z + y * y + x * x) + 0.5)
    made = np.minimum(rounded, n // 2 + 1).astype(np.int32)
    made.flags.writeable = False
    return made


def shell_sums(values: np.ndarray, n: int) -> np.ndarray:
    """(n // 2 + 1,) sum of real values (n, n, n // 2 + 1) over each shell."""
    return np.bincount(shell_index(n).reshape(-1), values.reshape(-1), n // 2 + 2)[: n // 2 + 1]


def shell_means(values: np.ndarray, n: int) -> np.ndarray:
    """(n // 2 + 1,) mean over each shell."""
    return shell_sums(values, n) / np.bincount(shell_index(n).reshape(-1), minlength=n // 2 + 2)[: n // 2 + 1]


def shell_weights(curve: np.ndarray, n: int) -> np.ndarray:
    """(n, n, n // 2 + 1) the value of a curve (n // 2 + 1,) at every entry; 0 in the corners."""
    return np.append(curve, 0.0)[shell_index(n)]


def filtered(volume: np.ndarray, response: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A map whose transform is multiplied with response(radius in steps)."""
    n = volume.shape[0]
    return back(transform(volume) * response(radius(n)), n, volume.dtype)


def low_pass(resolution: float, pixel: float, n: int, edge: float = 2.0) -> Callable[[np.ndarray], np.ndarray]:
    """The response of a low-pass filter: a raised cosine `edge` shells wide about the shell of `resolution` angstrom
    (RELION, src/fftw.cpp, lowPassFilterMap)."""
    if not resolution > 0:
        raise ValueError(f"resolution: expected angstrom above 0, found {resolution}")
    middle = np.floor(n * pixel / resolution + 0.5)
    low, high = max(middle - edge / 2, 0.0), min(middle + edge / 2, n // 2 + 1.0)

    def response(r: np.ndarray) -> np.ndarray:
        return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.clip((r - low) / max(high - low, 1e-9), 0, 1)))

    return response
