"""Images of surfaces: tilted planes in closed form, an independent formula, slopes of every input, transposes."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.projectors.terrain.photometry import MODELS
from tomodiff.projectors.terrain.reflectance import Reflectance, direction
from tomodiff.projectors.terrain.surface import SurfaceGeometry

SUNS = direction(np.deg2rad([90.0, 200.0]), np.deg2rad([35.0, 50.0]))
VIEWS = direction(np.deg2rad([10.0, 140.0]), np.deg2rad([80.0, 65.0]))


def hills(ny: int, nx: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth heights with slopes of some tenths."""
    y, x = np.mgrid[:ny, :nx]
    waves = rng.normal(size=(6, 3))
    return np.asarray(sum(a * np.sin(0.4 * b * x + 0.4 * c * y + a) for a, b, c in waves))


def inputs(A: Reflectance, rng: np.random.Generator) -> dict[str, np.ndarray]:
    ny, nx = A.shape
    x = {
        "height": hills(ny, nx, rng), "albedo": rng.uniform(0.1, 0.3, (ny, nx)), "sun": SUNS, "view": VIEWS,
        "parameters": A.photometry.model.vector(), "exposure": np.array([1.2, 0.8]), "haze": np.array([0.01, 0.02]),
    }  # fmt: skip
    for name, field in zip(("sun", "view"), A.surface.fields, strict=True):
        if field:
            x[name] = x[name][:, :, None, None] + 0.05 * rng.normal(size=(2, 3, ny, nx))
    if A.lit:
        x["lit"] = rng.uniform(0, 1, (2, ny, nx))
    return {name: np.ascontiguousarray(x[name], A.domain[name].dtype) for name in A.domain}


def test_the_sun_stands_where_its_angles_say() -> None:
    east, north, up = np.eye(3)
    assert direction(np.pi / 2, 0.0) == pytest.approx(east, abs=1e-15)
    assert direction(0.0, 0.0) == pytest.approx(north, abs=1e-15)
    assert direction(1.0, np.pi / 2) == pytest.approx(up, abs=1e-15)


def test_a_tilted_plane_has_the_geometry_of_its_normal() -> None:
    """Rising to the east by 0.3 and to the north by 0.2, spacing 2 m north to south, 5 m west to east; edges too."""
    j, i = np.mgrid[:6, :7]
    height = 0.3 * 5 * i - 0.2 * 2 * j
    made = SurfaceGeometry((6, 7), (2.0, 5.0), dtype="float64")({"height": height, "sun": SUNS[0], "view": VIEWS[0]})
    n = np.array([-0.3, -0.2, 1.0]) / np.sqrt(1.13)
    wanted = [n @ SUNS[0], n @ VIEWS[0], SUNS[0] @ VIEWS[0], n @ np.cross(SUNS[0], VIEWS[0])]
    assert made == pytest.approx(np.tile(np.array(wanted)[:, None], 42), abs=1e-14)


def test_a_slope_to_the_sun_is_brighter() -> None:
    """Lambert, sun in the east at 30 degrees: a plane that faces it by 60 degrees of tilt has the cosine 1."""
    i = np.mgrid[:5, :5][1]
    height = -np.tan(np.deg2rad(60)) * i
    A = Reflectance((5, 5), 1, "lambert", dtype="float64")
    x = {
        "height": height, "albedo": np.full((5, 5), 0.2), "parameters": np.zeros(0),
        "sun": direction(np.pi / 2, np.deg2rad(30))[None], "view": np.array([[0, 0, 1.0]]),
        "exposure": np.array([3.0]), "haze": np.array([0.05]),
    }  # fmt: skip
    assert A(x) == pytest.approx(np.full((1, 5, 5), 3 * 0.2 + 0.05))
    assert A(x | {"height": -height}) == pytest.approx(np.full((1, 5, 5), 0.05)), "faces away"


def test_images_are_those_of_an_independent_formula(rng: np.random.Generator) -> None:
    """Normals by NumPy's gradient, of fourth order inside, Lunar-Lambert by hand."""
    A = Reflectance((9, 12), 2, "lunar_lambert", (1.5, 2.0), lit=True, dtype="float64")
    x = inputs(A, rng)
    h = x["height"]
    south, east = np.gradient(h, 1.5, 2.0)
    south[2:-2] = (8 * (h[3:-1] - h[1:-3]) - (h[4:] - h[:-4])) / (12 * 1.5)
    east[:, 2:-2] = (8 * (h[:, 3:-1] - h[:, 1:-3]) - (h[:, 4:] - h[:, :-4])) / (12 * 2.0)
    n = np.stack([-east, south, np.ones_like(east)]) / np.sqrt(1 + east**2 + south**2)
    for k, made in enumerate(A(x)):
        mu0, mu = np.einsum("cij,c->ij", n, SUNS[k]), np.einsum("cij,c->ij", n, VIEWS[k])
        R = np.where((mu0 > 0) & (mu > 0), mu0 / (mu0 + mu) + 0.5 * mu0, 0)
        assert made == pytest.approx(x["exposure"][k] * x["albedo"] * R * x["lit"][k] + x["haze"][k], rel=1e-12)


