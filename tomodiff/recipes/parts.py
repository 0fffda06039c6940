"""Solid parts in a tree of joints, and what of them is sought: dimensions, places, turns, densities, colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tomodiff.geometry.poses import exp
from tomodiff.simulate.solids import Solid

KINDS = ("sphere", "ellipsoid", "box", "cylinder", "capsule")
TIED = {"sphere": ((0, 1, 2),), "cylinder": ((0, 1), (2,)), "capsule": ((0, 1), (2,))}
"""Half lengths that are one unknown; of other kinds each is its own."""
GROUPS = {"half": "xyz", "place": "xyz", "turn": "xyz", "density": "", "colour": "rgb"}
"""What may be sought of a part, and its components."""


@dataclass(frozen=True, eq=False)
class Part:
    """A solid: half lengths (3,) along its own axes (a cylinder's radius, radius and half length), where it is and how
    it is turned (rotation vector in degrees) in its parent's frame, or the world's, its attenuation per length, and its
    colour (3,).  What has a density below 0 is taken away from the rest.

    free: what is sought, of "half", "place", "turn", "density", "colour" and components such as "turn_z".
    """

    name: str
    kind: str
    half: np.ndarray
    place: np.ndarray
    turn: np.ndarray
    density: float
    parent: str | None = None
    free: tuple[str, ...] = ("half", "place", "turn", "density")
    colour: tuple[float, float, float] = (0.5, 0.5, 0.5)


def unknowns(parts: Sequence[Part], seen: Sequence[str] = ("half", "place", "turn", "density")) -> list[str]:
    """The names of what is free: part.group_component, tied half lengths once.  ValueError for parts that cannot be,
    and for what is not among the groups that are seen."""
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
            group, _, component = word.partition("_")
            if group not in seen or component not in ("", *GROUPS[group]):
                raise ValueError(f"parts: {part.name}: free: expected {', '.join(seen)} or such as turn_z, got {word}")
            axes: Sequence[str] = component or GROUPS[group] or ("",)
            if group == "half":
                ties = TIED.get(part.kind, ((0,), (1,), (2,)))
                axes = ["xyz"[tie[0]] for tie in ties if not component or "xyz".index(component) in tie]
            made += [f"{part.name}.{group}_{axis}".rstrip("_") for axis in axes]
    if not made:
        raise ValueError("parts: expected something that is free, found nothing")
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


def get(parts: Sequence[Part], name: str) -> float:
    """The value of an unknown."""
    i, group, axis = _split(parts, name)
    value = getattr(parts[i], group)
    return float(value[GROUPS[group].index(axis)] if axis else value)


def replaced(parts: Sequence[Part], names: Sequence[str], values: np.ndarray) -> list[Part]:
    """Parts with other values of what is free."""
    made = list(parts)
    for name, value in zip(names, values, strict=True):
        i, group, axis = _split(made, name)
        part = made[i]
        if not axis:
            made[i] = replace(part, density=float(value))
            continue
        changed = np.array(getattr(part, group), np.float64)
        at = GROUPS[group].index(axis)
        tie = next((t for t in TIED.get(part.kind, ()) if at in t), (at,)) if group == "half" else (at,)
        changed[list(tie)] = value
        made[i] = replace(part, **{group: changed})  # type: ignore[arg-type]
    return made


def scale_of(parts: Sequence[Part], name: str) -> float:
    """What a unit of an unknown is in a solver: the part's size, the angle that moves its rim as far, its density."""
    i, group, _ = _split(parts, name)
    size = float(np.mean(parts[i].half))
    return {"half": size, "place": size, "turn": 57.3, "density": abs(parts[i].density) or 1.0, "colour": 1.0}[group]


def limits(names: Sequence[str], scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lengths and colours stay above 0, in units of `scale`."""
    low = np.array([{"half": 1e-3, "colour": 0.0}.get(n.rpartition(".")[2].partition("_")[0], -np.inf) for n in names])
    return np.where(np.isfinite(low), low / scale, low), np.full(len(names), np.inf)


def deviations(names: Sequence[str], scale: np.ndarray, jacobian: np.ndarray, rms: float) -> dict[str, float]:
    """One standard deviation of each unknown, where what is left is noise of this root mean square."""
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * rms**2
    return {n: float(d * s) for n, d, s in zip(names, np.sqrt(np.diag(covariance)), scale, strict=True)}


def _split(parts: Sequence[Part], name: str) -> tuple[int, str, str]:
    owner, _, what = name.rpartition(".")
    group, _, axis = what.partition("_")
    return next(i for i, part in enumerate(parts) if part.name == owner), group, axis
