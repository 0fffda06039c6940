"""What holds for every operator of the package: found by name, and put through one battery.

Operators of `core`, functionals and solvers have batteries of their own: test_core.py, test_functionals.py,
test_solvers.py, test_engine_devices.py.
"""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

import tomodiff
from tests import slice_problems
from tests.test_emission import around
from tests.toys import dense, exact_slope, subclasses
from tomodiff.array import Element, namespace, tmap, to_numpy
from tomodiff.core import LinearOperator, Operator, check_adjoint, check_element, check_gradient, random_element
from tomodiff.core.space import zeros
from tomodiff.geometry import ConeBeam, Grid
from tomodiff.objective.differences import Differences, Strains
from tomodiff.objective.terrain import Curvatures
from tomodiff.projectors import XRay
from tomodiff.projectors.axial import Axial
from tomodiff.projectors.dynamic import Dynamic
from tomodiff.projectors.emission import EmissionProjection, EmissionRays
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.gaussians import GaussianProjection
from tomodiff.projectors.geometry_errors import GeometryErrors, MisalignedXRay
from tomodiff.projectors.lit import LitNormals
from tomodiff.projectors.mri.cartesian import Cartesian
from tomodiff.projectors.mri.nufft import Nufft
from tomodiff.projectors.mri.off_resonance import OffResonance
from tomodiff.projectors.mri.sense import Sense, SenseModel
from tomodiff.projectors.mri.series import Series
from tomodiff.projectors.polychromatic import Fractions, Polychromatic
from tomodiff.projectors.radiance import RadianceField
from tomodiff.projectors.response import Response
from tomodiff.projectors.solids import SolidRays
from tomodiff.projectors.spectrum import Spectrum
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.reflectance import Reflectance, direction
from tomodiff.projectors.terrain.shadows import Shadows
from tomodiff.projectors.terrain.sun_angles import OfSunAngles, angles_of
from tomodiff.projectors.terrain.surface import SurfaceGeometry
from tomodiff.projectors.texture import Texture
from tomodiff.projectors.warp import FreeForm, Warp
from tomodiff.projectors.xray_frames import XRayFrames

ELSEWHERE = {
    "Atmosphere": "its inputs have bounds: test_atmosphere.py",
    "CameraImage": "its value has edges: test_terrain_cameras.py",
    "Fourier": "what Nufft and Cartesian share",
    "Sparse": "what Axial and Texture share",
    "FromPylops": "needs PyLops: test_interop.py",
    "MeshShading": "on meshes: test_meshes.py",
    "Mixture": "substances in the air: test_under_air.py",
    "XRayAcrossRanks": "a volume on several processes: test_ranks.py",
    "XRayInBlocks": "of elements in files: test_on_disk.py",
    "Photometry": "on angles that belong together: test_photometry.py",
    "RealSlice": "rays of a slice model: test_slice_rays.py",
    "SeenTerrain": "terrain and cameras: test_sightings.py",
    "Sightings": "images in cameras: test_sightings.py",
    "SkyLight": "light of the sky: test_sky_light.py",
    "SpreadData": "data on several processes: test_ranks.py",
    "UnderAir": "terrain and air: test_under_air.py",
    "UnderSky": "terrain and sky: test_sky_light.py",
}
"""Operators outside of this battery, and why."""

EXACT = 1e-12
GRID = Grid((4, 5, 6), (0.9, 1.0, 1.1), (0.2, -0.1, 0.3))
CONE = ConeBeam(np.linspace(0.1, 5.0, 3), 30.0, 60.0, (6, 8), 2.1)
SHAPE = (5, 6)
SUN = direction(np.deg2rad([100.0, 215.0]), np.deg2rad([40.0, 55.0]))
DOWN = np.tile([0.0, 0.0, 1.0], (2, 1))


class Example(NamedTuple):
    """An operator by its dtype, a point in its domain where standard normal entries do not suit, and why it has no
    slope there."""

    make: Callable[[str], Operator]
    at: Callable[[Operator, np.random.Generator], Element] | None = None
    kinks: str = ""
    steps: tuple[float, ...] = (1e-2, 1e-3, 1e-4)