@pytest.mark.parametrize("fields", [(False, False), (True, True), (True, False)])
@pytest.mark.parametrize("lit", [False, True])
def test_slopes_of_every_input(fields: tuple[bool, bool], lit: bool, rng: np.random.Generator) -> None:
    A = Reflectance(
        (5, 7), 2, "lunar_lambert_mcewen", (1.5, 2.0), sun_field=fields[0], view_field=fields[1], lit=lit,
        dtype="float64",
    )  # fmt: skip
    x = inputs(A, rng)
    x["height"] *= 0.2  # all lit: at a terminator differences see half of what there is
    for name in A.domain:
        rest = {other: value for other, value in x.items() if other != name}
        exact_slope(check_gradient(A.fix(**rest), x[name], rng=rng, steps=(1e-2, 1e-3, 1e-4)))
    assert check_adjoint(A.linearize(x)[1], rng) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_heights_have_exact_slopes_with_every_model(name: str, rng: np.random.Generator) -> None:
    A = Reflectance((6, 6), 2, name, dtype="float64")
    x = inputs(A, rng)
    x["height"] *= 0.1
    if name.startswith("hapke"):
        x["parameters"] = A.photometry.model.vector(theta=0.35, phi=0.2)
    rest = {k: v for k, v in x.items() if k != "height"}
    exact_slope(check_gradient(A.fix(**rest), x["height"], rng=rng, steps=(1e-2, 1e-3, 1e-4)))
    assert check_adjoint(A.linearize(x)[1], rng) < 1e-12


def test_fixed_inputs_cost_nothing(rng: np.random.Generator) -> None:
    """Gradients in what is left are those of all, to rounding; those in the rest are not computed."""
    A = Reflectance((6, 9), 2, "hapke_2002", dtype="float64")
    x = inputs(A, rng)
    x["height"] *= 0.1
    value, J = A.linearize(x)
    whole = J.adjoint(value)
    _, part = A.linearize_in(x, {"height", "albedo"})
    found = part.adjoint(value)
    for name in ("height", "albedo"):
        assert found[name] == pytest.approx(whole[name], rel=1e-12, abs=1e-14)
    assert whole["parameters"].any() and not found["parameters"].any()
    assert whole["sun"].any() and not found["sun"].any()
    rest = {name: x[name] for name in x if name not in ("height", "albedo")}
    _, K = A.fix(**rest).linearize({"height": x["height"], "albedo": x["albedo"]})
    assert K.adjoint(value)["height"] == pytest.approx(whole["height"], rel=1e-12, abs=1e-14)


def test_float32_and_other_devices_agree(rng: np.random.Generator, xp: ModuleType) -> None:
    exact, single = (Reflectance((40, 300), 2, "hapke_1981", dtype=d) for d in ("float64", "float32"))
    x = inputs(exact, rng)
    x["height"] *= 0.3
    there = {name: xp.asarray(x[name].astype(space.dtype)) for name, space in single.domain.items()}
    made, J = single.linearize(there)
    wanted, K = exact.linearize(x)
    g = rng.normal(size=wanted.shape)
    pulled, known = J.adjoint(xp.asarray(g.astype("float32"))), K.adjoint(g)
    for found, true in [(made, wanted), *((pulled[name], known[name]) for name in known)]:
        found = found if isinstance(found, np.ndarray) else found.get()
        assert np.linalg.norm(found - true) < 1e-3 * np.linalg.norm(true)


def test_impossible_surfaces_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 rows and 2 columns of heights, got 1 x 5"):
        SurfaceGeometry((1, 5))
    with pytest.raises(ValueError, match="spacing: expected lengths above 0, got 0 and 1"):
        SurfaceGeometry((4, 5), (0.0, 1.0))
    with pytest.raises(ValueError, match=r"height.*expected shape \(4, 5\)"):
        SurfaceGeometry((4, 5))({"height": np.zeros((5, 4), "f4"), "sun": SUNS[0], "view": VIEWS[0]})


def test_slopes_of_mean_heights_are_mean_slopes() -> None:
    """Of a quartic, the mean over an element is (h(right edge) - h(left edge)) / width: met to rounding inside."""
    edges = np.linspace(0, 2, 41)  # 20 elements of two

    def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((b**5 - a**5) / (5 * (b - a)) - 0.5 * (b**3 - a**3) / (b - a))

    left, right = edges[:-1:2], edges[2::2]
    line = mean(left, right)
    slopes = ((right**4 - left**4) - 1.5 * (right**2 - left**2)) / (right - left)
    A = SurfaceGeometry((7, 20), (0.1, 0.1), dtype="float64")
    x = {"height": np.tile(line, (7, 1)), "sun": np.array([1.0, 0, 0]), "view": np.array([0.0, 0, 1])}
    n_east, n_up = A(x).reshape(4, 7, 20)[:2]
    assert (-n_east / n_up)[3, 2:-2] == pytest.approx(slopes[2:-2], abs=1e-12)
    assert np.abs((-n_east / n_up)[3] - slopes)[[1, -2]].max() > 1e-4, "of second order beside the edges"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("field", [False, True])
def test_heights_alone_take_the_short_way_to_the_same_derivatives(
    name: str, field: bool, rng: np.random.Generator
) -> None:
    """Reflectance at once from heights (`Shading`) against photometry after geometry, value, push and pull."""
    A = Reflectance((9, 12), 2, name, (1.5, 2.0), sun_field=field, view_field=field, dtype="float64")
    x = inputs(A, rng)
    x["height"] *= 0.2
    fixed = {n: a for n, a in x.items() if n not in ("height", "albedo")}
    free = {n: x[n] for n in ("height", "albedo")}
    whole, J = A.linearize(x)
    part, short = A.fix(**fixed).linearize(free)
    assert A(x) == pytest.approx(whole, rel=1e-12) and part == pytest.approx(whole, rel=1e-12)
    d = {n: rng.normal(size=a.shape) for n, a in free.items()}
    zero = {n: np.zeros_like(a) for n, a in fixed.items()}
    assert short.forward(d) == pytest.approx(J.forward(zero | d), rel=1e-10, abs=1e-13)
    g = rng.normal(size=whole.shape)
    for n in free:
        assert short.adjoint(g)[n] == pytest.approx(J.adjoint(g)[n], rel=1e-10, abs=1e-13)
