"""Where a photograph was taken in a scene, or how a body lies under X-rays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage

from tomodiff.array import block_mean
from tomodiff.files.radiance_file import StoredField
from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.geometry.poses import angle_between
from tomodiff.projectors.emission import EmissionRays
from tomodiff.recipes.optical.pose import Found, Level, Slopes, find, starts
from tomodiff.recipes.optical.scene import Scene, psnr
from tomodiff.recipes.optical.training import behind

SMOOTHED = (5.0, 2.5, 1.0, 0.0)
"""Standard deviations of the scene's smoothing at each level, in voxels."""

XRAY_SMOOTHED = (6.0, 3.0, 1.5, 0.7)
"""The same for volumes under X-rays; the last keeps a voxel's corners from being seen."""
OF_VOXELS = 0.25
"""Variance of a cube and of the line between two voxels together, in voxels: how much a volume is smooth by itself."""
LIKE = 0.9
"""The share of the variance of a radiograph's finer structure that the volume must explain where it was found."""
FINER = 0.05
"""Structure that is finer than this part of the picture tells bodies of the same outline apart."""
WORSE_DB = 3.0
"""How much worse than the worst photograph that a scene was measured on a picture may be where it was found."""
AS_GOOD = 1.15
"""Poses with less than this times the least misfit are as good."""