def _like(values: Element, A: Operator) -> Element:
    """Values in the dtypes of the domain."""
    return tmap(lambda a, s: np.ascontiguousarray(a, s.dtype), values, A.domain)


def _errors() -> GeometryErrors:
    return GeometryErrors(CONE, ("detector_u", "detector_roll"), ("detector_v",))


def _slices(dtype: str) -> FourierSlice:
    return slice_problems.operator(6, 6, 3, np.random.default_rng(1), dtype=dtype)


def _particles(A: Any, rng: np.random.Generator) -> Element:
    return _like(slice_problems.inputs(A, rng), A)


def _terrain(A: Any, rng: np.random.Generator) -> Element:
    """Gentle ground lit from the side."""
    known = {
        "height": 0.2 * rng.standard_normal(SHAPE), "albedo": rng.uniform(0.1, 0.3, SHAPE), "sun": SUN,
        "exposure": np.ones(2), "haze": np.zeros(2), "angles": angles_of(SUN),
    }  # fmt: skip
    inner = getattr(A, "A", A)
    reflectance = getattr(inner, "reflectance", inner)
    parameters = reflectance.photometry.model.vector() if hasattr(reflectance, "photometry") else np.zeros(0)
    given = known | {"parameters": parameters, "lit": np.ones((2, *SHAPE)), "view": DOWN}
    if isinstance(A, SurfaceGeometry):
        given |= {"sun": SUN[0], "view": DOWN[0]}
    return _like({name: given[name] for name in A.domain}, A)


def _frames(A: Any, rng: np.random.Generator) -> Element:
    volume = rng.standard_normal(GRID.shape)
    rest = {"frames": CONE.frames()} if "frames" in A.domain else {n: 0.01 * a for n, a in zeros_of(A).items()}
    return _like({"volume": volume, **rest}, A)


def zeros_of(A: Operator) -> dict[str, np.ndarray]:
    """Zeros for all inputs but the volume."""
    return {name: zeros(space) for name, space in A.domain.items() if name != "volume"}


def _blobs(A: Any, rng: np.random.Generator) -> Element:
    given = random_element(A.domain, rng)
    turns = slice_problems.parameters(2, rng)["rotation"]
    return given | {"sigma": np.abs(given["sigma"]) + 1, "rotation": turns}


POINTS = np.random.default_rng(4).uniform(-0.5, 0.5, (23, 2))
POINTS3 = np.random.default_rng(5).uniform(-0.5, 0.5, (19, 3))
NODES = np.array([[0, 0], [1, -2], [-2, 2], [1, -2]])


def complex_of(dtype: str) -> str:
    """The complex numbers of this precision."""
    return "complex64" if dtype == "float32" else "complex128"


def _maps(dtype: str) -> np.ndarray:
    rng = np.random.default_rng(6)
    return (rng.standard_normal((3, 6, 5)) + 1j * rng.standard_normal((3, 6, 5))).astype(complex_of(dtype))


def _glowing(A: Any, rng: np.random.Generator) -> Element:
    origins, directions = around(A.range.shape[1], rng)
    volumes = {"emission": rng.random((2, *GRID.shape)), "absorption": 0.3 * rng.random(GRID.shape)}
    return _like(volumes | {"origins": origins, "directions": directions, "background": rng.random(A.range.shape)}, A)


def _coloured(A: Any, rng: np.random.Generator) -> Element:
    origins, directions = around(A.range.shape[0], rng)
    return _like(random_element(A.domain, rng) | {"origins": origins, "directions": directions}, A)


def _solid(A: Any, rng: np.random.Generator) -> Element:
    frames = np.tile(np.eye(3, 4), (2, 1, 1)) + 0.05 * rng.random((2, 3, 4))
    origins, directions = around(A.range.shape[1], rng)
    rays = {"origins": origins, "directions": directions, "frames": frames, "half": 1 + rng.random((2, 3))}
    return _like(random_element(A.domain, rng, nonnegative=True) | rays, A)


