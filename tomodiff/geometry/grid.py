"""The grid of voxels on which a volume is sampled: a box in space, in mm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import numpy as np

from tomodiff.geometry.checks import Array, count, items, positive, refuse, vector
from tomodiff.geometry.rotation import Matrix, as_rotation, as_tuples, from_rotvec
from tomodiff.html import card, lengths


@dataclass(frozen=True)
class Grid:
    """Voxels of a volume `(z, y, x)`: how many, how large, where their box lies and how it is turned.

    The centre of voxel [k, j, i] lies, in mm and as (x, y, z), at
    `center + R @ ((i - (nx-1)/2) dx, (j - (ny-1)/2) dy, (k - (nz-1)/2) dz)`.

    shape: number of voxels (nz, ny, nx), or one number for a cube.
    spacing: voxel size (dz, dy, dx) in mm, or one number.
    center: the centre of the box (x, y, z) in mm; the rotation axis of a circular scan is x = y = 0.
    rotation: 3 x 3 matrix R (rows of columns (x, y, z)), a scipy `Rotation`, or None for an upright box. Its columns
        are the directions in which i, j, k grow.

    Equal by value, hashable; `repr` evaluates back. ValueError names an argument that makes no box.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: Matrix | None = None

    def __init__(self, shape: Any, spacing: Any = 1.0, center: Any = (0.0, 0.0, 0.0), rotation: Any = None) -> None:
        shape = (shape,) * 3 if isinstance(shape, Integral) else shape
        spacing = (spacing,) * 3 if isinstance(spacing, Real) else spacing
        turn = None if rotation is None else as_tuples(as_rotation("rotation", rotation))
        counts = tuple(count(f"shape[{i}]", n) for i, n in enumerate(items("shape", shape, 3)))
        steps = tuple(positive(f"spacing[{i}]", d) for i, d in enumerate(items("spacing", spacing, 3)))
        object.__setattr__(self, "shape", counts)
        object.__setattr__(self, "spacing", steps)
        object.__setattr__(self, "center", vector("center", center))
        object.__setattr__(self, "rotation", None if turn == as_tuples(np.eye(3)) else turn)

    @classmethod
    def from_size(cls, shape: Any, size: Any, center: Any = (0.0, 0.0, 0.0), rotation: Any = None) -> Grid:
        """The grid of `shape` voxels that fills a box of `size` (z, y, x) mm."""
        whole = cls(shape)
        size = (size,) * 3 if isinstance(size, Real) else size
        lengths = [positive(f"size[{i}]", s) for i, s in enumerate(items("size", size, 3))]
        return cls(whole.shape, [s / n for s, n in zip(lengths, whole.shape, strict=True)], center, rotation)

    @classmethod
    def from_rotvec(cls, shape: Any, rotvec: Any, spacing: Any = 1.0, center: Any = (0.0, 0.0, 0.0)) -> Grid:
        """The grid turned about its centre, right-handed, by |rotvec| radians about the direction (x, y, z) it has."""
        return cls(shape, spacing, center, from_rotvec(rotvec))

    @property
    def size(self) -> tuple[float, float, float]:
        """Side lengths (z, y, x) of the box in mm, from voxel edge to voxel edge."""
        z, y, x = (n * d for n, d in zip(self.shape, self.spacing, strict=True))
        return z, y, x

    def _repr_html_(self) -> str:
        """For notebooks."""
        facts = {
            "voxels (z, y, x)": lengths(self.shape),
            "spacing (z, y, x)": f"{lengths(self.spacing)} mm",
            "size (z, y, x)": f"{lengths(self.size)} mm",
            "centre (x, y, z)": f"{', '.join(f'{c:.5g}' for c in self.center)} mm",
            "turned": None if self.rotation is None else "yes",
        }
        return card("Grid", facts)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in mm^3."""
        return float(np.prod(self.spacing))

    @property
    def matrix(self) -> Array:
        """R as an array (3, 3); the identity for an upright grid."""
        return np.eye(3) if self.rotation is None else np.array(self.rotation)

    @property
    def world_from_index(self) -> Array:
        """Affine (3, 4) from voxel indices in the order (i, j, k), i along x, to a position (x, y, z) in mm."""
        steps = self.matrix * np.array(self.spacing[::-1])
        middle = (np.array(self.shape[::-1]) - 1) / 2
        return np.column_stack([steps, np.array(self.center) - steps @ middle])

    @property
    def index_from_world(self) -> Array:
        """Affine (3, 4) from a position (x, y, z) in mm to fractional voxel indices in the order (i, j, k)."""
        inverse = self.matrix.T / np.array(self.spacing[::-1])[:, None]
        middle = (np.array(self.shape[::-1]) - 1) / 2
        return np.column_stack([inverse, middle - inverse @ np.array(self.center)])

    def axes(self) -> tuple[Array, Array, Array]:
        """Distances (z, y, x) in mm of the voxel centres from the centre of the box, along the box's own edges."""
        z, y, x = (
            (np.arange(n, dtype=np.float64) - (n - 1) / 2) * d for n, d in zip(self.shape, self.spacing, strict=True)
        )
        return z, y, x

    def coordinates(self) -> tuple[Array, Array, Array]:
        """Positions (x, y, z) of all voxel centres in mm: three arrays of shape `shape`."""
        z, y, x = np.meshgrid(*self.axes(), indexing="ij")
        px, py, pz = (r[0] * x + r[1] * y + r[2] * z + c for r, c in zip(self.matrix, self.center, strict=True))
        return px, py, pz

    def corners(self) -> Array:
        """The 8 corners of the box, (8, 3) as (x, y, z) in mm; x varies fastest, then y, then z."""
        signs = np.array([(x, y, z) for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)])
        corners: Array = np.array(self.center) + (signs * np.array(self.size[::-1]) / 2) @ self.matrix.T
        return corners

    def contains(self, points: Array) -> np.ndarray:
        """Whether each of the points (..., 3), as (x, y, z) in mm, lies in the closed box."""
        local = (np.asarray(points) - np.array(self.center)) @ self.matrix
        inside: np.ndarray = (np.abs(local) <= np.array(self.size[::-1]) / 2).all(axis=-1)
        return inside

    def refined(self, factor: int) -> Grid:
        """The same box with `factor` voxels for each one along every axis."""
        n = count("factor", factor)
        return Grid([s * n for s in self.shape], [d / n for d in self.spacing], self.center, self.rotation)

    def __getitem__(self, index: slice | tuple[slice, ...]) -> Grid:
        """The part of the box that `volume[index]` holds: slices of z, or of (z, y, x), of step 1 and not empty."""
        slices = index if isinstance(index, tuple) else (index,)
        if len(slices) > 3 or not all(isinstance(s, slice) for s in slices):
            raise TypeError(f"grid[index]: expected up to three slices (z, y, x), found {index!r}")
        shift, shape = np.zeros(3), list(self.shape)
        for axis, s in enumerate(slices):
            start, stop, step = s.indices(self.shape[axis])
            if step != 1 or stop <= start:
                raise refuse(f"slice of axis {axis}", f"a non-empty range of step 1 in 0..{self.shape[axis]}", s)
            shape[axis] = stop - start
            shift[axis] = ((start + stop) - self.shape[axis]) / 2 * self.spacing[axis]
        center = np.array(self.center) + self.matrix @ shift[::-1]
        return Grid(shape, self.spacing, center, self.rotation)

    def to_dict(self) -> dict[str, Any]:
        """Type and fields as JSON can hold them, without loss; `Grid.from_dict` reads it back."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        rotation = None if self.rotation is None else [list(row) for row in self.rotation]
        return {"type": "Grid", **{k: list(v) for k, v in values.items() if k != "rotation"}, "rotation": rotation}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Grid:
        """The grid that `to_dict` described."""
        values = dict(stored)
        if values.pop("type", None) != "Grid" or not {"shape"} <= set(values) <= {f.name for f in fields(cls)}:
            raise refuse("stored", 'a dict with "type": "Grid", shape, spacing, center and rotation', dict(stored))
        return cls(**values)

    def __str__(self) -> str:
        nz, ny, nx = self.shape
        z, y, x = self.size
        turned = "" if self.rotation is None else ", rotated"
        return f"Grid of {nz} x {ny} x {nx} voxels (z, y, x), {z:.6g} x {y:.6g} x {x:.6g} mm{turned}"


def field_of_view(grid: Grid) -> np.ndarray:
    """Which (y, x) lie within the largest circle about the middle of the grid."""
    _, ny, nx = grid.shape
    _, dy, dx = grid.spacing
    _, y, x = grid.axes()
    radius = min(ny * dy, nx * dx) / 2
    return np.asarray(y[:, None] ** 2 + x[None, :] ** 2 <= radius**2)
