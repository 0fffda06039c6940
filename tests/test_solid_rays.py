"""Solid parts along rays: slopes in all inputs, silhouettes in closed form, and pictures of exact solids."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.test_emission import around
from tests.toys import exact_slope
from tomodiff.array import to_numpy
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.geometry.poses import exp
from tomodiff.objective import Gaussian
from tomodiff.projectors.harmonics import harmonics
from tomodiff.projectors.solids import KINDS, SolidRays
from tomodiff.simulate.solids import Solid, looking, onto_sphere, photograph

Inputs = dict[str, np.ndarray]
WHITE = np.array([[(4 * np.pi) ** 0.5, *[0.0] * 8]])
"""Light that is one from everywhere."""


def frame(pose: np.ndarray) -> np.ndarray:
    """What takes the world to a part's own axes."""
    return np.column_stack([pose[:, :3].T, -pose[:, :3].T @ pose[:, 3]])


def scene(rng: np.random.Generator, rays: int, bands: int = 2) -> tuple[SolidRays, Inputs]:
    """One part of each kind, some of which overlap, and a box that is cut out of them."""
    kinds, cut = [*KINDS, "box"], [False, False, False, False, True]
    half = np.array([[1.0, 1.3, 0.8], [0.9, 0.7, 1.1], [0.6, 0.6, 1.0], [0.5, 0.5, 0.9], [0.4, 0.6, 0.5]])
    places = np.array([[0.2, 0, 0], [1.2, 0.6, 0.1], [-1.0, -0.6, 0.5], [0.0, 1.3, -0.7], [0.6, 0.3, 0.4]])
    poses = [np.column_stack([exp(0.4 * rng.normal(size=3)), place]) for place in places]
    A = SolidRays(kinds, cut, rays, bands, 0.15, step=0.11, dtype="float64")
    origins, directions = around(rays, rng, 7.0)
    return A, {
        "half": half, "frames": np.array([frame(pose) for pose in poses]), "colours": 0.2 + rng.random((5, bands)),
        "light": np.concatenate([2 + rng.random((bands, 1)), 0.4 * rng.normal(size=(bands, 8))], axis=1),
        "origins": origins, "directions": directions, "background": rng.random((bands, rays)),
    }  # fmt: skip


def test_the_transpose_of_the_slopes(rng: np.random.Generator, xp: ModuleType) -> None:
    A, x = scene(rng, 60)
    given = {name: xp.asarray(a) for name, a in x.items()}
    value, jacobian = A.linearize(given)
    assert check_adjoint(jacobian, rng, xp=xp) < 1e-12
    assert bool((A(given) == value).all())
    image, left = A.seen(given)
    assert 0.2 < float((left < 0.5).mean()) < 0.9  # rays that meet parts, and rays that pass
    assert bool((image == value).all())


@pytest.mark.parametrize(
    "names", [("half",), ("frames",), ("colours", "light", "background"), ("origins", "directions")]
)
def test_slopes(names: tuple[str, ...], rng: np.random.Generator) -> None:
    A, x = scene(rng, 50)
    data = A(x) + 0.1 * rng.normal(size=A.range.shape)
    fixed = A.fix(**{name: a for name, a in x.items() if name not in names})
    point = {n: x[n] for n in names} if len(names) > 1 else x[names[0]]
    exact_slope(check_gradient(Gaussian(data) @ fixed, point, rng, steps=(1e-5, 1e-6, 1e-7)))


