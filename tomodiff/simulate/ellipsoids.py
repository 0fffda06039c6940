"""Ellipsoids with exact line integrals: the objects that simulated scans are made of.

A phantom is a sum of solid ellipsoids, each adding a constant attenuation.  Its line integrals are known in closed
form for any ray, its voxel values by averaging sub-voxel samples; no projector of this package takes part, so data made
here never share an error with the operator that is fitted to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tomodiff.errors import ConfigError
from tomodiff.geometry import Vectors

if TYPE_CHECKING:
    from tomodiff.geometry import Grid, Scan

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ellipsoids:
    """Solid ellipsoids, n of them, whose attenuations add up where they overlap.

    `centers` (n, 3) mm and `semi_axes` (n, 3) mm in the order (x, y, z); `rotations` (n, 3, 3), whose columns are the
    directions of the semi-axes in space; `densities` (n,) 1/mm, negative for holes.
    """

    centers: Floats
    semi_axes: Floats
    rotations: Floats
    densities: Floats

    def __post_init__(self) -> None:
        n = len(self.densities)
        for name, shape in (("centers", (n, 3)), ("semi_axes", (n, 3)), ("rotations", (n, 3, 3)), ("densities", (n,))):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise ConfigError(f"{name}: expected shape {shape}, got {value.shape}")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if n and self.semi_axes.min() <= 0:
            raise ConfigError(f"semi_axes: expected lengths above 0 mm, got {self.semi_axes.min():g}")
        skew = np.abs(self.rotations @ self.rotations.transpose(0, 2, 1) - np.eye(3))
        if n and skew.max() > 1e-9:
            raise ConfigError(f"rotations: expected orthonormal matrices, got an error of {skew.max():.1e}")

    def __len__(self) -> int:
        return len(self.densities)

    def __add__(self, other: Ellipsoids) -> Ellipsoids:
        """Both phantoms in one place."""
        names = ("centers", "semi_axes", "rotations", "densities")
        return Ellipsoids(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in names))

    def scaled(self, size: float = 1.0, density: float = 1.0) -> Ellipsoids:
        """All lengths times `size` (about the origin), all attenuations times `density`."""
        return Ellipsoids(self.centers * size, self.semi_axes * size, self.rotations, self.densities * density)

    def moved(self, shift: tuple[float, float, float]) -> Ellipsoids:
        """Displaced by `shift` (x, y, z) mm."""
        return Ellipsoids(self.centers + np.asarray(shift, float), self.semi_axes, self.rotations, self.densities)

    def radius(self) -> float:
        """The largest distance from the z axis, mm, that any part reaches (never less than the true one)."""
        reach = np.linalg.norm(self.centers[:, :2], axis=1) + self.semi_axes.max(axis=1)
        return float(reach.max(initial=0.0))

    def project(self, scan: Scan, oversample: int = 1) -> Floats:
        """The line integrals (view, v, u) along the rays of `scan`, the mean of oversample x oversample per pixel."""
        shifts = sub_pixels(oversample)
        total = np.zeros((len(scan), *scan.detector_shape))
        for shift in shifts:
            for view, image in enumerate(self.images(scan, shift)):
                total[view] += image
        return total / len(shifts)

    def images(self, scan: Scan, shift: tuple[float, float] = (0.0, 0.0)) -> Iterator[Floats]:
        """One (v, u) image of line integrals after another, at pixel centres displaced by `shift` (v, u) pixels.

        Every ray is taken as the whole straight line, so a point source must lie outside the phantom.
        """
        nv, nu = scan.detector_shape
        vectors = Vectors.of(scan)
        to_sphere = self.rotations.transpose(0, 2, 1) / self.semi_axes[:, :, None]
        shadows = vectors.project(self._box_corners())
        for view in range(len(scan)):
            origins, directions = vectors.rays(view, v=np.arange(nv) + shift[0], u=np.arange(nu) + shift[1])
            image = np.zeros((nv, nu))
            for k, density in enumerate(self.densities):
                window = _window(shadows[view, k], (nv, nu), scan.radius is not None)
                o, w = origins[0][window], directions[0][window]
                image[window] += density * chords(o - self.centers[k], w, to_sphere[k])
            yield image

    def voxelise(self, grid: Grid, oversample: int = 3) -> Floats:
        """The mean attenuation (z, y, x) of each voxel of `grid`, from oversample^3 samples a voxel."""
        volume = np.zeros(grid.shape)
        spacing, turn, middle = grid.spacing, grid.matrix, np.array(grid.center)
        offsets = sub_pixel_offsets(oversample)
        for k, density in enumerate(self.densities):
            to_sphere = (self.rotations[k].T / self.semi_axes[k][:, None]) @ turn
            center = turn.T @ (self.centers[k] - middle)
            extent = np.linalg.norm(turn.T @ (self.rotations[k] * self.semi_axes[k]), axis=1)
            lines, box = [], []
            for axis, n in enumerate(grid.shape):  # (z, y, x): coordinate 2, 1, 0
                position = (np.arange(n) - (n - 1) / 2) * spacing[axis] - center[2 - axis]
                near = np.flatnonzero(np.abs(position) <= extent[2 - axis] + spacing[axis])
                box.append(slice(near[0], near[-1] + 1) if near.size else slice(0, 0))
                lines.append((position[near][:, None] + offsets * spacing[axis]).ravel())
            if all(len(line) for line in lines):
                samples = (lines[0], lines[1], lines[2])
                volume[tuple(box)] += density * _inside_fraction(samples, to_sphere, oversample)
        return volume

    def _box_corners(self) -> Floats:
        """The 8 corners (n, 8, 3) of each ellipsoid's bounding box along its own axes."""
        signs = np.array([[(i >> b & 1) * 2 - 1 for b in range(3)] for i in range(8)], dtype=np.float64)
        return self.centers[:, None] + np.einsum("nij,nj,cj->nci", self.rotations, self.semi_axes, signs)


