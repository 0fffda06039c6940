"""Electron tomography: how a specimen was tilted in each image of a series. Lengths in angstrom, angles in radians.

A point X of the specimen, (x, y, z) with the untilted beam along z, appears in the image of a tilt at
    magnification * (Rz(axis) Ry(tilt) Rx(x_tilt) X)[:2] + shift
from pixel (n // 2) of each axis, in angstrom: the convention of RELION 5 (src/jaz/tomography/tomogram.cpp,
setProjectionMatrix), with right-handed rotations of the specimen about fixed axes.

Scans and grids made here count in angstrom where the rest of the package counts in mm: one unit is one angstrom, so
that densities come out per angstrom and numbers stay near one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.geometry import checks
from tomodiff.geometry.checks import Array, refuse
from tomodiff.geometry.grid import Grid
from tomodiff.geometry.rotation import about_x, about_y, about_z
from tomodiff.geometry.vectors import Vectors

PER_TILT = ("tilt", "axis", "x_tilt", "magnification", "dose", "exposure")
"""Arrays of one number for each image."""

TURNED = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""Columns: the directions in the specimen of i, j, k of a turned grid, whose slices are perpendicular to the tilt axis
y. As (y, -z, x) in the order of an array; right-handed."""


@dataclass(frozen=True, eq=False)
class TiltSeries:
    """The images of a specimen at several tilts, without those that were excluded; one entry of an array for each.

    What is None at construction becomes zero (magnification: one, section and order: 0, 1, 2, ...).
    Raises ValueError for arrays that do not fit each other.
    """

    tilt: Array
    """(n,) about the tilt axis, which is the specimen's y."""
    pixel: float
    """Angstrom."""
    image_shape: tuple[int, int]
    """Rows and columns of an image."""
    axis: Array = None  # type: ignore[assignment]
    """(n,) of the tilt axis in the image, from the rows' direction (+y) towards -x."""
    shift: Array = None  # type: ignore[assignment]
    """(n, 2) x, y, angstrom."""
    x_tilt: Array = None  # type: ignore[assignment]
    """(n,) of the specimen about its x, before the tilt."""
    magnification: Array = None  # type: ignore[assignment]
    """(n,) of the image relative to `pixel`."""
    dose: Array = None  # type: ignore[assignment]
    """(n,) electrons per square angstrom that the specimen had seen before the image."""
    exposure: Array = None  # type: ignore[assignment]
    """(n,) electrons per square angstrom of the image itself."""
    order: np.ndarray = None  # type: ignore[assignment]
    """(n,) rank in time, from 0."""
    section: np.ndarray = None  # type: ignore[assignment]
    """(n,) section of the stack, from 0, in which the image is."""
    excluded: tuple[int, ...] = ()
    """Sections of the stack that are left out here."""
    paths: tuple[str, ...] = ()
    """The file of each image, or the one stack of all; empty where unknown."""
    defocus: Array | None = None
    """(n, 3) U, V in angstrom, angle of U from x; None where unknown."""
    volume_shape: tuple[int, int, int] | None = None
    """Voxels (z, y, x) of size `pixel` that the file proposes for the tomogram."""
    volume_center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where in the specimen (x, y, z) that tomogram has its middle voxel n // 2, angstrom."""
    warnings: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(np.atleast_1d(self.tilt))
        checks.positive("pixel", self.pixel)
        object.__setattr__(self, "image_shape", checks.detector_shape(self.image_shape))
        fills = {"magnification": np.ones(n)}
        for name in PER_TILT:
            value = getattr(self, name)
            value = fills.get(name, np.zeros(n)) if value is None else value
            object.__setattr__(self, name, checks.table(name, value, (n,)))
        object.__setattr__(
            self, "shift", checks.table("shift", np.zeros((n, 2)) if self.shift is None else self.shift, (n, 2))
        )
        if self.defocus is not None:
            object.__setattr__(self, "defocus", checks.table("defocus", self.defocus, (n, 3)))
        for name in ("order", "section"):
            value = np.arange(n) if getattr(self, name) is None else np.asarray(getattr(self, name))
            if value.shape != (n,) or value.dtype.kind not in "iu":
                raise refuse(name, f"{n} whole numbers", f"{value.dtype} {value.shape}")
            object.__setattr__(self, name, value)
        if np.abs(self.tilt).max() > np.pi + 1e-9:
            raise refuse("tilt", "radians in [-pi, pi] (numpy.deg2rad turns degrees)", float(np.abs(self.tilt).max()))
        if not (self.magnification > 0).all():
            raise refuse("magnification", "numbers above 0", float(self.magnification.min()))
        if len(self.paths) not in (0, 1, n):
            raise refuse("paths", f"none, one, or one for each of the {n} images", len(self.paths))

    def __len__(self) -> int:
        return len(self.tilt)

    def __getitem__(self, which: Any) -> TiltSeries:
        """Some of the images: a slice, an array of indices or a mask; those left out count as excluded."""
        index = np.atleast_1d(np.arange(len(self))[which])
        if index.size == 0:
            raise refuse("which", f"at least one of the {len(self)} images", which)
        parts: dict[str, Any] = {name: getattr(self, name)[index] for name in (*PER_TILT, "shift", "order", "section")}
        parts["defocus"] = None if self.defocus is None else self.defocus[index]
        parts["paths"] = tuple(self.paths[i] for i in index) if len(self.paths) == len(self) > 1 else self.paths
        left_out = {int(s) for s in self.section} - {int(s) for s in parts["section"]}
        return dataclasses.replace(self, excluded=tuple(sorted(left_out | set(self.excluded))), **parts)

    def replace(self, **changes: Any) -> TiltSeries:
        """A series that differs in the named fields."""
        return dataclasses.replace(self, **changes)

    def rotations(self) -> Array:
        """(n, 3, 3) from the frame of the specimen to that of each image."""
        return np.stack(
            [about_z(a) @ about_y(t) @ about_x(x) for a, t, x in zip(self.axis, self.tilt, self.x_tilt, strict=True)]
        )

    def projection_matrices(self, volume_shape: tuple[int, int, int]) -> Array:
        """(n, 4, 4) RELION's P: from voxel (i, j, k, 1), of size `pixel`, of a volume (z, y, x) to (u, v, depth, 1).

        Both count from 0. P = T(n // 2) T(shift) Rz Ry Rx T(-(n // 2)); a magnification multiplies the rotations.
        """
        middle = np.array(volume_shape[::-1]) // 2 - np.array(self.volume_center) / self.pixel
        rows, columns = self.image_shape
        P = np.zeros((len(self), 4, 4))
        P[:, :3, :3] = self.magnification[:, None, None] * self.rotations()
        P[:, :3, 3] = -P[:, :3, :3] @ middle
        P[:, :2, 3] += self.shift / self.pixel + np.array([columns // 2, rows // 2])
        P[:, 3, 3] = 1.0
        return P

    def scan(self, turned: bool = False) -> Vectors:
        """The parallel-beam scan of the images, in angstrom. Turned: in the frame (x, -z, y) of a turned grid.

        An aligned series (axis, x_tilt and shift along y zero) then turns about the third axis, with its rows in the
        slices of the grid, which is what `XRay` walks fastest and `fbp` inverts.
        """
        back = self.rotations().transpose(0, 2, 1)
        if turned:
            back = TURNED.T @ back
        step = self.pixel / self.magnification
        rows, columns = self.image_shape
        first = (np.array([columns, rows]) - 1) / 2 - np.array([columns // 2, rows // 2])
        in_image = (first * self.pixel - self.shift) / self.magnification[:, None]
        frames = np.concatenate(
            [
                back[:, :, 2],
                (back[:, :, :2] @ in_image[:, :, None])[:, :, 0],
                back[:, :, 0] * step[:, None],
                back[:, :, 1] * step[:, None],
            ],
            axis=1,
        )
        return Vectors(np.where(np.abs(frames) < 1e-13 * self.pixel, 0.0, frames), self.image_shape, "parallel")

    def grid(self, shape: tuple[int, int, int], spacing: float | None = None, turned: bool = False) -> Grid:
        """The grid of a tomogram (z, y, x) with voxels of `spacing` angstrom (default: `pixel`), for `scan(turned)`.

        Voxel n // 2 lies at `volume_center`. Turned: the same voxels as an array (y, -z, x); see `to_tomogram`.
        """
        spacing = self.pixel if spacing is None else checks.positive("spacing", spacing)
        nz, ny, nx = shape
        off = np.array([(n - 1) / 2 - n // 2 for n in (nx, ny, nz)]) * spacing + np.array(self.volume_center)
        if turned:
            return Grid((ny, nz, nx), spacing, (TURNED.T @ off).tolist())
        return Grid(shape, spacing, off.tolist())

    @property
    def aligned(self) -> bool:
        """Whether the tilt axis is the images' y and the beam never leaves the plane across it."""
        off = max(float(np.abs(values).max()) for values in (self.axis, self.x_tilt, self.magnification - 1))
        return off < 1e-9 and float(np.abs(self.shift[:, 1]).max()) < 1e-6 * self.pixel


def to_tomogram(turned: Any) -> Any:
    """The volume (z, y, x) of an array (y, -z, x) on a turned grid; a view."""
    return turned[:, ::-1, :].swapaxes(0, 1)


def from_tomogram(volume: Any) -> Any:
    """The array (y, -z, x) on a turned grid of a volume (z, y, x); a view."""
    return volume.swapaxes(0, 1)[:, ::-1, :]