PLACES = np.random.default_rng(0).random((9, 2))


def _lit(A: Any, rng: np.random.Generator) -> Element:
    """Normals and lights towards the camera, so that no light is at a horizon."""
    x = random_element(A.domain, rng)
    for name in ("normals", "lights"):
        some = np.concatenate([0.2 * x[name][:, :2], np.ones_like(x[name][:, 2:])], axis=1)
        x[name] = (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(x[name].dtype)
    return {**x, "parameters": np.array([0.4]), "gloss": np.array([0.7, 0.6, 0.1])}


def _emission_projection(dtype: str) -> EmissionProjection:
    A = EmissionRays(GRID, 5, 2, dtype=dtype)
    known = _glowing(A, np.random.default_rng(7)) | {"background": np.zeros((2, 5), dtype)}
    made = A.fix(**{name: value for name, value in known.items() if name != "emission"})
    assert isinstance(made, EmissionProjection)
    return made


def _series(dtype: str) -> Series:
    """Two images in time, whose samples came by turns."""
    own = [np.arange(0, 23, 2), np.arange(1, 23, 2)]
    return Series([Sense.at(_maps(dtype), POINTS[part]) for part in own], own)


KINKS = "where rays cross grid lines: test_xray_frames.py"
EXAMPLES: dict[str, Example] = {
    "XRay": Example(lambda t: XRay(GRID, CONE, dtype=t)),
    "XRay footprint": Example(lambda t: XRay(GRID, CONE, "footprint", t)),
    "Dynamic": Example(lambda t: Dynamic(XRay(GRID, CONE, dtype=t), [1, 0, 1])),
    "XRayFrames": Example(lambda t: XRayFrames(GRID, CONE, t), _frames, KINKS),
    "MisalignedXRay": Example(lambda t: MisalignedXRay(GRID, _errors(), t), _frames, KINKS),
    "GeometryErrors": Example(lambda t: _errors(), lambda A, rng: tmap(lambda s: 0.1 + zeros(s), A.domain)),
    "Warp": Example(lambda t: Warp(GRID, 2, t), kinks="where places cross planes of voxels: test_warp.py"),
    "Warped": Example(lambda t: Warp(GRID, 2, t).fix(displacement=np.full((2, 3, *GRID.shape), 0.3, t))),
    "FreeForm": Example(lambda t: FreeForm((4, 5, 4), GRID.shape, (2,), t)),
    "FourierSlice": Example(_slices, _particles, "in some parameters: test_slice_operator.py"),
    "KnownSlices": Example(
        lambda t: _slices(t).fix(**slice_problems.parameters(3, np.random.default_rng(2)))
    ),
    "Spectrum": Example(lambda t: Spectrum(6, dtype=t)),
    "GaussianProjection": Example(
        lambda t: GaussianProjection(4, 2, 8, 2.0, dtype=t), _blobs, "cut off far out: test_cryoem_gaussians.py"
    ),
    "Polychromatic": Example(
        lambda t: Polychromatic((3, 4), [[1.0, 2.0, 0.5]], [[0.7, 0.4, 0.3], [0.2, 0.1, 0.1]], t),
        lambda A, rng: _like(rng.random(A.domain.shape), A),
    ),
    "Fractions": Example(lambda t: Fractions(np.random.default_rng(3).random((2, 3, 4)).astype(t))),
    "Response": Example(lambda t: Response((4, 3, 5), {"gain": (1, 3, 5)}, {"offset": (4, 1, 1)}, t)),
    "Axial": Example(lambda t: Axial(GRID, (0.3, 0.2, 0.9), (0.5, 0.1, 0.2), dtype=t)),
    "Texture": Example(lambda t: Texture((5, 6), PLACES, 2, around=True, dtype=t)),
    "LitNormals": Example(lambda t: LitNormals(6, 3, "oren_nayar", 4, dtype=t), _lit),
    "EmissionRays": Example(
        lambda t: EmissionRays(GRID, 5, 2, dtype=t, extinction=(1.0, 0.4)), _glowing, 
        "where rays cross planes of voxels: test_emission.py",
    ),
    "RadianceField": Example(
        lambda t: RadianceField(GRID, 5, 1, dtype=t), _coloured, "where rays cross planes of voxels: test_radiance.py"
    ),
    "SolidRays": Example(
        lambda t: SolidRays(["box", "capsule"], [False, True], 6, 2, 0.2, dtype=t), _solid, "test_solid_rays.py"
    ),
    "EmissionProjection": Example(lambda t: _emission_projection(t)),
    "Nufft": Example(lambda t: Nufft((6, 5), POINTS, (2,), 1e-3, complex_of(t))),
    "Nufft in space": Example(lambda t: Nufft((6, 5, 4), POINTS3, (2, 2), 1e-3, complex_of(t), 2.0)),
    "Cartesian": Example(lambda t: Cartesian((4, 5), NODES / (4, 5), (3,), complex_of(t))),
    "OffResonance": Example(
        lambda t: OffResonance(np.arange(30.0).reshape(6, 5), np.arange(23) / 400, POINTS, (2,), 1e-3, complex_of(t))
    ),
    "Toeplitz": Example(lambda t: Nufft((6, 5), POINTS, (2,), 1e-3, complex_of(t)).gram()),
    "Sense": Example(lambda t: Sense.at(_maps(t), POINTS)),
    "SenseGram": Example(lambda t: Sense.at(_maps(t), POINTS).gram()),
    "Series": Example(lambda t: _series(t)),
    "SenseModel": Example(
        lambda t: SenseModel((6, 5), 3, len(POINTS), 1e-12, complex_of(t)),
        lambda A, rng: _like(random_element(A.domain, rng) | {"points": POINTS}, A),
    ),
    "Differences": Example(lambda t: Differences((3, 4, 5), (0.5, 2.0), (0, 2), t)),
    "Strains": Example(lambda t: Strains((4, 5), (0.5, 2.0), t)),
    "Curvatures": Example(lambda t: Curvatures((5, 6), (2.0, 0.5), t)),
    "SurfaceGeometry": Example(lambda t: SurfaceGeometry(SHAPE, (1.0, 0.8), dtype=t), _terrain),
    "Reflectance": Example(lambda t: Reflectance(SHAPE, 2, "lambert", dtype=t), _terrain, steps=(1e-3, 1e-4)),
    "Shadows": Example(
        lambda t: Shadows(SHAPE, radius=0.2, dtype=t),
        lambda A, rng: _like({"height": rng.standard_normal(SHAPE), "sun": SUN[0]}, A),
        "where one crest hides another: test_shadows.py",
    ),
    "TerrainImages": Example(
        lambda t: TerrainImages(SHAPE, DOWN, "lambert", shadows="none", dtype=t), _terrain, steps=(1e-3, 1e-4)
    ),
    "OfSunAngles": Example(
        lambda t: OfSunAngles(TerrainImages(SHAPE, DOWN, "lambert", shadows="none", dtype=t)), _terrain,
        steps=(1e-3, 1e-4),
    ),
}  # fmt: skip


ON_THE_HOST = (
    "Warped", "Fractions", "GeometryErrors", "Sense", "SenseGram", "Series", "EmissionProjection",
)  # fmt: skip
"""Examples that hold arrays of NumPy."""


def _built(name: str, rng: np.random.Generator, dtype: str = "float64") -> tuple[Operator, Element]:
    example = EXAMPLES[name]
    A = example.make(dtype)
    return A, random_element(A.domain, rng) if example.at is None else example.at(A, rng)


def test_every_operator_is_tested() -> None:
    """The battery below, the one of core, or a named test: none is forgotten."""
    for module in pkgutil.walk_packages(tomodiff.__path__, "tomodiff."):
        if module.name.split(".")[1] not in ("cuda_kernels", "datasets", "workflows", "__main__", "cli"):
            importlib.import_module(module.name)
    defined = {c.__name__ for c in subclasses(Operator, "tomodiff.") if not c.__module__.startswith("tomodiff.core")}
    tested = {type(e.make("float64")).__name__ for e in EXAMPLES.values()}
    assert defined == tested | set(ELSEWHERE)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_adjoint_is_exact(name: str, rng: np.random.Generator, xp: ModuleType) -> None:
    A, x = _built(name, rng)
    if xp is not np and name in ON_THE_HOST:
        pytest.skip("what it holds is in host memory")
    on_device = tmap(xp.asarray, x)
    if isinstance(A, LinearOperator):
        assert check_adjoint(A, rng, xp=xp) < EXACT and check_adjoint(A.T, rng, xp=xp) < EXACT
        return
    y, J = A.linearize(on_device)
    if xp is np:
        assert check_adjoint(J, rng) < EXACT
    tmap(lambda a, b: np.testing.assert_allclose(to_numpy(a), b, rtol=1e-9, atol=1e-11), y, A(x))


@pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if not e.kinks])
def test_the_slope_is_exact(name: str, rng: np.random.Generator) -> None:
    A, x = _built(name, rng)
    exact_slope(check_gradient(A, x, rng, EXAMPLES[name].steps), floor=1e-7)