def sub_pixel_offsets(oversample: int) -> Floats:
    """The centres of `oversample` equal parts of a pixel, in pixels from its centre."""
    if oversample < 1:
        raise ConfigError(f"oversample: expected at least 1, got {oversample}")
    return (np.arange(oversample) + 0.5) / oversample - 0.5


def sub_pixels(oversample: int) -> list[tuple[float, float]]:
    """The (v, u) offsets of oversample x oversample sub-pixels."""
    offsets = sub_pixel_offsets(oversample)
    return [(float(v), float(u)) for v in offsets for u in offsets]


def chords(origins: Floats, directions: Floats, to_sphere: Floats) -> Floats:
    """Lengths, mm, that lines of unit direction cut out of the ellipsoid |to_sphere @ x| <= 1 centred at 0.

    In the frame where the ellipsoid is the unit sphere a line o + t w is inside while t^2|w|^2 + 2 t o.w + |o|^2 <= 1;
    the roots differ by 2 sqrt(1 - d^2) / |w|, where d is the distance of the line from the centre.
    """
    o, w = origins @ to_sphere.T, directions @ to_sphere.T
    length = np.sqrt(np.einsum("...i,...i->...", w, w))
    w = w / length[..., None]
    across = o - np.einsum("...i,...i->...", o, w)[..., None] * w
    inside = 1.0 - np.einsum("...i,...i->...", across, across)
    return 2.0 * np.sqrt(np.maximum(inside, 0.0)) / length


def _window(corners: Floats, shape: tuple[int, int], curved: bool) -> tuple[slice, slice]:
    """The pixels that the convex hull of points casts its shadow on, given the (v, u) where the points do.

    Projection along lines keeps hulls, so the extreme coordinates are those of points; on a cylinder that is so for u
    only, and all rows are kept.  Points behind the source (NaN) bound nothing.
    """
    if np.isnan(corners).any():
        return slice(0, shape[0]), slice(0, shape[1])
    low = np.maximum(np.floor(corners.min(axis=0)) - 1, 0)
    high = np.maximum(np.minimum(np.ceil(corners.max(axis=0)) + 2, shape), low)
    rows, columns = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return (slice(0, shape[0]) if curved else rows), columns


def _inside_fraction(lines: tuple[Floats, Floats, Floats], to_sphere: Floats, oversample: int) -> Floats:
    """The share of samples of each voxel inside the unit sphere; `lines` are sample positions along (z, y, x)."""
    z, y, x = lines
    planes, rows, columns = len(z) // oversample, len(y) // oversample, len(x) // oversample
    counts = np.empty((planes, rows, columns))
    plane = x[None, :, None] * to_sphere[:, 0] + y[:, None, None] * to_sphere[:, 1]
    for k in range(planes):
        inside = np.zeros(plane.shape[:2])
        for height in z[k * oversample : (k + 1) * oversample]:
            point = plane + height * to_sphere[:, 2]
            inside += np.einsum("...i,...i->...", point, point) <= 1.0
        counts[k] = inside.reshape(rows, oversample, columns, oversample).sum(axis=(1, 3))
    return counts / oversample**3
