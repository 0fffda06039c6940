"""Launch every kernel on small and awkward problems: `python kernel_smoke.py float32 OUT.npz`.

The sanitizer, packaging and instruction-set tests run this in processes of their own; test_kernel_devices.py compares
what a GPU computes with it. It needs the installed package and NumPy only, writes what the kernels computed, and fails
if a kernel of `cuda_kernels/` that the device prefers was never launched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff import kernels
from tomodiff.analytic.fbp import fbp, fdk
from tomodiff.array import tmap, to_numpy
from tomodiff.core import random_element
from tomodiff.geometry import ConeBeam, FanBeam, Grid, Helix, Laminography, ParallelBeam, Scan, Vectors
from tomodiff.kernels import signatures
from tomodiff.objective.tv import HuberTotalVariation, TotalVariation
from tomodiff.projectors import XRay
from tomodiff.projectors.emission import EmissionRays
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.gaussians import GaussianProjection
from tomodiff.projectors.march import gathered
from tomodiff.projectors.mri.nufft import Nufft
from tomodiff.projectors.radiance import ACTIVATIONS, RadianceField
from tomodiff.projectors.records import NAMES
from tomodiff.projectors.solids import SolidRays
from tomodiff.projectors.terrain.camera_image import CameraImage
from tomodiff.projectors.terrain.photometry import MODELS, Photometry
from tomodiff.projectors.terrain.reflectance import Reflectance, direction
from tomodiff.projectors.terrain.shadows import Shadows
from tomodiff.projectors.terrain.sightings import Sighting, Sightings, coefficients_of
from tomodiff.projectors.warp import Warp
from tomodiff.projectors.xray_frames import XRayFrames
from tomodiff.solvers.listed_adam import ListedAdam

ADJOINTS = {
    "planes": ("column", "ray", "curved", "footprint"),
    "gather": ("column", "ray"),
    "atomic": ("ray", "curved", "footprint"),
}
"""The walks that there are of each adjoint, whichever the device prefers."""

Results = Iterator[tuple[str, Any]]
LANES = kernels.lanes(np)


def problems() -> Iterator[tuple[str, Grid, Scan]]:
    """Scans of every kind on grids that end in mid-vector, in mid-thread, at one voxel, or beside the beam."""
    angles = np.linspace(0.1, 6.0, 5)
    small, tall = Grid((7, 9, 11), (0.9, 1.0, 1.1), (0.3, -0.4, 0.2)), Grid((LANES + 13, 4, 5), 1.0)
    cube = Grid((17, 19, 18), 1.0)
    yield "rows", Grid((9, 6, 7), 1.0), ParallelBeam(angles, (9, 13), 1.0)
    yield "rows, 4 vectors and more", Grid((83, 5, 6)), ParallelBeam(angles, (83, 7), (1.0, 0.7), axis_offset=0.3)
    yield "parallel", small, ParallelBeam(angles, (6, 14), (1.3, 0.8), axis_offset=0.4)
    yield "tilted parallel", small, ParallelBeam(angles, (8, 9), 1.1, detector_tilt=(0.1, 0.05, -0.1))
    yield "tall parallel", tall, ParallelBeam(angles, (LANES + 5, 6), (1.001, 0.9))
    yield (
        "cone",
        small,
        ConeBeam(angles, 40.0, 80.0, (12, 15), (1.7, 1.9), axis_offset=0.7, detector_offset=(1.0, -2.0)),
    )
    yield "tall cone", tall, ConeBeam(angles, 900.0, 1800.0, (LANES + 9, 7), 2.03)
    yield "fine cone", small, ConeBeam(angles, 40.0, 80.0, (70, 11), (0.11, 1.0))
    yield "coarse cone", small, ConeBeam(angles, 40.0, 80.0, (3, 5), 9.0)
    yield "curved cone", small, ConeBeam(angles, 40.0, 80.0, (9, 15), 1.8, curved=True)
    yield "steep cone", cube, ConeBeam(angles, 16.0, 32.0, (41, 21), 2.4)
    yield "source in the grid", cube, ConeBeam(angles, 5.0, 30.0, (13, 15), 3.1)
    yield "rolled cone", cube, ConeBeam(angles, 60.0, 120.0, (37, 20), 2.1, detector_tilt=(0.05, 0.02, -0.03))
    yield "rolled tall cone", tall, ConeBeam(angles, 900.0, 1800.0, (LANES + 9, 7), 2.0, detector_tilt=(0.02, 0.0, 0.0))
    yield (
        "rolled curved cone",
        small,
        ConeBeam(angles, 40.0, 80.0, (9, 15), 1.8, detector_tilt=(0.1, 0.0, 0.0), curved=True),
    )
    yield "fan", Grid((1, 9, 10), 1.0), FanBeam(angles, 40.0, 80.0, 23, 1.1)
    yield "helix", small, Helix(angles * 2, 40.0, 80.0, (9, 15), 1.8, 5.0, -4.0)
    yield "laminography", small, Laminography(angles, 1.0, (12, 13), 1.0)
    yield "along z", cube, Laminography(angles, 1.45, (18, 20), 1.0)
    yield "one pixel", small, ConeBeam(angles, 40.0, 80.0, (1, 1), 5.0)
    yield "one voxel", Grid((1, 1, 1), 3.0), ConeBeam(angles, 40.0, 80.0, (5, 6), 2.0)
    yield "beside the beam", Grid((5, 5, 5), 1.0, (300.0, 200.0, 100.0)), ConeBeam(angles, 900.0, 1000.0, (5, 6), 1.0)
    yield "vectors", small, Vectors(ConeBeam(angles, 40.0, 80.0, (7, 8), 2.0).frames() + 0.01, (7, 8), "cone")


def project(name: str, grid: Grid, scan: Scan, precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Forward and adjoint by every model, path and walk."""
    x = xp.asarray(rng.random(grid.shape).astype(precision))
    y = xp.asarray(rng.random((len(scan), *scan.detector_shape)).astype(precision))
    for model, path in (("joseph", "auto"), ("joseph", "general"), ("footprint", "auto")):
        operator = XRay(grid, scan, model=model, path=path, dtype=precision)
        yield f"{name}: {model} {path} forward", operator.forward(x)
        for walk, roles in ADJOINTS.items():
            for role in roles:
                of = "ray" if role == "curved" else role
                kernels.PREFERRED[f"{role}_adjoint", xp is np] = f"xray_{of}_adjoint_{walk}"
            yield f"{name}: {model} {path} adjoint, {walk}", operator.adjoint(y)


