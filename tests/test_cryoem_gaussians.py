"""Images of Gaussians: closed forms, exact derivatives, and the transforms that measure other projectors."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tomodiff.array import inner, to_numpy
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.core.space import random_element
from tomodiff.geometry import poses
from tomodiff.projectors.gaussians import GaussianProjection, slices_of_gaussians, volume_of_gaussians

INPUTS = ("position", "amplitude", "sigma", "rotation", "shift")
EXACT = 1e-12
"""Bound on |<Ax, y> - <x, A'y>| / |Ax| |y| in double precision."""


def mixture(
    rng: np.random.Generator, n: int, views: int, spread: float, width: tuple[float, float], dtype: str, xp: ModuleType
) -> dict[str, np.ndarray]:
    """Gaussians within a ball of `spread` angstrom, seen in random poses."""
    direction = rng.normal(size=(n, 3))
    direction *= (spread * rng.uniform(0, 1, n) ** (1 / 3) / np.linalg.norm(direction, axis=1))[:, None]
    x = {"position": direction, "amplitude": rng.normal(1, 0.5, n), "sigma": rng.uniform(*width, n)}
    x = {name: value.astype(dtype) for name, value in x.items()}
    x |= {"rotation": poses.random_rotations(views, rng), "shift": rng.normal(0, 2.0, (views, 2))}
    return {name: xp.asarray(value) for name, value in x.items()}


