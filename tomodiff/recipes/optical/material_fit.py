"""The steps of a fit of `LitNormals`: of what all pixels share, and of what each has of its own.

Steps are those of Levenberg and Marquardt with Geman and McClure's loss; what pixels have of their own is eliminated by
Schur's complement, as in bundle adjustment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomodiff.projectors.lit import LitNormals, Partials
from tomodiff.projectors.terrain.photometry import model_named

FREE = {"oren_nayar": ("sigma",), "minnaert": ("k",), "lunar_lambert": ("share",)}
"""Parameters of a model that are sought, unless told otherwise; of Hapke's the albedo `w` and the roughness `theta`."""
STEPS = 40
OWN_STEPS = 12
AGAIN = 4.0
"""Losses above so many times the median are tried again from normals that are turned by `AWAY` radians."""
AWAY = 0.6
WIDTHS = (0.2, 0.02)
"""Deviations, of the brightest of a pixel, beyond which a picture counts little: at first and at last."""
UNTOLD = 1e-5
"""Below this share of what the pictures would tell of a combination, were normals and albedo known, it is not told."""
MEAN_ONE = 1e4
"""How firmly the mean of the strengths is one: the weight of its deviation, in squared `WIDTHS`."""


@dataclass(frozen=True)
class Plan:
    """What is sought.  model: of `photometry.MODELS`; free: its parameters that are, None for `FREE`; glossy: facets;
    sky: degree of the harmonics of a light that all pictures share, None for none; unequal: lights of different
    strengths; turned: by how many degrees given lights may be wrong, 0 where they are exact."""

    model: str = "lambert"
    free: tuple[str, ...] | None = None
    glossy: bool = True
    sky: int | None = None
    unequal: bool = False
    turned: float = 0.0

    @property
    def sought(self) -> tuple[str, ...]:
        """Names of the model's parameters that are sought.  ValueError for those that it has not."""
        names = model_named(self.model).names
        default = ("w", "theta") if self.model.startswith("hapke") else FREE.get(self.model, ())
        chosen = default if self.free is None else self.free
        if set(chosen) - set(names):
            unknown = ", ".join(sorted(set(chosen) - set(names)))
            raise ValueError(f"{self.model}: expected some of {', '.join(names) or 'none'}, got {unknown}")
        return chosen


