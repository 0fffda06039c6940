"""Photographs of a scene of solids, written as a set with known cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tomodiff.extras import library
from tomodiff.files.photographs_writer import write_transforms
from tomodiff.files.pictures import as_bytes
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.simulate.solids import Light, Solid, looking, onto_sphere, photograph

LIGHTS = (Light((0.4, -0.3, 1.0), 0.6), Light((-0.8, 0.5, 0.4), 0.25))


@dataclass(frozen=True)
class PhotographSet:
    """How many photographs are taken, from what distance, and through which lens.

    room: whether a wall is behind the scene, so that nothing is transparent.  noise: of each value, of the brightest.
    """

    train: int = 40
    test: int = 8
    pixels: tuple[int, int] = (80, 80)
    focal: float = 110.0
    distortion: tuple[float, ...] = ()
    distance: float = 4.0
    room: bool = False
    noise: float = 0.0
    seed: int = 0


def table_scene(room: bool = False) -> list[Solid]:
    """A tray with a checkered ball, a box, a pillar and a pill; in a room of one colour that is darker below."""

    def at(*place: float, turn: float = 0.0) -> np.ndarray:
        c, s = np.cos(turn), np.sin(turn)
        return np.column_stack([np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), place])

    lying = np.column_stack([np.array([[0.6, 0, 0.8], [0.8, 0, -0.6], [0, 1, 0.0]]), (-0.35, -0.55, -0.28)])
    scene = [
        Solid("box", (0.95, 0.95, 0.08), at(0, 0, -0.5), (0.75, 0.7, 0.6), (0.45, 0.5, 0.55), 0.38, 1),
        Solid("ellipsoid", (0.36, 0.36, 0.36), at(0.35, -0.3, -0.06), (0.85, 0.25, 0.2), (0.95, 0.85, 0.5), 0.2, 2),
        Solid("box", (0.25, 0.2, 0.3), at(-0.45, 0.3, -0.12, turn=0.5), (0.2, 0.4, 0.75), (0.2, 0.4, 0.75), 0, 3),
        Solid("cylinder", (0.16, 0.16, 0.45), at(0.4, 0.5, 0.03), (0.3, 0.65, 0.3), (0.9, 0.9, 0.85), 0.22, 4),
        Solid("capsule", (0.14, 0.14, 0.25), lying, (0.85, 0.6, 0.85), (0.85, 0.6, 0.85), 0, 5),
    ]  # fmt: skip
    if room:
        scene.append(Solid("box", (30, 30, 1), at(0, 0, -4.0), (0.35, 0.3, 0.28), (0.35, 0.3, 0.28), 0, 6))
    return scene


def cameras_of(chosen: PhotographSet, n: int, turn: float) -> list[Photograph]:
    """Cameras over the upper part of a sphere that look at its middle."""
    rows, columns = chosen.pixels
    lens = (chosen.pixels, (chosen.focal,) * 2, (columns / 2, rows / 2))
    places = chosen.distance * onto_sphere(n, 0.05, 0.85, turn)
    return [Photograph(*lens, looking(place, np.zeros(3)), chosen.distortion or (0.0,) * 5) for place in places]


def write_photographs(folder: Path, chosen: PhotographSet, solids: Sequence[Solid] | None = None) -> None:
    """Write `transforms_train.json`, `transforms_test.json` and their images to a folder."""
    image = library("PIL.Image", "scanners", "writing photographs needs", "pillow")
    solids, rng = table_scene(chosen.room) if solids is None else solids, np.random.default_rng(chosen.seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for split, n, turn in (("train", chosen.train, 0.0), ("test", chosen.test, 1.0)):
        cameras, names = cameras_of(chosen, n, turn), [f"images/{split}_{i:03d}.png" for i in range(n)]
        for name, camera in zip(names, cameras, strict=True):
            seen = photograph(camera, solids, LIGHTS)
            alpha = seen.opacity[..., None]
            colours = seen.colours / np.maximum(alpha, 1e-6)
            if chosen.room:
                sky = np.array([0.55, 0.6, 0.7])
                colours, alpha = seen.colours + (1 - alpha) * sky, np.ones_like(alpha)
            colours = colours + chosen.noise * rng.normal(size=colours.shape)
            values = np.concatenate([colours, alpha], axis=2)[..., : 3 if chosen.room else 4]
            image.fromarray(as_bytes(values)).save(folder / name, optimize=True)
        write_transforms(folder / f"transforms_{split}.json", names, cameras)
