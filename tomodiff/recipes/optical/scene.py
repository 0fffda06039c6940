"""A reconstructed scene as cameras see it: colours, opacity, depth, normals, labels, flow."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tomodiff.files.radiance_file import StoredField
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.projectors.carried import carried, outward
from tomodiff.projectors.radiance import STOP, RadianceField
from tomodiff.recipes.optical.training import THIN, behind

SOLID = 0.5
"""Opacity below which there is no depth, normal or label."""


class Scene:
    """Pictures of a radiance field."""

    def __init__(self, stored: StoredField) -> None:
        self.stored, self.grid = stored, stored.grid
        self.density = np.ascontiguousarray(stored.field[..., 0])
        dense = self.density > 0.1 * THIN / max(self.grid.size) if stored.activation == "relu" else None
        self.occupied = None if dense is None else ndimage.maximum_filter(dense, 3)
        self._operator: RadianceField | None = None

    def operator(self, rays: int) -> RadianceField:
        """What renders so many rays; kept, since it has looked for empty cells."""
        if self._operator is None or self._operator.range.shape[0] != rays:
            degree, activation = self.stored.degree, self.stored.activation
            self._operator = RadianceField(self.grid, rays, degree, activation, stop=STOP, occupied=self.occupied)
        return self._operator

    def seen(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colours (ray, 3) and opacity (ray) along rays."""
        back = behind(self.stored.background, directions)
        x = {"field": self.stored.field, "origins": origins, "directions": directions, "background": back}
        colours, left = self.operator(len(origins)).seen(x)
        return colours, 1 - left

    def picture(self, camera: Photograph) -> tuple[np.ndarray, np.ndarray]:
        """Colours (rows, columns, 3) from 0 to 1, and opacity (rows, columns)."""
        colours, opacity = self.seen(*rays_of(camera))
        return colours.reshape(*camera.shape, 3).clip(0, 1), opacity.reshape(camera.shape)

    def places(self, camera: Photograph) -> np.ndarray:
        """Where in the world each pixel looks (rows, columns, 3); NaN where there is nothing solid."""
        x, y, z = self.grid.coordinates()
        return self._carried(camera, np.stack([x, y, z], axis=-1))

    def depth(self, camera: Photograph) -> np.ndarray:
        """Distance along the camera's axis (rows, columns), as depth cameras give it; NaN where there is none."""
        made: np.ndarray = (self.places(camera) - camera.place) @ camera.pose[:, 2]
        return made

    def normals(self, camera: Photograph) -> np.ndarray:
        """Outward normals in the world (rows, columns, 3), of length one; NaN where there are none."""
        density = np.maximum(self.density, 0) if self.stored.activation == "relu" else self.density
        found = self._carried(camera, outward(self.grid, ndimage.gaussian_filter(density, 1.0)))
        length = np.linalg.norm(found, axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):
            made: np.ndarray = np.where(length > 0, found / np.maximum(length, 1e-12), np.nan)
        return made

    def labels(self, camera: Photograph, labels: np.ndarray) -> np.ndarray:
        """The label that most of what each pixel sees has (rows, columns), of labels (z, y, x); 0 where nothing is."""
        if labels.shape != self.grid.shape:
            raise ValueError(f"labels: expected {self.grid.shape} voxels, got {labels.shape}")
        known = [int(n) for n in np.unique(labels)]
        best, made = np.zeros(camera.shape, np.float32), np.zeros(camera.shape, np.int32)
        for first in range(0, len(known), 3):
            group = [*known[first : first + 3], None, None][:3]
            shares = np.nan_to_num(self._carried(camera, np.stack([labels == n for n in group], axis=-1)))
            for channel, label in enumerate(group):
                if label is None:
                    continue
                better = shares[..., channel] > best
                made[better], best[better] = label, shares[..., channel][better]
        return made

    def flow(self, camera: Photograph, other: Photograph) -> np.ndarray:
        """How many columns and rows away (rows, columns, 2) what each pixel sees lies in another camera's image; NaN
        where there is nothing solid, or behind that camera.  What hides it there is not asked."""
        places = self.places(camera)
        row, column = np.mgrid[: camera.shape[0], : camera.shape[1]]
        found = other.image_of(places.reshape(-1, 3)).reshape(*camera.shape, 2)
        made: np.ndarray = found - np.stack([column + 0.5, row + 0.5], axis=-1)
        return made

    def _carried(self, camera: Photograph, values: np.ndarray) -> np.ndarray:
        found, opacity = carried(
            self.grid, self.density, values.astype(np.float32), *rays_of(camera), self.stored.activation, self.occupied
        )
        solid = opacity >= SOLID
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(solid[:, None], found / opacity[:, None], np.nan)
        return mean.reshape(*camera.shape, 3)


def rays_of(camera: Photograph) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions (ray, 3) of all pixels in single precision."""
    origins, directions = camera.rays()
    return origins.astype(np.float32), directions.astype(np.float32)


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal (1) to noise of colours from 0 to 1, in dB."""
    return -10 * float(np.log10(max(float(np.mean((picture.clip(0, 1) - truth) ** 2)), 1e-12)))
