"""Projections as functions of where source, detector and sample were: exact slopes, adjoints, what each error is."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.array import tmap, to_numpy
from tomodiff.core import Operator, check_adjoint, random_element
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam, Scan, Vectors
from tomodiff.projectors import XRay
from tomodiff.projectors.geometry_errors import NAMES, TURNS, GeometryErrors, MisalignedXRay
from tomodiff.projectors.xray_frames import XRayFrames

GRID = Grid((9, 10, 11), (0.9, 1.0, 1.1), (0.3, -0.4, 0.2))
ANGLES = np.linspace(0.1, 6, 5)
TILT = (0.1, 0.05, -0.02)
SCANS: dict[str, Scan] = {
    "cone": ConeBeam(ANGLES, 40.0, 80.0, (7, 8), 2.0, detector_tilt=TILT, axis_offset=0.4),
    "parallel": ParallelBeam(ANGLES, (7, 8), 1.3, detector_tilt=TILT, axis_tilt=0.1),
}


def blob(grid: Grid = GRID) -> np.ndarray:
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij")
    return np.exp(-3 * (x**2 + y**2 + z**2)) * (1 + 0.3 * x - 0.2 * y * z)


def slope_errors(A: Operator, x: dict[str, np.ndarray], d: dict[str, np.ndarray], steps: list[float]) -> list[float]:
    """Errors of J d by central differences, relative to the largest entry."""
    exact = A.linearize(x)[1].forward(d)
    made = [(A(tmap(lambda a, b: a + h * b, x, d)) - A(tmap(lambda a, b: a - h * b, x, d))) / (2 * h) for h in steps]  # noqa: B023
    return [float(np.abs(m - exact).max() / np.abs(exact).max()) for m in made]


@pytest.mark.parametrize("kind", SCANS)
def test_frames_have_exact_adjoints_and_slopes(kind: str, rng: np.random.Generator, xp: ModuleType) -> None:
    A = XRayFrames(GRID, SCANS[kind], "float64")
    x = {"volume": xp.asarray(blob()), "frames": SCANS[kind].frames().copy()}
    y, J = A.linearize(x)
    d = random_element(A.domain, rng)
    g = xp.asarray(rng.standard_normal(y.shape))
    pushed, pulled = J.forward({"volume": xp.asarray(d["volume"]), "frames": d["frames"]}), J.adjoint(g)
    back = float((pulled["volume"] * xp.asarray(d["volume"])).sum()) + float((pulled["frames"] * d["frames"]).sum())
    assert abs(float((pushed * g).sum()) - back) < 1e-12 * float(abs(pushed).max()) * g.size
    np.testing.assert_allclose(to_numpy(y), XRay(GRID, SCANS[kind], dtype="float64").forward(blob()), atol=1e-12)


@pytest.mark.parametrize("column", range(12))
@pytest.mark.parametrize("kind", SCANS)
def test_slopes_in_every_column_of_the_frames(kind: str, column: int) -> None:
    """Joseph's model is piecewise smooth: a step that no ray takes across a grid line shows the slope to rounding."""
    A = XRayFrames(GRID, SCANS[kind], "float64")
    x = {"volume": blob(), "frames": SCANS[kind].frames().copy()}
    d = {"volume": np.zeros(GRID.shape), "frames": np.zeros((5, 12))}
    d["frames"][:, column] = 1
    exact_slope(slope_errors(A, x, d, [1e-4, 1e-5, 1e-6])[-1:])


@pytest.mark.parametrize("kind", SCANS)
def test_errors_have_exact_slopes(kind: str, rng: np.random.Generator) -> None:
    scan = SCANS[kind]
    names = [n for n in NAMES if kind == "cone" or not n.startswith("source")]
    M = GeometryErrors(scan, names, ("detector_u", "detector_v", "view_angle"))
    x = {name: 0.05 * rng.standard_normal(space.shape) for name, space in M.domain.items()}
    assert check_adjoint(M.linearize(x)[1], rng) < 1e-13
    for name in M.domain:
        d = {n: rng.standard_normal(a.shape) * float(n == name) for n, a in x.items()}
        exact_slope(slope_errors(M, x, d, [1e-2, 1e-3, 1e-4]), floor=1e-7)
    still = {name: 0 * a for name, a in x.items()}
    np.testing.assert_allclose(M(still), scan.frames(), atol=1e-15)
    A = MisalignedXRay(GRID, M, "float64")
    whole = {"volume": blob(), **x}
    y, J = A.linearize(whole)
    assert check_adjoint(J, rng) < 1e-13
    np.testing.assert_allclose(y, A(whole), atol=1e-13)
    for name in M.domain:
        d = {n: rng.standard_normal(a.shape) * float(n == name) for n, a in whole.items()}
        exact_slope(slope_errors(A, whole, d, [1e-6])[-1:])


def test_what_the_errors_mean() -> None:
    """The same scans, written by the arguments of ConeBeam and by errors."""
    given = {"source_axis": 40.0, "source_detector": 80.0, "detector_shape": (7, 8), "pixel": 2.0}
    plain = ConeBeam(ANGLES, **given)

    def errors(**values: float) -> np.ndarray:
        M = GeometryErrors(plain, tuple(values))
        return M({name: np.array([value]) for name, value in values.items()})

    def same(made: np.ndarray, scan: Scan) -> None:
        points = np.array([[1.0, 2.0, 3.0], [-4.0, 1.0, 0.5]])
        np.testing.assert_allclose(Vectors(made, (7, 8), "cone").project(points), scan.project(points), atol=1e-9)

    same(errors(detector_u=0.7, detector_v=-0.3), ConeBeam(ANGLES, **given, detector_offset=(-0.3, 0.7)))
    same(errors(axis_tilt=0.02), ConeBeam(ANGLES, **given, axis_tilt=0.02))
    same(errors(detector_distance=5.0), ConeBeam(ANGLES, **{**given, "source_detector": 85.0}))
    same(errors(source_distance=-5.0), ConeBeam(ANGLES, **{**given, "source_axis": 45.0, "source_detector": 85.0}))
    same(errors(view_angle=-0.1), ConeBeam(ANGLES + 0.1, **given))
    same(errors(detector_u=-0.6), ConeBeam(ANGLES, **given, axis_offset=0.6))
    for place, name in enumerate(("detector_roll", "detector_pitch", "detector_yaw")):
        tilt = np.eye(3)[place] * 0.05
        np.testing.assert_allclose(
            errors(**{name: 0.05}), ConeBeam(ANGLES, **given, detector_tilt=tilt).frames(), atol=1e-12
        )


def test_errors_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="expected names among"):
        GeometryErrors(SCANS["cone"], ("shear",))
    with pytest.raises(ValueError, match="expected a flat detector"):
        XRayFrames(GRID, ConeBeam(ANGLES, 40.0, 80.0, (7, 8), 2.0, curved=True))
    M = GeometryErrors(SCANS["cone"], ("detector_u",))
    with pytest.raises(ValueError, match=r"expected shape \(1,\)"):
        M({"detector_u": np.zeros(3)})
    assert set(TURNS) < set(NAMES)