class Common:
    """What all pixels share, as one vector: names, bounds, what is known before."""

    def __init__(self, plan: Plan, x: dict[str, np.ndarray]) -> None:
        self.plan, self.model = plan, model_named(plan.model)
        lights, names = len(x["lights"]), self.model.names
        self.columns = [names.index(name) for name in plan.sought]
        parts = [("parameters", [self.model.parameters[k].name for k in self.columns])]
        parts += [("gloss", ["roughness", "f0"] if plan.glossy else [])]
        parts += [("sky", [f"sky {k}" for k in range((plan.sky + 1) ** 2)] if plan.sky is not None else [])]
        parts += [("strengths", ["strengths"] * (lights if plan.unequal else 0))]
        parts += [("lights", ["directions"] * (2 * lights if plan.turned else 0))]
        self.words = [word for _, own in parts for word in own]
        ends = np.cumsum([0] + [len(own) for _, own in parts])
        self.slices = {name: slice(a, b) for (name, _), a, b in zip(parts, ends[:-1], ends[1:], strict=True)}
        self.size = int(ends[-1])
        turned = np.radians(plan.turned) if plan.turned else 1.0
        # what holds without pictures: lights as given, strengths of mean one
        self.known = np.zeros((self.size, self.size))
        self.known[self.slices["lights"], self.slices["lights"]] = np.eye(2 * lights if plan.turned else 0) / turned**2
        self.known[self.slices["strengths"], self.slices["strengths"]] = MEAN_ONE / lights**2
        self.given = x["lights"]

    def jacobian(self, at: Partials, x: dict[str, np.ndarray]) -> np.ndarray:
        """(light, pixel, common) slopes of the brightness."""
        lights, pixels = at.value.shape
        made = np.zeros((lights, pixels, self.size))
        made[..., self.slices["parameters"]] = np.moveaxis(at.parameters[self.columns], 0, -1)
        if self.plan.glossy:
            made[..., self.slices["gloss"]] = np.moveaxis(at.gloss[1:], 0, -1)
        if self.plan.sky is not None:
            made[..., self.slices["sky"]] = x["albedo"][:, None] * at.waves
        each = np.arange(lights)
        if self.plan.unequal:
            made[each, :, self.slices["strengths"].start + each] = at.strengths
        if self.plan.turned:
            first, own = self.slices["lights"].start, np.einsum("lpa,lta->ltp", at.lights, tangents(x["lights"]))
            made[each, :, first + 2 * each], made[each, :, first + 2 * each + 1] = own[:, 0], own[:, 1]
        return made

    def away(self, x: dict[str, np.ndarray]) -> np.ndarray:
        """How far strengths are from one, and lights from what was given, in the tangents of where they are."""
        made = np.zeros(self.size)
        if self.plan.unequal:
            made[self.slices["strengths"]] = x["strengths"] - 1
        if self.plan.turned:
            made[self.slices["lights"]] = np.einsum(
                "lta,la->lt", tangents(x["lights"]), x["lights"] - self.given
            ).ravel()
        return made

    def moved(self, x: dict[str, np.ndarray], step: np.ndarray) -> dict[str, np.ndarray]:
        """After a step, within the bounds."""
        x = dict(x)
        bounds = self.model.parameters
        parameters = x["parameters"].copy()
        for k, change in zip(self.columns, step[self.slices["parameters"]], strict=True):
            parameters[k] = np.clip(parameters[k] + change, bounds[k].low, bounds[k].high)
        x["parameters"] = parameters
        if self.plan.glossy:
            low, high = np.array([0.0, 0.05, 0.0]), np.array([1.0, 1.0, 1.0])
            x["gloss"] = (x["gloss"] + np.append(0, step[self.slices["gloss"]])).clip(low, high)
        if self.plan.sky is not None:
            x["sky"] = x["sky"] + step[self.slices["sky"]]
        if self.plan.unequal:
            x["strengths"] = np.maximum(x["strengths"] + step[self.slices["strengths"]], 1e-3)
        if self.plan.turned:
            x["lights"] = turned(x["lights"], step[self.slices["lights"]].reshape(-1, 2))
        return x


