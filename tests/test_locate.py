"""Poses of cameras: slopes in the group of motions, photographs of a scene of solids, and a body under X-rays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tomodiff.array import to_numpy
from tomodiff.cli.main import main
from tomodiff.files import write
from tomodiff.files.photographs import read_views
from tomodiff.files.photographs_writer import write_transforms
from tomodiff.files.radiance_file import StoredField, write_field
from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.geometry.poses import angle_between
from tomodiff.geometry.rigid import moved, twist_rows
from tomodiff.projectors.emission import EmissionRays
from tomodiff.projectors.radiance import RadianceField
from tomodiff.recipes.optical.locate import locate, register
from tomodiff.result import Result
from tomodiff.simulate import Ellipsoids, sample, shepp_logan_3d
from tomodiff.simulate.ellipsoids import chords
from tomodiff.simulate.solids import looking

ABOUT = np.array([0.3, -0.2, 0.1])


def off(pose: np.ndarray, turn_deg: float, shift: float, rng: np.random.Generator, about: np.ndarray) -> np.ndarray:
    """A pose that is wrong by a turn and a shift in random directions."""
    turn, along = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    return moved(pose, np.concatenate([np.radians(turn_deg) * turn, shift * along]), about)


def errors(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Of the turn in degrees, and of where the camera is."""
    turned = np.degrees(float(angle_between(found[:, :3], true[:, :3])))
    return turned, float(np.linalg.norm(found[:, 3] - true[:, 3]))


@pytest.mark.parametrize("kind", ["radiance", "emission"])
def test_slopes_in_the_twist_of_a_pose(kind: str, rng: np.random.Generator) -> None:
    """Central differences along twists, where hardly a sample crosses a plane of voxels, to 1e-8."""
    grid, camera = (
        Grid((6, 7, 8), 0.5),
        Photograph((5, 6), (9.0, 9.0), (3.0, 2.5), looking(np.array([4, 3, 2.0]), ABOUT)),
    )
    if kind == "radiance":
        A: RadianceField | EmissionRays = RadianceField(grid, 30, 2, "softplus", stop=0, dtype="float64")
        still = {"field": 0.4 * rng.normal(size=(*grid.shape, 28)), "background": rng.random((30, 3))}
    else:
        A = EmissionRays(grid, 30, 2, dtype="float64")
        still = {"emission": rng.random((2, *grid.shape)), "absorption": rng.random(grid.shape)}
        still["background"] = rng.random((2, 30))

    def at(twist: np.ndarray) -> dict[str, np.ndarray]:
        o, d = replace(camera, pose=moved(camera.pose, twist, ABOUT)).rays()
        return {**still, "origins": o, "directions": d}

    x = at(np.zeros(6))
    image, d_o, d_d = A.ray_slopes(x)
    seen = A(x) if kind == "radiance" else A(x).T
    np.testing.assert_allclose(image, seen, rtol=1e-13)
    rows = twist_rows(x["origins"], x["directions"], d_o, d_d, ABOUT)
    for _ in range(3):
        twist, h = rng.normal(size=6), 1e-6
        ahead, behind = ((a if kind == "radiance" else a.T) for a in (A(at(h * twist)), A(at(-h * twist))))
        difference = np.abs((ahead - behind).T / (2 * h) - rows @ twist)
        assert np.median(difference) < 1e-8 * np.abs(rows @ twist).max()


def test_ray_slopes_are_rows_of_the_jacobian(rng: np.random.Generator) -> None:
    A = RadianceField(Grid((5, 6, 7)), 20, 1, stop=0, dtype="float64")
    o, d = rng.normal(size=(2, 20, 3))
    x = {"field": rng.normal(size=A.domain["field"].shape), "origins": o - 5 * d, "directions": d, "background": o**2}
    _, d_o, d_d = A.ray_slopes(x)
    g = rng.normal(size=(20, 3))
    pulled = A.linearize(x)[1].adjoint(g)
    np.testing.assert_allclose(np.einsum("nc,cna->na", g, d_o), to_numpy(pulled["origins"]), atol=1e-12)
    np.testing.assert_allclose(np.einsum("nc,cna->na", g, d_d), to_numpy(pulled["directions"]), atol=1e-12)


