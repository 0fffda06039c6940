"""Line integrals in real space and central slices are two ways to the same image of a particle."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.slice_problems import inputs, operator
from tests.test_slice_values import Blobs, error, expected, plain
from tomodiff.array import to_numpy
from tomodiff.core import check_adjoint
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.particle_rays import RealSlice

CASES = (
    {"size": 12, "box": 12},
    {"size": 11, "box": 8, "ctf": "phase-flipped"},
    {"size": 8, "box": 14, "ctf": "none", "voxel": 2.0},
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_adjoint(case: dict[str, object], rng: np.random.Generator, xp: ModuleType) -> None:
    A = operator(n=5, rng=rng, **case)
    x = inputs(A, rng, special=True)
    B = RealSlice(A, **{name: a for name, a in x.items() if name != "volume"})
    assert check_adjoint(B, rng, xp=xp) < 1e-12


@pytest.mark.parametrize(("size", "voxel"), [(48, 2.0), (49, 2.0), (56, 1.7)])
def test_both_ways_show_the_same(size: int, voxel: float, rng: np.random.Generator, xp: ModuleType) -> None:
    """Linear interpolation at t between two voxels misses t (1 - t) / 2 of the second derivative, 0.091 of it in the
    mean square; across a beam, Gaussians of width s voxels have a Laplacian of sqrt(2) / s^2 of themselves.  Slices
    miss far less.  Everything that acts on an image acts on both alike."""
    blobs, n = Blobs(rng, sigma=5.0), 4
    A = FourierSlice(size, 40, np.full(n, 2.2), np.full(n, 300.0), kernel="kaiser-bessel", voxel=voxel, dtype="float64")
    x = plain(n, rng)
    x |= {"shift": rng.normal(0, 4, (n, 2)), "magnification": np.eye(2) + rng.normal(0, 0.03, (n, 2, 2))}
    x |= {"beam_tilt": rng.normal(0, 2, (n, 2)), "b_factor": np.full(n, 30.0), "phase_shift": np.full(n, 0.4)}
    x["rotation"][:2] = np.eye(3), np.diag([1.0, -1.0, -1.0])
    volume = blobs.volume(size, voxel)
    rays = to_numpy(RealSlice(A, **x).forward(xp.asarray(volume)))
    slices = A({"volume": volume} | x)
    truth = expected(blobs.transform, A, x)
    assert error(slices, truth) < 1e-3
    assert error(rays, truth) < 0.091 * 2**0.5 / (blobs.sigma / voxel) ** 2
    swapped = A({"volume": volume} | x | {"rotation": np.swapaxes(x["rotation"], 1, 2)})
    assert error(rays[2:], swapped[2:]) > 0.1


def test_an_ewald_sphere_has_no_rays(rng: np.random.Generator) -> None:
    A = operator(8, 8, 2, rng, ewald=1)
    x = {name: a for name, a in inputs(A, rng).items() if name != "volume"}
    with pytest.raises(ValueError, match="ewald=0"):
        RealSlice(A, **x)
    with pytest.raises(ValueError, match="values: expected rotation"):
        RealSlice(A[:1].__class__(8, 8, np.ones(1), np.full(1, 300.0)), rotation=x["rotation"])
