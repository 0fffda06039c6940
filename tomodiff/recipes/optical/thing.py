"""Things whose normals, albedo and heights are known pixel by pixel: under other lights, and put upon each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.projectors.lit import LitNormals
from tomodiff.projectors.terrain.photometry import MODELS
from tomodiff.projectors.terrain.shadows import Shadows
from tomodiff.projectors.terrain.sky_light import SkyLight

Light = tuple[np.ndarray, float]
"""A direction of length one, to the right, up and towards the camera; and a strength."""
FACTS = "found.json"


@dataclass(frozen=True, eq=False)
class Thing:
    """normals (row, column, 3), NaN where nothing is; albedo (row, column, channel); heights (row, column) in pixels
    towards the camera; reflectance model, its parameters and gloss as of `LitNormals`."""

    normals: np.ndarray
    albedo: np.ndarray
    heights: np.ndarray
    model: str = "lambert"
    parameters: tuple[float, ...] = ()
    gloss: tuple[float, float, float] = (0.0, 0.5, 0.04)

    @property
    def inside(self) -> np.ndarray:
        """(row, column) where something is."""
        made: np.ndarray = np.isfinite(self.normals).all(axis=-1)
        return made

    @property
    def relief(self) -> np.ndarray:
        """Heights (row, column) in single precision, the lowest where nothing is."""
        lowest = np.nanmin(self.heights)
        return np.where(self.inside, np.nan_to_num(self.heights, nan=lowest), lowest).astype(np.float32)

    def lit(self, lights: Sequence[Light], sky: np.ndarray | None = None) -> np.ndarray:
        """Brightness (row, column, channel) under lights, with the shadows that heights cast, and under a sky
        (channel or 1, (degree + 1)^2) in harmonics of at most degree 4, as far as heights leave it open."""
        inside, relief = self.inside, self.relief
        normals, albedo = self.normals[inside], self.albedo[inside]
        channels = max(albedo.shape[1], 1 if sky is None else len(np.atleast_2d(sky)))
        made = np.zeros((*inside.shape, channels))
        if lights:
            A = LitNormals(len(normals), len(lights), self.model)
            x = {
                "normals": normals, "lights": np.stack([light for light, _ in lights]),
                "strengths": np.array([strength for _, strength in lights]), "albedo": np.ones(len(normals)),
                "parameters": np.array(self.parameters), "gloss": np.array(self.gloss), "sky": np.zeros(1),
            }  # fmt: skip
            at = A.partials(x, common=False)
            seen = np.stack([self._seen(relief, light)[inside] for light, _ in lights])
            matt, shine = ((seen * part).sum(axis=0)[:, None] for part in (at.albedo, at.gloss[0]))
            made[inside] = albedo * matt + self.gloss[0] * shine
        if sky is not None:
            made[inside] += albedo * (self.waves(np.shape(sky)[-1])[inside] @ np.atleast_2d(sky).T)
        return made

    def waves(self, terms: int) -> np.ndarray:
        """(row, column, harmonic) irradiance over pi by each harmonic of a sky, past the horizons of the heights."""
        A = SkyLight(self.heights.shape, degree=int(np.sqrt(terms)) - 1)
        relief = self.relief
        return np.stack([np.asarray(A({"height": relief, "sky": one})) for one in np.eye(terms)], axis=-1)

    def _seen(self, relief: np.ndarray, light: np.ndarray) -> np.ndarray:
        """(row, column) the share of a light that no height is in the way of."""
        if light[2] >= 1 - 1e-9:
            return np.ones(relief.shape)
        return np.asarray(Shadows(relief.shape)({"height": relief, "sun": light}))

    def carrying(self, other: Thing, row: int, column: int) -> Thing:
        """With another thing standing on it, whose first pixel comes to (row, column); it keeps its own reflectance's
        kind.  ValueError where it does not fit in."""
        rows, columns = other.heights.shape
        where = slice(row, row + rows), slice(column, column + columns)
        if row < 0 or column < 0 or self.heights[where].shape != (rows, columns):
            raise ValueError(f"expected a place where {rows} x {columns} pixels fit into {self.heights.shape[0]} x "
                             f"{self.heights.shape[1]}, got {row},{column}")  # fmt: skip
        if other.albedo.shape[-1] not in (1, self.albedo.shape[-1]):
            raise ValueError(f"expected {self.albedo.shape[-1]} channels or one, got {other.albedo.shape[-1]}")
        inside = other.inside
        normals, albedo, heights = (a.copy() for a in (self.normals, self.albedo, self.heights))
        ground = np.nanmedian(heights[where][inside]) if np.isfinite(heights[where][inside]).any() else 0.0
        normals[where][inside] = other.normals[inside]
        albedo[where][inside] = other.albedo[inside]
        heights[where][inside] = ground + (other.heights - np.nanmin(other.heights))[inside]
        return replace(self, normals=normals, albedo=albedo, heights=heights)


def read_thing(folder: Path) -> Thing:
    """What `tomodiff optical normals` wrote.  DataError for what cannot be read."""
    arrays = []
    for name in ("normals", "albedo", "heights"):
        path = folder / f"{name}.npy"
        try:
            arrays.append(np.load(path, allow_pickle=False).astype(np.float64))
        except (OSError, ValueError) as error:
            raise DataError(path, "array", "one that `tomodiff optical normals` wrote", str(error)) from error
    path = folder / FACTS
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["materials"]
        model, parameters = str(facts["model"]), tuple(float(v) for v in facts["parameters"].values())
        gloss = tuple(float(v) for v in facts["gloss"])
        if model not in MODELS or len(gloss) != 3 or len(parameters) != len(MODELS[model].parameters):
            raise ValueError(f"model {model} with {len(parameters)} parameters, a gloss of {len(gloss)}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(path, "materials", "what `tomodiff optical normals` wrote", str(error)) from error
    return Thing(arrays[0], arrays[1], arrays[2], model, parameters, gloss)
