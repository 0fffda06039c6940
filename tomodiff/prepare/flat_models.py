"""How the full beam changes through a scan: flats interpolated in time, or a mean with a few modes of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomodiff.array import block_mean
from tomodiff.errors import ConfigError, DataError
from tomodiff.prepare.record import source
from tomodiff.prepare.references import reference_frame
from tomodiff.result import Dataset

Floats = NDArray[np.float64]
FullAt = Callable[[int], Floats]
"""What the full beam adds to each pixel (v, u) in a view."""

MODELS = ("auto", "mean", "interpolated", "eigen")

MOST_MODES = 8
"""Modes that are tried."""

PERMUTATIONS = 12
"""Shuffled sets of flats that a mode must stand above."""

MODE_BLUR = 1.0
"""Standard deviation in pixels of the Gaussian that takes the noise out of modes, which beams make wide."""

FIT_PIXELS = 60_000
"""Pixels, about, to which projections are averaged to fit modes."""

FIT_BLUR = 2.0
"""Standard deviation in those pixels of the Gaussian that both are smoothed with, against noise more than modes."""

ROUNDS = 12
"""Reweighted least squares towards the least sum of absolute values."""


def full_beam(
    dataset: Dataset, full: Floats, dark: Floats, model: str
) -> tuple[FullAt | None, dict[str, Any], list[str]]:
    """The full beam of each view by a model of `MODELS`, numbers for the report, and warnings; None: use the mean.

    "auto" interpolates where the file says when flats were taken, at two times or more.
    """
    if model not in MODELS:
        raise ConfigError(f"flat_model: expected one of {', '.join(MODELS)}, got {model!r}")
    times = dataset.meta.get("flat_views")
    if model == "mean" or (model == "auto" and (times is None or len(set(times)) < 2)):
        return None, {"model": "mean"}, []
    return _modes(dataset, full, dark) if model == "eigen" else _in_time(dataset, dark, times)


def _in_time(
    dataset: Dataset, dark: Floats, times: list[float] | None
) -> tuple[FullAt | None, dict[str, Any], list[str]]:
    """Flats of each time averaged; between times linearly interpolated, beyond them the nearest."""
    flats, views, warnings = np.asarray(dataset.flats), len(dataset.data), []
    if times is None:
        if len(flats) < 2:
            raise DataError(source(dataset), "flats", "two or more, to interpolate between", str(len(flats)))
        times = [0.0 if i < len(flats) // 2 else views - 1.0 for i in range(len(flats))]
        warnings.append("the file does not say when its flats were taken: half before the first view, half after the "
                        "last")  # fmt: skip
    moments = np.unique(times)
    frames = [reference_frame(flats[np.asarray(times) == moment]) - dark for moment in moments]

    def full(view: int) -> Floats:
        at = float(np.interp(view, moments, np.arange(len(moments))))
        low = min(int(at), len(frames) - 1)
        high = min(low + 1, len(frames) - 1)
        return frames[low] + (at - low) * (frames[high] - frames[low])

    spread = [float(np.median(f)) for f in frames]
    numbers = {"model": "interpolated", "flat_views": [float(m) for m in moments], "full_counts_at": spread}
    return full, numbers, warnings


def _modes(dataset: Dataset, beam: Floats, dark: Floats) -> tuple[FullAt | None, dict[str, Any], list[str]]:
    """Flats as their mean times the exponential of a few modes, with weights of each view that make its -log the
    smoothest: the least sum of absolute differences between neighbouring pixels.

    Modes are principal components of the logarithms of flats, as many as stand above those of shuffled ones (Van
    Nieuwenhove et al. 2015, Opt. Express 23, 27975, who find weights by the total variation of the quotient).
    """
    import scipy.ndimage  # brings much of SciPy with it

    flats = np.asarray(dataset.flats, np.float64)
    if len(flats) < 3:
        raise DataError(source(dataset), "flats", "three or more, to find how they change", str(len(flats)))
    mean = np.maximum(beam, 0)
    alive = np.isfinite(mean) & (mean > 0)
    safe = np.where(alive, mean, 1.0)
    logs = np.log(np.maximum(np.where(alive, (flats - dark) / safe, 1.0), 1e-2)).astype(np.float32)
    logs -= logs.mean(axis=0)
    block = max(1, int(np.sqrt(mean.size / FIT_PIXELS)))
    small = np.stack([_block_means(frame, block) for frame in logs])
    mixing, kept = _leading(small.reshape(len(flats), -1))
    if not kept:
        text = "flats differ by noise alone: their mean is used"
        return None, {"model": "mean", "modes": 0}, [text]
    modes = np.einsum("kn,nvu->kvu", mixing[:kept], logs)
    modes = np.stack([scipy.ndimage.gaussian_filter(mode, MODE_BLUR, mode="nearest") for mode in modes])

    def slopes_of(image: NDArray[Any]) -> Floats:
        return _differences(scipy.ndimage.gaussian_filter(_block_means(image, block), FIT_BLUR, mode="nearest"))

    slopes = np.stack([slopes_of(mode) for mode in modes], axis=1)
    data = dataset.data

    def full(view: int) -> Floats:
        share = np.where(alive & np.isfinite(data[view]), (data[view] - dark) / safe, 1.0)
        share = np.clip(share, 1e-3, None)
        steady = np.sqrt(_block_means(share, block))  # one over the noise of -log
        steady = np.concatenate([steady[1:].ravel(), steady[:, 1:].ravel()])
        weights = _least_absolute(slopes * steady[:, None], slopes_of(np.log(share)) * steady)
        return np.asarray(mean * np.exp(np.tensordot(weights, modes, 1)))

    return full, {"model": "eigen", "modes": kept}, []


def _leading(rows: NDArray[Any]) -> tuple[Floats, int]:
    """How principal components (k, n) of n centred rows are mixed from them, strongest first, of unit variance among
    the rows, and how many stand above those of rows shuffled place by place (Horn 1965, parallel analysis)."""
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    values, vectors = values[::-1], vectors[:, ::-1]
    rng = np.random.default_rng(0)
    shuffled = []
    for _ in range(PERMUTATIONS):
        mixed = rng.permuted(rows, axis=0)
        mixed = mixed - mixed.mean(axis=0)
        shuffled.append(np.linalg.eigvalsh((mixed @ mixed.T).astype(np.float64))[::-1])
    limit = np.max(shuffled, axis=0)
    above = values > 1.02 * limit
    kept = int(above.argmin()) if not above.all() else len(above)
    return vectors.T / np.sqrt(len(rows)), min(kept, MOST_MODES, len(rows) - 1)


def _least_absolute(columns: Floats, wanted: Floats) -> Floats:
    """The weights (k,) for which columns @ weights differs from what is wanted by the least sum of absolute values."""
    weight = np.ones(len(wanted))
    found: Floats = np.zeros(columns.shape[1])
    for _ in range(ROUNDS):
        weighted = columns * weight[:, None]
        normal = columns.T @ weighted
        normal += 1e-9 * np.trace(normal) * np.eye(len(normal))
        found = np.asarray(np.linalg.solve(normal, weighted.T @ wanted), np.float64)
        left = np.abs(wanted - columns @ found)
        weight = 1 / np.maximum(left, 1e-3 * np.median(left) + 1e-12)
    return found


def _block_means(image: NDArray[Any], block: int) -> NDArray[Any]:
    """Means over whole squares of pixels; rows too few for one are averaged together."""
    return np.asarray(block_mean(image, (min(block, image.shape[0]), block)))


def _differences(image: NDArray[Any]) -> Floats:
    """Those of neighbours along both axes, one after the other."""
    return np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()]).astype(np.float64)
