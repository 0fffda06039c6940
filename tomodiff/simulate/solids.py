"""Scenes of solids, seen by cameras: exact surfaces, shadows, depth, normals, labels and flow.

It knows nothing of volumes: what is reconstructed from its pictures is measured against another model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomodiff.geometry.cameras.photograph import Photograph

KINDS = ("ellipsoid", "box", "cylinder", "capsule")
OFF = 1e-6
"""How far within a surface its colour is looked up, lest rounding decides on which square of a checker a point is."""
LIFT = 1e-4
"""How far from a surface shadow rays begin, in units of the scene."""


@dataclass(frozen=True, eq=False)
class Solid:
    """One body: half its lengths along its own x, y, z, where it is (3, 4), and its colour from 0 to 1.

    A cylinder and a capsule stand along z with the radius half[0]; half[2] is half the length, of the capsule that
    between the middles of its round ends.  checker: the side of squares of `other` colour, 0 for none, in its own x, y,
    z.  label: a whole number above 0.
    """

    kind: str
    half: tuple[float, float, float]
    pose: np.ndarray
    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    other: tuple[float, float, float] = (0.2, 0.2, 0.2)
    checker: float = 0.0
    label: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Solid: kind: expected one of {', '.join(KINDS)}, got {self.kind!r}")
        if min(self.half) <= 0 or not np.isfinite(self.half).all():
            raise ValueError(f"Solid: half: expected lengths above 0, got {self.half}")
        if np.shape(self.pose) != (3, 4):
            raise ValueError(f"Solid: pose: expected (3, 4), got {np.shape(self.pose)}")

    def met(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rays (n, 3) meet the surface from without, infinite where they do not, and outward normals (n, 3)."""
        turn, place = self.pose[:, :3], self.pose[:, 3]
        o, d = (origins - place) @ turn, directions @ turn
        with np.errstate(all="ignore"):
            t, normal = _MEETS[self.kind](o, d, np.array(self.half))
        t = np.where(t > 0, t, np.inf)
        normal = np.where(np.isfinite(t)[:, None], normal, 0.0)
        return t, normal @ turn.T

    def chords(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Lengths (n,) inside along whole lines through origins (n, 3), directions (n, 3) of length one."""
        away = origins - self.pose[:, 3]
        along = np.einsum("na,na->n", away, directions)
        reach = self.half[0] + self.half[2] if self.kind == "capsule" else float(np.linalg.norm(self.half))
        near = np.einsum("na,na->n", away, away) - along**2 < reach**2
        made = np.zeros(len(origins))
        start, d = (away - along[:, None] * directions)[near] + self.pose[:, 3], directions[near]
        far = 2 * reach
        inside = 2 * far - self.met(start - far * d, d)[0] - self.met(start + far * d, -d)[0]
        made[near] = np.where(np.isfinite(inside), np.maximum(inside, 0), 0.0)
        return made

    def colours(self, places: np.ndarray) -> np.ndarray:
        """Of places (n, 3) on it."""
        if not self.checker:
            return np.broadcast_to(np.array(self.colour), places.shape)
        own = (places - self.pose[:, 3]) @ self.pose[:, :3]
        odd = np.floor(own / self.checker + 0.5 * OFF).sum(axis=1) % 2
        return np.where(odd[:, None] > 0, np.array(self.other), np.array(self.colour))


def _ellipsoid(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, u = o / half, d / half
    a, b, c = (u * u).sum(axis=1), (p * u).sum(axis=1), (p * p).sum(axis=1) - 1
    t = (-b - np.sqrt(b * b - a * c)) / a
    return np.where(np.isnan(t), np.inf, t), _unit((p + t[:, None] * u) / half)


def _box(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = (-half - o) / d, (half - o) / d
    near, far = np.fmin(low, high), np.fmax(low, high)
    beside = (d == 0) & (np.abs(o) > half)
    enter, leave = np.nanmax(near, axis=1), np.nanmin(far, axis=1)
    t = np.where((enter <= leave) & ~beside.any(axis=1), enter, np.inf)
    face = np.nanargmax(np.where(np.isnan(near), -np.inf, near), axis=1)
    normal = np.zeros_like(o)
    at = np.arange(len(o)), face
    normal[at] = -np.sign(d[at])
    return t, normal


def _round(o: np.ndarray, d: np.ndarray, radius: float) -> np.ndarray:
    """Where rays enter an endless cylinder about z."""
    a = (d[:, :2] ** 2).sum(axis=1)
    b, c = (o[:, :2] * d[:, :2]).sum(axis=1), (o[:, :2] ** 2).sum(axis=1) - radius**2
    t = (-b - np.sqrt(b * b - a * c)) / a
    return np.where(np.isnan(t), np.inf, t)


def _cylinder(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side = _round(o, d, half[0])
    at = o + np.where(np.isfinite(side), side, 0)[:, None] * d
    side = np.where((np.abs(at[:, 2]) <= half[2]) & (side > 0), side, np.inf)
    normal = _unit(at * np.array([1.0, 1.0, 0.0]))
    cap = (-np.sign(d[:, 2]) * half[2] - o[:, 2]) / d[:, 2]
    end = o + np.where(np.isfinite(cap), cap, 0)[:, None] * d
    cap = np.where((end[:, 0] ** 2 + end[:, 1] ** 2 <= half[0] ** 2) & (cap > 0), cap, np.inf)
    first = cap < side
    normal[first] = np.array([0.0, 0.0, 1.0]) * -np.sign(d[first, 2:])
    return np.where(first, cap, side), normal


def _capsule(o: np.ndarray, d: np.ndarray, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = _round(o, d, half[0])
    at = o + np.where(np.isfinite(t), t, 0)[:, None] * d
    t = np.where((np.abs(at[:, 2]) <= half[2]) & (t > 0), t, np.inf)
    normal = _unit(at * np.array([1.0, 1.0, 0.0]))
    for end in (-half[2], half[2]):
        middle = np.array([0.0, 0.0, end])
        ball, outward = _ellipsoid(o - middle, d, np.full(3, half[0]))
        outer = np.sign(end) * (o[:, 2] + np.where(np.isfinite(ball), ball, 0) * d[:, 2] - end) >= 0
        nearer = (ball < t) & (ball > 0) & outer
        t, normal = np.where(nearer, ball, t), np.where(nearer[:, None], outward, normal)
    return t, normal


_MEETS = {"ellipsoid": _ellipsoid, "box": _box, "cylinder": _cylinder, "capsule": _capsule}


def _unit(v: np.ndarray) -> np.ndarray:
    made: np.ndarray = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300)
    return made


@dataclass(frozen=True)
class Light:
    """Parallel light: from where it comes, in the world, and how strong it is."""

    towards: tuple[float, float, float]
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Labelled:
    """What a camera sees of solids, exactly: colours (rows, columns, 3) times opacity, opacity (rows, columns), and of
    the middle of each pixel its depth along the camera's axis (NaN where nothing is), places and normals (rows,
    columns, 3) in the world, and label (0 where nothing is)."""

    colours: np.ndarray
    opacity: np.ndarray
    depth: np.ndarray
    places: np.ndarray
    normals: np.ndarray
    labels: np.ndarray

    def flow(self, other: Photograph) -> np.ndarray:
        """How many columns and rows away (rows, columns, 2) each pixel's place lies in another camera's image."""
        rows, columns = self.labels.shape
        row, column = np.mgrid[:rows, :columns]
        found = other.image_of(self.places.reshape(-1, 3)).reshape(rows, columns, 2)
        made: np.ndarray = found - np.stack([column + 0.5, row + 0.5], axis=-1)
        return made


def nearest(solids: Sequence[Solid], origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of rays (n, 3): the distance at which they meet the first solid, which one (-1 for none), its normal (n, 3)."""
    t, which = np.full(len(origins), np.inf), np.full(len(origins), -1)
    normals = np.zeros_like(origins)
    for i, solid in enumerate(solids):
        own, normal = solid.met(origins, directions)
        nearer = own < t
        t[nearer], which[nearer], normals[nearer] = own[nearer], i, normal[nearer]
    return t, which, normals