def scene_levels(stored: StoredField, camera: Photograph, picture: np.ndarray) -> tuple[list[Level], np.ndarray]:
    """A photograph (rows, columns, 3) and the scene it is of, from coarse to fine, and the middle of what is solid."""
    about = _middle(stored)
    distance = float(np.linalg.norm(camera.place - about))
    voxel = stored.grid.spacing[0] * camera.focal[0] / distance  # in pixels
    levels = []
    for sigma in SMOOTHED:
        bin = max(1, min(round(sigma * voxel), min(camera.shape) // 24))
        blurred = ndimage.gaussian_filter(picture, (sigma * voxel, sigma * voxel, 0)) if sigma else picture
        margin = _margin(sigma * voxel, bin, camera)
        coarse = block_mean(blurred, bin, (0, 1))
        levels.append(Level(_sees(smoothed(stored, sigma)), camera.smaller(bin), coarse, margin))
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


@dataclass(frozen=True, eq=False)
class Located:
    """Where a picture was taken: camera, how well it fits ("psnr_db" or "explained"), deviations of turn (degrees) and
    shift, and why it may be wrong, or an empty text."""

    camera: Photograph
    fit: dict[str, float]
    deviations: tuple[float, float]
    doubt: str


def locate(
    stored: StoredField, camera: Photograph, picture: np.ndarray, turn_deg: float = 5.0, shift: float = 0.05,
    n_starts: int = 8, seed: int = 0, advance: Callable[[], Any] = lambda: None,
) -> Located:  # fmt: skip
    """The camera of a photograph (rows, columns, 3) of a scene, from one that is wrong by up to about `turn_deg`
    degrees and `shift` of its distance."""
    levels, about = scene_levels(stored, camera, picture)
    far = float(np.linalg.norm(camera.place - about))
    found = find(levels, starts(camera.pose, about, turn_deg, shift * far, n_starts, seed), about, advance=advance)
    best = replace(camera, pose=found[0].pose)
    reached = psnr(Scene(stored).picture(best)[0], picture)
    wanted = None if stored.psnr_db is None else stored.psnr_db - WORSE_DB
    doubt = ""
    if wanted is not None and reached < wanted:
        doubt = f"the scene looks unlike the picture from there: {reached:.1f} dB, expected {wanted:.1f}"
    return Located(best, {"psnr_db": reached}, found[0].deviations, doubt or _other(found))


def register(
    volume: np.ndarray, grid: Grid, camera: Photograph, radiograph: np.ndarray, turn_deg: float = 10.0,
    shift_mm: float = 10.0, n_starts: int = 12, seed: int = 0, advance: Callable[[], Any] = lambda: None,
) -> Located:  # fmt: skip
    """The camera (source and detector as a pinhole) of a radiograph (rows, columns) of line integrals, up to a gain and
    an offset, of a volume, from one that is wrong by up to about `turn_deg` degrees and `shift_mm`."""
    levels, about = volume_levels(volume, grid, camera, radiograph)
    found = find(levels, starts(camera.pose, about, turn_deg, shift_mm, n_starts, seed), about, keep=4, advance=advance)
    best = replace(camera, pose=found[0].pose)
    explained = _explained(levels[-2], best)
    doubt = ""
    if explained < LIKE:
        doubt = (
            f"the volume explains {explained:.0%} of the radiograph's finer structure from there, expected {LIKE:.0%}"
        )
    return Located(best, {"explained": explained}, found[0].deviations, doubt or _other(found))


def _other(found: list[Found]) -> str:
    """What is to say where another pose is as good."""
    if len(found) < 2 or found[1].misfit > AS_GOOD * found[0].misfit:
        return ""
    apart = np.degrees(float(angle_between(found[0].pose[:, :3], found[1].pose[:, :3])))
    return (
        f"another pose, {apart:.1f} degrees away, fits nearly as well ({found[1].misfit / found[0].misfit:.2f} times)"
    )


def _explained(level: Level, camera: Photograph) -> float:
    """The share of the variance of a level's finer structure that its scene explains, seen by a camera."""
    own, m = replace(level.camera, pose=camera.pose), level.margin
    values = level.see(*(a.astype(np.float32) for a in own.rays()))[0].reshape(level.picture.shape)
    wide = (min(own.shape) * FINER, min(own.shape) * FINER, 0)
    fine = [(a - ndimage.gaussian_filter(a, wide))[m : len(a) - m, m : a.shape[1] - m] for a in (values, level.picture)]
    return max(float(np.corrcoef(*(a.ravel() for a in fine))[0, 1]), 0.0) ** 2


def volume_levels(
    volume: np.ndarray, grid: Grid, camera: Photograph, radiograph: np.ndarray
) -> tuple[list[Level], np.ndarray]:
    """A radiograph and the volume it is of, from coarse to fine, and the middle of the volume."""
    about = np.array(grid.center)
    voxel = grid.spacing[0] * camera.focal[0] / float(np.linalg.norm(camera.place - about))  # in pixels
    levels = []
    for sigma in XRAY_SMOOTHED:
        bin = max(1, min(round(sigma * voxel), min(camera.shape) // 24))
        wide = round(3 * sigma)
        larger = Grid([n + 2 * wide for n in grid.shape], grid.spacing, grid.center, grid.rotation)
        soft = ndimage.gaussian_filter(np.pad(np.asarray(volume, np.float32), wide), sigma)
        # the picture has yet to be smoothed as voxels and the places between them are, but not as averaging does it
        width = max((sigma**2 + OF_VOXELS) * voxel**2 - bin**2 / 12, 0.0) ** 0.5
        picture = block_mean(ndimage.gaussian_filter(radiograph, width), bin)[..., None]
        margin = _margin(width, bin, camera)
        levels.append(Level(_irradiates(soft, larger), camera.smaller(bin), picture, margin, free_gain=True))
    return levels, about


def _margin(width: float, bin: int, camera: Photograph) -> int:
    """Pixels of a level that smoothing by a width mixes with what is beyond the rim."""
    return min(int(np.ceil(2 * width / bin)), min(camera.shape) // bin // 4)


def _irradiates(volume: np.ndarray, grid: Grid) -> Slopes:
    emission = np.ascontiguousarray(volume[None])

    def see(origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        A = EmissionRays(grid, len(origins), 1, absorbing=False)
        dark = np.zeros((1, len(origins)), np.float32)
        x = {"emission": emission, "origins": origins, "directions": directions, "background": dark}
        return A.ray_slopes(x)

    return see