@pytest.mark.parametrize("name", EXAMPLES)
def test_inputs_stay_and_outputs_are_their_own(name: str, rng: np.random.Generator) -> None:
    A, x = _built(name, rng)
    before = tmap(np.copy, x)
    value, J = A.linearize(x)
    check_element(A.range, value, name)
    g = random_element(A.range, rng)
    kept = tmap(np.copy, g)
    back = J.adjoint(g)
    tmap(lambda s, b: np.testing.assert_equal(b.shape, s.shape), A.domain, back)
    again = A(x)
    tmap(np.testing.assert_array_equal, x, before)
    tmap(np.testing.assert_array_equal, g, kept)
    tmap(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), value, again)
    tmap(lambda r: r.fill(0), back)
    tmap(np.testing.assert_array_equal, x, before)
    if isinstance(A, LinearOperator):
        out = tmap(lambda a: np.full_like(a, np.nan), again)
        tmap(np.testing.assert_array_equal, A.forward(x, out), again)
        tmap(np.testing.assert_array_equal, out, again)


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "GeometryErrors"])
def test_single_precision_stays_single(name: str, rng: np.random.Generator) -> None:
    A, x = _built(name, rng, "float32")
    value = A(x)
    kinds = {a.dtype.name for a in (value.values() if isinstance(value, dict) else [value])}
    assert kinds <= {"float32", "complex64"}, kinds
    check_element(A.range, value, name)
    double, _ = _built(name, rng)
    exact = double(_like(x, double))
    tmap(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3 * float(abs(b).max())), value, exact)


@pytest.mark.parametrize("name", EXAMPLES)
def test_operators_pickle(name: str, rng: np.random.Generator) -> None:
    A, x = _built(name, rng)
    again = pickle.loads(pickle.dumps(A))
    tmap(np.testing.assert_array_equal, again(x), A(x))
    assert (again.domain, again.range) == (A.domain, A.range)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_does_not_fit_is_refused(name: str, rng: np.random.Generator) -> None:
    """A wrong shape is said before anything is computed."""
    A, x = _built(name, rng)
    wrong = tmap(lambda a: namespace(a).zeros((*a.shape, 2), a.dtype), x)
    with pytest.raises(ValueError, match=r"expected shape|leading axes"):
        A(wrong)


def test_the_battery_can_fail(rng: np.random.Generator) -> None:
    from tomodiff.core import Linear

    A = dense(rng, (4,), (4,))
    assert check_adjoint(Linear(A.domain, A.range, A.forward, lambda y: 1.0001 * A.adjoint(y)), rng) > EXACT
