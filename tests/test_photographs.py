"""Cameras of photographs, and the files that hold them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tomodiff.errors import DataError
from tomodiff.files.photographs import read_views
from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.projectors.emission import EmissionRays

PIL = pytest.importorskip("PIL.Image", reason="pillow is not installed (the extra scanners)")
LENS = (-0.12, 0.03, 1e-3, -2e-3, 0.005)


def camera(rng: np.random.Generator, lens: tuple[float, ...] = LENS, away: float = 20.0) -> Photograph:
    """One that looks at the middle from somewhere."""
    turn = Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix()
    return Photograph((30, 40), (42.0, 41.0), (20.3, 14.8), np.column_stack([turn, -away * turn[:, 2]]), lens)


@pytest.mark.parametrize("lens", [(), LENS])
def test_rays_lead_to_where_places_are_seen(lens: tuple[float, ...], rng: np.random.Generator) -> None:
    one = camera(rng, lens)
    rows, columns = (a.ravel() for a in np.mgrid[:30, :40])
    origins, directions = one.rays()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    seen = one.image_of(origins + rng.uniform(5, 30, (1200, 1)) * directions)
    np.testing.assert_allclose(seen, np.stack([columns + 0.5, rows + 0.5], axis=1), atol=1e-9)
    some = one.rays(np.array([3, 7]), np.array([11, 2]))[1]
    np.testing.assert_allclose(some, directions[[3 * 40 + 11, 7 * 40 + 2]], atol=1e-12)
    assert np.isnan(one.image_of(origins - 5 * directions)).all()


def test_a_smaller_image_sees_the_same(rng: np.random.Generator) -> None:
    one = camera(rng)
    half = one.smaller(2)
    place = one.rays(np.array([9]), np.array([5]))
    ahead = place[0] + 7 * place[1]
    np.testing.assert_allclose(half.image_of(ahead), one.image_of(ahead) / 2, atol=1e-9)
    assert half.shape == (15, 20)


def test_a_glowing_point_is_rendered_where_it_is_seen(rng: np.random.Generator) -> None:
    """The middle of the light in the image, and where the camera says the point is."""
    one, grid = camera(rng), Grid((9, 9, 9), 1.0)
    volume = np.zeros((1, *grid.shape))
    volume[0, 5, 3, 6] = 1
    place = np.array([[2.0, -1.0, 1.0]])
    fine = Photograph((150, 200), (210.0, 205.0), (101.5, 74.0), one.pose, one.distortion)
    origins, directions = fine.rays()
    A = EmissionRays(grid, len(origins), absorbing=False, step=0.05, dtype="float64")
    image = A(
        {"emission": volume, "origins": origins, "directions": directions, "background": np.zeros((1, len(origins)))}
    )
    light = image.reshape(150, 200)
    rows, columns = np.mgrid[:150, :200] + 0.5
    middle = [float((a * light).sum() / light.sum()) for a in (columns, rows)]
    np.testing.assert_allclose(middle, fine.image_of(place)[0], atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose": np.zeros((3, 4))}, "not perpendicular"),
        ({"pose": np.column_stack([np.diag([1, 1, -1]), np.zeros(3)])}, "mirror"),
        ({"focal": (0.0, 3.0)}, "focal lengths above 0"),
        ({"shape": (0, 4)}, "rows and columns"),
        ({"distortion": (np.nan,)}, "k1, k2, p1, p2, k3"),
    ],
)
def test_what_is_no_camera(change: dict[str, Any], message: str) -> None:
    given = {"shape": (3, 4), "focal": (3.0, 3.0), "centre": (2.0, 1.5), "pose": np.eye(3, 4)} | change
    with pytest.raises(ValueError, match=message):
        Photograph(**given)


def test_a_lens_that_folds_the_image() -> None:
    with pytest.raises(ValueError, match="folds the image over"):
        Photograph((40, 40), (15.0, 15.0), (20.0, 20.0), np.eye(3, 4), (-1.5,)).rays()


def scene(folder: Path, **changes: Any) -> Path:
    """Two photographs as instant-ngp lists them, the second larger than what the file says of all."""
    rng = np.random.default_rng(3)
    for name, shape in (("a", (6, 8)), ("b", (12, 16))):
        PIL.fromarray(rng.integers(0, 256, (*shape, 3), np.uint8)).save(folder / f"{name}.png")
    frames = []
    for name in "ab":
        pose = np.eye(4)
        pose[:3, :3] = Rotation.random(random_state=ord(name)).as_matrix()
        pose[:3, 3] = rng.normal(size=3)
        frames.append({"file_path": f"./{name}", "transform_matrix": pose.tolist()})
    frames[1] |= {"w": 16, "h": 12, "fl_x": 20.0, "fl_y": 21.0}
    whole = {"w": 8, "h": 6, "fl_x": 10.0, "cx": 4.2, "cy": 2.9, "k1": 0.02, "p2": -0.001, "frames": frames} | changes
    (folder / "transforms.json").write_text(json.dumps(whole))
    return folder / "transforms.json"


def test_transforms_of_instant_ngp(tmp_path: Path) -> None:
    path = scene(tmp_path)
    first, second = read_views(path)
    assert (first.camera.shape, first.camera.focal, first.camera.centre) == ((6, 8), (10.0, 10.0), (4.2, 2.9))
    assert first.camera.distortion == (0.02, 0.0, 0.0, -0.001, 0.0)
    assert (second.camera.shape, second.camera.focal) == ((12, 16), (20.0, 21.0))
    opengl = np.array(json.loads(path.read_text())["frames"][0]["transform_matrix"])
    # a camera of OpenGL looks along its -z, with y up: what is below the middle of an image is towards -y
    ahead = first.camera.pose[:, :3]
    np.testing.assert_allclose(ahead[:, 2], -opengl[:3, 2])
    np.testing.assert_allclose(ahead[:, 1], -opengl[:3, 1])
    np.testing.assert_allclose(ahead[:, 0], opengl[:3, 0])
    image = first.pixels()
    np.testing.assert_allclose(image, np.asarray(PIL.open(first.path), np.float32) / 255)
    np.testing.assert_allclose(first.pixels(bin=2), image.reshape(3, 2, 4, 2, 3).mean(axis=(1, 3)), rtol=1e-6)
    assert [view.path.name for view in read_views(tmp_path)] == ["a.png", "b.png"]


def test_colmap_tells_the_same(tmp_path: Path) -> None:
    views = read_views(scene(tmp_path))
    text = tmp_path / "sparse"
    text.mkdir()
    (tmp_path / "images").mkdir()
    lines = ["# comment"]
    for number, view in enumerate(views, 1):
        (tmp_path / "images" / view.path.name).write_bytes(view.path.read_bytes())
        turn, place = view.camera.pose[:, :3].T, view.camera.place
        x, y, z, w = Rotation.from_matrix(turn).as_quat()
        tx, ty, tz = -turn @ place
        lines += [
            f"{number} {w} {x} {y} {z} {tx} {ty} {tz} {number} {view.path.name}",
            "1.0 2.0 -1" if number == 1 else "",
        ]
    (text / "images.txt").write_text("\n".join(lines) + "\n")
    (text / "cameras.txt").write_text(
        "# comment\n1 OPENCV 8 6 10 10 4.2 2.9 0.02 0 0 -0.001\n2 OPENCV 16 12 20 21 4.2 2.9 0.02 0 0 -0.001\n"
    )
    for ours, theirs in zip(read_views(text), views, strict=True):
        np.testing.assert_allclose(ours.camera.pose, theirs.camera.pose, atol=1e-12)
        assert ours.camera.focal == theirs.camera.focal and ours.camera.distortion == theirs.camera.distortion
        assert ours.path.name == theirs.path.name
    (text / "cameras.txt").write_text("1 SIMPLE_RADIAL 8 6 10 4.2 2.9 0.02\n2 SIMPLE_PINHOLE 16 12 20 8 6\n")
    first, second = read_views(text)
    assert first.camera.distortion[:2] == (0.02, 0.0) and second.camera.focal == (20.0, 20.0)
    (text / "cameras.txt").write_text("1 THIN_PRISM 8 6 10\n")
    with pytest.raises(DataError, match=r"cameras.txt: line 1: expected ID, a model"):
        read_views(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": []}, r"frames: expected a list of photographs"),
        ({"fl_x": "ten"}, r"frames\[0\].fl_x: expected a number, found 'ten'"),
        ({"k1": float("inf")}, r"frames\[0\].k1: expected a number"),
        ({"camera_model": "OPENCV_FISHEYE"}, r"camera_model: expected a pinhole"),
        (
            {"frames": [{"file_path": "c.png", "transform_matrix": np.eye(4).tolist()}]},
            r"1 that are not there: .*c.png",
        ),
        ({"frames": [{"file_path": "a", "transform_matrix": [[1, 2], [3]]}]}, r"transform_matrix: expected finite"),
        ({"frames": [{"file_path": "a", "transform_matrix": np.eye(3).tolist()}]}, r"transform_matrix: expected 4 x 4"),
        ({"frames": [{"file_path": "a", "transform_matrix": np.diag([1, 1, -1, 1]).tolist()}]}, r"mirror"),
        ({"frames": [{"file_path": "a", "transform_matrix": np.diag([2, 2, 2, 1]).tolist()}]}, r"pose: expected a rot"),
        ({"frames": [{"transform_matrix": np.eye(4).tolist()}]}, r"frames\[0\].file_path: expected the name"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_views(scene(tmp_path, **changes))


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    first, _ = read_views(scene(tmp_path, w=9))
    with pytest.raises(DataError, match=r"a.png: size: expected 6 x 9 pixels as its camera has, found 6 x 8"):
        first.pixels()
    half = np.zeros((6, 8, 4), np.uint8)
    half[..., 0], half[:, :4, 3] = 200, 255
    PIL.fromarray(half).save(tmp_path / "a.png")
    first, _ = read_views(scene_kept(tmp_path))
    image = first.pixels(background=0.5)
    np.testing.assert_allclose(image[0, [0, 7]], [[200 / 255, 0, 0], [0.5, 0.5, 0.5]], rtol=1e-6)
    with pytest.raises(DataError, match=r"alpha: expected an opaque image"):
        first.pixels(background=None)
    first.path.write_bytes(first.path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"a.png: image: expected a photograph that can be read"):
        first.pixels()
    (tmp_path / "transforms.json").write_text("{")
    with pytest.raises(DataError, match=r"transforms.json: expected a transforms.json"):
        read_views(tmp_path)


def scene_kept(folder: Path) -> Path:
    """The file again for images of the size that it says, which stay as they are."""
    whole = json.loads((folder / "transforms.json").read_text()) | {"w": 8}
    (folder / "transforms.json").write_text(json.dumps(whole))
    return folder / "transforms.json"


def test_photographs_of_nerf(shared: Callable[[str], Path]) -> None:
    """The lego of NeRF: cameras on a sphere of 4.03 that look at the middle, transparent beside the object."""
    views = read_views(shared("data/optical/lego_nerf_200/transforms_train.json"))
    assert len(views) == 90
    for view in views[::9]:
        assert np.linalg.norm(view.camera.place) == pytest.approx(4.031, abs=0.01)
        origins, directions = view.camera.rays(np.array([99, 100]), np.array([99, 100]))
        middle = directions.mean(axis=0)
        np.testing.assert_allclose(middle / np.linalg.norm(middle), -origins[0] / np.linalg.norm(origins[0]), atol=1e-3)
    white, black = views[0].pixels(1.0), views[0].pixels(0.0)
    assert white.shape == (200, 200, 3) and white[0, 0].min() == 1 and black[0, 0].max() == 0