def closed_form(x: dict[str, np.ndarray], box: int, pixel: float) -> np.ndarray:
    """The sum of two-dimensional normal distributions, times a pixel's area."""
    place = (np.arange(box) - box // 2) * pixel
    images = []
    for A, shift in zip(x["rotation"], x["shift"], strict=True):
        seen = x["position"] @ A.T
        total = np.zeros((box, box))
        for (u, v, _), mass, s in zip(seen, x["amplitude"], x["sigma"], strict=True):
            away = (place - u + shift[0]) ** 2 + ((place - v + shift[1]) ** 2)[:, None]
            total += mass * pixel**2 / (2 * np.pi * s**2) * np.exp(-away / (2 * s**2))
        images.append(total)
    return np.stack(images)


SIZES = [(1, 1, 1), (5, 3, 17), (30, 2, 40), (3, 2, 300)]
"""Gaussians, views, box: one pixel, odd boxes, more columns than a thread's lanes."""


class TestValues:
    @pytest.mark.parametrize(("n", "views", "box"), SIZES)
    @pytest.mark.parametrize("reach", [6.0, 8.0])
    def test_an_image_is_the_sum_of_normal_distributions(
        self, n: int, views: int, box: int, reach: float, xp: ModuleType, rng: np.random.Generator
    ) -> None:
        """Gaussians across the edges included; the bound is the documented one, of the sum of the peaks."""
        x = mixture(rng, n, views, 1.5 * box, (2.0, 6.0), "float64", xp)
        images = to_numpy(GaussianProjection(n, views, box, 2.0, reach=reach, dtype="float64")(x))
        x = {name: to_numpy(value) for name, value in x.items()}
        peaks = np.sum(np.abs(x["amplitude"]) * 2.0**2 / (2 * np.pi * x["sigma"] ** 2))
        assert np.abs(images - closed_form(x, box, 2.0)).max() <= (2 + reach**2) * np.exp(-(reach**2) / 2) * peaks

    def test_single_precision(self, xp: ModuleType, rng: np.random.Generator) -> None:
        x = mixture(rng, 40, 3, 40.0, (2.5, 5.0), "float32", xp)
        images = GaussianProjection(40, 3, 48, 2.5)(x)
        assert images.dtype == np.float32
        wanted = closed_form({name: to_numpy(value).astype(np.float64) for name, value in x.items()}, 48, 2.5)
        assert np.abs(to_numpy(images) - wanted).max() <= 3e-6 * np.abs(wanted).max()

    def test_conventions(self) -> None:
        """A rotates the volume into the image, columns are x, and +shift is what centres: the spot is at -shift."""
        A = poses.from_euler(np.array([0.4]), np.array([1.1]), np.array([-0.7]))
        one = np.ones(1)
        x = {"position": np.array([[9.0, -5.0, 7.0]]), "amplitude": one, "sigma": 3 * one, "rotation": A}
        x["shift"] = np.array([[4.0, -2.0]])
        (image,) = GaussianProjection(1, 1, 64, 1.0, reach=8.0, dtype="float64")(x)
        place = np.arange(64) - 32
        seen = A[0] @ x["position"][0]
        assert image.sum() == pytest.approx(1.0, abs=1e-10)
        assert (image.sum(0) * place).sum() == pytest.approx(seen[0] - 4.0, abs=1e-9)
        assert (image.sum(1) * place).sum() == pytest.approx(seen[1] + 2.0, abs=1e-9)

    def test_views_are_independent(self, rng: np.random.Generator) -> None:
        x = mixture(rng, 9, 6, 20.0, (2.0, 4.0), "float64", np)
        A = GaussianProjection(9, 6, 24, 2.0, dtype="float64")
        some = np.array([4, 1])
        fewer = x | {name: x[name][some] for name in ("rotation", "shift")}
        np.testing.assert_array_equal(A[some](fewer), A(x)[some])


class TestDerivatives:
    @pytest.mark.parametrize(("n", "views", "box"), SIZES)
    def test_push_and_pull_are_transposes(
        self, n: int, views: int, box: int, xp: ModuleType, rng: np.random.Generator
    ) -> None:
        x = mixture(rng, n, views, 0.8 * box, (2.0, 6.0), "float64", xp)
        jacobian = GaussianProjection(n, views, box, 2.0, dtype="float64").linearize(x)[1]
        assert check_adjoint(jacobian, rng, xp=xp) <= EXACT
        for name in INPUTS:  # no input hides behind a larger one
            fixed = GaussianProjection(n, views, box, 2.0, dtype="float64")
            own = fixed.fix(**{other: x[other] for other in INPUTS if other != name}).linearize(x[name])[1]
            assert check_adjoint(own, rng, 1, xp) <= EXACT, name

    @pytest.mark.parametrize("name", INPUTS)
    def test_slopes(self, name: str, xp: ModuleType, rng: np.random.Generator) -> None:
        """The error of central differences falls like the square of the step until rounding."""
        x = mixture(rng, 30, 3, 25.0, (2.5, 5.0), "float64", xp)
        A = GaussianProjection(30, 3, 32, 2.0, dtype="float64")
        model = A.fix(**{other: x[other] for other in INPUTS if other != name})
        errors = check_gradient(model, x[name], rng, (1e-2, 1e-3, 1e-4))
        if name == "amplitude":
            assert max(errors) <= 1e-9
        else:
            assert errors[1] <= 1.2e-2 * errors[0] and errors[2] <= 1.2e-2 * errors[1]
            assert errors[2] <= 1e-5

    def test_slope_at_the_identity_and_at_the_cut(self, rng: np.random.Generator) -> None:
        """An axis of the volume along the beam; pixels at exactly `reach` sigmas, where a Gaussian ends."""
        x = mixture(rng, 4, 1, 3.0, (2.0, 2.0), "float64", np)
        x["rotation"], x["shift"] = np.eye(3)[None], np.zeros((1, 2))
        x["position"] = np.array([[0.0, 0, 5], [4, 0, 0], [0, -2, 1], [2, 2, 2]])
        A = GaussianProjection(4, 1, 32, 2.0, reach=3.0, dtype="float64")
        for name in INPUTS:
            errors = check_gradient(A.fix(**{n: x[n] for n in INPUTS if n != name}), x[name], rng, (1e-3, 1e-5))
            # The second derivative jumps by exp(-9/2) there: first order in the step at the pixels at the cut.
            assert errors[1] <= 2e-2 * max(errors[0], 1e-8), name

    def test_single_precision(self, xp: ModuleType, rng: np.random.Generator) -> None:
        x = mixture(rng, 300, 8, 30.0, (2.5, 5.0), "float32", xp)
        others = {name: x[name] for name in INPUTS if name != "amplitude"}
        A = GaussianProjection(300, 8, 40, 2.0).fix(**others)
        y, a = (random_element(space, rng, xp, nonnegative=True) for space in (A.range, A.domain))
        forward = inner(A(a), y)
        assert abs(forward - inner(a, A.adjoint(y))) <= 1e-6 * forward  # type: ignore[attr-defined]
        signed = random_element(A.domain, rng, xp)
        image = A(signed)
        gram = inner(image, image)
        assert abs(gram - inner(signed, A.adjoint(image))) <= 1e-6 * gram  # type: ignore[attr-defined]
        wide = {name: value.astype("float64") for name, value in x.items()}
        g = random_element(GaussianProjection(300, 8, 40, 2.0).range, rng, xp)
        single = GaussianProjection(300, 8, 40, 2.0).linearize(x)[1].adjoint(g)
        double = GaussianProjection(300, 8, 40, 2.0, dtype="float64").linearize(wide)[1].adjoint(g.astype("float64"))
        for name in INPUTS:
            off = np.linalg.norm(to_numpy(single[name]).astype(np.float64) - to_numpy(double[name]))
            assert off <= 2e-5 * np.linalg.norm(to_numpy(double[name])), name

    def test_atoms_are_pulled_into_place(self, rng: np.random.Generator) -> None:
        """Descent in the positions finds atoms again that were moved by a third of an angstrom."""
        x = mixture(rng, 12, 20, 14.0, (2.5, 3.0), "float64", np)
        x["amplitude"] = np.abs(x["amplitude"]) + 1
        A = GaussianProjection(12, 20, 32, 1.5, dtype="float64")
        data = A(x)
        model = A.fix(**{name: x[name] for name in INPUTS if name != "position"})
        moved = x["position"] + rng.normal(0, 0.2, (12, 3))
        start = np.abs(moved - x["position"]).max()
        for _ in range(200):
            # Gauss-Newton step by steepest descent with the exact line minimum of the linearised problem.
            value, jacobian = model.linearize(moved)
            g = jacobian.adjoint(value - data)
            along = jacobian.forward(g)
            moved = moved - g * (inner(g, g) / inner(along, along))
        assert np.abs(moved - x["position"]).max() <= 0.02 * start


class TestTransforms:
    def test_slices_are_the_transforms_of_images(self, rng: np.random.Generator) -> None:
        """Two evaluations without a common step; Gaussians of 1.6 pixels alias by exp(-2 pi^2 1.6^2 / 4) = 3e-6."""
        x = mixture(rng, 50, 4, 36.0, (4.8, 9.0), "float64", np)
        box, pixel = 60, 3.0
        F = slices_of_gaussians(x["position"], x["amplitude"], x["sigma"], x["rotation"], box, pixel)
        u, v = np.fft.rfftfreq(box, pixel), np.fft.fftfreq(box, pixel)[:, None]
        F *= np.exp(2j * np.pi * (u * x["shift"][:, 0, None, None] + v * x["shift"][:, 1, None, None]))
        images = np.fft.fftshift(np.fft.irfft2(F, (box, box)), axes=(1, 2))
        wanted = closed_form(x, box, pixel)
        assert np.abs(images - wanted).max() <= 1e-5 * np.abs(wanted).max()

    def test_magnified_slices(self, rng: np.random.Generator) -> None:
        """At M k: an image stretched by M' with its brightness over |M| (the transform of f(M^-T r) / |M|)."""
        x = mixture(rng, 20, 1, 20.0, (4.0, 7.0), "float64", np)
        x["sigma"] = np.round(x["sigma"])
        M = np.array([[1.03, 0.02], [0.05, 0.96]])
        box, pixel = 64, 2.0
        args = (x["position"], x["amplitude"], x["sigma"], x["rotation"], box, pixel)
        image = np.fft.fftshift(np.fft.irfft2(slices_of_gaussians(*args, M)[0], (box, box)))
        place = (np.arange(box) - box // 2) * pixel
        grid = np.stack(np.meshgrid(place, place), -1) @ np.linalg.inv(M)  # r' -> M^-T r
        seen = x["position"] @ x["rotation"][0].T
        wanted = np.zeros((box, box))
        for (u, v, _), mass, s in zip(seen, x["amplitude"], x["sigma"], strict=True):
            away = (grid[..., 0] - u) ** 2 + (grid[..., 1] - v) ** 2
            wanted += mass * pixel**2 / (2 * np.pi * s**2 * np.linalg.det(M)) * np.exp(-away / (2 * s**2))
        assert np.abs(image - wanted).max() <= 1e-6 * np.abs(wanted).max()

    @pytest.mark.parametrize("box", [24, 25])
    def test_volumes(self, box: int, rng: np.random.Generator) -> None:
        """The plain sum along z is the image of the identity; both volumes agree where nothing aliases."""
        x = mixture(rng, 30, 1, 10.0, (3.6, 5.0), "float64", np)
        x["rotation"], x["shift"] = np.eye(3)[None], np.zeros((1, 2))
        gaussians = (x["position"], x["amplitude"], x["sigma"])
        wanted = closed_form(x, box, 2.0)[0]
        large = volume_of_gaussians(*gaussians, 3 * box, 2.0)  # nothing of which is cut off
        cut = slice(3 * box // 2 - box // 2, 3 * box // 2 - box // 2 + box)
        assert np.abs(large.sum(0)[cut, cut] - wanted).max() <= 1e-6 * np.abs(wanted).max()
        assert large.sum() == pytest.approx(x["amplitude"].sum(), rel=1e-9)
        np.testing.assert_allclose(volume_of_gaussians(*gaussians, box, 2.0), large[cut, cut, cut], rtol=1e-12)
        limited = volume_of_gaussians(*gaussians, 3 * box, 2.0, band_limited=True)
        # 1.8 pixels: exp(-2 pi^2 1.8^2 / 4) = 1e-7 of a Gaussian is beyond the Nyquist frequency.
        assert np.abs(limited - large).max() <= 1e-6 * np.abs(large).max()

    def test_the_band_limited_volume_has_the_slices_of_the_gaussians(self, rng: np.random.Generator) -> None:
        """Narrow Gaussians, of 0.7 pixels: its coefficients along the axes are those of the closed form."""
        x = mixture(rng, 30, 1, 12.0, (1.4, 1.6), "float64", np)
        volume = volume_of_gaussians(x["position"], x["amplitude"], x["sigma"], 24, 2.0, band_limited=True)
        F = np.fft.rfft2(np.fft.ifftshift(volume.sum(0)))
        (wanted,) = slices_of_gaussians(x["position"], x["amplitude"], x["sigma"], np.eye(3)[None], 24, 2.0)
        inside = np.ones(F.shape, bool)
        inside[12], inside[:, 12] = False, False  # the Nyquist frequency of a real array has no sign
        assert np.abs(F - wanted)[inside].max() <= 1e-12 * np.abs(wanted).max()


class TestErrors:
    def test_arguments(self) -> None:
        for wrong in ({"n": 0}, {"views": 0}, {"box": 0}, {"pixel": 0.0}, {"reach": -1.0}, {"dtype": "float16"}):
            with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
                GaussianProjection(**({"n": 1, "views": 1, "box": 4, "pixel": 1.0} | wrong))  # type: ignore[arg-type]

    def test_inputs(self, rng: np.random.Generator) -> None:
        x = mixture(rng, 3, 2, 5.0, (1.0, 2.0), "float32", np)
        A = GaussianProjection(3, 2, 8, 1.0)
        with pytest.raises(TypeError, match=r"GaussianProjection: x\['position'\].*float32"):
            A(x | {"position": x["position"].astype("float64")})
        with pytest.raises(ValueError, match=r"x\['rotation'\].*shape"):
            A(x | {"rotation": np.eye(3)[None]})
        with pytest.raises(ValueError, match=r"x\['sigma'\].*above 0"):
            A(x | {"sigma": np.array([1, 0, 1], "float32")})
        with pytest.raises(ValueError, match="sigma: expected widths above 0"):
            slices_of_gaussians(np.zeros((1, 3)), np.ones(1), np.zeros(1), np.eye(3)[None], 8, 1.0)
        with pytest.raises(ValueError, match=r"position: expected shape \(1, 3\)"):
            volume_of_gaussians(np.zeros((1, 2)), np.ones(1), np.ones(1), 8, 1.0)
