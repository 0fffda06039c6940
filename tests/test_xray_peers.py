"""The X-ray projectors against other programs: ASTRA's CPU code in two dimensions, RTK's Joseph projectors in three."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tomodiff.array import Array
from tomodiff.geometry import ConeBeam, FanBeam, Grid, Helix, ParallelBeam, Scan, to_astra
from tomodiff.projectors import XRay

SINGLE = 2e-5
"""Bound on |ours - theirs| / |theirs| of one model in single precision, by them with coordinates of 10^2 voxels."""

ANGLES = np.linspace(0.03, 3.0, 11)  # none near 45 degrees, where the programs may choose different major axes


def relative(ours: Array, theirs: Array) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def inside(shape: tuple[int, int, int], rng: np.random.Generator) -> Array:
    """Random voxels, zero in the outermost two, where programs extend a volume differently."""
    x = np.zeros(shape, "float32")
    x[..., 2:-2, 2:-2] = rng.random(x[..., 2:-2, 2:-2].shape)
    if shape[0] > 4:
        x[:2] = x[-2:] = 0
    return x


# ---- ASTRA


class Astra:
    """ASTRA's CPU projector of a kind, for a scan of one row and a grid of one slice."""

    def __init__(self, kind: str, grid: Grid, scan: Scan) -> None:
        self.astra = pytest.importorskip("astra", reason="the peer to compare with: pip install astra-toolbox")
        self.volume, geometry = to_astra(scan, grid, dimensions=2)
        self.geometry = geometry
        self.projector = self.astra.create_projector(kind, geometry, self.volume)

    def run(self, algorithm: str, given: str, made: str, data: dict[str, Any]) -> Array:
        ids = {
            "ProjectionDataId": self.astra.data2d.create("-sino", self.geometry, data.get("ProjectionDataId", 0)),
            "VolumeDataId": self.astra.data2d.create("-vol", self.volume, data.get("VolumeDataId", 0)),
        }
        names = {"FP": {"VolumeDataId": "VolumeDataId", "ProjectionDataId": "ProjectionDataId"}}
        names["BP"] = {"VolumeDataId": "ReconstructionDataId", "ProjectionDataId": "ProjectionDataId"}
        config = self.astra.astra_dict(algorithm) | {"ProjectorId": self.projector}
        config |= {names[algorithm][name]: value for name, value in ids.items()}
        job = self.astra.algorithm.create(config)
        self.astra.algorithm.run(job)
        found = self.astra.data2d.get(ids[made])
        self.astra.algorithm.delete(job)
        self.astra.data2d.delete(list(ids.values()))
        return np.array(found)

    def forward(self, x: Array) -> Array:
        return self.run("FP", "VolumeDataId", "ProjectionDataId", {"VolumeDataId": x[0]})[:, None]

    def adjoint(self, y: Array) -> Array:
        return self.run("BP", "ProjectionDataId", "VolumeDataId", {"ProjectionDataId": y[:, 0]})[None]


FLAT = Grid((1, 40, 36))
PARALLEL = ParallelBeam(ANGLES, (1, 50), 0.9, axis_offset=0.37)


@pytest.mark.parametrize("path", ["auto", "general"])
def test_parallel_beam_is_astras_linear_model(path: str, rng: np.random.Generator) -> None:
    ours, theirs = XRay(FLAT, PARALLEL, path=path), Astra("linear", FLAT, PARALLEL)
    x, y = inside(FLAT.shape, rng), rng.random(ours.range.shape, "float32")
    assert relative(ours.forward(x), theirs.forward(x)) <= SINGLE
    both = np.s_[:, 2:-2, 2:-2]
    assert relative(ours.adjoint(y)[both], theirs.adjoint(y)[both]) <= SINGLE


@pytest.mark.parametrize("kind", ["parallel", "fan"])
@pytest.mark.parametrize("model", ["joseph", "footprint"])
def test_models_differ_from_astras_by_the_size_of_a_voxel_at_most(kind: str, model: str) -> None:
    """Theirs: exact lengths in voxels (fan) or means over strips (parallel). A smooth object looks the same to all."""
    grid = Grid((1, 96, 90))
    scan = ParallelBeam(ANGLES, (1, 120), 0.8) if kind == "parallel" else FanBeam(ANGLES * 2, 200.0, 300.0, 120, 1.4)
    theirs = Astra("strip" if kind == "parallel" else "line_fanflat", grid, scan)
    px, py, _ = grid.coordinates()
    x = np.exp(-((px - 5) ** 2 / 300 + (py + 4) ** 2 / 200)).astype("float32")
    assert relative(XRay(grid, scan, model=model).forward(x), theirs.forward(x)) <= 5e-3