def shaded(
    solids: Sequence[Solid], lights: Sequence[Light], ambient: float, origins: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (n, 3) of matt solids with shadows along rays, black where there is none, and which rays meet one."""
    t, which, normals = nearest(solids, origins, directions)
    hit = which >= 0
    places = origins[hit] + t[hit, None] * directions[hit]
    colours = np.zeros_like(places)
    for i, solid in enumerate(solids):
        own = which[hit] == i
        colours[own] = solid.colours(places[own] - OFF * normals[hit][own])
    light = np.full(len(places), ambient)
    for lamp in lights:
        towards = np.array(lamp.towards, np.float64)
        towards /= np.linalg.norm(towards)
        facing = normals[hit] @ towards
        begin = places + LIFT * normals[hit]
        hidden = np.isfinite(nearest(solids, begin, np.broadcast_to(towards, begin.shape).copy())[0])
        light += lamp.strength * np.where(hidden, 0, np.maximum(facing, 0))
    made = np.zeros_like(origins)
    made[hit] = (colours * light[:, None]).clip(0, 1)
    return made, hit


def photograph(
    camera: Photograph, solids: Sequence[Solid], lights: Sequence[Light], ambient: float = 0.3, samples: int = 3
) -> Labelled:
    """What a camera sees; colours are means over samples x samples places in each pixel."""
    rows, columns = camera.shape
    colours, opacity = np.zeros((rows * columns, 3)), np.zeros(rows * columns)
    row, column = (a.ravel() for a in np.mgrid[:rows, :columns].astype(np.float64))
    for i in range(samples * samples):
        down, right = ((n + 0.5) / samples - 0.5 for n in divmod(i, samples))
        seen, hit = shaded(solids, lights, ambient, *camera.rays(row + down, column + right))
        colours += seen / samples**2
        opacity += hit / samples**2
    origins, directions = camera.rays()
    t, which, normals = nearest(solids, origins, directions)
    hit = which >= 0
    places = np.where(hit[:, None], origins + np.where(hit, t, 0)[:, None] * directions, np.nan)
    labels = np.where(hit, np.array([*(solid.label for solid in solids), 0])[which], 0)
    return Labelled(
        colours.reshape(rows, columns, 3), opacity.reshape(rows, columns),
        ((places - camera.place) @ camera.pose[:, 2]).reshape(rows, columns), places.reshape(rows, columns, 3),
        np.where(hit[:, None], normals, np.nan).reshape(rows, columns, 3), labels.reshape(rows, columns),
    )  # fmt: skip


def looking(place: np.ndarray, at: np.ndarray, up: tuple[float, float, float] = (0.0, 0.0, 1.0)) -> np.ndarray:
    """The pose (3, 4) of a camera that looks from a place at another, its columns as nearly down as `up` allows."""
    ahead = np.asarray(at, np.float64) - place
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    return np.column_stack([right, np.cross(ahead, right), ahead, place])


def onto_sphere(n: int, lowest: float = -0.2, highest: float = 0.9, turn: float = 0.0) -> np.ndarray:
    """Directions (n, 3) spread evenly over a belt of the sphere, from one height z to another."""
    i = np.arange(n)
    z = lowest + (highest - lowest) * (i + 0.5) / n
    angle = turn + i * np.pi * (3 - 5**0.5)
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)
