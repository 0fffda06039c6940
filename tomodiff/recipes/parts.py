"""Dimensions and poses of parts from a few radiographs: solids in a tree of joints, fitted to line integrals.

A part is a sphere, ellipsoid, box, cylinder or capsule of one attenuation; what it adds to a ray is that times the
length inside.  No volume is made, so dimensions come far below a voxel (dimensional metrology).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from tomodiff.geometry import Scan
from tomodiff.geometry.poses import exp
from tomodiff.geometry.vectors import Vectors
from tomodiff.result import Dataset
from tomodiff.simulate.solids import Solid

KINDS = ("sphere", "ellipsoid", "box", "cylinder", "capsule")
TIED = {"sphere": ((0, 1, 2),), "cylinder": ((0, 1), (2,)), "capsule": ((0, 1), (2,))}
"""Half lengths that are one unknown; of other kinds each is its own."""
GROUPS = {"half": 3, "place": 3, "turn": 3, "density": 1}
SUB = 3
"""Rays along each side of a pixel."""
COARSE = 4
"""Pixels that are averaged along each side at first."""


@dataclass(frozen=True, eq=False)
class Part:
    """A solid: half lengths (3,) in mm along its own axes (a cylinder's radius, radius and half length), where it is
    and how it is turned (rotation vector in degrees) in its parent's frame, or the scan's, and its attenuation in 1/mm.

    free: what is sought, of "half", "place", "turn", "density" and single components such as "turn_z".
    """

    name: str
    kind: str
    half: np.ndarray
    place: np.ndarray
    turn: np.ndarray
    density: float
    parent: str | None = None
    free: tuple[str, ...] = ("half", "place", "turn", "density")


@dataclass(frozen=True, eq=False)
class FittedParts:
    """The parts, one standard deviation of each unknown by its name ("shaft.half_x"), root mean square of what is left,
    and what is left (view, v, u)."""

    parts: list[Part]
    deviations: dict[str, float]
    rms: float
    residual: np.ndarray


def fit_parts(
    dataset: Dataset, parts: Sequence[Part], steps: int = 60, advance: Callable[[], Any] = lambda: None
) -> FittedParts:
    """Fit parts to line integrals, from coarse pixels to fine, by Gauss and Newton's method with a loss that outliers
    do not move.  ValueError for parts that cannot be, or nothing that is free."""
    names = unknowns(parts)
    if not names:
        raise ValueError("parts: expected something that is free, found nothing")
    data, vectors = np.asarray(dataset.data, np.float64), Vectors.of(dataset.scan)
    x = np.array([_get(parts, name) for name in names])
    scale = np.array([_scale(parts, name) for name in names])
    noise = max(0.02 * float(np.percentile(data, 99)), 1e-9)
    found: Any = None
    for bin in (COARSE, 1):
        model, seen = PartsModel(_rays(vectors, dataset.scan, bin)), _binned(data, bin)

        def misfit(u: np.ndarray, model: PartsModel = model, seen: np.ndarray = seen) -> np.ndarray:
            advance()
            return (model(_with(parts, names, u * scale)) - seen).ravel()

        found = least_squares(
            misfit, x / scale, x_scale="jac", loss="soft_l1", f_scale=noise, max_nfev=steps, diff_step=1e-5,
            bounds=_limits(names, scale), xtol=1e-10, ftol=1e-12,
        )  # fmt: skip
        x = found.x * scale
    residual = found.fun.reshape(data.shape)
    rms = float(np.sqrt(np.mean(residual**2)))
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * rms**2
    deviations = {n: float(d * s) for n, d, s in zip(names, np.sqrt(np.diag(covariance)), scale, strict=True)}
    return FittedParts(_with(parts, names, x), deviations, rms, residual)


def unknowns(parts: Sequence[Part]) -> list[str]:
    """The names of what is free: part.group_axis, tied half lengths once.  ValueError for what is no such name."""
    made: list[str] = []
    known = [part.name for part in parts]
    if len(set(known)) != len(known):
        raise ValueError(f"parts: expected names that differ, got {', '.join(known)}")
    for at, part in enumerate(parts):
        if part.kind not in KINDS:
            raise ValueError(f"parts: {part.name}: kind: expected one of {', '.join(KINDS)}, got {part.kind!r}")
        if part.parent is not None and part.parent not in known[:at]:
            raise ValueError(f"parts: {part.name}: parent: expected a part before it, got {part.parent!r}")
        if min(part.half) <= 0:
            raise ValueError(f"parts: {part.name}: half: expected lengths above 0, got {list(part.half)}")
        for word in part.free:
            group, _, axis = word.partition("_")
            if group not in GROUPS or axis not in ("", "x", "y", "z") or (axis and group == "density"):
                raise ValueError(
                    f"parts: {part.name}: free: expected {', '.join(GROUPS)} or such as turn_z, got {word}"
                )
            if group == "density":
                made.append(f"{part.name}.density")
            elif group == "half":
                ties = TIED.get(part.kind, ((0,), (1,), (2,)))
                wanted = [t for t in ties if not axis or "xyz".index(axis) in t]
                made += [f"{part.name}.half_{'xyz'[tie[0]]}" for tie in wanted]
            else:
                made += [f"{part.name}.{group}_{a}" for a in (axis or "xyz")]
    return list(dict.fromkeys(made))


def placed(parts: Sequence[Part]) -> list[Solid]:
    """The solids where their joints put them."""
    frames: dict[str, np.ndarray] = {}
    made = []
    for part in parts:
        own = np.column_stack([exp(np.radians(part.turn)), part.place])
        if part.parent is not None:
            above = frames[part.parent]
            own = np.column_stack([above[:, :3] @ own[:, :3], above[:, :3] @ own[:, 3] + above[:, 3]])
        frames[part.name] = own
        kind = "ellipsoid" if part.kind == "sphere" else part.kind
        made.append(Solid(kind, (float(part.half[0]), float(part.half[1]), float(part.half[2])), own))
    return made


class PartsModel:
    """Line integrals (view, v, u) of parts along rays (view, v, u, sub, 3), as a detector has them that averages the
    transmission over each pixel; what a solid adds is kept for as long as it stays as it was."""

    def __init__(self, rays: tuple[np.ndarray, np.ndarray]) -> None:
        self.shape = rays[0].shape[:-1]
        self.origins, self.directions = (np.ascontiguousarray(a.reshape(-1, 3)) for a in rays)
        self._kept: dict[tuple[Any, ...], np.ndarray] = {}

    def __call__(self, parts: Sequence[Part]) -> np.ndarray:
        total, kept = np.zeros(len(self.origins)), self._kept
        for part, solid in zip(parts, placed(parts), strict=True):
            key = (solid.kind, solid.half, solid.pose.tobytes())
            if key not in kept:
                kept[key] = solid.chords(self.origins, self.directions)
            total += part.density * kept[key]
            kept[key] = kept.pop(key)  # the last that was used
        while len(kept) > 2 * len(parts):
            kept.pop(next(iter(kept)))
        made: np.ndarray = -np.log(np.exp(-total).reshape(self.shape).mean(axis=-1))
        return made


def _rays(vectors: Vectors, scan: Scan, bin: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions (view, v, u, sub, 3) of SUB x SUB rays to each pixel of bin x bin."""
    nv, nu = (n // bin for n in scan.detector_shape)
    inner = ((np.arange(SUB) + 0.5) / SUB - 0.5) * bin
    middle = (bin - 1) / 2
    v = (np.arange(nv)[:, None] * bin + middle + inner).ravel()
    u = (np.arange(nu)[:, None] * bin + middle + inner).ravel()
    made = []
    for part in zip(*(vectors.rays(view, v=v, u=u) for view in range(len(scan))), strict=True):
        whole = np.stack([np.broadcast_to(a[0], (len(v), len(u), 3)) for a in part])
        split = whole.reshape(len(scan), nv, SUB, nu, SUB, 3).transpose(0, 1, 3, 2, 4, 5)
        made.append(split.reshape(len(scan), nv, nu, SUB * SUB, 3))
    return made[0], made[1]


def _binned(data: np.ndarray, bin: int) -> np.ndarray:
    views, nv, nu = data.shape[0], data.shape[1] // bin, data.shape[2] // bin
    made: np.ndarray = data[:, : nv * bin, : nu * bin].reshape(views, nv, bin, nu, bin).mean(axis=(2, 4))
    return made


def _get(parts: Sequence[Part], name: str) -> float:
    part, group, axis = _split(parts, name)
    value = getattr(parts[part], group)
    return float(value if group == "density" else value["xyz".index(axis)])


def _split(parts: Sequence[Part], name: str) -> tuple[int, str, str]:
    owner, _, what = name.rpartition(".")
    group, _, axis = what.partition("_")
    return next(i for i, part in enumerate(parts) if part.name == owner), group, axis


def _with(parts: Sequence[Part], names: Sequence[str], values: np.ndarray) -> list[Part]:
    """Parts with other values of what is free."""
    made = list(parts)
    for name, value in zip(names, values, strict=True):
        i, group, axis = _split(made, name)
        part = made[i]
        if group == "density":
            made[i] = replace(part, density=float(value))
            continue
        changed = np.array(getattr(part, group), np.float64)
        at = "xyz".index(axis)
        tie = next((t for t in TIED.get(part.kind, ()) if at in t), (at,)) if group == "half" else (at,)
        changed[list(tie)] = value
        made[i] = replace(part, **{group: changed})  # type: ignore[arg-type]
    return made


def _scale(parts: Sequence[Part], name: str) -> float:
    """What a unit of an unknown is in the solver: the part's size, the angle that moves its rim as far, its density."""
    i, group, _ = _split(parts, name)
    size = float(np.mean(parts[i].half))
    return {"half": size, "place": size, "turn": 57.3, "density": abs(parts[i].density) or 1.0}[group]


def _limits(names: Sequence[str], scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([1e-3 if ".half_" in name else -np.inf for name in names])
    return np.where(np.isfinite(low), low / scale, low), np.full(len(names), np.inf)