def moving_frames(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """How integrals change with source and detector: rays along all axes, columns longer than a thread's lanes."""
    angles = np.linspace(0.1, 6.0, 5)
    cube = Grid((17, 19, 18), 1.0, (0.137, -0.211, 0.093))
    for name, grid, scan in (
        (
            "cone",
            Grid((7, 9, 11), (0.9, 1.0, 1.1), (0.137, -0.211, 0.093)),
            ConeBeam(angles, 40.0, 80.0, (LANES + 9, 7), (0.2, 3.1)),
        ),
        ("steep cone", cube, ConeBeam(angles, 16.0, 32.0, (41, 21), 2.4, detector_tilt=(0.1, 0.0, 0.0))),
        ("parallel", cube, ParallelBeam(angles, (8, 9), 1.1, detector_tilt=(0.1, 0.05, -0.1))),
    ):
        A = XRayFrames(grid, scan, precision)
        z, j, i = np.indices(grid.shape)  # a ramp, whose integrals have no kinks where rays cross grid lines
        x = {"volume": xp.asarray((1 + 0.1 * z - 0.2 * j + 0.3 * i).astype(precision)), "frames": scan.frames().copy()}
        value, jacobian = A.linearize(x)
        moved = {"volume": x["volume"], "frames": rng.standard_normal(x["frames"].shape)}
        yield f"frames {name} push", jacobian.forward(moved)
        yield f"frames {name} pull", jacobian.adjoint(value)["frames"]


def invert(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Filtered back projection into upright and turned grids, small and longer than a thread's lanes."""
    angles = np.linspace(0.0, 2 * np.pi, 8, endpoint=False)
    turned = [[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]]
    grids = {
        "small": Grid((7, 9, 11), (0.9, 1.0, 1.1), (0.3, -0.4, 0.2)),
        "tall": Grid((LANES + 13, 4, 5), 1.0),
        "wide": Grid((2, 3, LANES + 7), 1.0),
        "turned": Grid((9, 8, 7), 1.0, rotation=turned),
        "tall, turned": Grid((LANES + 13, 4, 5), 1.0, rotation=turned),
    }
    shapes = ((12, 15), (LANES + 5, 6), (1, 1), (3, LANES + 5))
    for name, grid in grids.items():
        for shape in shapes:
            data = xp.asarray(rng.random((len(angles), *shape)).astype(precision))
            yield f"fbp {name} {shape}", fbp(data, ParallelBeam(angles, shape, 1.1, axis_offset=0.2), grid)
            yield f"fdk {name} {shape}", fdk(data, ConeBeam(angles, 900.0, 1800.0, shape, 2.1, axis_offset=0.2), grid)
            if max(grid.shape) < LANES:  # from inside of the grid, 1/depth^2 would blow every rounding up
                yield f"near fdk {name} {shape}", fdk(data, ConeBeam(angles, 30.0, 90.0, shape, 2.1), grid)


def total_variation(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Every kernel of tv.cu, on volumes of one voxel, one row, several threads' rows and several slabs."""
    for shape in ((1, 1, 1), (1, 1, LANES + 3), (3, 4, 5), (37, 2, 3), (2, 3, 2 * LANES)):
        x = xp.asarray(rng.random(shape).astype(precision))
        yield f"tv {shape}", np.array(TotalVariation(spacing=(0.5, 1.0, 2.0))(x))
        yield f"tv prox {shape}", TotalVariation(low=0.2, high=0.7, iterations=7).prox(x, 0.3)
        value, gradient = HuberTotalVariation(0.1).value_and_grad(x)
        yield f"tv huber {shape}", np.array(value)
        yield f"tv gradient {shape}", gradient


def gaussian_images(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Every kernel of gaussians.cu: Gaussians within an image, across its edges, beside it and over many lanes."""
    for n, views, box in ((1, 1, 1), (7, 3, 12), (5, 2, LANES + 9)):
        operator = GaussianProjection(n, views, box, 2.0, dtype=precision)
        turns = np.linalg.qr(rng.normal(size=(views, 3, 3)))[0]
        x = {"rotation": turns, "shift": rng.normal(0, 9, (views, 2))}
        x |= {"position": rng.normal(0, 0.9 * box, (n, 3)).astype(precision)}
        x |= {name: rng.uniform(1, 4, n).astype(precision) for name in ("amplitude", "sigma")}
        x = tmap(xp.asarray, x)
        images, jacobian = operator.linearize(x)
        yield f"gaussians {box}", images
        yield f"gaussians {box} push", jacobian.forward(x)
        for name, gradient in jacobian.adjoint(images).items():
            yield f"gaussians {box} pull, {name}", gradient


def central_slices(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Every kernel of slice_linear.cu and slice_wide.cu: both walks, all CTF modes, Ewald."""
    n = 3
    weights = xp.asarray(rng.random((2, 4)).astype(precision))
    groups, image_of = xp.asarray([0, 1, 0], np.int32), xp.asarray([2, 0, 1], np.int32)
    pixel, voltage = np.array([1.0, 1.5, 2.0]), np.array([300.0, 200.0, 100.0])
    cases = ((5, 6, 2.0, "none", 0), (10, 6, 1.0, "ctf", 0), (8, 8, 1.5, "phase-flipped", 0), (6, 4, 2.0, "ctf", 1))
    for kernel in ("linear", "kaiser-bessel"):
        for size, box, padding, ctf, ewald in cases:
            name = f"slices {kernel} {size} {box} {ctf} {ewald}"
            A = FourierSlice(
                size, box, pixel, voltage, kernel=kernel, padding=padding, ctf=ctf, ewald=ewald, r_max=box / 2,
                dose=np.array([0.0, 10.0, 0.0]), dtype=precision,
            )  # fmt: skip
            x = tmap(xp.asarray, slice_inputs(n, rng) | {"volume": rng.random((size,) * 3).astype(precision)})
            y, jacobian = A.linearize(x)
            yield name, y.view(precision)
            yield f"{name} push", jacobian.forward(x).view(precision)
            yield from (
                (f"{name} pull {k}", g) for k, g in jacobian.adjoint(xp.ascontiguousarray(y[::-1] + 0.5j * y)).items()
            )
            slicer, spectrum = A.slicer, A.spectrum.forward(x["volume"])
            records = xp.asarray(np.ascontiguousarray(A.records(tmap(to_numpy, x)), precision))
            data = (y[::-1] + 0.5 * y).astype(y.dtype)  # far from the model, whose residual would be rounding alone
            arguments = (spectrum, data, records, weights, groups, image_of)
            for growing in ("planes", "atomic") if xp is np else ("atomic",):
                slicer._growing = lambda kind, xp, growing=growing: f"{kind}_{growing}"  # type: ignore[method-assign]
                slicer._slabs = lambda xp, growing=growing: 1 if growing == "atomic" else 3  # type: ignore[method-assign]
                sums = xp.zeros((*spectrum.shape, 4), precision)
                slicer.insert(sums, y, records, groups, weights)
                grown = xp.zeros_like(spectrum)
                misfit = slicer.residual(*arguments, grown)[0]
                yield f"{name} {growing} insert", sums
                yield f"{name} {growing} adjoint", slicer.adjoint(y, records).view(precision)
                yield f"{name} {growing} residual", misfit
                yield f"{name} {growing} gradient", grown.view(precision)
            yield f"{name} records", slicer.residual(*arguments)[1]
            yield f"{name} Gram", slicer.residual(spectrum, None, records, weights, groups, params=False)[0]
            for of_ctf in (False, True):
                found = slicer.normal(*arguments, ctf=of_ctf)
                yield from ((f"{name} normal {of_ctf} {i}", a) for i, a in enumerate(found))


def slice_inputs(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Parameters of n particles: poses, and everything else that a record holds."""
    rotation = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]  # on no axis, where rounding would choose between two slopes
    made = {k: rng.normal(0, 0.1, (n, *shape)) for k, shape in NAMES.items()}
    made |= {"rotation": rotation, "defocus": rng.uniform(1e3, 2e3, (n, 3)), "scale": np.ones(n)}
    return made | {"cs": np.full(n, 2.7), "magnification": np.tile(np.eye(2), (n, 1, 1))}


def reflectances(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Every model, elements that end in mid-vector, sun and camera well above their horizons, and at awkward places."""
    d = rng.normal(size=(3, LANES + 7, 3))
    d[..., 2] = np.abs(d[..., 2]) + 0.8
    n, s, v = d / np.linalg.norm(d, axis=-1, keepdims=True)
    at = np.stack([(n * s).sum(-1), (n * v).sum(-1), (s * v).sum(-1), (n * np.cross(s, v)).sum(-1)])
    at[:, :4] = [[1, 0.6, 0, 0.5], [1, 0.8, 0.5, -0.1], [1, 0.96, 0.3, 0.3], [0, 0, 0.2, 0.1]]
    for name, model in MODELS.items():
        A = Photometry(model, at.shape[1], precision)
        values = {"theta": 0.4, "phi": 0.3, "bc0": 0.2} if name.startswith("hapke") else {}
        x = tmap(xp.asarray, {"geometry": at.astype(precision), "parameters": model.vector(**values)})
        value, jacobian = A.linearize(x)
        yield f"reflectance {name}", value
        yield f"reflectance {name} alone", A(x)
        pulled = jacobian.adjoint(xp.ones_like(value))
        yield f"reflectance {name} slopes", pulled["geometry"]
        if len(model.parameters):
            yield f"reflectance {name} parameters", pulled["parameters"]


def surfaces(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Slopes at edges, a row that ends in mid-vector, vectors of all elements and of each."""
    for shape, field in (((3, LANES + 5), False), ((2, 2), True), ((7, 4), False)):
        A = Reflectance(shape, 2, spacing=(1.5, 2.0), sun_field=field, view_field=field, lit=True, dtype=precision)
        x = {name: rng.normal(size=space.shape).astype(space.dtype) for name, space in A.domain.items()}
        x["parameters"] = A.photometry.model.vector()
        x["height"] *= 0.2
        for name in ("sun", "view"):
            x[name] = (0.1 * x[name] + direction(0.3, 1.0).reshape(3, *[1] * (x[name].ndim - 2))).astype(x[name].dtype)
        x = tmap(xp.asarray, x)
        value, jacobian = A.linearize(x)
        yield f"surface {shape}", value
        yield f"surface {shape} push", jacobian.forward(x)
        yield from ((f"surface {shape} pull {name}", g) for name, g in jacobian.adjoint(value).items())
        short = A.linearize_in(x, ("height", "albedo"))[1]
        yield f"surface {shape} short", A(x)
        yield f"surface {shape} short push", short.forward(x)
        yield f"surface {shape} short pull", short.adjoint(value)["height"]


def shadows(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Rays along both axes in both senses, straight and aslant, from a row that ends in mid-vector."""
    y, x = np.mgrid[:9, : LANES + 5]
    height = (3 * np.sin(0.7 * x + 0.4 * y) + 0.2 * rng.normal(size=x.shape)).astype(precision)
    for azimuth in (0.0, 0.4, 1.3, 2.0, 2.9, 3.6, 4.4, 5.1, 6.0):
        A = Shadows(height.shape, radius=0.2, body_radius=1e4, dtype=precision)
        value, jacobian = A.linearize({"height": xp.asarray(height), "sun": xp.asarray(direction(azimuth, 0.7))})
        yield f"shadows {azimuth}", value
        yield f"shadows {azimuth} pull", jacobian.adjoint(xp.ones_like(value))["height"]


def sightings(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Places in an image and beyond its edges, sights that meet the ground, miss it and are none."""
    shape = (3, LANES + 5)
    n = shape[0] * shape[1]
    start = rng.integers(-4, 16, (2, n)).astype("int32")
    path = rng.normal(size=(2, 4, n)).astype(precision)
    image = coefficients_of(rng.normal(size=(9, 12)), precision)
    image, start, path = (xp.asarray(a) for a in (image, start, path))
    A = Sightings(shape, [Sighting(image, start, path, 0.0, 1.0, (5.5, 4.0), (6.0, 4.5))], precision)
    x = {"height": rng.normal(size=shape).astype(precision), "camera": 0.3 * rng.normal(size=(1, 6))}
    value, jacobian = A.linearize(tmap(xp.asarray, x))
    yield "sightings", value
    yield "sightings pull", jacobian.adjoint(value)["height"]
    path = np.zeros((2, 4, *shape), precision)
    path[0, 0], path[1, 0] = np.arange(shape[1]) - 1.2, np.arange(3)[:, None] + 0.3
    path[0, 1], path[:, :, 0, 2] = 6.0, np.nan
    B = CameraImage(shape, xp.asarray(path), 0.0, 4.0, dtype=precision)
    x = {"height": (0.3 * rng.normal(size=shape)).astype(precision), "shade": rng.normal(size=shape).astype(precision)}
    value, jacobian = B.linearize(tmap(xp.asarray, x))
    yield "camera image", value
    yield "camera image pull", jacobian.adjoint(value)["height"]


def deformed(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Places between voxels, at edges, far beyond them, and one that is no number; rows that end in mid-vector."""
    grid = Grid((5, 4, LANES + 5), (0.5, 1.0, 2.0))
    A = Warp(grid, 2, precision)
    x = random_element(A.domain, rng)
    x["displacement"][0, 0, 0], x["displacement"][1, 2, 1, 1, 1] = 9.0, np.nan
    x = tmap(xp.asarray, x)
    value, jacobian = A.linearize(x)
    yield "warp", value
    yield "warp push", jacobian.forward(x | {"displacement": xp.ones_like(x["displacement"])})
    for walk in ("atomic", "planes") if xp is np else ("atomic",):
        kernels.PREFERRED["warp_adjoint", xp is np] = f"warp_adjoint_{walk}"
        yield from ((f"warp pull {name} {walk}", g) for name, g in jacobian.adjoint(value).items())


def spectra(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Samples that wrap round the grid's end, coincide, and leave planes empty; coils that end in mid-vector."""
    kind = "complex64" if precision == "float32" else "complex128"
    for shape, coils, samples in (((9, 8), 1, LANES + 3), ((10, 7), 5, 40), ((6, 5, 7), 12, 30), ((16, 12), 8, 1)):
        k = rng.uniform(-0.5, 0.5, (samples, len(shape)))
        k[-1] = -0.5
        A = Nufft(shape, k, (coils,), 1e-4, kind, 1.5)
        y = A.forward(xp.asarray(random_element(A.domain, rng)))
        yield f"nufft {shape}", y.view(precision)
        for walk in ("atomic", "planes") if xp is np else ("atomic",):
            kernels.PREFERRED["nufft_adjoint", xp is np] = f"nufft_adjoint_{walk}"
            yield f"nufft {shape} adjoint {walk}", A.adjoint(y).view(precision)


def glowing(precision: str, rng: np.random.Generator, xp: ModuleType) -> Results:
    """Rays through, beside, along an axis, from within, of no direction; some voxels of many moved by Adam."""
    grid = Grid((4, 5, 6), (0.9, 1.0, 1.2))
    origins, directions = rng.normal(size=(LANES + 5, 3)), rng.normal(size=(LANES + 5, 3))
    origins[:40] *= 9
    directions[:30], directions[40], directions[41:43] = -origins[:30], 0, (0, 0, 1)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-9)
    n = len(origins)
    kinds: list[tuple[str, Any]] = [(f"emission {on}", EmissionRays(grid, n, 2, on, dtype=precision)) for on in (0, 1)]
    mask = xp.asarray(rng.integers(0, 2, grid.shape))
    for d, by in enumerate(ACTIVATIONS):
        kinds.append((f"radiance {d}", RadianceField(grid, n, d, by, None, 1e-2, mask, precision)))
    kinds.append(("solids", SolidRays(["box", "cylinder", "capsule"], [0, 0, 1], n, 2, 0.3, None, precision)))
    for name, A in kinds:
        given = random_element(A.domain, rng, nonnegative=True) | {"origins": origins, "directions": directions}
        x = {key: xp.asarray(a.astype(precision)) for key, a in given.items()}
        image, jacobian = A.linearize(x)
        yield from ((name, image), (f"{name} push", jacobian.forward(x)))
        for walk in ("atomic", "copies") if xp is np else ("atomic",):
            kernels.PREFERRED[f"{name.split()[0]}_pull", xp is np] = f"{name.split()[0]}_pull_{walk}"
            yield from ((f"{name} {key} {walk}", g) for key, g in jacobian.adjoint(image).items())
    yield "solids columns", A.columns(x, [x, x])
    values, gradient = (xp.asarray(rng.normal(size=(*size, n, 3)).astype(precision)) for size in ((), (2,)))
    ListedAdam(values, gradient, xp.arange(0, n, 2)).step(np.ones(3))
    yield from (("adam", values), ("adam gradient", gradient), ("copies", gathered(gradient.copy())))


def run_all(precision: str, xp: ModuleType = np) -> dict[str, np.ndarray]:
    """What every kernel computes on a device, by name of the problem; fails for a kernel that no problem launches."""
    launched: set[str] = set()
    device: Any = kernels.HostKernel if xp is np else kernels.DeviceKernel
    launch, preferred, cones = device.__call__, dict(kernels.PREFERRED), dict(kernels.UPRIGHT_CONE)
    kernels.UPRIGHT_CONE[xp is np] = "columns"

    def watched(self: Any, *args: Any) -> None:
        launched.add(self.name)
        launch(self, *args)

    rng = np.random.default_rng(11)
    results: dict[str, np.ndarray] = {}
    parts = [invert, total_variation, central_slices, gaussian_images]
    parts += [reflectances, surfaces, shadows, sightings, moving_frames, deformed, spectra, glowing]
    device.__call__ = watched
    try:
        for name, grid, scan in problems():
            results.update((k, to_numpy(v)) for k, v in project(name, grid, scan, precision, rng, xp))
        for part in parts:
            results.update((k, to_numpy(v)) for k, v in part(precision, rng, xp))
    finally:
        device.__call__ = launch
        kernels.PREFERRED.update(preferred)
        kernels.UPRIGHT_CONE.update(cones)
    missed = set(signatures(precision)) - launched
    if xp is not np:  # slabs of slices are for few threads: a GPU adds atomically, and never launches them
        of_cpus = ("slice", "warp", "nufft", "emission", "radiance")
        missed -= {name for name in missed if name.startswith(of_cpus) and name.endswith(("_planes", "_copies"))}
    assert not missed, f"no problem of {__file__} launches {sorted(missed)}"
    return results


def main() -> None:
    precision, out = sys.argv[1:]
    results = run_all(precision)
    broken = [name for name, value in results.items() if not np.isfinite(value).all()]
    assert not broken, f"not finite: {broken}"
    np.savez(out, **results)
    print(f"{len(results)} results of {len(signatures(precision))} kernels, isa {kernels.cpu_isa()}, {precision}")


if __name__ == "__main__":
    main()
