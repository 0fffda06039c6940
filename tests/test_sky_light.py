"""Light of the sky and of facing slopes: closed forms, a brute-force sky, slopes of every input, transposes."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.core import check_adjoint, check_gradient
from tomodiff.objective import Gaussian
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.reflectance import direction
from tomodiff.projectors.terrain.sky_light import SkyLight, sky_harmonics
from tomodiff.projectors.terrain.under_sky import UnderSky

SHAPE = (13, 17)


def relief(rng: np.random.Generator, steep: float = 1.0) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return steep * (2 * np.sin(0.7 * x + 0.3 * y) * np.cos(0.5 * y) + 0.05 * rng.normal(size=SHAPE))


def test_level_ground_under_skies_of_every_degree() -> None:
    """Radiance 1: irradiance 1.  Of harmonics of degree l and order 0, A_l sqrt(2 l + 1) with A = 1, 2/3, 1/4, 0, -1/24
    (Ramamoorthi and Hanrahan 2001, of a cosine, over pi); of other orders nothing."""
    A = SkyLight(SHAPE, degree=4, azimuths=16, dtype="float64")
    for k in range(25):
        sky = np.zeros(25)
        sky[k] = 1
        el = int(np.sqrt(k))
        wanted = (1, 2 / 3, 1 / 4, 0, -1 / 24)[el] * np.sqrt(2 * el + 1) if k == el * el + el else 0
        made = A({"height": np.zeros(SHAPE), "sky": sky})
        assert np.ptp(made) < 1e-12 and (k != 0 or made[0, 0] == pytest.approx(1, abs=1e-12))
        assert made[0, 0] == pytest.approx(wanted, abs=1e-9), (k, el)


def test_tilted_plane_in_closed_form() -> None:
    """An inclined plane rises over its own horizon and sees (1 + cos slope) / 2 of the sky (Dozier and Frew 1990)."""
    x = np.arange(61.0)
    height = np.broadcast_to(np.tan(np.deg2rad(25)) * x, (61, 61)).copy()
    A = SkyLight((61, 61), azimuths=64, dtype="float64")
    seen = A({"height": height, "sky": np.ones(1)})
    assert seen[30, 30] == pytest.approx((1 + np.cos(np.deg2rad(25))) / 2, abs=2e-3)


def test_against_a_brute_force_sky(rng: np.random.Generator) -> None:
    """Directions all over the sky, each a hard shadow: the same light within what both leave between directions."""
    from tomodiff.projectors.terrain.shadows import Shadows

    height, sky = relief(rng), np.array([1.0, 0.3, 0.5, -0.2, 0.1, 0.2, -0.3, 0.15, 0.05])
    A = SkyLight(SHAPE, degree=2, azimuths=32, dtype="float64")
    normal = A.surface({"height": height, "sun": np.eye(3)[0], "view": np.eye(3)[1]})[[0, 1, 3]]
    S, total = Shadows(SHAPE, radius=0.0, dtype="float64"), np.zeros(SHAPE[0] * SHAPE[1])
    at, weight = np.polynomial.legendre.leggauss(48)
    zenith = np.pi / 4 * (1 + at)
    for phi in A.azimuths:
        for theta, w in zip(zenith, weight * np.pi / 4, strict=True):
            d = np.array([np.sin(phi) * np.sin(theta), np.cos(phi) * np.sin(theta), np.cos(theta)])
            lit = S({"height": height, "sun": d}).reshape(-1)
            radiance = float(sky_harmonics(d[None], 2)[0] @ sky)
            total += lit * radiance * (normal * d[:, None]).sum(0) * np.sin(theta) * w * 2 / len(A.azimuths)
    made = A({"height": height, "sky": sky})
    assert np.abs(made - total.reshape(SHAPE)).max() < 0.04 and np.abs(made - total.reshape(SHAPE)).mean() < 0.006


@pytest.mark.parametrize(("degree", "bounce"), [(0, False), (2, False), (1, True), (4, True)])
def test_slopes_and_transpose(degree: int, bounce: bool, rng: np.random.Generator) -> None:
    A = SkyLight(SHAPE, (1.0, 1.2), degree=degree, azimuths=5, bounce=bounce, body_radius=1e4, dtype="float64")
    sky = 0.3 * rng.normal(size=(degree + 1) ** 2)
    sky[0] = 1
    x = {"height": relief(rng), "sky": sky} | ({"radiosity": 1 + rng.random(SHAPE)} if bounce else {})
    value, J = A.linearize(x)
    assert np.allclose(A(x), value, atol=1e-12) and check_adjoint(J, rng) < 1e-12
    # steps so small that nothing else becomes the horizon
    assert max(check_gradient(Gaussian(np.zeros(SHAPE)) @ A, x, rng, (1e-6, 1e-7))) < 1e-6


def test_a_facing_wall_sends_light() -> None:
    """Below a long wall of height 5, four elements away, half of what it hides of the sky comes back as its light."""
    height = np.zeros((81, 81))
    height[:, 44:] = 5.0
    A = SkyLight(height.shape, azimuths=64, bounce=True, dtype="float64")
    x = {"height": height, "sky": np.ones(1), "radiosity": np.zeros(height.shape)}
    dark, bright = A(x), A(x | {"radiosity": np.full(height.shape, 0.5)})
    open_sky = (1 + np.cos(np.arctan2(5, 4))) / 2  # of a long horizon on one side
    assert dark[40, 40] == pytest.approx(open_sky, abs=0.02)
    assert bright[40, 40] - dark[40, 40] == pytest.approx(0.5 * (1 - dark[40, 40]), abs=1e-9)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="degree: expected 0 to 4, got 5"):
        SkyLight(SHAPE, degree=5)
    with pytest.raises(ValueError, match="azimuths: expected at least 4"):
        SkyLight(SHAPE, azimuths=2)


def test_a_terrain_under_sun_and_sky(rng: np.random.Generator) -> None:
    """Level ground: albedo (R + ambient); slopes of every input and the transpose on relief."""
    terrain = TerrainImages(SHAPE, np.tile([0.0, 0.1, 1.0], (2, 1)), "lambert", dtype="float64")
    A = UnderSky(terrain, SkyLight(SHAPE, azimuths=5, dtype="float64"))
    sun = np.stack([direction(0.4, 0.8), direction(2.0, 0.6)])
    x = {
        "height": np.zeros(SHAPE), "albedo": np.full(SHAPE, 0.4), "parameters": np.zeros(0), "sun": sun,
        "exposure": np.array([1.0, 1.5]), "haze": np.array([0.1, 0.0]), "ambient": np.array([0.2, 0.3]),
    }  # fmt: skip
    for image, s, e, h, a in zip(A(x), sun, x["exposure"], x["haze"], x["ambient"], strict=True):
        assert np.allclose(image, e * 0.4 * (s[2] + a) + h)
    x |= {"height": relief(rng, 0.2), "albedo": 0.4 + 0.1 * rng.random(SHAPE)}
    value, J = A.linearize(x)
    assert np.allclose(A(x), value, atol=1e-13) and check_adjoint(J, rng) < 1e-12
    fixed = A.fix(sun=sun, parameters=x["parameters"])
    some = {n: x[n] for n in fixed.domain}
    assert max(check_gradient(Gaussian(np.zeros(value.shape)) @ fixed, some, rng, (1e-6, 1e-7))) < 1e-6
    level = A.fix(sun=sun, parameters=x["parameters"], height=x["height"])
    some = {n: x[n] for n in level.domain}
    assert max(check_gradient(Gaussian(np.zeros(value.shape)) @ level, some, rng, (1e-4, 1e-5))) < 1e-6
