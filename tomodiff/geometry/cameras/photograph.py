"""Cameras of photographs: a pinhole with a lens that distorts, anywhere in a world without a body below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 30
"""Newton steps that undo a distortion, at most."""
CLOSE = 1e-12
"""Of the last step, in focal lengths."""
RIGID = 1e-3
"""How far the axes of a pose may be from perpendicular, and of length one."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """Where a photograph was taken and through which lens.

    shape (rows, columns) in pixels; focal (x, y) and centre (x, y) in pixels, the middle of the first pixel being at
    (0.5, 0.5); distortion (k1, k2, p1, p2, k3) of Brown and Conrady as OpenCV has it; pose (3, 4): rotation and place
    of the camera in the world, with x to the right of the image, y down and z ahead.  ValueError for what is no
    camera.
    """

    shape: tuple[int, int]
    focal: tuple[float, float]
    centre: tuple[float, float]
    pose: Floats
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        pose = np.array(self.pose, np.float64)
        object.__setattr__(self, "pose", pose)
        object.__setattr__(self, "distortion", (*map(float, self.distortion), *(0.0,) * (5 - len(self.distortion))))
        if min(self.shape) < 1:
            raise ValueError(f"shape: expected rows and columns, found {self.shape}")
        if not (np.isfinite(self.focal).all() and min(self.focal) > 0 and np.isfinite(self.centre).all()):
            found = f"{self.focal}, {self.centre}"
            raise ValueError(f"focal, centre: expected pixels, focal lengths above 0, found {found}")
        if len(self.distortion) != 5 or not np.isfinite(self.distortion).all():
            raise ValueError(f"distortion: expected k1, k2, p1, p2, k3, found {self.distortion}")
        if pose.shape != (3, 4) or not np.isfinite(pose).all():
            raise ValueError(f"pose: expected finite numbers (3, 4), found {pose.shape}")
        turn = pose[:, :3]
        if np.abs(turn.T @ turn - np.eye(3)).max() > RIGID:
            raise ValueError("pose: expected a rotation, found axes that are not perpendicular or not of length one")
        if np.linalg.det(turn) < 0:
            raise ValueError("pose: expected a rotation, found a mirror (a left-handed camera)")

    @property
    def place(self) -> Floats:
        """The camera's position (3,)."""
        return self.pose[:, 3]

    def rays(
        self, rows: NDArray[np.intp] | None = None, columns: NDArray[np.intp] | None = None
    ) -> tuple[Floats, Floats]:
        """Origins and directions (n, 3), of length one, of pixels; of all of them, row by row, without arguments."""
        x, y = self.plane(rows, columns)
        directions = np.stack([x, y, np.ones_like(x)], axis=1) @ self.pose[:, :3].T
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.broadcast_to(self.place, directions.shape).copy(), directions

    def plane(
        self, rows: NDArray[np.intp] | None = None, columns: NDArray[np.intp] | None = None
    ) -> tuple[Floats, Floats]:
        """x and y (n,) of pixels without the lens's distortion, in focal lengths from the axis; of all without
        arguments."""
        if rows is None or columns is None:
            rows, columns = (a.ravel() for a in np.mgrid[: self.shape[0], : self.shape[1]])
        x = (np.asarray(columns) + 0.5 - self.centre[0]) / self.focal[0]
        y = (np.asarray(rows) + 0.5 - self.centre[1]) / self.focal[1]
        return self._straight(x, y)

    @property
    def lens(self) -> tuple[object, ...]:
        """What cameras whose pixels look the same way have in common."""
        return self.shape, self.focal, self.centre, self.distortion

    def image_of(self, places: Floats) -> Floats:
        """Columns and rows (n, 2), in pixels from the outer corner of the first, at which places (n, 3) are seen; NaN
        for those that are not ahead."""
        seen = (np.asarray(places) - self.place) @ self.pose[:, :3]
        ahead = seen[:, 2] > 0
        depth = np.where(ahead, seen[:, 2], np.nan)
        x, y = self._bent(seen[:, 0] / depth, seen[:, 1] / depth)
        return np.stack([x * self.focal[0] + self.centre[0], y * self.focal[1] + self.centre[1]], axis=1)

    def smaller(self, factor: int) -> Photograph:
        """The camera of the image whose pixels are averages of factor x factor of this one's; the rest is cut off."""
        rows, columns = (n // factor for n in self.shape)
        if min(rows, columns) < 1:
            raise ValueError(f"smaller: expected a factor up to {min(self.shape)}, found {factor}")
        focal = (self.focal[0] / factor, self.focal[1] / factor)
        centre = (self.centre[0] / factor, self.centre[1] / factor)
        return Photograph((rows, columns), focal, centre, self.pose, self.distortion)

    def _bent(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Where a straight ray falls, in focal lengths from the centre."""
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def _straight(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The inverse of `_bent`, by Newton's method.  ValueError where the lens has none within the image."""
        if not any(self.distortion):
            return x, y
        k1, k2, p1, p2, k3 = self.distortion
        u, v = x.copy(), y.copy()
        step = np.inf
        for _ in range(ROUNDS):
            bent_x, bent_y = self._bent(u, v)
            r2 = u * u + v * v
            radial, slope = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), k1 + r2 * (2 * k2 + 3 * r2 * k3)
            xx = radial + 2 * u * u * slope + 2 * p1 * v + 6 * p2 * u
            yy = radial + 2 * v * v * slope + 6 * p1 * v + 2 * p2 * u
            xy = 2 * u * v * slope + 2 * p1 * u + 2 * p2 * v
            det = xx * yy - xy * xy
            with np.errstate(all="ignore"):
                du = (yy * (bent_x - x) - xy * (bent_y - y)) / det
                dv = (xx * (bent_y - y) - xy * (bent_x - x)) / det
            u, v = u - du, v - dv
            step = float(np.max(np.hypot(du, dv), initial=0.0))
            if step < CLOSE:
                break
        if not (step < 1e-6 and (det > 0).all()):
            raise ValueError(f"distortion: {self.distortion} folds the image over: no ray falls on some of its pixels")
        return u, v