def body() -> tuple[Ellipsoids, np.ndarray, Grid]:
    """A body of ellipsoids of 100 mm, and its volume of 2 mm voxels."""
    made = sample(np.random.default_rng(4), radius=50.0, density=0.02)
    grid = Grid((60, 60, 60), 2.0)
    return made, made.voxelise(grid, 3).astype(np.float32), grid


def radiograph(made: Ellipsoids, camera: Photograph, rng: np.random.Generator) -> np.ndarray:
    """Line integrals through exact ellipsoids, with the noise of 2e4 photons, after an unknown exposure."""
    o, d = camera.rays()
    to_sphere = made.rotations.transpose(0, 2, 1) / made.semi_axes[:, :, None]
    lines = sum(
        density * chords(o - centre, d, own)
        for density, centre, own in zip(made.densities, made.centers, to_sphere, strict=True)
    )
    counts = rng.poisson(2e4 * np.exp(-lines))
    return (0.7 - 1.3 * np.log(counts / 2e4)).reshape(camera.shape)


def c_arm(number: int) -> Photograph:
    """A source 600 mm from the body, which stands out a little beyond the detector."""
    place = 600 * np.array([np.cos(2.1 * number), np.sin(2.1 * number), 0.2])
    return Photograph((128, 128), (900.0, 900.0), (64.0, 64.0), looking(place, np.zeros(3)))


def lies(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The error (3,) in mm of where the body's middle lies before the source."""
    return np.asarray(found[:, :3].T @ -found[:, 3] - true[:, :3].T @ -true[:, 3])


def test_a_body_under_x_rays() -> None:
    """From 10 degrees and 10 mm: the pose of the body to 0.2 degrees and 0.2 mm, against exact ellipsoids."""
    made, volume, grid = body()
    rng = np.random.default_rng(11)
    for number in range(3):
        camera = c_arm(number)
        begin = replace(camera, pose=off(camera.pose, 10, 10, rng, np.zeros(3)))
        found = register(volume, grid, begin, radiograph(made, camera, rng))
        assert not found.doubt, found.doubt
        assert errors(found.camera.pose, camera.pose)[0] < 0.2
        assert np.abs(lies(found.camera.pose, camera.pose)).max() < 0.2


def test_x_rays_of_another_body_are_refused() -> None:
    _, volume, grid = body()
    other = shepp_logan_3d(30.0, 0.02).moved((0.0, 8.0, 20.0))
    found = register(volume, grid, c_arm(0), radiograph(other, c_arm(0), np.random.default_rng(0)), n_starts=2)
    assert "explains" in found.doubt


def test_x_rays_from_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, volume, grid = body()
    rng, camera = np.random.default_rng(3), c_arm(0)
    write(tmp_path / "body.nii.gz", Result(volume, grid))
    np.save(tmp_path / "shot.npy", np.exp(-radiograph(made, camera, rng)))
    begin = replace(camera, pose=off(camera.pose, 6, 6, rng, np.zeros(3)))
    write_transforms(tmp_path / "about.json", ["shot.npy"], [begin])
    told = ["optical", "locate", str(tmp_path / "shot.npy"), str(tmp_path / "body.nii.gz")]
    told += ["--camera", str(tmp_path / "about.json"), "-o", str(tmp_path / "found.json"), "--overwrite"]
    assert main([*told, "--xrays", "transmission", "--starts", "4"]) == 0
    found = read_views(tmp_path / "found.json", images=False)[0].camera
    assert errors(found.pose, camera.pose)[0] < 0.2 and np.abs(lies(found.pose, camera.pose)).max() < 0.2
    assert json.loads((tmp_path / "found.json").read_text())["found"]["explained"] > 0.99
    for change, code, message in (
        (["--xrays", "counts"], 2, "expected lines or transmission"),
        (["--xrays", "transmission", "--bin", "0"], 2, "--bin of at least 1"),
    ):
        assert main([*told, *change]) == code
        assert message in capsys.readouterr().err
    nothing = np.zeros((128, 128))
    for values, message in (
        (nothing + np.nan, "finite numbers"),
        (np.ones((9, 9)), "(128, 128) pixels"),
        (nothing + 1, "one value everywhere"),
        (nothing, "above 0"),
    ):
        np.save(tmp_path / "shot.npy", values)
        assert main([*told, "--xrays", "transmission"]) == 3
        assert message in " ".join(capsys.readouterr().err.split())


def checkered() -> StoredField:
    """A smooth scene of coloured blobs."""
    grid, rng = Grid((40, 40, 40), 0.05), np.random.default_rng(2)
    x, y, z = grid.coordinates()
    field = np.zeros((*grid.shape, 13), np.float32)
    weight = np.full(grid.shape, 1e-6)
    for _ in range(14):
        centre, size = 0.55 * rng.uniform(-1, 1, 3), rng.uniform(0.1, 0.22)
        blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) / (2 * size**2))
        field[..., 0] += 20 * np.maximum(blob - 0.4, 0)
        field[..., 1::4] += blob[..., None] * rng.uniform(-1.7, 1.7, 3)
        weight += blob
    field[..., 1:] /= weight[..., None]
    background = np.zeros((9, 3))
    background[0] = 0.5 * 2 * np.sqrt(np.pi)
    return StoredField(grid, field, background, psnr_db=32.0)


