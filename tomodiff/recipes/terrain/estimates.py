"""What a fit needs and nobody told: the images' noise, how rough the ground is, which elements lie in shadow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, convolve

from tomodiff.array import Element
from tomodiff.objective.differences import Differences
from tomodiff.objective.terrain import Curvatures
from tomodiff.recipes.terrain.problem import Precisions, Problem
from tomodiff.recipes.terrain.scene import Scene
from tomodiff.recipes.terrain.settings import TerrainFitSettings

MAD = 1.4826
"""A normal deviation over the median of the absolute value."""
DARK = 0.25
"""Of the median of an image: below lies shadow, as a first fit takes it."""
BEND, PATCH = 0.02, 0.02
"""Deviations to start from: of slopes between neighbours, and of the albedo, relative."""
MOST_CHANGE, WIDEST = 4.0, 256.0
"""By how much one estimate may change a precision, and all together."""
DEM_SIGMA = 10.0
"""Elements that the DEM may be off: its errors are alike over many elements, which are taken one by one here."""
LEVEL_SIGMA = 1e4
"""The same where there is no DEM, and the ground starts level."""
LEAST_NOISE = 1e-4
"""Of an image's mean."""


def image_noise(scene: Scene) -> np.ndarray:
    """(m,) standard deviations of what in each image is no smooth surface: the mask of Immerkaer (1996, CVIU 64, 300)
    by medians, so that edges hardly count.  Texture finer than three elements counts as noise."""
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
    found = []
    for image, valid in zip(scene.images, scene.valid, strict=True):
        whole = ~binary_dilation(~valid, np.ones((3, 3), bool), border_value=1)
        response = np.abs(convolve(image, mask))[whole if whole.any() else valid]
        found.append(max(MAD * float(np.median(response)) / 6, LEAST_NOISE * float(image[valid].mean())))
    return np.array(found)


def residual_noise(problem: Problem, x: Element, valid: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(m,) deviations from what is left of each image, allowing for what heights and albedo absorbed; those `before`
    where as much is sought as is known, and never less than a tenth of them."""
    part = part_left(x, valid)
    if part is None:
        return before
    left = np.asarray(problem.residual(x))
    found = [
        MAD * float(np.median(np.abs(r[v]))) if v.any() else b for r, v, b in zip(left, valid, before, strict=True)
    ]
    return np.maximum(np.array(found) / np.sqrt(part), 0.1 * before)


def part_left(x: Element, valid: np.ndarray) -> float | None:
    """The part of the noise's variance that is left in residuals if each map in x absorbs one datum of each element, at
    most; None where so little would be left that it tells nothing."""
    planes, m = sum(name in x for name in ("height", "albedo")), float(valid.sum(0).mean())
    return None if m <= planes + 0.5 else 1 - planes / m


def first_precisions(settings: TerrainFitSettings, scene: Scene, noise: np.ndarray) -> Precisions:
    """Those that the weights tell, whose unit is that of images with weight 1; else those of ordinary ground."""
    fit, sigma = settings.fit, float(np.sqrt(np.mean(noise**2)))
    size = float(np.sqrt(np.prod(scene.grid.spacing)))

    known = DEM_SIGMA if scene.known.any() else LEVEL_SIGMA
    deviation = known * size if fit.dem_sigma == "auto" else float(fit.dem_sigma)

    def of(weight: Any, deviation: float) -> float:
        return deviation**-2.0 if weight == "auto" else (float(weight) / sigma) ** 2

    return Precisions(
        of(fit.smoothness_weight, BEND / size),
        of(fit.gradient_weight, 1.0),
        of(fit.initial_dem_constraint_weight, deviation),
        of(fit.albedo_smoothness_weight, PATCH * float(scene.albedo.mean()) / size),
        of(fit.albedo_constraint_weight, 1.0),
    )


def updated(
    p: Precisions, first: Precisions, problem: Problem, x: Element, drawn: Element, settings: TerrainFitSettings
) -> Precisions:
    """The precisions where they are to be found: one over the mean square, over the posterior, of what is held small.
    `drawn` is one draw, less x; without it smooth results would make for stiffer priors, and these for smoother results
    (the step of expectation and maximisation, Dempster, Laird and Rubin 1977)."""
    fit, area = settings.fit, problem.factor**2
    like = (problem.scene.shape, problem.spacing, problem.dtype)
    seen = problem.scene.valid.any(0)

    def next_one(now: float, start: float, squares: np.ndarray) -> float:
        found = 1 / (max(float(np.mean(squares[:, seen], dtype=np.float64)), 1e-300) * area)
        found = min(max(found, now / MOST_CHANGE), now * MOST_CHANGE)
        return min(max(found, start / WIDEST), start * WIDEST)

    if "height" in x and fit.smoothness_weight == "auto":
        change = x["height"] - (problem.scene.height - problem.base).astype(x["height"].dtype)
        own = Curvatures(*like)
        squares = own.forward(change) ** 2 + own.forward(drawn["height"]) ** 2
        p = replace(p, curvature=next_one(p.curvature, first.curvature, squares))
    if "albedo" in x and fit.albedo_smoothness_weight == "auto":
        slopes = Differences(problem.scene.shape, problem.spacing, dtype=problem.dtype)
        squares = slopes.forward(x["albedo"]) ** 2 + slopes.forward(drawn["albedo"]) ** 2
        p = replace(p, albedo_slope=next_one(p.albedo_slope, first.albedo_slope, squares))
    return p


def dark(scene: Scene, settings: TerrainFitSettings) -> np.ndarray:
    """(m, ny, nx) elements in or beside shadow, by their brightness."""
    wanted, made = settings.light.shadow_threshold, []
    for image, valid, haze in zip(scene.images, scene.valid, scene.haze, strict=True):
        lit = image[valid] - haze
        threshold = haze + (DARK * float(np.median(lit)) if wanted == "auto" else float(wanted))
        made.append(binary_dilation(valid & (image < threshold)))
    return np.array(made)
