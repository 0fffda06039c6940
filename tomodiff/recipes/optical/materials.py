"""Reflectance, gloss, lights and sky of pictures under several lights, together with the normals and albedo of each
pixel.

All is one fit of `LitNormals` (`material_fit`), first of some pixels, then of each alone under what they share.
What is shadowed by others or otherwise does not fit counts little.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomodiff.analytic.photometric_stereo import photometric_stereo
from tomodiff.projectors.terrain.photometry import model_named
from tomodiff.recipes.optical.material_fit import Common, Plan, alone, known, operator, together, untold

DRAWN = 1500
"""Pixels from which what is common is found."""
TOGETHER = 2
"""Fits of what is common, each followed by one of the pixels alone, which leaves places where they were stuck."""
BEGINNINGS = 4
"""Rounds of stereo, strengths and the sky's mean from which a fit begins."""
DARK = 0.1
"""Cosine from which a light counts as facing, or as facing away."""
MUCH = 0.3
"""Light that a channel's albedo is taken from, of the most that a pixel gets."""
SEEN = 1e-2
"""Singular values below which a sky's combination is left at zero, of the largest."""
CHUNK = 1_000_000
"""Pictures times pixels that are fitted at once."""


@dataclass(frozen=True, eq=False)
class Materials:
    """What a fit knows: the input of `LitNormals` by name, `degrees` (pixel,) of each normal's deviation by what
    does not fit, `fitting` (pixel,) the share of lights that fit, and `untold`, what the pictures do not tell, in
    words."""

    x: dict[str, np.ndarray]
    degrees: np.ndarray
    fitting: np.ndarray
    untold: tuple[str, ...]


def parts(lights: int, pixels: int) -> int:
    """How many groups of pixels there are, and what is common."""
    return 1 + -(-pixels // max(1, CHUNK // lights))


def fitted(
    pictures: np.ndarray, x: dict[str, np.ndarray], plan: Plan, advance: Callable[[], object] = lambda: None
) -> Materials:
    """The fit to pictures (light, pixel) from x, an input of `LitNormals`."""
    bright = np.maximum(np.percentile(pictures, 90, axis=0), 1e-12)
    common = Common(plan, x)
    telling: tuple[str, ...] = ()
    if common.size:
        chosen = np.random.default_rng(0).permutation(pictures.shape[1])[:DRAWN]
        y, scale, part = pictures[:, chosen] / bright[chosen], bright[chosen], _some(x, chosen)
        for _ in range(TOGETHER):
            part = alone(y, scale, together(y, scale, part, common), plan)
        telling = untold(y, scale, part, common)
        x = {**part, "normals": x["normals"], "albedo": x["albedo"]}
    advance()
    per, rows = max(1, CHUNK // len(pictures)), []
    for i in range(0, pictures.shape[1], per):
        of = slice(i, i + per)
        own = alone(pictures[:, of] / bright[of], bright[of], _some(x, of), plan)
        rows.append((own["normals"], own["albedo"], *known(pictures[:, of] / bright[of], bright[of], own, plan)))
        advance()
    normals, albedo, degrees, fitting = (np.concatenate(column) for column in zip(*rows, strict=True))
    return Materials({**x, "normals": normals, "albedo": albedo}, degrees, fitting, telling)


def _some(x: dict[str, np.ndarray], which: np.ndarray | slice) -> dict[str, np.ndarray]:
    """Of some pixels."""
    return {**x, "normals": x["normals"][which], "albedo": x["albedo"][which]}


def materials(
    pictures: np.ndarray, lights: np.ndarray, plan: Plan, advance: Callable[[], object] = lambda: None
) -> Materials:
    """What pictures (light, pixel) of one brightness tell, under directions (light, 3) towards lights.  advance is
    called `parts` times.  ValueError as of `photometric_stereo`."""
    y = np.asarray(pictures, np.float64)
    strengths, ambient = np.ones(len(y)), y.min(axis=0) if plan.sky is not None else np.zeros(y.shape[1:])
    sky = np.zeros(((plan.sky or 0) + 1) ** 2)
    for _ in range(BEGINNINGS if plan.unequal or plan.sky is not None else 1):
        level = (y - ambient) / strengths[:, None]
        found = photometric_stereo(level, lights, glossy=plan.glossy)
        towards = lights / np.linalg.norm(lights, axis=1, keepdims=True)
        facing, albedo = towards @ found.normals.T, np.maximum(found.albedo, 1e-12)
        if plan.sky is not None:
            dark = facing < -DARK
            sky[0] = max(float(np.median((y / albedo)[dark])), 0.0) if dark.any() else 0.0
            ambient = sky[0] * albedo
        if plan.unequal:
            ratio = np.where(facing > DARK, (y - ambient) / albedo / np.maximum(facing, DARK), np.nan)
            strengths = np.nan_to_num(np.nanmedian(ratio, axis=1), nan=1.0).clip(0.05, 20.0)
            strengths /= strengths.mean()
    roughness, f0 = found.lobe or (0.5, 0.04)
    x = {
        "normals": found.normals, "albedo": found.albedo, "lights": towards, "strengths": strengths,
        "parameters": model_named(plan.model).vector(), "gloss": np.array([float(plan.glossy), roughness, f0]),
        "sky": sky,
    }  # fmt: skip
    return fitted(y, x, plan, advance)


def albedo_of(pictures: np.ndarray, found: Materials, plan: Plan) -> np.ndarray:
    """Of each channel (pixel, channel), of pictures (light, pixel, channel), lights, gloss and sky being white: the
    median over lights that send much to a pixel."""
    made = np.zeros(pictures.shape[1:])
    per = max(1, CHUNK // len(pictures))
    for i in range(0, len(made), per):
        of = slice(i, i + per)
        x = _some(found.x, of)
        at = operator(x, plan).partials(x, common=False)
        ratio = (pictures[:, of] - (at.value - x["albedo"] * at.albedo)[..., None]) / np.maximum(at.albedo, 1e-12)[
            ..., None
        ]
        much = at.albedo > MUCH * at.albedo.max(axis=0)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of pixels that no light reaches
            made[of] = np.nan_to_num(np.nanmedian(np.where(much[..., None], ratio, np.nan), axis=0))
    return made.clip(0)


def environment(pictures: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The skies (picture, harmonic) under which pictures (picture, pixel) were taken, from what each harmonic sends
    (pixel, harmonic), and the singular values (harmonic,) of the problem over the largest: combinations of less than
    `SEEN` are not told by what is seen, and are zero.  ValueError where nothing is told."""
    u, s, vt = np.linalg.svd(np.asarray(basis, np.float64), full_matrices=False)
    if not (s.size and s[0] > 0 and np.isfinite(s).all()):
        raise ValueError("environment: expected a surface that sends light, got none")
    keep = s > SEEN * s[0]
    found = (np.asarray(pictures, np.float64) @ u[:, keep] / s[keep]) @ vt[keep]
    return found, s / s[0]