@pytest.mark.slow
def test_photographs_of_a_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From 5 degrees and 5 % of the distance: pictures of another step and finer pixels, with noise."""
    from tomodiff.files.pictures import write_picture
    from tomodiff.recipes.optical.scene import Scene

    stored, rng = checkered(), np.random.default_rng(7)
    write_field(tmp_path / "field.h5", stored)
    turns = []
    for number in range(3):
        place = 3 * np.array([np.cos(2.0 * number), np.sin(2.0 * number), 0.4])
        camera = Photograph((64, 64), (90.0, 90.0), (32.0, 32.0), looking(place, np.zeros(3)), (0.05,))
        fine = Photograph((192, 192), (270.0, 270.0), (96.0, 96.0), camera.pose, (0.05,))
        picture = Scene(stored).picture(fine)[0].reshape(64, 3, 64, 3, 3).mean(axis=(1, 3))
        picture += 0.01 * rng.normal(size=picture.shape)
        begin = replace(camera, pose=off(camera.pose, 5, 0.15, rng, camera.place))
        found = locate(stored, begin, picture.astype(np.float32), n_starts=4)
        assert not found.doubt, found.doubt
        turns.append(errors(found.camera.pose, camera.pose)[0])
    assert max(turns) < 1 and np.median(turns) < 0.5
    write_picture(tmp_path / "shot.png", picture)
    write_transforms(tmp_path / "about.json", ["shot.png"], [begin])
    told = ["optical", "locate", str(tmp_path / "shot.png"), str(tmp_path / "field.h5")]
    told += ["--camera", str(tmp_path / "about.json"), "-o", str(tmp_path / "found.json"), "--starts", "4"]
    assert main(told) == 0
    assert errors(read_views(tmp_path / "found.json", images=False)[0].camera.pose, camera.pose)[0] < 1
    (tmp_path / "found.json").unlink()
    write_picture(tmp_path / "shot.png", picture[::-1])  # a picture that the scene cannot look like
    assert main(told) == 5
    assert "not located" in capsys.readouterr().err and not (tmp_path / "found.json").exists()
