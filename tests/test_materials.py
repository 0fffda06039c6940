"""Reflectance, gloss, lights and sky found together with normals; skies of photographs; things put into scenes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.test_photometric_stereo import lights_above, mean_degrees, things
from tomodiff.cli.main import main
from tomodiff.cli.optical.relight import inserted
from tomodiff.files.pictures import write_array, write_picture
from tomodiff.projectors.lit import LitNormals
from tomodiff.projectors.terrain.sky_light import SkyLight
from tomodiff.recipes.optical.material_fit import Plan, turned
from tomodiff.recipes.optical.materials import environment, materials
from tomodiff.recipes.optical.thing import Thing

LIGHTS = 16


def scene(model: str, degree: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An input of `LitNormals` with everything in it."""
    strengths = rng.uniform(0.6, 1.4, LIGHTS)
    sky = 0.1 * rng.normal(size=(degree + 1) ** 2)
    sky[0] = 0.3
    return {
        "normals": lights_above(1400, rng)[:500], "albedo": rng.uniform(0.3, 0.9, 500),
        "lights": lights_above(60, rng)[:LIGHTS], "strengths": strengths / strengths.mean(),
        "parameters": np.array([0.5]), "gloss": np.array([1.0, 0.4, 0.06]), "sky": sky,
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [0.0, 2.0])
def test_all_at_once(wrong: float, rng: np.random.Generator) -> None:
    """Rough and glossy pixels of any albedo under lights of unknown strength, of directions given to two degrees,
    and an unknown sky: what is common to all comes back, and normals to about the noise where lights are known."""
    x = scene("oren_nayar", 2, rng)
    y = LitNormals(500, LIGHTS, "oren_nayar", 2)(x)
    y += 0.002 * rng.normal(size=y.shape)
    given = turned(x["lights"], np.radians(wrong) * rng.normal(size=(LIGHTS, 2)))
    found = materials(y, given, Plan("oren_nayar", sky=2, unequal=True, turned=1.5 * wrong))
    angle = np.degrees(np.arccos(np.clip((found.x["normals"] * x["normals"]).sum(axis=1), -1, 1)))
    # a turn of lights and normals about the line of sight is not told: the mean of sixteen given lights, 0.5 degrees
    assert angle.mean() < (1.5 if wrong else 0.5)
    assert mean_degrees(found.x["lights"], x["lights"]) < (1.5 if wrong else 1e-3)
    assert len(found.untold) == (2 if wrong else 1)
    assert found.x["parameters"][0] == pytest.approx(0.5, rel=0.02)
    np.testing.assert_allclose(found.x["gloss"][1:], [0.4, 0.06], rtol=0.02)
    np.testing.assert_allclose(found.x["strengths"], x["strengths"], atol=0.01)
    np.testing.assert_allclose(found.x["sky"], x["sky"], atol=0.01)
    if not wrong:
        assert np.median(angle) / 2 < np.median(found.degrees) < 2 * np.median(angle)


def test_what_pictures_do_not_tell_is_counted(rng: np.random.Generator) -> None:
    """Matt and lit everywhere: lights may turn and stretch by any matrix of nine numbers if normals do the opposite
    (Hayakawa 1994); strengths alone by one factor; given lights leave nothing open."""
    raised = [lights_above(n, rng) + np.array([0, 0, 2.5]) for n in (800, 60)]
    normals, lights = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in raised)
    lights = lights[:LIGHTS]
    y = rng.uniform(0.3, 0.9, len(normals)) * (lights @ normals.T)
    for plan, open_ones in (
        (Plan(glossy=False), 0), (Plan(glossy=False, unequal=True), 1),
        (Plan(glossy=False, unequal=True, turned=5.0), 9),
    ):  # fmt: skip
        found = materials(y, lights, plan)
        assert len(found.untold) == open_ones
        assert mean_degrees(found.x["normals"], normals) < 0.1
    assert all("directions" in words for words in found.untold)


def test_gloss_and_shadows_of_solids(rng: np.random.Generator) -> None:
    made = things(30, 0.35, 0.03, rng)
    found = materials(made["pictures"], made["lights"], Plan())
    assert mean_degrees(found.x["normals"], made["normals"]) < 2.0  # the goal is 4.5
    np.testing.assert_allclose(found.x["gloss"][1:], [0.35, 0.03], rtol=0.05)


