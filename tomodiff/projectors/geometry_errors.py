"""A scan whose source, detector and sample were not quite where they should be: what calibration seeks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, to_numpy
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.geometry import Grid, Scan
from tomodiff.geometry.frames import split, unit
from tomodiff.geometry.poses import cross_matrix
from tomodiff.projectors.xray import XRay
from tomodiff.projectors.xray_frames import Moving, XRayFrames, contract

SHIFTS = {
    "detector_u": 0, "detector_v": 1, "detector_distance": 2, "source_u": 0, "source_v": 1, "source_distance": 2,
    "sample_u": 0, "sample_v": 1, "sample_depth": 2,
}  # fmt: skip
"""Shifts in mm, each with its axis of the detector as it was meant to stand in each view: rows, columns, the normal."""
TURNS = {
    "detector_roll": 2, "detector_pitch": 0, "detector_yaw": 1, "sample_roll": 2, "axis_tilt": 0, "view_angle": 1,
}  # fmt: skip
"""Right-handed turns in radians about those axes, of the detector about its middle, of the sample about the origin (the
tilt of the axis: the other way about, its top towards the detector)."""
AXIS = SHIFTS | TURNS
NAMES = tuple(AXIS)
TINY = 1e-30
"""Of steps in the imaginary direction, whose square vanishes: derivatives to rounding (Squire and Trapp 1998)."""


def kind_of(name: str) -> str:
    """The error that an input is about."""
    return name.removesuffix("_each")


def is_turn(name: str) -> bool:
    """Whether an input is a turn, in radians, and not a shift in mm."""
    return kind_of(name) in TURNS


class GeometryErrors(Operator):
    """{name: (1,) or (view,)} -> frames (view, 12): a scan with errors of its geometry, those of `NAMES`.

    once: names of errors that are one number for the whole scan; each: of those that are a number for every view.  A
    name may be in both: then the sum counts, under "name" and "name_each".  From errors of single views is taken out
    what a motion of the whole sample does to them, such as their first harmonic (`freed`): no data can tell that.  All
    in mm and radians, in the axes of the view as given: rows, columns, and the normal, which points away from the
    source.  First the detector turns about its middle (by the rotation vector of pitch, yaw and roll), then source and
    detector shift, then the sample turns and shifts.
    """

    def __init__(self, scan: Scan, once: Collection[str] = (), each: Collection[str] = ()) -> None:
        unknown = [name for name in (*once, *each) if name not in NAMES]
        if unknown or not (once or each):
            found = ", ".join(unknown) or "none"
            raise ValueError(f"GeometryErrors: expected names among {', '.join(NAMES)}, found {found}")
        self.scan, self.once, self.each = scan, tuple(once), tuple(each)
        n = len(scan)
        self.domain = {name: Space((1,), "float64") for name in self.once}
        self.domain |= {name + ("_each" if name in self.once else ""): Space((n,), "float64") for name in self.each}
        self.range = Space((n, 12), "float64")
        f = split(scan.frames())
        rows, columns = unit(f.u), unit(f.v)
        normal = unit(np.cross(rows, columns))
        ahead = f.centre - f.source if scan.kind == "cone" else f.source
        normal *= np.sign((normal * ahead).sum(1, keepdims=True))
        self.axes = np.stack([rows, columns, normal], axis=1)
        self.rigid = {name: self._rigid(name) for name in self.domain if self.domain[name].shape == (n,) and n > 1}

    def _rigid(self, name: str) -> np.ndarray:
        """(view, k) an orthonormal basis of what is taken out of an error of single views: what a motion of the whole
        sample does to it, and the constant where that is an error of the whole scan."""
        kind = kind_of(name)
        parts = [] if kind.startswith("detector") and kind in TURNS else [self.axes[:, AXIS[kind]]]
        if kind != name:
            parts.append(np.ones((len(self.scan), 1)))
        if not parts:
            return np.zeros((len(self.scan), 0))
        vectors, sizes, _ = np.linalg.svd(np.hstack(parts), full_matrices=False)
        made: np.ndarray = vectors[:, sizes > 1e-6 * sizes[0]]
        return made

    def freed(self, name: str, values: np.ndarray) -> np.ndarray:
        """The values of an error without what a motion of the whole sample does to it."""
        basis = self.rigid.get(name)
        return values if basis is None else values - basis @ (basis.T @ values)

    def __call__(self, x: Element) -> np.ndarray:
        check_element(self.domain, x, "GeometryErrors: x")
        return self._frames({k: self.freed(k, to_numpy(a)) for k, a in x.items()})

    def derivatives(self, x: Element, name: str) -> np.ndarray:
        """(view, 12): how the frame of each view changes with the error `name`, of the scan or of that view."""
        moved = {k: self.freed(k, to_numpy(a)).astype(complex) for k, a in x.items()}
        moved[name] = moved[name] + TINY * 1j
        made: np.ndarray = self._frames(moved).imag / TINY
        return made

    def gathered(self, name: str, along: np.ndarray) -> np.ndarray:
        """The gradient in an error from those (view,) of every view."""
        return along.sum(keepdims=True) if self.domain[name].shape == (1,) else self.freed(name, along)

    def linearize(self, x: Element) -> tuple[np.ndarray, LinearOperator]:
        value = self(x)
        slopes = {name: self.derivatives(x, name) for name in self.domain}

        def push(d: Element) -> np.ndarray:
            parts = [self.freed(name, to_numpy(d[name]))[:, None] * s for name, s in slopes.items()]
            made: np.ndarray = np.sum(np.broadcast_arrays(*parts), axis=0)
            return made

        def pull(g: Array) -> Element:
            along = {name: (to_numpy(g) * s).sum(1) for name, s in slopes.items()}
            return {n: self.gathered(n, a) for n, a in along.items()}

        return value, Linear(self.domain, self.range, push, pull, "Jacobian of GeometryErrors")

    def _frames(self, x: Mapping[str, np.ndarray]) -> np.ndarray:
        total: dict[str, Any] = {name: 0.0 for name in NAMES}
        for name, values in x.items():
            total[kind_of(name)] = total[kind_of(name)] + values

        def vector(*names: str) -> np.ndarray:
            """(view, 3) in space, of components along rows, columns and the normal."""
            shape = (len(self.scan),)
            parts = np.stack([np.broadcast_to(total[n], shape) for n in names], axis=-1)
            return np.einsum("nk,nki->ni", parts, self.axes)

        f = split(self.scan.frames())
        own = _turn(vector("detector_pitch", "detector_yaw", "detector_roll"))
        u, v = (np.einsum("nij,nj->ni", own, a) for a in (f.u, f.v))
        centre = f.centre + vector("detector_u", "detector_v", "detector_distance")
        source = f.source.copy()
        cone = self.scan.kind == "cone"
        if cone:
            source = source + vector("source_u", "source_v", "source_distance")
        total["axis_tilt"] = -total["axis_tilt"]
        back = np.swapaxes(_turn(vector("axis_tilt", "view_angle", "sample_roll")), 1, 2)
        shift = vector("sample_u", "sample_v", "sample_depth")
        points = [source - shift if cone else source, centre - shift, u, v]
        return np.concatenate([np.einsum("nij,nj->ni", back, p) for p in points], axis=1)


def _turn(w: np.ndarray) -> np.ndarray:
    """(n, 3, 3) the rotation by the rotation vectors w (n, 3), analytic in complex w (Rodrigues)."""
    squared = (w * w).sum(-1)[:, None, None]
    small = abs(squared) < 1e-3
    angle = np.sqrt(np.where(small, 1, squared))
    first = np.where(small, 1 - squared / 6 * (1 - squared / 20 * (1 - squared / 42)), np.sin(angle) / angle)
    second = np.where(
        small, 0.5 - squared / 24 * (1 - squared / 30 * (1 - squared / 56)), (1 - np.cos(angle)) / angle**2
    )
    k = cross_matrix(w)
    made: np.ndarray = np.eye(3) + first * k + second * (k @ k)
    return made


class MisalignedXRay(Operator):
    """{"volume", errors by name} -> line integrals (view, v, u): XRayFrames of a misaligned scan.

    `linearize` keeps an image per error and view, as large as the projections for each name: Gauss-Newton products then
    cost projections of the volume alone.
    """

    linear_in = frozenset({"volume"})

    def __init__(self, grid: Grid, errors: GeometryErrors, dtype: str = "float32") -> None:
        self.errors = errors
        self.frames = XRayFrames(grid, errors.scan, dtype)
        self.domain = {"volume": self.frames.domain["volume"], **errors.domain}
        self.range = self.frames.range

    def at(self, x: Element) -> XRay:
        """The linear operator of the volume with these errors."""
        errors = {name: x[name] for name in self.errors.domain}
        return self.frames.at({"volume": x["volume"], "frames": self.errors(errors)})

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "MisalignedXRay: x")
        return self.at(x).forward(x["volume"])

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "MisalignedXRay: x")
        A, names = self.at(x), list(self.errors.domain)
        errors = {name: x[name] for name in names}
        moving = Moving(self.frames.grid, A.scan, x["volume"], self.frames.dtype)
        images = moving.images(np.stack([self.errors.derivatives(errors, name) for name in names]))
        xp = moving.xp

        def push(d: Element) -> Array:
            made = A.forward(d["volume"])
            for image, name in zip(images, names, strict=True):
                made += image * xp.asarray(self.errors.freed(name, to_numpy(d[name])), made.dtype)[:, None, None]
            return made

        def pull(g: Array) -> Element:
            along = contract(images, g, xp).T
            found = {n: xp.asarray(self.errors.gathered(n, a)) for n, a in zip(names, along, strict=True)}
            return {"volume": A.adjoint(g), **found}

        return A.forward(x["volume"]), Linear(self.domain, self.range, push, pull, "Jacobian of MisalignedXRay")
