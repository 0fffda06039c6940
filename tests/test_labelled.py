"""Labelled pictures: labels that agree with exact surfaces and with each other, formats, sensors, the command."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tomodiff.cli.main import main
from tomodiff.files.labelled import box_of, mask_of, run_lengths
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.recipes.optical.dataset_settings import DatasetSettings
from tomodiff.simulate.labelled import consistency, draw, taken
from tomodiff.simulate.sensor import Sensor, blurred, fit_sensor
from tomodiff.simulate.solids import KINDS, Solid, looking, nearest, photograph

PLAIN = DatasetSettings().model_dump(mode="json")


def signed_distance(solid: Solid, places: np.ndarray) -> np.ndarray:
    """A number (n,) that is 0 on a solid's surface and below 0 within, from its definition."""
    own, half = np.abs((places - solid.pose[:, 3]) @ solid.pose[:, :3]), np.array(solid.half)
    if solid.kind == "ellipsoid":
        return ((own / half) ** 2).sum(axis=1) - 1
    if solid.kind == "box":
        return (own - half).max(axis=1)
    flat = np.hypot(own[:, 0], own[:, 1])
    if solid.kind == "cylinder":
        return np.maximum(flat - half[0], own[:, 2] - half[2])
    return np.hypot(flat, np.maximum(own[:, 2] - half[2], 0)) - half[0]


@pytest.mark.parametrize("kind", KINDS)
def test_rays_meet_surfaces_where_these_are(kind: str, rng: np.random.Generator) -> None:
    """On the surface, from without, with nothing of the solid before; normals along the slope of the distance."""
    pose = np.column_stack([Rotation.random(random_state=3).as_matrix(), [0.2, -0.1, 0.3]])
    solid = Solid(kind, (0.5, 0.3, 0.4), pose)
    origins = 3 * rng.normal(size=(4000, 3))
    origins = origins[signed_distance(solid, origins) > 0.2]
    directions = pose[:, 3] + 0.5 * rng.normal(size=origins.shape) - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    t, normals = solid.met(origins, directions)
    hit = np.isfinite(t)
    assert 0.2 < hit.mean() < 0.95
    places = origins[hit] + t[hit, None] * directions[hit]
    assert np.abs(signed_distance(solid, places)).max() < 1e-9
    steps = np.linspace(0, 1, 200)[None, :, None]
    before = (origins[hit][:, None] + steps * (t[hit, None, None] - 1e-6) * directions[hit][:, None]).reshape(-1, 3)
    assert signed_distance(solid, before).min() > -1e-9
    along = origins[~hit][:, None] + 8 * steps * directions[~hit][:, None]
    assert signed_distance(solid, along.reshape(-1, 3)).min() > -0.02  # misses, but for what a step leaps over
    slope = np.stack(
        [signed_distance(solid, places + 1e-6 * e) - signed_distance(solid, places - 1e-6 * e) for e in np.eye(3)], 1
    )
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    assert np.median((slope * normals[hit]).sum(axis=1)) > 1 - 1e-9
    assert ((normals[hit] * directions[hit]).sum(axis=1) < 0).all()


def test_a_sphere_before_a_camera_in_closed_form() -> None:
    camera = Photograph((101, 101), (200.0, 200.0), (50.5, 50.5), looking(np.array([5.0, 0, 0]), np.zeros(3)))
    seen = photograph(camera, [Solid("ellipsoid", (1.0, 1.0, 1.0), np.eye(3, 4), label=7)], (), ambient=1.0)
    assert seen.depth[50, 50] == pytest.approx(4.0) and seen.labels[50, 50] == 7
    np.testing.assert_allclose(seen.normals[50, 50], [1, 0, 0], atol=1e-12)
    radius = 200 / np.sqrt(24)  # of the outline: tan(asin(1 / 5))
    assert seen.opacity.sum() == pytest.approx(np.pi * radius**2, rel=2e-3)


def test_draws_are_the_same_each_time_and_recorded() -> None:
    one, again, other = taken(draw(PLAIN, 3)), taken(draw(PLAIN, 3)), taken(draw(PLAIN, 4))
    np.testing.assert_array_equal(one.values, again.values)
    assert one.draw.record == again.draw.record and one.draw.record != other.draw.record
    told = json.loads(json.dumps(one.draw.record))
    assert len(told["things"]) == len(one.draw.things) and told["sensor"]["gain"] == one.draw.sensor.gain
    rebuilt = [
        Solid(t["kind"], t["half"], np.array(t["pose"]), t["colour"], t["other"], t["checker"], t["label"])
        for t in told["things"]
    ]
    origins, directions = one.draw.camera.rays()
    found = nearest(rebuilt, origins, directions)[1].reshape(one.draw.camera.shape)
    assert (found + 1 == one.exact.labels)[one.exact.labels > 0].all()


def test_labels_agree_with_each_other() -> None:
    for number in range(4):
        found = consistency(taken(draw(PLAIN, number)))
        assert found["reprojection_px"] < 1e-9 and found["normals"] < 1e-12
        assert found["masks"] == found["hidden"] == 1


def test_labels_that_do_not_agree_are_seen() -> None:
    made = taken(draw(PLAIN, 1))
    made.exact.depth[made.exact.depth > 0] *= 1.01
    assert consistency(made)["reprojection_px"] > 1e-3
    made = taken(draw(PLAIN, 1))
    made.exact.labels[made.exact.labels == 1] = 99
    assert consistency(made)["masks"] < 1


