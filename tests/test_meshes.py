"""Shape models: files, shading at vertices with its gradients, and maps of heights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.toys import exact_slope
from tomodiff.cli.main import main
from tomodiff.core import check_adjoint, check_gradient
from tomodiff.errors import ConfigError, DataError
from tomodiff.files.planetary import read_raster
from tomodiff.files.planetary.mesh import read_mesh
from tomodiff.objective import Gaussian
from tomodiff.projectors.terrain.mesh_shading import MeshShading
from tomodiff.projectors.terrain.photometry import model_named

trimesh = pytest.importorskip("trimesh", reason="the extra `meshes` is not installed")

SUN = np.array([[0.6, 0.0, 0.8], [0.0, 0.8, 0.6]])
VIEW = np.array([[0.0, 0.0, 1.0], [0.6, 0.0, 0.8]])


def ellipsoid(
    subdivisions: int = 3, axes: tuple[float, float, float] = (1.2, 1.0, 0.8)
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces, km."""
    ball = trimesh.creation.icosphere(subdivisions)
    return np.asarray(ball.vertices) * axes, np.asarray(ball.faces)


def test_normals_of_a_sphere_and_lambert() -> None:
    vertices, faces = ellipsoid(4, (1, 1, 1))
    A = MeshShading(faces, len(vertices), VIEW, "lambert", dtype="float64")
    x = {
        "vertices": vertices, "albedo": np.full(len(vertices), 0.3), "parameters": np.zeros(0), "sun": SUN,
        "exposure": np.array([1.0, 2.0]), "haze": np.array([0.0, 0.1]),
    }  # fmt: skip
    for image, s, v, e, h in zip(A(x), SUN, VIEW, x["exposure"], x["haze"], strict=True):
        mu0, mu = vertices @ s, vertices @ v
        both = (mu0 > 0.02) & (mu > 0.02)
        assert np.abs(image - (e * 0.3 * mu0 + h))[both].max() < 5e-3
        assert np.allclose(image[(mu0 < -0.02) | (mu < -0.02)], h)


@pytest.mark.parametrize("model", ["lambert", "lunar_lambert_mcewen", "minnaert"])
def test_slopes_and_transpose(model: str, rng: np.random.Generator) -> None:
    """Of vertices and all else, where no vertex is about to turn away from sun or camera."""
    vertices, faces = ellipsoid(2)
    vertices = vertices[:, [0, 1, 2]] + 0.01 * rng.normal(size=vertices.shape)
    A = MeshShading(faces, len(vertices), VIEW, model, dtype="float64")
    parameters = model_named(model).vector()
    x = {
        "vertices": vertices, "albedo": 0.3 + 0.1 * rng.random(len(vertices)), "parameters": parameters, "sun": SUN,
        "exposure": np.array([1.0, 1.4]), "haze": np.array([0.1, 0.0]),
    }  # fmt: skip
    value, J = A.linearize(x)
    assert check_adjoint(J, rng) < 1e-12
    errors = check_gradient(Gaussian(np.zeros(value.shape)) @ A, x, rng, (1e-4, 1e-5, 1e-6))
    assert min(errors) < 1e-6
    flat = A.fix(vertices=vertices, sun=SUN)
    exact_slope(check_gradient(Gaussian(np.zeros(value.shape)) @ flat, {n: x[n] for n in flat.domain}, rng), 1e-6)


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_surfaces_of_trimesh_come_back(suffix: str, tmp_path: Path) -> None:
    vertices, faces = ellipsoid(1)
    path = tmp_path / f"body.{suffix}"
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    found = read_mesh(path)
    assert np.allclose(found.vertices[found.faces], 1000 * vertices[faces], atol=1e-2)
    assert read_mesh(path, "m").radius == pytest.approx(found.radius / 1000)


def test_dsk_that_spice_wrote(tmp_path: Path) -> None:
    spiceypy = pytest.importorskip("spiceypy", reason="the extra `meshes` is not installed")
    vertices, faces = ellipsoid(2)
    path = tmp_path / "body.bds"
    handle = spiceypy.dskopn(str(path), "made for a test", 0)
    spaixd, spaixi = spiceypy.dskmi2(vertices, faces + 1, 0.5, 4, 200000, 200000, 200000, True, 1000000)
    low, high = spiceypy.dskrb2(vertices, faces + 1, 1, np.zeros(10))
    spiceypy.dskw02(handle, 2000001, 1, 1, "IAU_EROS", 1, np.zeros(10), -np.pi, np.pi, -np.pi / 2, np.pi / 2, low, high,
                    -1e9, 1e9, vertices, faces + 1, spaixd, spaixi)  # fmt: skip
    spiceypy.dskcls(handle, True)
    found = read_mesh(path)
    assert np.allclose(found.vertices, 1000 * vertices, atol=1e-6) and np.array_equal(found.faces, faces)


def test_a_map_of_an_ellipsoid(tmp_path: Path) -> None:
    """Heights above a sphere, against the closed form of an ellipsoid, from the command line."""
    vertices, faces = ellipsoid(5)
    path, out = tmp_path / "body.obj", tmp_path / "dem.tif"
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    told = ["--lon", "30", "--lat", "-20", "--size", "400", "--spacing", "20", "--radius", "900"]
    assert main(["--quiet", "terrain", "mesh", str(path), "-o", str(out), *told]) == 0
    found = read_raster(out)
    grid = found.grid
    up, places = grid.ellipsoid.axes(*grid.geodetic)[2], grid.places
    axes = 1000 * np.array([1.2, 1.0, 0.8])[:, None, None]
    a, b, c = ((up / axes) ** 2).sum(0), ((up * places) / axes**2).sum(0), ((places / axes) ** 2).sum(0) - 1
    wanted = (-b + np.sqrt(b * b - a * c)) / a
    assert np.abs(found.values - wanted).max() < 1  # facets of 35 m lie up to 0.2 m below
    assert np.ptp(wanted) > 20


def test_files_that_are_no_shapes(tmp_path: Path) -> None:
    pytest.importorskip("spiceypy", reason="the extra `meshes` is not installed")
    for name, text in (("a.obj", "v 0 0 0\n"), ("a.ply", "nothing"), ("a.bds", "nothing"), ("a.txt", "1")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=rf"a\.{name[2:]}"):
            read_mesh(tmp_path / name)
    with pytest.raises(DataError, match="no file of that name"):
        read_mesh(tmp_path / "missing.obj")
    with pytest.raises(ConfigError, match="unit: expected km or m"):
        read_mesh(tmp_path / "a.obj", "feet")
    with pytest.raises(ValueError, match="faces: expected rows of three"):
        MeshShading(np.array([[0, 1, 9]]), 3, VIEW)
