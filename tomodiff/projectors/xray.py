"""The X-ray transform: line integrals of a volume along the rays of a scan, with its exact adjoint."""

from __future__ import annotations

from typing import Any

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element
from tomodiff.geometry import Grid, Scan
from tomodiff.projectors.ray_tables import IndexRays, column_table, row_table
from tomodiff.projectors.xray_walks import ColumnWalk, FootprintWalk, RayWalk, RowWalk, SliceWalk, Walk

MODELS = ("joseph", "footprint")
PATHS = ("auto", "general")
FEW_SLICES = 48
"""Slices up to which a parallel beam is walked along detector columns instead of slices."""


class XRay(LinearOperator):
    """Line integrals of attenuation: volume (z, y, x) in 1/mm -> projections (view, v, u), dimensionless.

    model: "joseph" interpolates linearly on the grid planes of each ray's major axis (Joseph 1982); "footprint" gives
        every ray the width of its pixel (distance-driven, De Man & Basu 2004).  Outside the grid is nothing.
    path: "auto" takes the fastest walk that the geometry allows; "general" the walk for any rays.  Same numbers.
    dtype: "float32" or "float64", of both arrays.

    `A(x)`, `A.T(y)`, `A.forward(x, out=...)`; leading axes are batches; `A[views]` is the operator of some views and
    shares nothing with the data.  The adjoint is the transpose to rounding.  Two runs on a
    CPU give the same bits; on a GPU rays add to voxels in any order, but for a parallel beam along the slices.
    A ray along which two axes advance equally takes the first of them as its major axis; there the model has a kink
    in the geometry.  Raises TypeError or ValueError for arrays of another dtype or shape.
    """

    nonnegative = True
    """Its weights are lengths."""

    def __init__(
        self, grid: Grid, scan: Scan, model: str = "joseph", dtype: str = "float32", path: str = "auto"
    ) -> None:
        dtypes = ("float32", "float64")
        for name, value, known in (("model", model, MODELS), ("path", path, PATHS), ("dtype", dtype, dtypes)):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
        self.grid, self.scan, self.model, self.dtype, self.path = grid, scan, model, dtype, path
        self.domain = Space(grid.shape, dtype)
        self.range = Space((len(scan), *scan.detector_shape), dtype)
        self._walk = _choose(grid, scan, model, dtype, path)

    def __repr__(self) -> str:
        return f"XRay({self.grid!r}, {self.scan!r}, model={self.model!r}, dtype={self.dtype!r}, path={self.path!r})"

    @property
    def walk(self) -> str:
        """Which kernels run: "rows", "slices", "columns", "rays" or "footprint"."""
        names = {
            RowWalk: "rows",
            SliceWalk: "slices",
            ColumnWalk: "columns",
            FootprintWalk: "footprint",
            RayWalk: "rays",
        }
        return names[type(self._walk)]

    def forward(self, x: Array, out: Array | None = None) -> Array:
        """Line integrals of the volume (..., z, y, x), as (..., view, v, u)."""
        return self._apply(x, out, self.domain, self.range, self._walk.forward, "forward: x")

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        """The transpose: projections (..., view, v, u) smeared back along their rays, as (..., z, y, x)."""
        return self._apply(y, out, self.range, self.domain, self._walk.adjoint, "adjoint: y")

    def _apply(self, x: Array, out: Array | None, given: Space, made: Space, walk: Any, what: str) -> Array:
        check_element(given, x, f"XRay.{what}", batched=True)
        xp = namespace(x)
        shape = (*x.shape[:-3], *made.shape)
        if out is None:
            out = xp.empty(shape, made.dtype)
        elif namespace(out) is not xp or out.dtype != made.dtype or out.shape != shape or not out.flags.c_contiguous:
            raise ValueError(
                f"XRay.{what.split(':')[0]}: out must be a C-contiguous {made.dtype} {xp.__name__} array "
                f"of shape {shape}, got {type(out).__module__} {out.dtype} {out.shape}"
            )
        elif xp.may_share_memory(out, x):
            raise ValueError(f"XRay.{what.split(':')[0]}: out shares memory with the input")
        for source, target in zip(x.reshape(-1, *given.shape), out.reshape(-1, *made.shape), strict=True):
            walk(source, target, xp)
        return out

    def __getitem__(self, views: Any) -> XRay:
        """The operator of some views: a slice, an array of indices or a mask, as for a scan."""
        return XRay(self.grid, self.scan[views], self.model, self.dtype, self.path)

    @property
    def working_bytes(self) -> int:
        """Memory that one application takes beside its input and output."""
        size = 4 if self.dtype == "float32" else 8
        walk = self._walk
        stack: Any = walk.stack  # type: ignore[attr-defined]
        return size * (walk.volume.size + stack.size) + sum(t.size * size for t in walk.tables().values())


def _choose(grid: Grid, scan: Scan, model: str, dtype: str, path: str) -> Walk:
    rays = IndexRays.of(grid, scan)
    if model == "footprint":
        return FootprintWalk(grid, scan, dtype, rays)
    if path == "auto":
        rows = row_table(grid, scan, rays)
        if rows is not None:
            return (SliceWalk if grid.shape[0] <= FEW_SLICES else RowWalk)(grid, scan, dtype, rows)
        columns = column_table(grid, scan, rays)
        if columns is not None:
            return ColumnWalk(grid, scan, dtype, columns, rays)
    return RayWalk(grid, scan, dtype, rays)
