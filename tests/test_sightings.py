"""Images sampled where cameras see the ground, and images that they take of it: values, slopes, transposes, edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.objective import Gaussian
from tomodiff.projectors.terrain.camera_image import CameraImage
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.projectors.terrain.sightings import SeenTerrain, Sighting, Sightings, coefficients_of

SHAPE = (11, 14)
ROWS, COLUMNS = 40, 50


def sighting(rng: np.random.Generator, outside: bool = False) -> tuple[Sighting, np.ndarray]:
    """A smooth image and paths over it; some of them beyond its edges."""
    image = gaussian_filter(rng.normal(size=(ROWS, COLUMNS)), 2)
    n, far = SHAPE[0] * SHAPE[1], 3 if outside else -8
    start = np.stack([rng.integers(-far, COLUMNS + far, n), rng.integers(-far, ROWS + far, n)]).astype("int32")
    path = rng.normal(size=(2, 4, n)) * np.array([0.5, 2, 0.3, 0.1])[None, :, None]
    centre, size = ((COLUMNS - 1) / 2, (ROWS - 1) / 2), (COLUMNS / 2, ROWS / 2)
    return Sighting(coefficients_of(image, "float64"), start, path, 5.0, 0.1, centre, size), image


def point(rng: np.random.Generator, images: int) -> dict[str, np.ndarray]:
    return {"height": 5 + 3 * rng.normal(size=SHAPE), "camera": 0.3 * rng.normal(size=(images, 6))}


def test_values_are_those_of_scipys_splines(rng: np.random.Generator) -> None:
    s, image = sighting(rng, outside=True)
    x = point(rng, 1)
    t, c = (x["height"].ravel() - 5) * 0.1, x["camera"][0]
    at = s.start + np.einsum("akn,kn->an", s.path, np.stack([t**k for k in range(4)]))
    u, v = (at[0] - s.centre[0]) / s.size[0], (at[1] - s.centre[1]) / s.size[1]
    column = (at[0] + c[0] + c[1] * u + c[2] * v).clip(0, COLUMNS - 1)
    row = (at[1] + c[3] + c[4] * u + c[5] * v).clip(0, ROWS - 1)
    wanted = map_coordinates(image, [row, column], order=3, mode="mirror").reshape(SHAPE)
    assert np.abs(Sightings(SHAPE, [s], "float64")(x)[0] - wanted).max() < 1e-13
    single = Sightings(
        SHAPE, [Sighting(coefficients_of(image), s.start, s.path.astype("float32"), 5, 0.1, s.centre, s.size)]
    )
    found = single({"height": x["height"].astype("float32"), "camera": x["camera"]})
    assert np.abs(found[0] - wanted).max() < 1e-5


def test_derivatives_of_sightings(rng: np.random.Generator) -> None:
    """Heights and cameras; an image that is what it is has none."""
    A = Sightings(SHAPE, [sighting(rng)[0], rng.normal(size=SHAPE), sighting(rng)[0]], "float64")
    x = point(rng, 3)
    y, J = A.linearize(x)
    assert check_adjoint(J, rng) < 1e-12
    exact_slope(check_gradient(Gaussian(rng.normal(size=y.shape)) @ A, x, rng), 1e-6)
    back = J.adjoint(np.ones(y.shape))
    assert not back["camera"][1].any() and back["camera"][[0, 2]].all()
    one = A.fix(camera=x["camera"])
    exact_slope(check_gradient(Gaussian(rng.normal(size=y.shape)) @ one, x["height"], rng), 1e-6)


def test_beyond_an_image_nothing_moves(rng: np.random.Generator) -> None:
    s, _ = sighting(rng)
    away = Sighting(s.image, s.start + 500, s.path, 5.0, 0.1, s.centre, s.size)
    A = Sightings(SHAPE, [away], "float64")
    y, J = A.linearize(point(rng, 1))
    assert np.ptp(y) < 1e-12 and not J.adjoint(np.ones(y.shape))["height"].any()


@pytest.mark.parametrize("shading", [True, False])
def test_residuals_of_a_terrain_seen_by_cameras(shading: bool, rng: np.random.Generator) -> None:
    sun = np.stack([direction(0.4, 0.8), direction(2.0, 0.6)])
    terrain = TerrainImages(SHAPE, np.tile([0.0, 0.1, 1.0], (2, 1)), "lambert", dtype="float64")
    A = SeenTerrain(terrain, Sightings(SHAPE, [sighting(rng)[0], sighting(rng)[0]], "float64"), shading)
    x = point(rng, 2) | {
        "height": 0.2 * rng.normal(size=SHAPE), "albedo": 1 + 0.1 * rng.normal(size=SHAPE), "parameters": np.zeros(0),
        "sun": sun, "exposure": np.array([1.0, 1.2]), "haze": np.array([0.1, 0.0]),
    }  # fmt: skip
    value, J = A.linearize(x)
    shaded = terrain({n: a for n, a in x.items() if n != "camera"} | ({} if shading else {"height": 0 * x["height"]}))
    seen = A.sightings({"height": x["height"], "camera": x["camera"]})
    assert np.array_equal(value, shaded - seen) and np.array_equal(A(x), value)
    assert check_adjoint(J, rng) < 1e-12
    B = A.fix(sun=sun, parameters=x["parameters"])
    some = {n: x[n] for n in B.domain}
    exact_slope(check_gradient(Gaussian(np.zeros(value.shape)) @ B, some, rng), 1e-6)


def test_images_too_small_for_splines() -> None:
    with pytest.raises(ValueError, match="expected at least 4 x 4 pixels, got 3 x 9"):
        coefficients_of(np.zeros((3, 9)))


# ---- images that cameras take --------------------------------------------------------------------------


def oblique(shape: tuple[int, int], across: float, down: float = 0.0) -> np.ndarray:
    """Pixels that see the element of their own place where it has no height, `across` columns further for each unit."""
    rows, columns = shape
    path = np.zeros((2, 4, rows, columns))
    path[0, 0], path[1, 0] = np.arange(columns), np.arange(rows)[:, None]
    path[0, 1], path[1, 1] = 10.0 * across, 10.0 * down
    return path


def test_a_tilted_plane_in_closed_form() -> None:
    """Height 0.2 x, seen along x = column + 1.5 height: x = column / (1 - 0.3)."""
    shape = (8, 30)
    A = CameraImage(shape, oblique((8, 20), 1.5), 0.0, 10.0, nothing=-1.0, dtype="float64")
    x = np.broadcast_to(np.arange(30.0), shape)
    made = A({"height": 0.2 * x, "shade": x.copy()})
    assert np.allclose(made, np.broadcast_to(np.arange(20.0) / 0.7, (8, 20)), atol=1e-9)


def test_a_wall_hides_what_lies_behind() -> None:
    """A wall of height 4 at column 10 hides, from a camera that sees 2 columns on for each unit down, the eight columns
    behind; what is seen there is the wall's near side."""
    shape = (6, 40)
    height = np.zeros(shape)
    height[:, 10] = 4.0
    shade = np.broadcast_to(np.arange(40.0), shape).copy()
    A = CameraImage(shape, oblique(shape, -2.0), 0.0, 10.0, dtype="float64")
    made = A({"height": height, "shade": shade})
    assert np.allclose(made[:, :10], np.arange(10.0)) and np.allclose(made[:, 19:], np.arange(19.0, 40.0))
    assert ((made[:, 10:19] > 9) & (made[:, 10:19] <= 10 + 1e-9)).all()


