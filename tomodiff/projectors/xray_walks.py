"""How the rays of a scan walk through a grid: one class for each family of kernels, all exact transposes of themselves.

Each takes and returns public arrays, a volume (z, y, x) and projections (view, v, u), of NumPy or CuPy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.array import Array
from tomodiff.geometry import Grid, Scan
from tomodiff.kernels import UPRIGHT_CONE, host_threads, kernel, lanes, preferred
from tomodiff.projectors.layout import PAD, SKEW, SLACK, STEP, Columns, as_table, gather, lane_launch, scatter
from tomodiff.projectors.ray_tables import ColumnTable, IndexRays, RowTable, projection_matrices

TOGETHER = 4
"""Neighbouring rays or voxels of one CPU thread, as in xray_rows.cu."""

ROWS_PER_THREAD = 64
BLOCKS_PER_THREAD = 4
"""Shares that each CPU thread gets of a plane walk: more balance better, fewer read the projections less often."""


class Walk(ABC):
    """A pair of kernels with the tables they read, for one grid, scan and precision."""

    def __init__(self, grid: Grid, scan: Scan, dtype: str) -> None:
        self.grid, self.dtype = grid, dtype
        self.n_views, (self.nv, self.nu) = len(scan), scan.detector_shape
        nz, ny, nx = grid.shape
        self.volume = Columns.of(ny, nx, nz, PAD, STEP, SKEW)
        self._tables: dict[str, dict[str, Array]] = {}

    @abstractmethod
    def tables(self) -> dict[str, np.ndarray]:
        """The tables by the name of the kernel parameter, in double precision (integers stay integers)."""

    @abstractmethod
    def forward(self, x: Array, out: Array, xp: ModuleType) -> None:
        """Write the line integrals of `x` into `out`."""

    @abstractmethod
    def adjoint(self, y: Array, out: Array, xp: ModuleType) -> None:
        """Write the transpose of `forward`, applied to `y`, into `out`."""

    def _on(self, xp: ModuleType) -> dict[str, Array]:
        if xp.__name__ not in self._tables:
            tables = self.tables()
            types = {name: "int32" if t.dtype.kind == "i" else self.dtype for name, t in tables.items()}
            self._tables[xp.__name__] = {name: as_table(t, xp, types[name]) for name, t in tables.items()}
        return self._tables[xp.__name__]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tables": {}}  # tables on a device are made anew

    def _sizes(self) -> tuple[int, ...]:
        nz, ny, nx = self.grid.shape
        return nx, ny, nz, self.nu, self.nv, self.n_views

    def _spacing(self) -> tuple[float, ...]:
        return tuple(self.grid.spacing[::-1])

    def _ray_grid(self, xp: ModuleType) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return lane_launch(xp, self.nv, self.nu, self.n_views)

    def _voxel_grid(self, xp: ModuleType) -> tuple[tuple[int, ...], tuple[int, ...]]:
        nz, ny, nx = self.grid.shape
        return lane_launch(xp, nz, nx, ny)

    @staticmethod
    def _owned(planes: int, xp: ModuleType) -> int:
        """How many neighbouring grid planes a thread of a plane walk owns."""
        return 1 if lanes(xp) == 1 else max(1, -(-planes // (BLOCKS_PER_THREAD * host_threads())))

    def _walk_planes(self, name: str, axis: int, arguments: tuple[Any, ...], xp: ModuleType) -> None:
        """Launch a plane walk: each thread owns some neighbouring grid planes of the major axis."""
        planes = self.grid.shape[2 - axis]
        owned = self._owned(planes, xp)
        blocks = -(-planes // owned)
        launch = ((-(-blocks // 32),), (32,)) if lanes(xp) == 1 else ((blocks,), (1,))
        kernel(name, xp, self.dtype)(*launch, (*arguments, axis, owned))


class RowWalk(Walk):
    """Parallel beam, detector rows in the slices of the grid: every slice is the same two-dimensional problem."""

    def __init__(self, grid: Grid, scan: Scan, dtype: str, table: RowTable) -> None:
        super().__init__(grid, scan, dtype)
        self.table = table
        nz, ny, nx = grid.shape
        self.volume = Columns.of(ny, nx, nz, 0, STEP, SKEW)
        self.stack = Columns.of(self.n_views, self.nu, nz, 0, STEP)

    def tables(self) -> dict[str, np.ndarray]:
        return {"axes": self.table.axes, "lines": self.table.lines}

    def _launch(self, name: str, volume: Array, projections: Array, count: tuple[int, int], xp: ModuleType) -> None:
        t = self._on(xp)
        _, ny, nx = self.grid.shape
        gpu = lanes(xp) == 1
        grid = (
            -(-self.volume.width // (128 if gpu else ROWS_PER_THREAD)),
            count[0] if gpu else -(-count[0] // TOGETHER),
            count[1],
        )
        arrays = (volume, projections, t["axes"], t["lines"])
        sizes = (nx, ny, self.volume.width, self.nu, self.n_views, self.volume.plane_step)
        kernel(name, xp, self.dtype)(grid, (128 if gpu else 1, 1, 1), (*arrays, *sizes))

    def forward(self, x: Array, out: Array, xp: ModuleType) -> None:
        projections = self.stack.empty(xp, self.dtype)
        self._launch("xray_rows_forward", gather(x, self.volume, xp, False), projections, (self.nu, self.n_views), xp)
        scatter(projections, self.stack, out, xp, True, self.table.shift)  # zeros from outside the grid

    def adjoint(self, y: Array, out: Array, xp: ModuleType) -> None:
        volume = self.volume.empty(xp, self.dtype)
        projections = gather(y, self.stack, xp, True, self.table.shift)
        self._launch(preferred("rows_adjoint", xp), volume, projections, self.grid.shape[:0:-1], xp)
        scatter(volume, self.volume, out, xp, False)


class SliceWalk(Walk):
    """The same geometry for a few slices: what a thread shares out are detector columns, not slices."""

    def __init__(self, grid: Grid, scan: Scan, dtype: str, table: RowTable) -> None:
        super().__init__(grid, scan, dtype)
        self.table = table
        nz, ny, nx = grid.shape
        self.volume = Columns.of(nz, ny, nx, PAD)
        self.stack = Columns.of(nz, nx, ny, PAD)  # the transposed slices

    def tables(self) -> dict[str, np.ndarray]:
        return {"axes": self.table.axes, "lines": self.table.lines}

    def _images(self, xp: ModuleType) -> tuple[Array, Array]:
        nz, ny, nx = self.grid.shape
        shapes = (nz, ny, self.volume.width), (nz, nx, self.stack.width)
        return tuple(b.empty(xp, self.dtype, zero=True) for b in (self.volume, self.stack)), shapes

    def forward(self, x: Array, out: Array, xp: ModuleType) -> None:
        t, (buffers, shapes) = self._on(xp), self._images(xp)
        nz, ny, nx = self.grid.shape
        rows, columns = (b[:-SLACK].reshape(shape) for b, shape in zip(buffers, shapes, strict=True))
        rows[:, :, PAD : PAD + nx] = x
        columns[:, :, PAD : PAD + ny] = x.transpose(0, 2, 1)
        sizes = (nx, ny, nz, self.nu, self.nv, self.n_views, self.volume.width, self.stack.width, self.table.shift)
        arrays = (*buffers, out, t["axes"], t["lines"])
        launch = lane_launch(xp, self.nu, self.nv, self.n_views)
        kernel("xray_slices_forward", xp, self.dtype)(*launch, (*arrays, *sizes))

    def adjoint(self, y: Array, out: Array, xp: ModuleType) -> None:
        t, (buffers, shapes) = self._on(xp), self._images(xp)
        nz, ny, nx = self.grid.shape
        y = y if y.flags.c_contiguous else xp.ascontiguousarray(y)
        for axis, buffer, planes, wide in ((1, buffers[0], ny, shapes[0][2]), (0, buffers[1], nx, shapes[1][2])):
            owned = self._owned(planes, xp)
            sizes = (nx, ny, nz, self.nu, self.nv, self.n_views, wide, self.table.shift, axis, owned)
            grid = (-(-planes // owned), nz)
            kernel("xray_slices_adjoint", xp, self.dtype)(grid, (1,), (buffer, y, t["axes"], t["lines"], *sizes))
        rows, columns = (b[:-SLACK].reshape(shape) for b, shape in zip(buffers, shapes, strict=True))
        out[...] = rows[:, :, PAD : PAD + nx]
        out += columns[:, :, PAD : PAD + ny].transpose(0, 2, 1)


class ColumnWalk(Walk):
    """Detector columns whose rays share one path in the slice plane: circular and helical cones, laminography.

    A GPU, where a thread owns one ray in any case, walks them as it walks any rays.
    """

    def __init__(self, grid: Grid, scan: Scan, dtype: str, table: ColumnTable, rays: IndexRays) -> None:
        super().__init__(grid, scan, dtype)
        self.table = table
        self.stack = Columns.of(self.n_views, self.nu, self.nv, 0, 1)
        self.general = RayWalk(grid, scan, dtype, rays)

    def tables(self) -> dict[str, np.ndarray]:
        spans = self.table.spans.astype(np.int64)
        return {"spans": spans, "columns": self.table.columns, "locators": self.table.locators}

    def _arguments(self) -> tuple[Any, ...]:
        return (*self._sizes(), self.volume.width, self.volume.plane_step, *self._spacing())

    def forward(self, x: Array, out: Array, xp: ModuleType) -> None:
        if UPRIGHT_CONE[xp is np] == "rays":
            return self.general.forward(x, out, xp)
        t, projections = self._on(xp), self.stack.empty(xp, self.dtype)
        arrays = (gather(x, self.volume, xp, False), projections, t["spans"], t["columns"])
        kernel("xray_column_forward", xp, self.dtype)(*self._ray_grid(xp), (*arrays, *self._arguments()))
        scatter(projections, self.stack, out, xp, True)

    def adjoint(self, y: Array, out: Array, xp: ModuleType) -> None:
        if UPRIGHT_CONE[xp is np] == "rays":
            return self.general.adjoint(y, out, xp)
        t, volume = self._on(xp), self.volume.empty(xp, self.dtype, zero=True)
        arrays = (volume, gather(y, self.stack, xp, True), t["spans"], t["columns"])
        name = preferred("column_adjoint", xp)
        if name.endswith("gather"):
            kernel(name, xp, self.dtype)(*self._voxel_grid(xp), (*arrays, t["locators"], *self._arguments()))
        else:
            for axis in np.unique(self.table.spans[..., 0]):
                self._walk_planes(name, int(axis), (*arrays, *self._arguments()), xp)
        scatter(volume, self.volume, out, xp, False)


class RayWalk(Walk):
    """Any rays: per-view vectors, tilted and rolled detectors, steep cones."""

    def __init__(self, grid: Grid, scan: Scan, dtype: str, rays: IndexRays) -> None:
        super().__init__(grid, scan, dtype)
        self.rays, self.flat = rays, scan.radius is None
        self.matrices = projection_matrices(grid, scan) if self.flat else np.zeros((self.n_views, 12))
        self.stack = Columns.of(self.n_views, self.nu, self.nv, 0, 1)

    def tables(self) -> dict[str, np.ndarray]:
        return {"lines": self.rays.lines(), "views": self.rays.views(), "matrices": self.matrices}

    def _arguments(self) -> tuple[Any, ...]:
        return (*self._sizes(), self.volume.width, self.volume.plane_step, *self._spacing(), int(self.rays.cone))

    def _pair(self, xp: ModuleType) -> tuple[str, str, tuple[Array, ...]]:
        """The names of the forward and adjoint kernels, and the tables both take."""
        t = self._on(xp)
        adjoint = preferred("ray_adjoint" if self.flat else "curved_adjoint", xp)
        return "xray_ray_forward", adjoint, (t["lines"], t["views"])

    def forward(self, x: Array, out: Array, xp: ModuleType) -> None:
        name, _, tables = self._pair(xp)
        projections = self.stack.empty(xp, self.dtype)
        arrays = (gather(x, self.volume, xp, False), projections, *tables)
        kernel(name, xp, self.dtype)(*self._ray_grid(xp), (*arrays, *self._arguments()))
        scatter(projections, self.stack, out, xp, True)

    def adjoint(self, y: Array, out: Array, xp: ModuleType) -> None:
        _, name, tables = self._pair(xp)
        volume = self.volume.empty(xp, self.dtype, zero=True)
        arrays = (volume, gather(y, self.stack, xp, True), *tables)
        if name.endswith("gather"):
            kernel(name, xp, self.dtype)(*self._voxel_grid(xp), (*arrays, self._on(xp)["matrices"], *self._arguments()))
        elif name.endswith("atomic"):
            kernel(name, xp, self.dtype)(*self._ray_grid(xp), (*arrays, *self._arguments()))
        else:
            for axis in range(3):
                self._walk_planes(name, axis, (*arrays, *self._arguments()), xp)
        scatter(volume, self.volume, out, xp, False)

    def slopes(self, x: Array, tangents: np.ndarray, xp: ModuleType) -> Array:
        """(n, view, v, u): how the integrals change with the lines, for each of the changes (n, view, u, 12) of those
        of row 0 and of their steps."""
        t, n = self._on(xp), len(tangents)
        stacks = Columns.of(n * self.n_views, self.nu, self.nv, 0, 1)
        made = stacks.empty(xp, self.dtype)
        arrays = (gather(x, self.volume, xp, False), made, t["lines"], t["views"], as_table(tangents, xp, self.dtype))
        kernel("xray_ray_slopes", xp, self.dtype)(*self._ray_grid(xp), (*arrays, n, *self._arguments()))
        out = xp.empty((n * self.n_views, self.nv, self.nu), self.dtype)
        return scatter(made, stacks, out, xp, True).reshape(n, self.n_views, self.nv, self.nu)


class FootprintWalk(RayWalk):
    """Any rays, as wide as their pixel: the separable distance-driven model."""

    def tables(self) -> dict[str, np.ndarray]:
        steps = self.rays.line_steps(self.rays.across)
        return {"lines": self.rays.lines(), "steps": steps, "views": self.rays.views()}

    def _pair(self, xp: ModuleType) -> tuple[str, str, tuple[Array, ...]]:
        t = self._on(xp)
        return "xray_footprint_forward", preferred("footprint_adjoint", xp), (t["lines"], t["steps"], t["views"])
