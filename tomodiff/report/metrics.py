"""How far a volume is from the truth: root mean square error, peak signal to noise, structural similarity."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Volume = np.ndarray


def rmse(volume: Volume, truth: Volume, mask: Volume | None = None) -> float:
    """Root mean square error, in the unit of the volume; over the voxels of `mask` where given."""
    error = _difference(volume, truth, mask)
    return float(np.sqrt(np.mean(error * error)))


def psnr(volume: Volume, truth: Volume, mask: Volume | None = None) -> float:
    """Peak signal-to-noise ratio in dB, 20 log10(range of the truth / rmse); infinite where there is no error."""
    error = rmse(volume, truth, mask)
    span = _span(truth if mask is None else truth[mask])
    return float("inf") if error == 0 else float(20 * np.log10(span / error))


def ssim(volume: Volume, truth: Volume) -> float:
    """Mean structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13), 1 for equal volumes.

    Gaussian window of standard deviation 1.5 voxels along axes of at least 11 voxels (none along shorter ones);
    K1 = 0.01, K2 = 0.03; the range is that of the truth.  The outermost 5 voxels, where the window is cut, do not
    count.
    """
    _difference(volume, truth, None)
    x, y = volume.astype(np.float64), truth.astype(np.float64)
    radius = 5
    sigma = [1.5 if n >= 2 * radius + 1 else 0.0 for n in x.shape]
    if not any(sigma):
        raise ValueError(f"expected a volume of at least {2 * radius + 1} voxels along an axis, got {x.shape}")

    def smooth(a: Volume) -> Volume:
        return np.asarray(ndimage.gaussian_filter(a, sigma, truncate=radius / 1.5))

    mx, my = smooth(x), smooth(y)
    vx, vy, vxy = smooth(x * x) - mx * mx, smooth(y * y) - my * my, smooth(x * y) - mx * my
    span = _span(truth)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    local = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    inside = tuple(
        slice(radius, n - radius) if s and n > 2 * radius else slice(None) for n, s in zip(x.shape, sigma, strict=True)
    )
    return float(np.mean(local[inside]))


def _span(truth: Volume) -> float:
    span = float(truth.max()) - float(truth.min())
    if span <= 0:
        raise ValueError("expected a truth that is not uniform, got the same value everywhere")
    return span


def _difference(volume: Volume, truth: Volume, mask: Volume | None) -> Volume:
    if volume.shape != truth.shape:
        raise ValueError(f"expected volume and truth of one shape, got {volume.shape} and {truth.shape}")
    if mask is None:
        return volume.astype(np.float64) - truth
    if mask.shape != truth.shape or mask.dtype != np.bool_ or not mask.any():
        raise ValueError(f"expected a mask of shape {truth.shape} with something in it, got {mask.dtype} {mask.shape}")
    return volume[mask].astype(np.float64) - truth[mask]
