"""Normals, albedo and gloss from pictures under several known lights, with shadows and highlights.

Woodham 1980 (Opt. Eng. 19, 139) where all is matt and lit: y = albedo max(0, normal . light).  What is shadowed or
shines is found as what does not fit, by graduated non-convexity with Geman and McClure's loss (Black and Rangarajan
1996, IJCV 19, 57); what shines everywhere is a lobe of GGX (Walter et al. 2007, EGSR) with Schlick's Fresnel term, one
for all pixels, which is found from the residuals and taken off in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.optimize import least_squares

from tomodiff.array import Array
from tomodiff.projectors.terrain.photometry import Photometry, geometry_under

LEAST_SPREAD = 0.05
"""The least singular value of the lights, over the largest: below, normals are not known along one direction."""
STEPS = 30
CLOSE = 0.02
"""Deviation of what fits, of the brightest of a pixel, at the last step."""
ROUNDS = 3
DRAWN = 4000
"""Pixels from which the lobe is found."""
VIEW = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, eq=False)
class Surface:
    """Of each pixel: normals (pixel, 3) to the right, up and towards the camera, albedo (pixel,), the share of lights
    that fit (pixel,).  lobe: (roughness, F0) of the gloss, or None.  spread: how well the lights tell the three
    directions apart, from 0 to 1."""

    normals: np.ndarray
    albedo: np.ndarray
    fitting: np.ndarray
    lobe: tuple[float, float] | None
    spread: float


def photometric_stereo(pictures: np.ndarray, lights: np.ndarray, glossy: bool = True) -> Surface:
    """The surface under pictures (light, pixel) of one brightness, and directions (light, 3) towards lights.

    Brightness is linear, and lights are of one strength: their product with albedo is what is found.  ValueError for
    fewer than three lights, lights in one plane, or numbers that are none.
    """
    y, towards = np.asarray(pictures, np.float64), _unit(np.asarray(lights, np.float64))
    if y.ndim != 2 or towards.shape != (len(y), 3):
        raise ValueError(f"photometric_stereo: expected pictures (light, pixel), lights (light, 3), got {y.shape}, "
                         f"{np.shape(lights)}")  # fmt: skip
    if not (np.isfinite(y).all() and np.isfinite(towards).all()):
        raise ValueError("photometric_stereo: expected finite numbers, and lights of some length")
    spread = spread_of(towards)
    if spread < LEAST_SPREAD:
        raise ValueError(f"photometric_stereo: expected three lights or more that are not in one plane, "
                         f"got {len(y)} with a spread of {spread:.3f}")  # fmt: skip
    scaled, share = _robust(y, towards)
    lobe: tuple[float, float] | None = None
    for _ in range(ROUNDS if glossy else 0):
        lobe = _lobe(y, towards, scaled)
        scaled, share = _robust(y - gloss(_unit(scaled), towards, *lobe), towards)
    albedo = np.linalg.norm(scaled, axis=1)
    return Surface(_unit(scaled), albedo, share, lobe, spread)


def spread_of(lights: np.ndarray) -> float:
    """How well directions (light, 3) tell the three of space apart: from 0, all in a plane, to 1."""
    singular = np.linalg.svd(_unit(np.asarray(lights, np.float64)), compute_uv=False)
    return float(singular[-1] / singular[0]) if len(lights) >= 3 else 0.0


def least_squares_normals(pictures: np.ndarray, lights: np.ndarray) -> np.ndarray:
    """Normals (pixel, 3) by plain least squares, which shadows and highlights bend."""
    return _unit(
        np.linalg.lstsq(_unit(np.asarray(lights, np.float64)), np.asarray(pictures, np.float64), rcond=None)[0].T
    )


def gloss(normals: np.ndarray, lights: np.ndarray, roughness: float, f0: float) -> np.ndarray:
    """Brightness (light, pixel) of the facets of model "ggx" alone, seen from ahead, beside matt albedo times
    cosine."""
    model = Photometry("ggx", len(lights) * len(normals))
    parameters = model.model.vector(roughness=max(roughness, 0.03), f0=f0, matt=0.0)
    made = model({"geometry": geometry_under(normals, lights, VIEW), "parameters": parameters})
    return np.asarray(made).reshape(len(lights), len(normals))


def integrated(normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Heights (row, column) towards the camera, in pixels, with the slopes nearest to those of normals (row, column, 3)
    by least squares, level at the rim of the picture (Frankot and Chellappa 1988, by cosines); NaN outside
    the mask, where slopes are taken as zero."""
    nz = np.maximum(normals[..., 2], 0.05)
    p, q = (np.where(mask, slope, 0.0) for slope in (-normals[..., 0] / nz, normals[..., 1] / nz))
    px, qy = (p[:, :-1] + p[:, 1:]) / 2, (q[:-1] + q[1:]) / 2
    divergence = np.zeros(mask.shape)
    divergence[:, :-1] += px
    divergence[:, 1:] -= px
    divergence[:-1] += qy
    divergence[1:] -= qy
    waves = [2 * np.cos(np.pi * np.arange(n) / n) - 2 for n in mask.shape]
    below = waves[0][:, None] + waves[1][None]
    below[0, 0] = 1.0
    spectrum = fft.dctn(divergence, norm="ortho") / below
    spectrum[0, 0] = 0.0
    heights = fft.idctn(spectrum, norm="ortho")
    made: np.ndarray = np.where(mask, heights - (heights[mask].mean() if mask.any() else 0.0), np.nan)
    return made