def together(y: np.ndarray, bright: np.ndarray, x: dict[str, np.ndarray], common: Common) -> dict[str, np.ndarray]:
    """What is common, and what some pixels have of their own, fitted to pictures y (light, pixel) over each pixel's
    `bright`."""
    A = operator(x, common.plan)
    damping, shrink = 1e-3, (WIDTHS[1] / WIDTHS[0]) ** (1 / (STEPS // 2))
    for step in range(STEPS):
        width = max(WIDTHS[1], WIDTHS[0] * shrink**step)
        at = A.partials(x)
        residual = at.value / bright - y
        weights, level = _weights(residual, width), width**2
        own = _own_slopes(at, x) / bright[:, None]
        others = common.jacobian(at, x) / bright[:, None]
        H, b, back = _eliminated(own, others, weights, residual, damping)
        away = common.away(x)
        H, b = H + level * common.known, b + level * common.known @ away
        moved = -np.linalg.lstsq(H + damping * np.diag(np.diag(H) + 1e-12), b, rcond=1e-12)[0]
        of_pixels = back(moved)
        tried = common.moved(_with_own(x, of_pixels), moved)
        then = common.away(tried)
        before = _loss(residual, width) + level * float(away @ common.known @ away)
        after = _loss(A(tried) / bright - y, width) + level * float(then @ common.known @ then)
        if after <= before:
            x, damping = tried, max(damping / 4, 1e-9)
            if width == WIDTHS[1] and before - after < 1e-9 * before:
                break
        else:
            damping *= 8
    return x


def _eliminated(
    own: np.ndarray, others: np.ndarray, weights: np.ndarray, residual: np.ndarray, damping: float
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The normal equations of what is common, and what makes each pixel's step of its solution."""
    weighted = weights[..., None] * own
    H_own = np.einsum("lpi,lpj->pij", weighted, own)
    diagonal = np.einsum("pii->pi", H_own)
    diagonal += damping * diagonal + 1e-9
    H_mixed = np.einsum("lpi,lpg->pig", weighted, others)
    b_own = np.einsum("lpi,lp->pi", weighted, residual)
    flat = others.reshape(-1, others.shape[-1])
    H = flat.T @ (weights.reshape(-1, 1) * flat)
    b = flat.T @ (weights * residual).ravel()
    solved = np.linalg.solve(H_own, np.concatenate([H_mixed, b_own[..., None]], axis=-1))
    H = H - np.einsum("pig,pih->gh", H_mixed, solved[..., :-1])
    b = b - np.einsum("pig,pi->g", H_mixed, solved[..., -1])

    def back(step: np.ndarray) -> np.ndarray:
        made: np.ndarray = -solved[..., -1] - solved[..., :-1] @ step
        return made

    return H, b, back


def untold(y: np.ndarray, bright: np.ndarray, x: dict[str, np.ndarray], common: Common) -> tuple[str, ...]:
    """The combinations of what is common that pixels' own normals and albedo can make up for, in words."""
    at = operator(x, common.plan).partials(x)
    weights = _weights(at.value / bright - y, WIDTHS[1])
    own, others = _own_slopes(at, x) / bright[:, None], common.jacobian(at, x) / bright[:, None]
    told = _eliminated(own, others, weights, np.zeros_like(y), 0.0)[0]
    flat = others.reshape(-1, others.shape[-1])
    scale = 1 / np.sqrt(np.maximum(np.einsum("ng,n,ng->g", flat, weights.ravel(), flat), 1e-300))
    values, vectors = np.linalg.eigh(scale[:, None] * told * scale)
    made = []
    for vector in vectors[:, values < UNTOLD].T:
        shares: dict[str, float] = {}
        for word, part in zip(common.words, vector**2, strict=True):
            kind = "sky" if word.startswith("sky") else word
            shares[kind] = shares.get(kind, 0.0) + float(part)
        ranked = sorted(shares.items(), key=lambda one: -one[1])
        made.append(", ".join(f"{kind} {share:.0%}" for kind, share in ranked if share > 0.02))
    return tuple(made)


def alone(y: np.ndarray, bright: np.ndarray, x: dict[str, np.ndarray], plan: Plan) -> dict[str, np.ndarray]:
    """Normals and albedo of pixels under what is common; those that fit badly are tried from other normals too."""
    x, loss = _settled(y, bright, x, plan)
    bad = np.flatnonzero(loss > AGAIN * np.median(loss) + 1e-9)
    if not bad.size:
        return x
    part = {**x, "normals": x["normals"][bad], "albedo": x["albedo"][bad]}
    best, least = part, loss[bad]
    for turn in ((AWAY, 0), (-AWAY, 0), (0, AWAY), (0, -AWAY)):
        start = {**part, "normals": turned(part["normals"], np.broadcast_to(turn, (bad.size, 2)))}
        tried, reached = _settled(y[:, bad], bright[bad], start, plan)
        better = reached < least
        best = {**best, **{n: _where(better, tried[n], best[n]) for n in ("normals", "albedo")}}
        least = np.minimum(least, reached)
    made = {**x, "normals": x["normals"].copy(), "albedo": x["albedo"].copy()}
    made["normals"][bad], made["albedo"][bad] = best["normals"], best["albedo"]
    return made


def _settled(
    y: np.ndarray, bright: np.ndarray, x: dict[str, np.ndarray], plan: Plan
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """After steps of each pixel, and the loss (pixel,)."""
    A = operator(x, plan)
    damping = np.full(y.shape[1], 1e-3)
    shrink = (WIDTHS[1] / WIDTHS[0]) ** (1 / (OWN_STEPS // 2))
    for step in range(OWN_STEPS):
        width = max(WIDTHS[1], WIDTHS[0] / 2 * shrink**step)
        at = A.partials(x, common=False)
        residual = at.value / bright - y
        own, weights = _own_slopes(at, x) / bright[:, None], _weights(residual, width)
        H = np.einsum("lp,lpi,lpj->pij", weights, own, own)
        b = np.einsum("lp,lpi,lp->pi", weights, own, residual)
        diagonal = np.einsum("pii->pi", H)
        diagonal += damping[:, None] * diagonal + 1e-9
        tried = _with_own(x, -np.linalg.solve(H, b[..., None])[..., 0])
        better = _losses(A(tried) / bright - y, width) <= _losses(residual, width)
        x = {**x, **{n: _where(better, tried[n], x[n]) for n in ("normals", "albedo")}}
        damping = np.where(better, damping / 4, damping * 8).clip(1e-9, 1e9)
    return x, _losses(A(x) / bright - y, WIDTHS[1])


def known(y: np.ndarray, bright: np.ndarray, x: dict[str, np.ndarray], plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Degrees (pixel,) of the normals' deviation, by what lights that fit leave, and the share (pixel,) that fits."""
    at = operator(x, plan).partials(x, common=False)
    residual, own = at.value / bright - y, _own_slopes(at, x) / bright[:, None]
    fits = np.abs(residual) < 3 * WIDTHS[1]
    inverse = np.linalg.inv(np.einsum("lp,lpi,lpj->pij", fits, own, own) + 1e-9 * np.eye(3))
    free = np.maximum(fits.sum(axis=0) - 3, 1)
    deviation = (fits * residual**2).sum(axis=0) / free
    spread = np.sqrt(np.maximum(inverse[:, 0, 0] + inverse[:, 1, 1], 0) * deviation)
    return np.degrees(np.minimum(spread, np.pi)), (fits & (at.strengths > 0)).mean(axis=0)


def operator(x: dict[str, np.ndarray], plan: Plan) -> LitNormals:
    """Of so many pixels and lights as x has."""
    return LitNormals(len(x["normals"]), len(x["lights"]), plan.model, plan.sky or 0)


def _own_slopes(at: Partials, x: dict[str, np.ndarray]) -> np.ndarray:
    """(light, pixel, 3) in two turns of the normal, and in the logarithm of the albedo."""
    turns = np.einsum("lpa,pta->lpt", at.normals, tangents(x["normals"]))
    return np.concatenate([turns, (at.albedo * x["albedo"])[..., None]], axis=-1)


def _with_own(x: dict[str, np.ndarray], step: np.ndarray) -> dict[str, np.ndarray]:
    limited = step / np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True) / 0.5)
    return {**x, "normals": turned(x["normals"], limited[:, :2]), "albedo": x["albedo"] * np.exp(limited[:, 2])}


def tangents(v: np.ndarray) -> np.ndarray:
    """(n, 2, 3) two unit vectors perpendicular to each of v (n, 3) and to each other."""
    helper = np.where(np.abs(v[:, 2:]) < 0.9, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    first = np.cross(helper, v)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(v, first)], axis=1)


def turned(v: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) moved by (n, 2) along their tangents."""
    moved = v + np.einsum("nt,nta->na", step, tangents(v))
    made: np.ndarray = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return made


def _weights(residual: np.ndarray, width: float) -> np.ndarray:
    made: np.ndarray = (width**2 / (width**2 + residual**2)) ** 2
    return made


def _losses(residual: np.ndarray, width: float) -> np.ndarray:
    square = residual**2
    made: np.ndarray = (width**2 * square / (width**2 + square)).sum(axis=0)
    return made


def _loss(residual: np.ndarray, width: float) -> float:
    return float(_losses(residual, width).sum())


def _where(mask: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(mask.reshape(-1, *(1,) * (one.ndim - 1)), one, other)
