"""Pictures of random solids with exact labels: every draw comes from a seed, and every number of it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.simulate.sensor import Sensor
from tomodiff.simulate.solids import KINDS, Labelled, Light, Solid, looking, nearest, photograph

FLOOR = 0
"""Label of the ground, which is no object."""
MOVED = 0.05
"""How far the second camera is, to which flow is given, in parts of the distance."""


@dataclass(frozen=True, eq=False)
class Draw:
    """One picture: things (label i + 1 is things[i]) and the ground, camera and the second one, lights, sensor, and all
    numbers as plain values."""

    things: list[Solid]
    ground: Solid | None
    camera: Photograph
    other: Photograph
    lights: list[Light]
    ambient: float
    sensor: Sensor
    record: dict[str, Any]

    @property
    def solids(self) -> list[Solid]:
        """All that is seen."""
        return [*self.things, *([] if self.ground is None else [self.ground])]


@dataclass(frozen=True, eq=False)
class Picture:
    """What a draw looks like: values (row, column, 3) from 0 to 1 as the sensor reads them, exact labels, and the mask
    of each thing with nothing before it (thing, row, column)."""

    draw: Draw
    values: np.ndarray
    exact: Labelled
    whole: np.ndarray

    @property
    def flow(self) -> np.ndarray:
        """How many columns and rows away each pixel's place is in the second camera's picture (row, column, 2)."""
        return self.exact.flow(self.draw.other)

    @property
    def visible(self) -> np.ndarray:
        """The mask of each thing (thing, row, column) as it is seen."""
        return np.stack([self.exact.labels == i + 1 for i in range(len(self.draw.things))])


def draw(chosen: Mapping[str, Any], number: int) -> Draw:
    """The number-th draw of a configuration (`recipes.optical.dataset_settings`), the same each time."""
    rng = np.random.default_rng([int(chosen["seed"]), number])

    def between(section: str, name: str) -> float:
        low, high = chosen[section][name]
        return float(rng.uniform(low, high))

    scene, seen = chosen["scene"], chosen["camera"]
    kinds = [kind for kind in KINDS if kind in scene["kinds"]]
    low, high = scene["things"]
    things = [_thing(i + 1, kinds, chosen, rng) for i in range(int(rng.integers(low, high + 1)))]
    ground = None
    if scene["ground"]:
        red, green, blue = (float(v) for v in rng.uniform(scene["albedo"][0], scene["albedo"][1], 3))
        pose = np.column_stack([np.eye(3), [0, 0, -scene["spread"] - 0.5]])
        ground = Solid(
            "box", (20.0, 20.0, 0.5), pose, (red, green, blue), (0.7 * red, 0.7 * green, 0.7 * blue), 0.4, FLOOR + 10**6
        )
    distance = between("camera", "distance")
    elevation, azimuth = (np.radians(between("camera", name)) for name in ("elevation_deg", "azimuth_deg"))
    flat = np.cos(elevation)
    place = distance * np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    rows, columns = seen["pixels"]
    focal = between("camera", "focal_px")
    lens = ((rows, columns), (focal, focal), (columns / 2, rows / 2))
    camera = Photograph(*lens, looking(place, np.zeros(3)))
    shift = MOVED * distance * rng.normal(size=3) / 3**0.5
    other = Photograph(*lens, looking(place + shift, np.zeros(3)))
    lights = []
    for _ in range(int(rng.integers(chosen["light"]["lights"][0], chosen["light"]["lights"][1] + 1))):
        towards = rng.normal(size=3)
        towards[2] = abs(towards[2]) + 0.2
        towards /= np.linalg.norm(towards)
        lights.append(Light((float(towards[0]), float(towards[1]), float(towards[2])), between("light", "strength")))
    ambient = between("light", "ambient")
    names = ("gain", "black", "blur", "photons", "read_noise", "dead")
    sensor = Sensor(**{name: between("sensor", name) for name in names})
    record = {
        "number": number,
        "seed": int(chosen["seed"]),
        "things": [_told(thing) for thing in things],
        "ground": None if ground is None else _told(ground),
        "camera": {"focal_px": focal, "pose": camera.pose.tolist(), "pose_of_second": other.pose.tolist()},
        "lights": [{"towards": list(light.towards), "strength": light.strength} for light in lights],
        "ambient": ambient,
        "sensor": {name: getattr(sensor, name) for name in names},
    }
    return Draw(things, ground, camera, other, lights, ambient, sensor, record)


def _thing(label: int, kinds: list[str], chosen: Mapping[str, Any], rng: np.random.Generator) -> Solid:
    scene = chosen["scene"]
    half = rng.uniform(scene["size"][0], scene["size"][1], 3) / 2
    turn = Rotation.random(random_state=rng).as_matrix()
    place = rng.uniform(-scene["spread"], scene["spread"], 3)
    colours = rng.uniform(scene["albedo"][0], scene["albedo"][1], (2, 3))
    checker = float(rng.uniform(0.1, 0.25)) if rng.random() < scene["checkered"] else 0.0
    kind = kinds[int(rng.integers(len(kinds)))]
    sizes = (float(half[0]), float(half[1]), float(half[2]))
    first, second = (tuple(float(v) for v in colour) for colour in colours)
    return Solid(kind, sizes, np.column_stack([turn, place]), first, second, checker, label)  # type: ignore[arg-type]


def _told(solid: Solid) -> dict[str, Any]:
    return {
        "kind": solid.kind, "half": list(solid.half), "pose": np.asarray(solid.pose).tolist(),
        "colour": list(solid.colour), "other": list(solid.other), "checker": solid.checker, "label": solid.label,
    }  # fmt: skip


def taken(made: Draw, samples: int = 2) -> Picture:
    """The picture of a draw; its noise comes from the draw's own seed."""
    exact = photograph(made.camera, made.solids, made.lights, made.ambient, samples)
    ground = exact.labels == FLOOR + 10**6
    exact.labels[ground] = FLOOR
    rng = np.random.default_rng([made.record["seed"], made.record["number"], 1])
    origins, directions = made.camera.rays()
    whole = [np.isfinite(nearest([thing], origins, directions)[0]).reshape(made.camera.shape) for thing in made.things]
    return Picture(made, made.sensor.values(exact.colours, rng), exact, np.stack(whole))