def _robust(y: np.ndarray, towards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo times normal (pixel, 3), and the share of lights that fit (pixel,)."""
    outer = np.einsum("ij,ik->ijk", towards, towards).reshape(len(towards), 9)
    bright = np.maximum(np.percentile(y, 90, axis=0), 1e-12)
    weights = (y > 0.05 * bright) * (y < 1.2 * bright) + 1e-3
    for step in range(STEPS):
        normal = (weights.T @ outer).reshape(-1, 3, 3)
        trace = np.trace(normal, axis1=1, axis2=2)[:, None, None]
        scaled = np.linalg.solve(normal + 1e-9 * trace * np.eye(3), ((weights * y).T @ towards)[..., None])[..., 0]
        facing = towards @ scaled.T
        residual = (y - np.maximum(facing, 0)) / bright
        width = CLOSE * max(1.0, 16.0 * 0.8**step)
        weights = (width**2 / (width**2 + residual**2)) ** 2 * (facing > 0) + 1e-6
    return scaled, ((np.abs(residual) < 3 * CLOSE) & (facing > 0)).mean(axis=0)


def _lobe(y: np.ndarray, towards: np.ndarray, scaled: np.ndarray) -> tuple[float, float]:
    """The roughness and F0 of the lobe that what is brighter than matt tells."""
    chosen = np.random.default_rng(0).permutation(len(scaled))[:DRAWN]
    normals, facing = _unit(scaled[chosen]), towards @ scaled[chosen].T
    over = y[:, chosen] - np.maximum(facing, 0)
    lit = (facing > 0) & (over > -3 * CLOSE * np.maximum(facing, 1e-12))  # what is in shadow tells nothing

    def misfit(unknown: Array) -> Array:
        return np.where(lit, gloss(normals, towards, unknown[0], unknown[1]) - over, 0.0).ravel()

    scale = max(float(np.median(np.abs(over[lit]))) if lit.any() else 1.0, 1e-6)
    limits = ((0.05, 0.0), (1.0, 1.0))
    tried = [least_squares(misfit, (r, 0.05), bounds=limits, loss="soft_l1", f_scale=scale) for r in (0.2, 0.5)]
    best = min(tried, key=lambda one: float(one.cost)).x
    return float(best[0]), float(best[1])


def _unit(v: np.ndarray) -> np.ndarray:
    made: np.ndarray = v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-300)
    return made
