"""Images of a terrain: the parts put together, slopes and transposes with shadows, curved ground and blur."""

from __future__ import annotations

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.reflectance import Reflectance, direction
from tomodiff.projectors.terrain.shadows import Shadows

SHAPE, SPACING = (11, 13), (2.0, 3.0)
SUNS = direction(np.deg2rad([100.0, 215.0]), np.deg2rad([24.0, 28.0]))
VIEWS = direction(np.deg2rad([10.0, 140.0]), np.deg2rad([80.0, 85.0]))
WIDE = np.deg2rad(8.0)


def terrain(A: TerrainImages, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Smooth hills, some of which shade others, of uneven albedo."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    height = sum(2 * a * np.sin(0.5 * b * x + 0.5 * c * y + a) for a, b, c in rng.normal(size=(6, 3)))
    made = {
        "height": np.asarray(height), "albedo": rng.uniform(0.1, 0.3, SHAPE), "sun": SUNS,
        "parameters": A.reflectance.photometry.model.vector(), "exposure": np.array([1.2, 0.8]),
        "haze": np.array([0.01, 0.02]),
    }  # fmt: skip
    return {name: made[name].astype(space.dtype) for name, space in A.domain.items()}


def curved(radius: float = 60.0) -> np.ndarray:
    """The axes of each element on a sphere, in those of the middle."""
    ny, nx = SHAPE
    y, x = np.mgrid[:ny, :nx]
    up = np.stack([(x - nx // 2) * SPACING[1], (ny // 2 - y) * SPACING[0], np.full(SHAPE, radius)])
    up /= np.linalg.norm(up, axis=0)
    along = np.stack([up[2], np.zeros(SHAPE), -up[0]]) / np.hypot(up[0], up[2])  # north x up
    across = np.cross(up, along, axis=0)
    return np.stack([along, across, up])


def test_it_is_reflectance_with_shadows(rng: np.random.Generator) -> None:
    A = TerrainImages(SHAPE, VIEWS, spacing=SPACING, sun_radius=WIDE, dtype="float64")
    x = terrain(A, rng)
    S = Shadows(SHAPE, SPACING, radius=WIDE, dtype="float64")
    lit = np.stack([S({"height": x["height"], "sun": sun}) for sun in SUNS])
    assert 0.02 < (lit < 0.5).mean() < 0.8, "some shadow, not all"
    R = Reflectance(SHAPE, 2, spacing=SPACING, lit=True, dtype="float64")
    assert A(x) == pytest.approx(R(x | {"lit": lit, "view": VIEWS}), abs=1e-14)
    flat = TerrainImages(SHAPE, VIEWS, spacing=SPACING, shadows="none", dtype="float64")
    assert flat(x) == pytest.approx(R(x | {"lit": np.ones_like(lit), "view": VIEWS}), abs=1e-14)
    hard = TerrainImages(SHAPE, VIEWS, spacing=SPACING, shadows="hard", dtype="float64")(x)
    dark = hard == x["haze"][:, None, None]
    assert dark.any() and hard[~dark] == pytest.approx(flat(x)[~dark])


@pytest.mark.parametrize("blur", [None, (0.8, 0.0)])
@pytest.mark.parametrize("ground", ["flat", "curved"])
@pytest.mark.parametrize("shadows", ["none", "penumbra"])
def test_slopes_and_transpose(
    shadows: str, ground: str, blur: tuple[float, ...] | None, rng: np.random.Generator
) -> None:
    A = TerrainImages(
        SHAPE, VIEWS, "lunar_lambert_mcewen", SPACING, shadows=shadows, sun_radius=WIDE, blur=blur,
        frames=curved() if ground == "curved" else None, body_radius=60.0 if ground == "curved" else None,
        dtype="float64",
    )  # fmt: skip
    x = terrain(A, rng)
    if shadows == "none":
        x["height"] *= 0.1  # all lit: at a terminator differences see half of what there is
    for name in A.domain:
        rest = {other: value for other, value in x.items() if other != name}
        exact_slope(check_gradient(A.fix(**rest), x[name], rng=rng, steps=(1e-5, 1e-6)), floor=1e-7)
    assert check_adjoint(A.linearize(x)[1], rng) < 1e-12


def test_shadows_that_stay_leave_the_gradient_in_albedo(rng: np.random.Generator) -> None:
    """With heights and sun fixed, the gradient in what is left is that of the whole, and its transpose is exact."""
    A = TerrainImages(SHAPE, VIEWS, spacing=SPACING, sun_radius=WIDE, dtype="float64")
    x = terrain(A, rng)
    B, g = A.fix(**{name: x[name] for name in A.domain if name != "albedo"}), rng.normal(size=A.range.shape)
    J = B.linearize(x["albedo"])[1]
    assert J.adjoint(g) == pytest.approx(A.linearize(x)[1].adjoint(g)["albedo"], abs=1e-13)
    assert check_adjoint(J, rng) < 1e-12


def test_level_ground_on_a_sphere_is_lit_by_the_angle_of_its_place(rng: np.random.Generator) -> None:
    """Lambert's cosine between the sun and each element's own zenith, as the images show it."""
    frames = curved()
    A = TerrainImages(SHAPE, VIEWS, "lambert", SPACING, shadows="none", frames=frames, dtype="float64")
    x = terrain(A, rng) | {
        "height": np.zeros(SHAPE),
        "albedo": np.ones(SHAPE),
        "exposure": np.ones(2),
        "haze": np.zeros(2),
    }
    cosines = np.einsum("aij,ka->kij", frames[2], SUNS)
    assert cosines.max() - cosines.min() > 0.1
    assert A(x) == pytest.approx(np.maximum(cosines, 0), abs=1e-12)


def test_a_blurred_point_keeps_its_light(rng: np.random.Generator) -> None:
    A = TerrainImages(SHAPE, VIEWS, spacing=SPACING, shadows="none", blur=(1.0, 1.0), dtype="float64")
    x = terrain(A, rng) | {"height": np.zeros(SHAPE), "albedo": np.zeros(SHAPE), "haze": np.zeros(2)}
    sharp = TerrainImages(SHAPE, VIEWS, spacing=SPACING, shadows="none", dtype="float64")
    x["albedo"][5, 6] = 1.0
    assert A(x).sum((1, 2)) == pytest.approx(sharp(x).sum((1, 2)))
    assert A(x)[0, 5, 6] == pytest.approx(sharp(x)[0, 5, 6] / (2 * np.pi), rel=0.05)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="shadows: expected none, hard, penumbra"):
        TerrainImages(SHAPE, VIEWS, shadows="soft")
    with pytest.raises(ValueError, match="blur: expected 2 widths"):
        TerrainImages(SHAPE, VIEWS, blur=(1.0,))
    with pytest.raises(ValueError, match="frames: expected the shape"):
        TerrainImages(SHAPE, VIEWS, frames=np.zeros((3, 3, 4, 4)))
