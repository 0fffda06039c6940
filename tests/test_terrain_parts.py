"""Parts of a terrain fit: priors, angles of suns, estimates, the simulator that it is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.array import block_mean
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.objective.terrain import Curvatures
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.photometry import MODELS
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.projectors.terrain.shadows import Shadows
from tomodiff.projectors.terrain.sun_angles import OfSunAngles, angles_of
from tomodiff.recipes.terrain import settings
from tomodiff.recipes.terrain.schedule import resized
from tomodiff.simulate.terrain import Terrain, fractal_terrain, lit_part, rendered


def test_curvatures_and_their_transpose(rng: np.random.Generator) -> None:
    A = Curvatures((7, 9), (2.0, 0.5), "float64")
    assert check_adjoint(A, rng) < 1e-14
    y, x = np.mgrid[:7, :9] * np.array([2.0, 0.5])[:, None, None]
    bent = 1.5 * x**2 - 0.7 * x * y + 0.25 * y**2 + 3 * x - y
    made = A.forward(bent)
    inner = made[:, 1:-1, 1:-1]
    for part, value in zip(inner, (3.0, -0.7 * 2**0.5, 0.5), strict=True):
        assert part == pytest.approx(value)
    out = np.full(A.range.shape, 9.0)
    assert A.forward(bent, out) is out and out == pytest.approx(made)


def test_images_in_the_angles_of_suns(rng: np.random.Generator) -> None:
    shape, suns = (6, 7), direction(np.deg2rad([100.0, 215.0]), np.deg2rad([40.0, 55.0]))
    inner = TerrainImages(shape, np.tile([0.0, 0, 1], (2, 1)), shadows="none", dtype="float64")
    A = OfSunAngles(inner)
    x = {
        "height": 0.2 * rng.normal(size=shape), "albedo": rng.uniform(0.1, 0.3, shape), "angles": angles_of(suns),
        "parameters": inner.reflectance.photometry.model.vector(), "exposure": np.ones(2), "haze": np.zeros(2),
    }  # fmt: skip
    told = {n: a for n, a in x.items() if n != "angles"}
    assert A(x) == pytest.approx(inner(told | {"sun": suns}))
    rest = {n: a for n, a in x.items() if n != "angles"}
    exact_slope(check_gradient(A.fix(**rest), x["angles"], rng, steps=(1e-5, 1e-6)), floor=1e-7)
    assert check_adjoint(A.linearize(x)[1], rng) < 1e-12


def test_the_settings_name_every_model() -> None:
    assert set(settings.MODELS) == set(MODELS)


def test_coarse_and_fine_grids_lie_over_each_other() -> None:
    y, x = np.mgrid[:24, :37].astype(float)
    plane = 0.3 * y - 0.2 * x
    again = resized(block_mean(plane, 2), plane.shape)
    inner = (slice(8, -8), slice(8, -9))
    assert again[inner] == pytest.approx(plane[inner], abs=2e-3)
    assert again.shape == plane.shape
    assert resized(plane, (12, 18)) == pytest.approx(block_mean(plane, 2))


class TestSimulator:
    """What quality is measured with shares nothing with the projectors, so they must agree from outside."""

    def test_a_tilted_plane_is_as_bright_as_its_cosines_say(self) -> None:
        y, x = np.mgrid[:48, :48] / 4
        height = 0.2 * x + 0.1 * y  # rises to the east and to the south
        sun = direction(np.deg2rad(250.0), np.deg2rad(40.0))
        image, lit = rendered(Terrain(height, np.full_like(height, 0.3), 4), sun, shadows=False, camera=0.0)
        n = np.array([-0.2, 0.1, 1]) / np.sqrt(1.05)
        mu0, mu, a = n @ sun, n[2], np.rad2deg(np.arccos(sun[2]))
        share = 1 - 0.019 * a + 2.42e-4 * a**2 - 1.46e-6 * a**3
        assert image == pytest.approx(0.3 * (2 * share * mu0 / (mu0 + mu) + (1 - share) * mu0))
        assert lit == pytest.approx(1.0)

    def test_a_wall_casts_a_shadow_of_its_length(self) -> None:
        height = np.zeros((64, 400))
        height[:, 200:204] = 6.0  # elements of a map four times as coarse: the sun in the east, 20 degrees high
        sun = direction(np.deg2rad(90.0), np.deg2rad(20.0))
        lit = lit_part(height, sun, 4, np.deg2rad(0.2666))[32]
        length = 4 * 6 / np.tan(np.deg2rad(20.0))
        assert (lit[:200] < 0.5).sum() == pytest.approx(length, abs=2)
        assert lit[210:] == pytest.approx(1.0, abs=1e-6)

    def test_its_shadows_are_those_of_the_projector(self, rng: np.random.Generator) -> None:
        T = fractal_terrain((48, 48), rng, slope_deg=18, craters=12)
        sun = direction(np.deg2rad(123.0), np.deg2rad(18.0))
        lit = T.on_map(lit_part(T.height, sun, 4, np.deg2rad(3.0)))
        own = Shadows(T.height.shape, 0.25, radius=np.deg2rad(3.0), dtype="float64")
        other = T.on_map(own({"height": T.height, "sun": sun}))
        inner = (slice(3, -3),) * 2
        assert 0.02 < (lit[inner] < 0.5).mean() < 0.5
        assert np.abs(lit - other)[inner].mean() < 0.01

    def test_its_slopes_are_as_wanted(self, rng: np.random.Generator) -> None:
        T = fractal_terrain((40, 56), rng, slope_deg=12, albedo=0.25, contrast=0.1, fine=3)
        slope = np.sqrt(np.square(np.gradient(T.height, 1 / 3)).sum(0).mean())
        assert np.rad2deg(np.arctan(slope)) == pytest.approx(12, abs=1e-6)
        assert T.map_albedo.shape == (40, 56) and T.albedo.mean() == pytest.approx(0.25, rel=0.1)