def test_several_columns_are_pushes_of_each(rng: np.random.Generator, xp: ModuleType) -> None:
    A, x = scene(rng, 40)
    given = {name: xp.asarray(a) for name, a in x.items()}
    still = {name: xp.zeros_like(a) for name, a in given.items()}
    names = ("half", "frames", "colours", "light")
    changes = [{name: xp.asarray(rng.normal(size=x[name].shape)) for name in names} for _ in range(11)]
    jacobian = A.linearize(given)[1]
    for change, column in zip(changes, A.columns(given, changes), strict=True):
        np.testing.assert_allclose(to_numpy(column), to_numpy(jacobian.forward({**still, **change})), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_silhouettes_do_not_move_as_they_soften(kind: str, rng: np.random.Generator) -> None:
    """The area that is hidden along an axis, in closed form, from parallel rays."""
    half = np.array([[0.8, 0.8, 1.1]])
    area = {"ellipsoid": np.pi * 0.8 * 1.1, "capsule": 4 * 0.8 * 1.1 + np.pi * 0.64}.get(kind, 4 * 0.8 * 1.1)
    apart = 0.05
    y, z = (a.ravel() for a in np.meshgrid(*[np.arange(-3, 3, apart) + apart / 2] * 2))
    origins, directions = np.stack([0 * y - 5, y, z], axis=1), np.tile([1.0, 0.0, 0.0], (y.size, 1))
    for width in (0.02, 0.08):
        A = SolidRays([kind], [False], len(y), 1, width, step=0.02, dtype="float64")
        x = {
            "half": half, "frames": np.eye(3, 4)[None], "colours": np.ones((1, 1)), "light": WHITE, "origins": origins,
            "directions": directions, "background": np.zeros((1, len(y))),
        }  # fmt: skip
        seen, left = A.seen(x)
        np.testing.assert_allclose(seen[0], 1 - left, atol=1e-12)
        # a straight edge is blurred evenly; what is round grows by second order of the width
        assert (1 - left).sum() * apart**2 == pytest.approx(area, abs=4e-3 + 12 * width**2)


def test_pictures_of_exact_solids(rng: np.random.Generator) -> None:
    """Against surfaces that are met exactly, matt under light that harmonics of degree 1 have in full."""
    camera = Photograph((60, 64), (90.0, 90.0), (32.0, 30.0), looking(np.array([5.0, 3.0, 2.0]), np.zeros(3)))
    parts = [("box", (0.8, 0.6, 0.5), (0.0, 0.0, 0.0)), ("capsule", (0.3, 0.3, 0.6), (0.3, 0.9, 0.6))]
    poses = [np.column_stack([exp(0.5 * rng.normal(size=3)), place]) for _, _, place in parts]
    solids = [Solid(kind, half, pose, (0.7, 0.5, 0.3)) for (kind, half, _), pose in zip(parts, poses, strict=True)]
    exact = photograph(camera, solids, [], 1.0, samples=4)
    origins, directions = camera.rays()
    A = SolidRays([p[0] for p in parts], [False, False], len(origins), 3, 0.004)
    x = {
        "half": np.array([p[1] for p in parts]), "frames": np.array([frame(pose) for pose in poses]),
        "colours": np.tile([0.7, 0.5, 0.3], (2, 1)), "light": np.tile(WHITE, (3, 1)), "origins": origins,
        "directions": directions, "background": np.zeros((3, len(origins))),
    }  # fmt: skip
    image, left = A.seen({name: a.astype(np.float32) for name, a in x.items()})
    inside = (exact.opacity == 1) | (exact.opacity == 0)
    assert inside.mean() > 0.9
    difference = image.T.reshape(exact.colours.shape) - exact.colours
    assert np.abs(difference[inside]).mean() < 2e-3
    met = photograph(camera, solids, [], 1.0, samples=1).opacity.ravel()  # along the same rays
    assert abs(float((1 - left - met).sum())) < 1.5e-3 * met.sum()
    lit = rng.normal(size=(1, 9))
    shaded = A({**{n: a.astype(np.float32) for n, a in x.items()}, "light": np.tile(lit, (3, 1)).astype(np.float32)})
    seen = np.isfinite(exact.normals[..., 0]) & inside
    expected = harmonics(exact.normals[seen], 2) @ lit[0] * 0.7
    found = to_numpy(shaded)[0].reshape(camera.shape)[seen]
    assert np.median(np.abs(found - expected)) < 5e-3


def test_what_cannot_be_is_refused() -> None:
    for kinds, cut, bands, width in ((["cone"], [False], 1, 0.1), (["box"], [True], 1, 0.1), (["box"], [False], 5, 0.1),
                                     (["box"], [False], 1, 0.0), ([], [], 1, 0.1)):  # fmt: skip
        with pytest.raises(ValueError, match="SolidRays: expected"):
            SolidRays(kinds, cut, 3, bands, width)


def test_far_away_rays_see_only_the_background(rng: np.random.Generator) -> None:
    A, x = scene(rng, 8)
    towards = onto_sphere(8)
    image, left = A.seen({**x, "origins": 9 * towards, "directions": towards})
    np.testing.assert_array_equal(left, 1.0)
    np.testing.assert_array_equal(image, x["background"])