def bumps(size: int, seed: int, height: float) -> Thing:
    """A smooth relief, its normals and heights exact, on a flat ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] + 0.5
    total, east, north = np.zeros((size, size)), np.zeros((size, size)), np.zeros((size, size))
    for _ in range(6):
        a, b, w = *rng.uniform(0.2 * size, 0.8 * size, 2), rng.uniform(0.08, 0.15) * size
        part = height * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * w * w))
        total, east, north = total + part, east - part * (x - a) / w**2, north + part * (y - b) / w**2
    normals = np.stack([-east, -north, np.ones_like(east)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Thing(normals, rng.uniform(0.4, 0.8, (size, size, 1)), total)


def test_a_sky_is_found_again(rng: np.random.Generator) -> None:
    """Of a relief, past its horizons.  What normals towards the camera hardly tell is left at zero, and what is found
    shows the same picture; a flat ground tells of one combination."""
    thing = bumps(48, 1, 9.0)
    for degree in (1, 4):
        terms = (degree + 1) ** 2
        sky = 0.15 * rng.normal(size=(1, terms))
        sky[0, 0] = 1.0
        picture = thing.lit([], sky)[thing.inside]
        basis = (thing.albedo * thing.waves(terms))[thing.inside]
        found, told = environment(picture.T, basis)
        np.testing.assert_allclose(basis @ found.T, picture, atol=0.01)
        if degree == 1:
            np.testing.assert_allclose(found, sky, atol=2e-3)
            assert told.min() > 0.01
        else:
            assert 9 <= (told > 0.01).sum() < 25
    flat = Thing(np.broadcast_to([0.0, 0, 1], (12, 12, 3)).copy(), np.ones((12, 12, 1)), np.zeros((12, 12)))
    told = environment(np.ones((1, 144)), (flat.albedo * flat.waves(9))[flat.inside])[1]
    assert (told > 1e-6).sum() == 1
    with pytest.raises(ValueError, match="sends light"):
        environment(np.ones((1, 4)), np.zeros((4, 9)))


def test_a_sky_of_normals_is_that_of_heights() -> None:
    """The two operators mean the same by a sky's numbers: low relief sees all of it."""
    thing = bumps(40, 2, 0.4)
    sky = 0.2 * np.random.default_rng(3).normal(size=25)
    one = SkyLight((40, 40), degree=4, azimuths=32)({"height": thing.relief, "sky": sky})
    other = LitNormals(1600, 1, degree=4).waves(thing.normals.reshape(-1, 3)) @ sky
    assert np.abs(one - other.reshape(40, 40))[2:-2, 2:-2].max() < 0.03


def test_an_inserted_thing_is_as_if_it_had_been_there() -> None:
    """Against a photograph of the scene with the thing, made at once; and a far corner is as it was."""
    scene, thing = bumps(60, 4, 3.0), bumps(20, 5, 8.0)
    thing.normals[thing.heights < 0.3] = np.nan
    lights, sky = [(np.array([0.6, 0.0, 0.8]), 0.7)], np.array([[0.3, 0, 0, 0]])
    photo = scene.lit(lights, sky)
    made = inserted(thing, scene, photo, (25, 22), lights, sky)
    whole = scene.carrying(thing, 25, 22).lit(lights, sky)
    np.testing.assert_allclose(made, whole, atol=1e-5)
    assert np.abs(made - photo)[28:42, 6:20].max() > 0.05, "it casts a shadow to the left"
    assert np.abs(made - photo)[:4, -6:].max() < 0.01
    with pytest.raises(ValueError, match="fit into 60 x 60"):
        inserted(thing, scene, photo, (50, 22), lights, sky)


def written(thing: Thing, folder: Path) -> Path:
    folder.mkdir()
    for name in ("normals", "albedo", "heights"):
        write_array(folder / f"{name}.npy", getattr(thing, name))
    told = {"model": thing.model, "parameters": {}, "gloss": thing.gloss}
    (folder / "found.json").write_text(json.dumps({"materials": told}))
    return folder


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, thing = bumps(50, 4, 6.0), bumps(16, 5, 6.0)
    upon, own = written(scene, tmp_path / "scene"), written(thing, tmp_path / "thing")
    sky = np.array([[0.6, 0.2, 0.1, -0.2]])
    write_array(tmp_path / "photo.npy", scene.lit([], sky))
    out = tmp_path / "sky.json"
    assert main(["optical", "sky", str(tmp_path / "photo.npy"), str(upon), "-o", str(out), "--degree", "1"]) == 0
    np.testing.assert_allclose(json.loads(out.read_text())["sky"], sky, atol=5e-3)
    assert "4 of 4" in capsys.readouterr().out
    relit = tmp_path / "relit.npy"
    assert main(["optical", "relight", str(own), "--sky", str(out), "-o", str(relit)]) == 0
    np.testing.assert_allclose(np.load(relit), thing.lit([], sky), atol=5e-3)
    put = tmp_path / "put.npy"
    told = ["optical", "insert", str(own), str(tmp_path / "photo.npy"), "--scene", str(upon), "--degree", "1"]
    assert main([*told, "--at", "20,20", "-o", str(put)]) == 0
    np.testing.assert_allclose(np.load(put), scene.carrying(thing, 20, 20).lit([], sky), atol=0.01)
    write_picture(tmp_path / "small.png", np.ones((5, 5)))
    (tmp_path / "bad.json").write_text('{"sky": [1, 2]}')
    relighting = ["optical", "relight", str(own)]
    for line, code, message in (
        ([*told, "--at", "45,20"], 2, "fit into 50 x 50"), ([*told, "--at", "a"], 2, "ROW,COLUMN"),
        (["optical", "sky", str(tmp_path / "small.png"), str(upon)], 3, "(5, 5, 1)"),
        ([*relighting, "--sky", str(tmp_path / "bad.json")], 3, "finite numbers (channel, harmonic)"),
        (relighting, 2, "expected a --light"),
        (["optical", "normals", str(upon), "--lights", str(out), "--model", "phong"], 2, "phong"),
        (["optical", "normals", str(upon), "--lights", str(out), "--free", "w"], 2, "got w"),
        (["optical", "normals", str(upon), "--lights", str(out), "--sky", "7"], 2, "0 to 4"),
    ):  # fmt: skip
        assert main(line) == code
        assert message in " ".join(capsys.readouterr().err.split()), line