def test_sights_that_miss_and_edges() -> None:
    shape = (6, 12)
    path = oblique((6, 20), 0.5)
    path[:, :, 0] = np.nan
    A = CameraImage(shape, path, 0.0, 10.0, nothing=-7.0, dtype="float64")
    height = np.zeros(shape)
    made = A({"height": height, "shade": np.ones(shape)})
    assert (made[0] == -7).all() and (made[1:, :12] == 1).all() and (made[1:, 12:] == -7).all()
    assert np.array_equal(A.seen(height), made == 1)
    assert not A.seen(height + 50).any()  # the ground stands above where sights begin


def test_derivatives_of_camera_images(rng: np.random.Generator) -> None:
    """Ground gentle enough to hide nothing; and with hidden ground, the transpose still."""
    shape = (30, 36)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for steep in (0.05, 3.0):
        height = steep * np.sin(x / 4) * np.cos(y / 5)
        A = CameraImage(shape, oblique((20, 22), 0.3, -0.1) + 0.031, 0.0, 10.0, dtype="float64")
        at = {"height": height, "shade": np.cos(x / 3.0) + y / 10}
        value, J = A.linearize(at)
        assert check_adjoint(J, rng) < 1e-12 and np.array_equal(A(at), value)
        if steep < 1:
            exact_slope(check_gradient(Gaussian(rng.normal(size=value.shape)) @ A, at, rng), 1e-6)