# ---- RTK

quiet = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
"""ITK's modules warn so while they load, and crash if that is an error."""


class RTK:
    """RTK's Joseph projectors for a circular or helical cone beam without offsets.

    Its axes (x, y, z) are our (x, z, -y): the source starts at +z and turns about y (RTK documentation, 3D geometry).
    """

    def __init__(self, grid: Grid, scan: ConeBeam | Helix) -> None:
        self.itk = pytest.importorskip("itk", reason="the peer to compare with: pip install itk-rtk")
        try:
            self.rtk = self.itk.RTK  # loaded when it is asked for
        except AttributeError:
            pytest.skip("the peer to compare with: pip install itk-rtk")
        self.grid, self.scan = grid, scan
        self.geometry = self.rtk.ThreeDCircularProjectionGeometry.New()
        heights = scan.heights() if isinstance(scan, Helix) else np.zeros(len(scan))
        for angle, height in zip(scan.angles, heights, strict=True):
            shift = (0.0, float(height), 0.0, 0.0, 0.0, float(height))
            self.geometry.AddProjection(scan.source_axis, scan.source_detector, np.rad2deg(angle), *shift)

    def image(self, array: Array, spacing: tuple[float, ...], first: tuple[float, ...]) -> Any:
        image = self.itk.image_from_array(np.ascontiguousarray(array, np.float32))
        image.SetSpacing([float(s) for s in spacing])
        image.SetOrigin([float(f) for f in first])
        return image

    def volume(self, x: Array) -> Any:
        (nz, ny, nx), (dz, dy, dx) = self.grid.shape, self.grid.spacing
        first = (-(nx - 1) / 2 * dx, -(nz - 1) / 2 * dz, -(ny - 1) / 2 * dy)
        return self.image(x.transpose(1, 0, 2)[::-1], (dx, dz, dy), first)

    def stack(self, y: Array) -> Any:
        (nv, nu), (dv, du) = self.scan.detector_shape, self.scan.pixel
        return self.image(y, (du, dv, 1.0), (-(nu - 1) / 2 * du, -(nv - 1) / 2 * dv, 0.0))

    def run(self, name: str, zeros: Any, given: Any) -> Array:
        kind = self.itk.Image[self.itk.F, 3]
        job = getattr(self.rtk, name)[kind, kind].New()
        job.SetGeometry(self.geometry)
        job.SetInput(0, zeros)
        job.SetInput(1, given)
        job.Update()
        return np.array(self.itk.array_from_image(job.GetOutput()))

    def forward(self, x: Array) -> Array:
        zeros = self.stack(np.zeros((len(self.scan), *self.scan.detector_shape)))
        return self.run("JosephForwardProjectionImageFilter", zeros, self.volume(x))

    def adjoint(self, y: Array) -> Array:
        zeros = self.volume(np.zeros(self.grid.shape))
        return self.run("JosephBackProjectionImageFilter", zeros, self.stack(y))[::-1].transpose(1, 0, 2)


BOX = Grid((14, 17, 19), (0.9, 1.0, 1.1))
CONES: dict[str, ConeBeam | Helix] = {
    "cone": ConeBeam(ANGLES * 2, 60.0, 110.0, (20, 30), (1.8, 1.7)),
    "helix": Helix(ANGLES * 2, 60.0, 110.0, (20, 30), (1.8, 1.7), 9.0, -6.0),
}


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("path", ["auto", "general"])
@pytest.mark.parametrize("name", CONES)
def test_cone_beams_are_rtks_joseph_model(name: str, path: str, rng: np.random.Generator) -> None:
    scan = CONES[name]
    ours, theirs = XRay(BOX, scan, path=path), RTK(BOX, scan)
    x, y = inside(BOX.shape, rng), rng.random(ours.range.shape, "float32")
    assert relative(ours.forward(x), theirs.forward(x)) <= SINGLE
    both = np.s_[2:-2, 2:-2, 2:-2]
    assert relative(ours.adjoint(y)[both], theirs.adjoint(y)[both]) <= SINGLE


@pytest.mark.slow
@quiet
def test_footprints_see_a_smooth_object_as_rtk_does() -> None:
    scan = ConeBeam(ANGLES * 2, 300.0, 450.0, (48, 60), 1.5)
    grid = Grid((44, 56, 54))
    px, py, pz = grid.coordinates()
    x = np.exp(-((px - 3) ** 2 / 90 + (py + 2) ** 2 / 80 + pz**2 / 60)).astype("float32")
    assert relative(XRay(grid, scan, model="footprint").forward(x), RTK(grid, scan).forward(x)) <= 5e-3
