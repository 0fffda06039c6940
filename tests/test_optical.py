"""Scenes from photographs: solids that are traced exactly, written as files, and found again by the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.errors import Stopped
from tomodiff.files import read_volume
from tomodiff.files.photographs import read_views
from tomodiff.files.radiance_file import StoredField, read_field, write_field
from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.recipes.optical.box import box_grid, carved, looked_at, seen_by
from tomodiff.recipes.optical.rays import Rays
from tomodiff.recipes.optical.scene import Scene
from tomodiff.recipes.run import Run
from tomodiff.simulate.photographs import PhotographSet, cameras_of, table_scene, write_photographs
from tomodiff.simulate.solids import Solid, looking, photograph

SMALL = PhotographSet(train=24, test=4, pixels=(48, 48), focal=66.0)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs of solids."""
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def scene(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a scene of them."""
    out = tmp_path_factory.mktemp("scene") / "run"
    told = [str(photographs / "transforms_train.json"), "--test", str(photographs / "transforms_test.json")]
    size = ["--voxels", "48", "--iterations", "220", "--rays", "2500"]
    assert main(["optical", "reconstruct", *told, *size, "-o", str(out)]) == 0
    return out


def test_views_that_were_held_out(scene: Path) -> None:
    facts = Run.open(scene).status["facts"]
    assert facts["photographs"] == 24 and facts["held_out"] == 4
    assert facts["psnr_held_out_db"] > 26  # the truth knows nothing of voxels; a white picture has 11 dB
    assert len(list((scene / "views").glob("*.png"))) == 4
    report = (scene / "report.html").read_text()
    assert "Views" in report and "PSNR of views held out" in report
    volume, grid, meta = read_volume(scene / "density.h5")
    assert meta["quantity"] == "density" and volume.min() >= 0 and grid.shape == volume.shape


def test_depth_normals_and_flow_are_those_of_the_solids(scene: Path) -> None:
    """Against exact surfaces: depth to one and a half voxels, normals in the mean, flow to parts of a pixel."""
    found, solids = Scene(read_field(scene)), table_scene()
    camera, other = cameras_of(SMALL, 4, 1.0)[2:]
    other = replace(camera, pose=looking(camera.place + np.array([0.3, 0.2, 0.1]), np.zeros(3)))
    truth = photograph(camera, solids, ())
    depth, normals, flow = found.depth(camera), found.normals(camera), found.flow(camera, other)
    inside = np.isfinite(depth) & (truth.labels > 0)
    assert inside.sum() > 0.9 * (truth.labels > 0).sum()
    voxel = found.grid.spacing[0]
    assert np.median(np.abs(depth - truth.depth)[inside]) < 1.5 * voxel
    cosines = (normals * truth.normals).sum(axis=-1)[inside]
    assert np.nanmedian(cosines) > np.cos(np.radians(30))
    away = np.linalg.norm(flow - truth.flow(other), axis=-1)[inside]
    assert np.median(away) < 0.25
    labels = np.zeros(found.grid.shape, np.int32)
    labels[:, :, : labels.shape[2] // 2] = 3
    seen = found.labels(camera, labels)
    west = truth.places[..., 0] < found.grid.center[0]
    agree = (seen == 3) == west
    assert agree[inside].mean() > 0.95


@pytest.mark.parametrize("what", ["colour", "depth", "normals", "flow", "opacity"])
def test_render(what: str, scene: Path, photographs: Path, tmp_path: Path) -> None:
    cameras = ["--cameras", str(photographs / "transforms_test.json"), "--what", what]
    assert main(["optical", "render", str(scene), *cameras, "-o", str(tmp_path / "pictures"), "--bin", "2"]) == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4
    if what in ("depth", "normals", "flow"):
        values = np.load(tmp_path / "pictures" / "0000.npy")
        assert values.shape[:2] == (24, 24) and np.isfinite(values).any()


def test_a_turn_as_a_film(scene: Path, photographs: Path, tmp_path: Path) -> None:
    from PIL import Image

    cameras = ["--cameras", str(photographs / "transforms_train.json"), "--turn", "5"]
    assert main(["optical", "render", str(scene), *cameras, "-o", str(tmp_path / "turn.gif")]) == 0
    with Image.open(tmp_path / "turn.gif") as film:
        assert film.n_frames == 5 and film.size == (48, 48)
    assert main(["optical", "render", str(scene), *cameras, "-o", str(tmp_path / "turn.avi")]) == 2
    assert main(["optical", "render", str(scene), "--cameras", cameras[1], "--what", "heat", "-o", str(tmp_path)]) == 2


@pytest.mark.slow
def test_a_room_through_a_lens(tmp_path: Path) -> None:
    """Nothing transparent, a lens that distorts, a background to be learnt: as photographs of a telephone."""
    lens = (0.12, -0.05, 0.002, -0.001)
    chosen = replace(SMALL, train=30, distortion=lens, room=True, noise=0.01, pixels=(54, 40), focal=60.0)
    write_photographs(tmp_path, chosen)
    told = [str(tmp_path / "transforms_train.json"), "--test", str(tmp_path / "transforms_test.json")]
    size = ["--voxels", "48", "--iterations", "220", "--rays", "2500", "--set", "output.report=false"]
    assert main(["optical", "reconstruct", *told, *size, "-o", str(tmp_path / "run")]) == 0
    facts = Run.open(tmp_path / "run").status["facts"]
    views = [view.pixels() for view in read_views(tmp_path / "transforms_test.json")]
    plain = -10 * np.log10(np.mean([np.var(view, axis=(0, 1)).mean() for view in views]))
    assert facts["psnr_held_out_db"] > plain + 4  # than each view's own mean colour


def test_stops_and_goes_on_to_the_same_bits(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = ["--voxels", "16", "--iterations", "40", "--rays", "200", "--set", "output.report=false"]
    told = ["optical", "reconstruct", str(photographs / "transforms_train.json"), "--background", "learn", *size]
    assert main([*told, "-o", str(tmp_path / "whole")]) == 0
    asked: list[int] = []

    def requested(self: Run) -> bool:
        asked.append(1)
        return len(asked) == 25

    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_requested", property(requested))
        assert main([*told, "-o", str(tmp_path / "parts")]) == Stopped.exit_code
    assert main(["resume", str(tmp_path / "parts")]) == 0
    one, other = (read_field(tmp_path / name) for name in ("whole", "parts"))
    np.testing.assert_array_equal(one.field, other.field)
    np.testing.assert_array_equal(one.background, other.background)


def test_where_a_scene_is() -> None:
    cameras = cameras_of(SMALL, 20, 0.3)
    moved = [replace(c, pose=np.column_stack([c.pose[:, :3], c.place + np.array([5, 6, 7])])) for c in cameras]
    centre, half = looked_at(moved)
    np.testing.assert_allclose(centre, [5, 6, 7], atol=1e-9)
    assert half == pytest.approx(4 * 24 / 66)
    ball = [Solid("ellipsoid", (0.5, 0.3, 0.4), np.eye(3, 4))]
    low, high = carved(cameras, [photograph(c, ball, (), samples=1).labels > 0 for c in cameras])
    assert (low < [-0.5, -0.3, -0.4]).all() and (high > [0.5, 0.3, 0.4]).all()
    assert (high - low < 2 * np.array([0.5, 0.3, 0.4]) + 0.5).all()
    grid = box_grid(low, high, 20)
    assert (seen_by(cameras, grid) == 20).all()
    parallel = [replace(c, pose=np.column_stack([np.eye(3), c.place])) for c in cameras]
    with pytest.raises(ValueError, match="give the box"):
        looked_at(parallel)
    with pytest.raises(ValueError, match="no place is inside all silhouettes"):
        carved(cameras, [np.zeros(SMALL.pixels, bool)] * 20)


def test_rays_are_those_of_the_cameras(rng: np.random.Generator) -> None:
    cameras = [*cameras_of(replace(SMALL, distortion=(0.1, 0.02)), 3, 0.0), *cameras_of(SMALL, 2, 0.5)]
    images = [rng.random((*c.shape, 3)) for c in cameras]
    origins, directions, pixels = Rays(cameras, images).draw(rng, 300)
    for o, d, p in zip(origins, directions, pixels, strict=True):
        view = next(i for i, c in enumerate(cameras) if np.allclose(c.place, o))
        column, row = np.floor(cameras[view].image_of((o + d)[None])[0] + 1e-4).astype(int)
        np.testing.assert_allclose(images[view][row, column], p, atol=1e-6)


def test_fields_in_files(tmp_path: Path, rng: np.random.Generator) -> None:
    field = rng.normal(size=(4, 5, 6, 13)).astype(np.float32)
    stored = StoredField(Grid((4, 5, 6), 0.1, (1, 2, 3)), field, rng.normal(size=(9, 3)))
    write_field(tmp_path / "field.h5", stored)
    back = read_field(tmp_path)
    np.testing.assert_array_equal(back.field, field)
    assert back.grid == stored.grid and back.degree == 1
    whole = (tmp_path / "field.h5").read_bytes()
    for at, damage in ((100, b"x" * 50), (0, b""), (len(whole) // 2, b"")):
        (tmp_path / "bad.h5").write_bytes(whole[:at] + damage)
        with pytest.raises(Exception, match=r"bad\.h5"):
            read_field(tmp_path / "bad.h5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--holdout", "2", "--test", "HERE"], "expected none beside input.test"),
        (["--box", "[1, 0, 0, 1, 0, 1]"], "six numbers, the lower before the upper"),
        (["--box", "[90, 91, 0, 1, 0, 1]"], "no voxel is seen by 2 cameras"),
        (["--bin", "100"], "100 x 100 pixels or more"),
        (["--voxels", "4"], "a whole number from 16 to 1024"),
    ],
)
def test_what_cannot_be(
    change: list[str], message: str, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(photographs / "transforms_train.json")
    given = [file if word == "HERE" else word for word in change]
    assert main(["optical", "reconstruct", file, "-o", str(tmp_path / "run"), *given]) in (2, 3)
    assert message in " ".join(capsys.readouterr().err.split())


def test_photographs_that_are_too_few(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = json.loads((photographs / "transforms_train.json").read_text())
    whole["frames"] = whole["frames"][:2]
    (photographs / "two.json").write_text(json.dumps(whole))
    assert main(["optical", "reconstruct", str(photographs / "two.json"), "-o", str(tmp_path / "run")]) == 3
    assert "3 photographs or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_cameras_survive_the_file(photographs: Path) -> None:
    for view, camera in zip(read_views(photographs / "transforms_train.json"), cameras_of(SMALL, 24, 0), strict=True):
        assert isinstance(view.camera, Photograph)
        np.testing.assert_allclose(view.camera.pose, camera.pose, atol=1e-12)
        assert view.camera.lens == camera.lens