def consistency(picture: Picture) -> dict[str, float]:
    """How well the labels agree with each other: what should be 0 or 1 whatever was drawn.

    reprojection_px: the largest difference of the flow from depth and cameras alone; masks: the share of pixels whose
    label is that of the one mask they are in; hidden: the share of visible pixels that the whole masks hold; normals:
    the largest deviation of their length from one.
    """
    exact, camera, other = picture.exact, picture.draw.camera, picture.draw.other
    solid = np.isfinite(exact.depth)
    x, y = (a.reshape(camera.shape) for a in camera.plane())
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) * np.nan_to_num(exact.depth)[..., None]
    places = rays @ camera.pose[:, :3].T + camera.place
    row, column = np.mgrid[: camera.shape[0], : camera.shape[1]]
    again = other.image_of(places.reshape(-1, 3)).reshape(*camera.shape, 2)
    again -= np.stack([column + 0.5, row + 0.5], axis=-1)
    difference = np.abs(again - picture.flow)[solid]
    visible = picture.visible
    length = np.linalg.norm(exact.normals, axis=-1)[solid]
    return {
        "reprojection_px": float(np.nanmax(difference, initial=0.0)),
        "masks": float(np.mean(visible.sum(axis=0) == (exact.labels > 0))),
        "hidden": float(np.mean((visible & picture.whole).sum(axis=0) == visible.sum(axis=0))),
        "normals": float(np.max(np.abs(length - 1), initial=0.0)),
    }
