"""Programs that project and project back: this one and, where they are installed, ASTRA and RTK.

Each takes arrays of its own layout; `given` and `seen` carry ours to it and back, outside of any timing, so that the
same numbers can be compared.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from types import ModuleType
from typing import Any, ClassVar, final

import numpy as np

import tomodiff
from tomodiff.projectors import XRay
from workflows.benchmarks.problems import Problem

ASTRA_SLICES = 8
"""Slices of par512 on which ASTRA is timed; the slices are equal work, so times are scaled to all of them."""


class Contender(ABC):
    """A pair of forward and adjoint projection for one problem.

    share: the part of the problem that the pair computes, by which seconds are divided.
    """

    program: str
    version: str
    model: str
    dtype: str = "float32"
    walk: str = ""
    note: str = ""
    share: float = 1.0

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """Project a volume."""

    @abstractmethod
    def adjoint(self, y: Any) -> Any:
        """Project projections back."""

    def given(self, x: np.ndarray) -> Any:
        """A volume (z, y, x) as this program takes it."""
        return x

    def seen(self, y: Any) -> np.ndarray:
        """Projections of this program as (view, v, u), or the rows v of it that the program computes."""
        return np.asarray(y)

    @property
    def label(self) -> str:
        """What a table calls it."""
        walk = f"({self.walk})" if self.walk else ""
        precision = "" if self.dtype == "float32" else self.dtype
        return " ".join(part for part in (self.program, self.model, walk, precision) if part)


@final
class Ours(Contender):
    """`XRay`: public memory layout in and out, transpositions and new output arrays included."""

    program = "tomodiff"

    def __init__(
        self,
        problem: Problem,
        xp: ModuleType,
        model: str = "joseph",
        dtype: str = "float32",
        views: int | None = None,
    ) -> None:
        """views: how many, evenly spaced, are computed; times are scaled to all."""
        super().__init__(problem)
        self.version, self.model, self.dtype = tomodiff.__version__, model, dtype
        self.xp = xp
        self.operator = XRay(problem.grid, problem.scan, model, dtype)
        total = len(problem.scan)
        if views is not None and total // views > 1:
            self.operator = self.operator[:: total // views]
            timed = self.operator.range.shape[0]
            self.share = timed / total
            self.note = f"{model}: {timed} of {total} views timed, scaled to all"
        self.walk = self.operator.walk

    def forward(self, x: Any) -> Any:
        return self.operator.forward(x)

    def adjoint(self, y: Any) -> Any:
        return self.operator.adjoint(y)

    def given(self, x: np.ndarray) -> Any:
        return self.xp.asarray(x, dtype=self.dtype)

    def seen(self, y: Any) -> np.ndarray:
        return np.asarray(y.get() if hasattr(y, "get") else y)


@final
class Astra(Contender):
    """ASTRA's two-dimensional CPU projector "linear" (Joseph), slice after slice, a pool of threads over the slices.

    The projector objects are made beforehand.  ASTRA counts image rows from the top, so its angles are ours negated.
    """

    program, model = "ASTRA", "linear"

    def __init__(self, problem: Problem, threads: int) -> None:
        astra: Any = importlib.import_module("astra")
        super().__init__(problem)
        nz, ny, nx = problem.grid.shape
        views, _, nu = problem.projections
        self.version = astra.__version__
        self.slices = min(nz, max(ASTRA_SLICES, threads) // threads * threads)
        self.share = self.slices / nz
        self.note = f"{self.slices} of {nz} slices timed, scaled to all"
        volume = astra.create_vol_geom(ny, nx)
        angles = -np.asarray(problem.scan.angles)  # type: ignore[attr-defined]
        projections = astra.create_proj_geom("parallel", 1.0, nu, angles)
        self.operators = [astra.OpTomo(astra.create_projector(self.model, projections, volume)) for _ in range(threads)]
        self.pool = ThreadPoolExecutor(threads)
        self.shapes = (self.slices, ny, nx), (self.slices, views, nu)

    def _each(self, name: str, source: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        made, threads = np.empty(shape, np.float32), len(self.operators)

        def work(thread: int) -> None:
            project = getattr(self.operators[thread], name)
            for k in range(thread, self.slices, threads):
                made[k] = project(source[k])

        list(self.pool.map(work, range(threads)))
        return made

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self._each("FP", x, self.shapes[1])

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return self._each("BP", y, self.shapes[0])

    def given(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x[: self.slices])

    def seen(self, y: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(y.transpose(1, 0, 2))


@final
class Rtk(Contender):
    """RTK's Joseph forward projector and its transpose, the Joseph back projector, on the CPU.

    The back projector runs on one thread whatever is asked for, so CPU seconds compare it fairly.  RTK turns about its
    y axis: its axes (x, y, z) are our (x, z, -y).
    """

    program, model = "RTK", "Joseph"
    note = "its back projection runs on one thread"
    TYPES: ClassVar[tuple[str, str]] = ("JosephForwardProjectionImageFilter", "JosephBackProjectionImageFilter")

    def __init__(self, problem: Problem, threads: int) -> None:
        itk: Any = importlib.import_module("itk")
        rtk = itk.RTK
        super().__init__(problem)
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
        self.itk, self.rtk, self.version = itk, rtk, metadata.version("itk-rtk")
        self.image = itk.Image[itk.F, 3]
        scan: Any = problem.scan
        self.geometry = rtk.ThreeDCircularProjectionGeometry.New()
        for degrees in np.rad2deg(scan.angles):
            self.geometry.AddProjection(scan.source_axis, scan.source_detector, float(degrees))
        nz, ny, nx = problem.grid.shape
        dz, dy, dx = problem.grid.spacing
        self.volume = (ny, nz, nx), (dx, dz, dy)
        nv, nu = scan.detector_shape
        self.stack = (len(scan), nv, nu), (scan.pixel[1], scan.pixel[0], 1.0)

    def _as_image(self, array: np.ndarray, spacing: tuple[float, ...], stack: bool) -> Any:
        image = self.itk.image_view_from_array(array)
        image.SetSpacing(spacing)
        middle = [-(n - 1) / 2 * d for n, d in zip(array.shape[::-1], spacing, strict=True)]
        image.SetOrigin([middle[0], middle[1], 0.0] if stack else middle)
        return image

    def _run(self, name: str, made: tuple[Any, Any], source: tuple[Any, Any], array: np.ndarray, back: bool) -> Any:
        project = getattr(self.rtk, name)[self.image, self.image].New()
        project.SetGeometry(self.geometry)
        start = np.zeros(made[0], np.float32)
        project.SetInput(0, self._as_image(start, made[1], not back))
        project.SetInput(1, self._as_image(array, source[1], back))
        project.Update()
        return self.itk.array_from_image(project.GetOutput())

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._run(self.TYPES[0], self.stack, self.volume, x, False))

    def adjoint(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(self._run(self.TYPES[1], self.volume, self.stack, y, True))

    def given(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x.transpose(1, 0, 2)[::-1])


def astra(problem: Problem, threads: int) -> Contender | None:
    """ASTRA, where it is installed."""
    return Astra(problem, threads) if importlib.util.find_spec("astra") else None


def rtk(problem: Problem, threads: int) -> Contender | None:
    """RTK, where it is installed."""
    if not (importlib.util.find_spec("itk") and _has("itk-rtk")):
        return None
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)  # read when ITK is loaded
    return Rtk(problem, threads)


def _has(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
