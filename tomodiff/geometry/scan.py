"""What every scan can do: print, compare, hash, slice by view, crop, bin, give its rays and project points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from numbers import Integral
from typing import Any, TypeVar

import numpy as np

from tomodiff.geometry import frames as frame_table
from tomodiff.geometry.checks import Array, count, refuse
from tomodiff.html import card, lengths

S = TypeVar("S", bound="Scan")

VIEWS_MEAN = "views: expected a slice, one index, an array of indices or a boolean mask"


def _rebuild(cls: type[S], arguments: dict[str, Any]) -> S:
    return cls(**arguments)


class Scan(ABC):
    """Where source and detector were in each view: a value, in mm and radians, that never changes.

    kind: "parallel" or "cone" (a point source; a fan is a cone with one detector row).
    detector_shape: (rows nv, columns nu).
    pixel: (row pitch, column pitch) on the detector in mm.
    radius: of a cylindrical detector about the source in mm, or None where the detector is flat.

    Scans of one class are equal when all their fields are; they hash, pickle, and `repr` evaluates back after
    `from tomodiff.geometry import *`. `scan[views]` is the scan of these views.
    """

    kind: str
    detector_shape: tuple[int, int]
    pixel: tuple[float, float]
    radius: float | None

    @abstractmethod
    def frames(self) -> Array:
        """Source (or ray direction), detector centre, column step and row step of each view: (n_view, 12), mm."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of views."""

    @abstractmethod
    def _select(self: S, views: slice | np.ndarray) -> S:
        """The scan of the views that index its per-view arrays; not empty."""

    @abstractmethod
    def _with_detector(self: S, shape: tuple[int, int], merge: tuple[int, int], shift: tuple[float, float]) -> S:
        """The scan on a detector of `shape`, each pixel `merge` old ones, its centre `shift` old pixels (v, u) away."""

    @property
    @abstractmethod
    def magnification(self) -> float:
        """How many times larger the shadow of something at the origin is than the thing itself."""

    def __getitem__(self: S, views: Any) -> S:
        """The scan of some views, in the order asked for; a single index gives a scan of one view."""
        n = len(self)
        if isinstance(views, slice):
            index: slice | np.ndarray = views
            empty = len(range(*views.indices(n))) == 0
        else:
            index = _indices(views, n)
            empty = index.size == 0
        if empty:
            raise refuse("views", f"at least one of the {n} views", views)
        return self._select(index)

    def rows(self: S, start: int, stop: int) -> S:
        """The scan seen by detector rows start <= v < stop alone; every ray stays where it was."""
        nv, nu = self.detector_shape
        if not (isinstance(start, Integral) and isinstance(stop, Integral) and 0 <= start < stop <= nv):
            raise refuse("rows", f"0 <= start < stop <= {nv} (detector rows)", (start, stop))
        return self._with_detector((int(stop - start), nu), (1, 1), ((start + stop - nv) / 2, 0.0))

    def bin(self: S, factor: int | tuple[int, int]) -> S:
        """The scan whose pixels each average `factor` x `factor` (or (rows, columns)) old ones, as binned data has it.

        Rows and columns beyond the last whole bin are dropped, as by data[:, :nv//n*n, :nu//n*n]; the centre follows.
        """
        pair = factor if isinstance(factor, tuple) and len(factor) == 2 else (factor, factor)
        n_v, n_u = count("bin", pair[0]), count("bin", pair[1])
        nv, nu = self.detector_shape
        mv, mu = nv // n_v, nu // n_u
        if mv == 0 or mu == 0:
            hint = ". A detector of one row is binned by (1, n)" if nv == 1 else ""
            raise ValueError(f"bin: expected at most the detector's {nv} x {nu} pixels (v, u), found {factor!r}{hint}")
        return self._with_detector((mv, mu), (n_v, n_u), ((mv * n_v - nv) / 2, (mu * n_u - nu) / 2))

    def pixels(self, views: Any = None, v: Any = None, u: Any = None) -> Array:
        """Positions (n_view, n, m, 3) in mm of the pixels in rows `v` and columns `u` (default: all); see `rays`."""
        scan, rows, columns = self._at(views, v, u)
        return frame_table.pixel_positions(scan.frames(), scan.detector_shape, scan.radius, rows, columns)

    def rays(self, views: Any = None, v: Any = None, u: Any = None) -> tuple[Array, Array]:
        """The straight lines along which the pixels look: origins and unit directions, each (n_view, n, m, 3).

        views, v, u: which views, detector rows and columns (default: all; rows and columns may be fractional).
        Origins are the source of a cone, and the pixel's own position for a parallel beam, whose ray is the whole line
        through it. Directions point from source to detector.
        """
        scan, rows, columns = self._at(views, v, u)
        return frame_table.rays(scan.frames(), scan.kind, scan.detector_shape, scan.radius, rows, columns)

    def project(self, points: Any) -> Array:
        """Where points (..., 3), in mm as (x, y, z), cast their shadow: fractional pixels (n_view, ..., 2) as (v, u).

        The detector is taken as unbounded. NaN for a point that the source does not throw onto it.
        """
        array = np.asarray(points, dtype=np.float64)
        if array.ndim == 0 or array.shape[-1] != 3:
            raise refuse("points", "an array of shape (..., 3)", array.shape)
        return frame_table.project(self.frames(), self.kind, self.detector_shape, self.radius, array)

    def _at(self: S, views: Any, v: Any, u: Any) -> tuple[S, Array, Array]:
        nv, nu = self.detector_shape
        rows = np.arange(nv, dtype=np.float64) if v is None else np.atleast_1d(np.asarray(v, dtype=np.float64))
        columns = np.arange(nu, dtype=np.float64) if u is None else np.atleast_1d(np.asarray(u, dtype=np.float64))
        for name, index in (("v", rows), ("u", columns)):
            if index.ndim != 1:
                raise refuse(name, "one index or a 1-D array of them", index.shape)
        return (self if views is None else self[views]), rows, columns

    def arguments(self) -> dict[str, Any]:
        """The arguments by which the constructor makes this scan again."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Type and arguments as JSON can hold them, without loss; `scan_from_dict` reads it back."""
        return {"type": type(self).__name__, **{name: _plain(value) for name, value in self.arguments().items()}}

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        assert isinstance(other, Scan)
        theirs = other.arguments()
        return all(np.array_equal(mine, theirs[name]) for name, mine in self.arguments().items())

    def __hash__(self) -> int:
        values = (v.tobytes() if isinstance(v, np.ndarray) else v for v in self.arguments().values())
        return hash((type(self).__name__, *values))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.arguments())

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={_code(value)}" for name, value in self.arguments().items())
        return f"{type(self).__name__}({listed})"

    def __str__(self) -> str:
        nv, nu = self.detector_shape
        dv, du = self.pixel
        shape = "flat" if self.radius is None else f"cylindrical, radius {self.radius:.6g} mm,"
        detector = f"{shape} detector of {nv} x {nu} pixels (v, u) of {dv:.6g} x {du:.6g} mm"
        return f"{type(self).__name__}: {len(self)} view{'s' if len(self) > 1 else ''}, {detector}"

    def _repr_html_(self) -> str:
        """For notebooks."""
        nv, nu = self.detector_shape
        facts = {
            "views": len(self),
            "detector (v, u)": f"{nv} x {nu} pixels of {lengths(self.pixel)} mm",
            "detector's radius": None if self.radius is None else f"{self.radius:.6g} mm",
        }
        own = {name: value for name, value in self.arguments().items() if isinstance(value, int | float) and value}
        return card(
            type(self).__name__, facts | {name.replace("_", " "): f"{value:.6g}" for name, value in own.items()}
        )


def _indices(views: Any, n: int) -> np.ndarray:
    index = np.atleast_1d(np.asarray(views))
    if index.size == 0:
        index = index.astype(np.int64)
    if index.ndim != 1 or index.dtype.kind not in "biu":
        raise TypeError(f"{VIEWS_MEAN}, found {views!r}")
    if index.dtype.kind == "b":
        if len(index) != n:
            raise refuse("views", f"a mask of {n} views", f"one of {len(index)}")
        return np.flatnonzero(index)
    if index.size and (index.min() < -n or index.max() >= n):
        raise IndexError(f"views: expected indices of {n} views, found {views!r}")
    return index


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _code(value: Any) -> str:
    return f"array({value.tolist()!r})" if isinstance(value, np.ndarray) else repr(value)


def read_fields(cls: type[S], stored: Mapping[str, Any]) -> S:
    """The scan of class `cls` from what `to_dict` stored of it."""
    values = {name: value for name, value in stored.items() if name != "type"}
    known = set(signature(cls).parameters)
    if not set(values) <= known:
        raise refuse(f"stored {cls.__name__}", f"the fields {sorted(known)}", sorted(values))
    return cls(**values)
