"""The X-ray transform as a function of the volume and of where source and detector were."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.geometry import Grid, Scan, Vectors
from tomodiff.projectors.ray_tables import IndexRays
from tomodiff.projectors.xray import XRay
from tomodiff.projectors.xray_walks import RayWalk


class XRayFrames(Operator):
    """{"volume" (z, y, x), "frames" (view, 12)} -> line integrals (view, v, u): XRay by Joseph's model, differentiable
    in the frames too (source or direction, detector centre, column step, row step, mm; double precision, as in
    `Vectors`).

    scan: gives kind, detector and number of views; its own frames do not matter.  Flat detectors.  dtype: of the volume
    and the integrals.  Frames are small and live on the host, whatever the device of the volume; a gradient in them
    comes as a NumPy array.  The derivative in the frames is that of the model, exact but where a ray crosses a grid
    line or two axes change places as its major one: there the model has kinks, and the slope is that of one side.
    """

    linear_in = frozenset({"volume"})

    def __init__(self, grid: Grid, scan: Scan, dtype: str = "float32") -> None:
        if scan.radius is not None:
            raise ValueError("XRayFrames: scan: expected a flat detector, found a curved one")
        self.grid, self.scan, self.dtype = grid, scan, dtype
        self.domain = {"volume": Space(grid.shape, dtype), "frames": Space((len(scan), 12), "float64")}
        self.range = Space((len(scan), *scan.detector_shape), dtype)

    def _scan(self, frames: np.ndarray) -> Vectors:
        return Vectors(frames, self.scan.detector_shape, self.scan.kind)

    def __call__(self, x: Element) -> Array:
        return self.at(x).forward(x["volume"])

    def at(self, x: Element) -> XRay:
        """The linear operator of the volume with these frames."""
        check_element(self.domain, x, "XRayFrames: x")
        return XRay(self.grid, self._scan(to_numpy(x["frames"])), dtype=self.dtype)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        A = self.at(x)
        moving = Moving(self.grid, A.scan, x["volume"], self.dtype)

        def push(d: Element) -> Array:
            made = A.forward(d["volume"])
            made += moving.images(to_numpy(d["frames"])[None])[0]
            return made

        def pull(g: Array) -> Element:
            return {"volume": A.adjoint(g), "frames": moving.pull(g)}

        return A.forward(x["volume"]), Linear(self.domain, self.range, push, pull, "Jacobian of XRayFrames")


class Moving:
    """How the projections of a volume change with the frames of a scan."""

    def __init__(self, grid: Grid, scan: Scan, volume: Array, dtype: str) -> None:
        self.rays, self.xp = IndexRays.of(grid, scan), namespace(volume)
        self.walk = RayWalk(grid, scan, dtype, self.rays)
        self.volume = volume
        self.linear = grid.index_from_world[:, :3]
        self.shape = (len(scan), *scan.detector_shape)

    def images(self, d_frames: np.ndarray) -> Array:
        """(n, view, v, u): the change of the projections for each of the changes (n, view, 12) of the frames, in mm."""
        tangents = np.stack([self._line_tangents(d) for d in d_frames])
        return self.walk.slopes(self.volume, tangents, self.xp)

    def pull(self, g: Array) -> np.ndarray:
        """The gradient (view, 12) in the frames for one in the projections."""
        return contract(self.images(np.broadcast_to(np.eye(12)[:, None], (12, self.shape[0], 12))), g, self.xp)

    def _line_tangents(self, d: np.ndarray) -> np.ndarray:
        """(view, u, 12): changes of the lines of row 0 and of their steps for those of the frames (view, 12)."""
        r = self.rays
        d_source, d_centre, d_u, d_v = (d[:, 3 * i : 3 * i + 3] @ self.linear.T for i in range(4))
        _, nv, nu = self.shape
        places = np.arange(nu) - (nu - 1) / 2
        d_first = (d_centre - (nv - 1) / 2 * d_v)[:, None] + places[:, None] * d_u[:, None]
        out, at = r.origin - r.middle, r.first - r.middle
        if r.cone:
            direction, d_direction = r.first - r.origin[:, None], d_first - d_source[:, None]
            moment = np.cross(d_source[:, None], direction) + np.cross(out[:, None], d_direction)
            step = np.concatenate([d_v, np.cross(d_source, r.step) + np.cross(out, d_v)], axis=-1)
        else:
            direction = np.broadcast_to(r.origin[:, None], at.shape)
            d_direction = np.broadcast_to(d_source[:, None], at.shape)
            moment = np.cross(d_first, direction) + np.cross(at, d_direction)
            step = np.concatenate([np.zeros_like(d_v), np.cross(d_v, r.origin) + np.cross(r.step, d_source)], axis=-1)
        steps = np.broadcast_to(step[:, None], (*at.shape[:2], 6))
        return np.concatenate([d_direction, moment, steps], axis=-1)


def contract(images: Array, g: Array, xp: ModuleType) -> np.ndarray:
    """(view, n): inner products of the images (n, view, v, u) with g (view, v, u), view by view, in double
    precision."""
    made: Any = xp.stack([(i.astype("float64") * g).sum((1, 2)) for i in images], axis=1)
    return to_numpy(made)
