"""Where a photograph was taken in a scene, or how a body lies under X-rays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from tomodiff.files.radiance_file import StoredField
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.recipes.optical.pose import Level, Slopes
from tomodiff.recipes.optical.scene import Scene
from tomodiff.recipes.optical.training import behind

SMOOTHED = (5.0, 2.5, 1.0, 0.0)
"""Standard deviations of the scene's smoothing at each level, in voxels."""


def scene_levels(stored: StoredField, camera: Photograph, picture: np.ndarray) -> tuple[list[Level], np.ndarray]:
    """A photograph (rows, columns, 3) and the scene it is of, from coarse to fine, and the middle of what is solid."""
    about = _middle(stored)
    distance = float(np.linalg.norm(camera.place - about))
    voxel = stored.grid.spacing[0] * camera.focal[0] / distance  # in pixels
    levels = []
    for sigma in SMOOTHED:
        bin = max(1, min(round(sigma * voxel), min(camera.shape) // 24))
        blurred = ndimage.gaussian_filter(picture, (sigma * voxel, sigma * voxel, 0)) if sigma else picture
        levels.append(Level(_sees(smoothed(stored, sigma)), camera.smaller(bin), binned(blurred, bin)))
    return levels, about


def smoothed(stored: StoredField, sigma: float) -> StoredField:
    """The field with its density smoothed, and colours alike, weighted by density."""
    if not sigma:
        return stored
    density = np.maximum(stored.field[..., :1], 0)
    wide = (sigma, sigma, sigma, 0)
    soft = ndimage.gaussian_filter(density, wide)
    colours = ndimage.gaussian_filter(density * stored.field[..., 1:], wide) / np.maximum(soft, 1e-6 * density.max())
    return replace(stored, field=np.ascontiguousarray(np.concatenate([soft, colours], axis=-1)))


def binned(picture: np.ndarray, factor: int) -> np.ndarray:
    """Averages over factor x factor pixels; what is left over is cut off."""
    rows, columns = (n // factor for n in picture.shape[:2])
    made: np.ndarray = (
        picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, -1).mean(axis=(1, 3))
    )
    return made


def _sees(stored: StoredField) -> Slopes:
    scene = Scene(stored)

    def see(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        back = behind(stored.background, directions)
        x = {"field": stored.field, "origins": origins, "directions": directions, "background": back}
        return scene.operator(len(origins)).ray_slopes(x)

    return see


def _middle(stored: StoredField) -> np.ndarray:
    """The centre of mass of the density."""
    density = np.maximum(stored.field[..., 0], 0)
    index = (
        np.array(ndimage.center_of_mass(density))[::-1]
        if density.max() > 0
        else (np.array(density.shape[::-1]) - 1) / 2
    )
    made: np.ndarray = stored.grid.world_from_index @ np.append(index, 1.0)
    return made