def test_run_lengths(rng: np.random.Generator) -> None:
    for mask in (rng.random((7, 5)) < 0.5, np.ones((3, 4), bool), np.zeros((3, 4), bool)):
        lengths = run_lengths(mask)
        assert sum(lengths["counts"]) == mask.size
        np.testing.assert_array_equal(mask_of(lengths), mask)
    assert run_lengths(np.array([[False, True], [True, True]])) == {"counts": [1, 3], "size": [2, 2]}
    assert box_of(np.array([[0, 0, 0], [0, 1, 1]], bool)) == [1, 1, 2, 1] and box_of(np.zeros((2, 2), bool))[0] == -1


def test_the_sets_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (tmp_path / "set.yml").write_text("pictures: 3\nseed: 5\ncamera: {pixels: [40, 56], focal_px: [60, 70]}\n")
    out = tmp_path / "set"
    assert main(["simulate", "dataset", str(tmp_path / "set.yml"), "-o", str(out)]) == 0
    with h5py.File(out / "dataset.h5") as file:
        assert file["values"].shape == (3, 40, 56, 3) and file["flow"].shape == (3, 40, 56, 2)
        depth, labels = file["depth"][1], file["labels"][1]
        assert json.loads(file["parameters"][2])["number"] == 2
    scene = out / "bop" / "000000"
    cameras, truth, seen = (
        json.loads((scene / f"scene_{name}.json").read_text()) for name in ("camera", "gt", "gt_info")
    )
    with Image.open(scene / "depth" / "000001.png") as image:
        stored = np.asarray(image, np.float64) * cameras["1"]["depth_scale"]
    near = np.isfinite(depth) & (depth * 100 < 6000)
    np.testing.assert_allclose(stored[near], depth[near] * 100, atol=0.051)
    matrix = np.array(cameras["1"]["cam_K"]).reshape(3, 3)
    for i, (pose, one) in enumerate(zip(truth["1"], seen["1"], strict=True)):
        assert one["px_count_visib"] == (labels == i + 1).sum()
        column, row, depth_mm = matrix @ np.array(pose["cam_t_m2c"])
        left, top, width, height = one["bbox_obj"]
        if one["px_count_all"] > 60 and left > 0 and left + width < 56 and top > 0 and top + height < 40:
            assert left - 1 <= column / depth_mm <= left + width and top - 1 <= row / depth_mm <= top + height
        with Image.open(scene / "mask_visib" / f"000001_{i:06d}.png") as image:
            assert ((np.asarray(image) > 0) == (labels == i + 1)).all()
    coco = json.loads((out / "coco.json").read_text())
    for note in (a for a in coco["annotations"] if a["image_id"] == 1):
        assert mask_of(note["segmentation"]).sum() == note["area"]
    assert sum(note["area"] for note in coco["annotations"] if note["image_id"] == 1) == (labels > 0).sum()
    assert main(["simulate", "dataset", str(tmp_path / "set.yml"), "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_settings_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (
        ("camera: {pixels: [4, 4]}", "rows and columns from 8 to 8192"),
        ("scene: {size: [2, 1]}", "two lengths above 0"),
        ("scene: {kinds: [cone]}", "scene.kinds"),
        ("lite: {}", "light"),
    ):
        (tmp_path / "set.yml").write_text(text + "\n")
        assert main(["simulate", "dataset", str(tmp_path / "set.yml"), "-o", str(tmp_path / "out")]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()
    assert main(["simulate", "dataset", "--template"]) == 0
    (tmp_path / "set.yml").write_text(capsys.readouterr().out)
    made = main(["simulate", "dataset", str(tmp_path / "set.yml"), "-o", str(tmp_path / "out"), "--pictures", "1"])
    assert made == 0


def test_blur_is_a_normal_point_spread() -> None:
    point = np.zeros((41, 41, 1))
    point[20, 20] = 1
    r2 = ((np.mgrid[:41, :41] - 20) ** 2).sum(axis=0)
    np.testing.assert_allclose(blurred(point, 2.0)[..., 0], np.exp(-r2 / 8) / (8 * np.pi), atol=1e-9)
    assert blurred(point, 0.0)[20, 20, 0] == pytest.approx(1)


def test_a_sensor_is_found_from_one_picture(rng: np.random.Generator) -> None:
    """Sim to real: gain, black and blur of a picture with noise, dead pixels and another exposure."""
    light = taken(draw(PLAIN, 2)).exact.colours
    true = Sensor(gain=0.83, black=0.04, blur=1.3, photons=4000, read_noise=0.004, dead=0.002)
    found = fit_sensor(light, true.values(light, rng))
    assert found.gain == pytest.approx(0.83, abs=0.01) and found.black == pytest.approx(0.04, abs=0.005)
    assert found.blur == pytest.approx(1.3, abs=0.05)
    with pytest.raises(ValueError, match="light that shows something"):
        fit_sensor(np.ones((8, 8, 3)), np.ones((8, 8, 3)))
    with pytest.raises(ValueError, match="two pictures"):
        fit_sensor(light, light[1:])
    with pytest.raises(ValueError, match="Sensor: expected"):
        Sensor(dead=2)


def test_the_sensor_from_the_command(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    from tomodiff.files.pictures import write_picture

    light = taken(draw(PLAIN, 2)).exact.colours
    np.save(tmp_path / "light.npy", light)
    write_picture(tmp_path / "real.png", Sensor(0.9, 0.05, 0.8).values(light, rng))
    assert main(["simulate", "sensor", str(tmp_path / "real.png"), str(tmp_path / "light.npy")]) == 0
    gain = capsys.readouterr().out.split("gain: [")[1].split(",")[0]
    assert float(gain) == pytest.approx(0.9, abs=0.02)
