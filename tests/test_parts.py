"""Dimensions from a few radiographs: exact solids, photons and a finer model of pixels; what comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.files import write_scan
from tomodiff.geometry import ConeBeam
from tomodiff.geometry.vectors import Vectors
from tomodiff.recipes.ct import radiographs as module
from tomodiff.recipes.ct.radiographs import PartsModel, fit_parts
from tomodiff.recipes.parts import Part, get, placed, replaced, unknowns
from tomodiff.recipes.yaml_tree import read_yaml
from tomodiff.result import Dataset
from tomodiff.simulate.ellipsoids import chords
from tomodiff.simulate.solids import KINDS, Solid

SCAN = ConeBeam(np.linspace(0, 2 * np.pi, 6, endpoint=False) + 0.1, 200.0, 400.0, (56, 56), 1.0)
"""Pixels of 0.5 mm at the axis: what a voxel would be."""
VOXEL_MM = 0.5


def assembly() -> list[Part]:
    """A block with a bore (of negative density) and an arm on a joint."""
    block = Part(
        "block", "box", np.array([6.0, 5.0, 4.0]), np.array([0.5, -0.8, -2.0]), np.array([3.0, -2.0, 12.0]), 0.05
    )
    bore = Part(
        "bore", "cylinder", np.array([1.6, 1.6, 4.5]), np.array([1.0, 0.7, 0.0]), np.zeros(3), -0.05, "block",
        ("half_x", "place_x", "place_y"),
    )  # fmt: skip
    arm = Part(
        "arm", "capsule", np.array([1.2, 1.2, 4.0]), np.array([0.0, 0.0, 8.0]), np.array([20.0, 0.0, 0.0]), 0.08,
        "block", ("half", "turn_x", "density"),
    )  # fmt: skip
    return [block, bore, arm]


def radiographs(parts: list[Part], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Line integrals of counts: intensities averaged over 5 x 5 rays in each pixel, 2e5 photons."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "SUB", 5)
        rays = module._rays(Vectors.of(SCAN), SCAN, 1)
    return -np.log(rng.poisson(2e5 * np.exp(-PartsModel(rays)(parts))) / 2e5)


def wrong(parts: list[Part], rng: np.random.Generator) -> list[Part]:
    """Parts that are off by up to 0.6 mm, 4 degrees and 15 % where they are free."""
    names = unknowns(parts)
    off = {"half": 0.3, "place": 0.6, "turn": 4.0, "density": 0.01}
    values = [get(parts, n) + off[n.split(".")[1].split("_")[0]] * rng.uniform(-1, 1) for n in names]
    return replaced(parts, names, np.array(values))


@pytest.mark.parametrize("kind", KINDS)
def test_chords_add_up_to_the_volume(kind: str) -> None:
    """Over a sheet of parallel rays, in closed form; of ellipsoids also one by one."""
    half = np.array([0.7, 0.5, 0.9]) if kind in ("ellipsoid", "box") else np.array([0.6, 0.6, 0.8])
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    solid = Solid(kind, tuple(half), np.column_stack([turn, [0.1, 0.2, -0.1]]))
    step = 0.01
    along = np.arange(-2, 2, step) + step / 2
    y, z = (a.ravel() for a in np.meshgrid(along, along))
    origins, directions = np.stack([0 * y, y, z], axis=1), np.tile([1.0, 0.0, 0.0], (y.size, 1))
    lengths = solid.chords(origins, directions)
    a, b, c = half
    volume = {
        "ellipsoid": 4 / 3 * np.pi * a * b * c, "box": 8 * a * b * c, "cylinder": 2 * np.pi * a * a * c,
        "capsule": 2 * np.pi * a * a * c + 4 / 3 * np.pi * a**3,
    }[kind]  # fmt: skip
    assert lengths.sum() * step**2 == pytest.approx(volume, rel=1e-3)
    if kind == "ellipsoid":
        exact = chords(origins - solid.pose[:, 3], directions, turn.T / half[:, None])
        np.testing.assert_allclose(lengths, exact, atol=1e-9)


@pytest.mark.slow
def test_an_assembly_is_measured(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """From six radiographs: lengths and places to 0.02 voxels, angles to 0.05 degrees."""
    true = assembly()
    dataset = Dataset(radiographs(true, rng, monkeypatch), SCAN, "line_integrals")
    found = fit_parts(dataset, wrong(true, rng))
    for part, exact in zip(found.parts, true, strict=True):
        assert np.abs(part.half - exact.half).max() < 0.02 * VOXEL_MM, part.name
        assert np.abs(part.place - exact.place).max() < 0.02 * VOXEL_MM, part.name
        assert np.abs(part.turn - exact.turn).max() < 0.05, part.name
    assert max(d for n, d in found.deviations.items() if "half" in n or "place" in n) < 0.02 * VOXEL_MM


def test_a_joint_carries_what_hangs_on_it() -> None:
    block, bore, arm = assembly()
    before = placed([block, bore, arm])
    after = placed([replace(block, turn=np.array([0.0, 0.0, 90.0]), place=np.zeros(3)), bore, arm])
    np.testing.assert_allclose(after[2].pose[:, 3], [0, 0, 8], atol=1e-12)
    gap = [np.linalg.norm(s[2].pose[:, 3] - s[0].pose[:, 3]) for s in (before, after)]
    assert gap[0] == pytest.approx(gap[1])


def test_the_command(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ball = Part(
        "ball", "sphere", np.full(3, 7.0), np.array([1.0, 2.0, -1.0]), np.zeros(3), 0.04, None, ("half", "place")
    )
    lines = radiographs([ball], rng, monkeypatch)
    write_scan(tmp_path / "scan.h5", Dataset(np.exp(-lines).astype(np.float32), SCAN, "transmission"))
    (tmp_path / "parts.yml").write_text(
        "parts:\n- {name: ball, kind: sphere, half_mm: [6.5, 6.5, 6.5], density: 0.04, free: [half, place]}\n"
    )
    told = [
        "ct",
        "parts",
        str(tmp_path / "scan.h5"),
        str(tmp_path / "parts.yml"),
        "-o",
        str(tmp_path / "fitted.yml"),
        "--overwrite",
    ]
    assert main(told) == 0
    found = read_yaml(tmp_path / "fitted.yml").values["parts"][0]
    np.testing.assert_allclose(found["half_mm"], 7.0, atol=0.02 * VOXEL_MM)
    np.testing.assert_allclose(found["place_mm"], [1, 2, -1], atol=0.02 * VOXEL_MM)
    assert (tmp_path / "fitted.png").exists()
    for text, message in (
        ("parts: []", "expected a list of parts"),
        ("parts:\n- {name: a, kind: cone, half_mm: [1, 1, 1], density: 1}", "expected one of sphere"),
        ("parts:\n- {name: a, kind: box, half_mm: [1, 1], density: 1}", "expected three numbers"),
        ("parts:\n- {name: a, kind: box, half_mm: [1, 1, 1], density: 1, free: [size]}", "expected half"),
        ("parts:\n- {name: a, kind: box, half_mm: [1, 1, 1], density: 1, parent: b}", "expected a part before it"),
        ("parts:\n- {name: a, kind: box, half_mm: [1, 1, 1], density: 1, free: []}", "something that is free"),
    ):
        (tmp_path / "parts.yml").write_text(text + "\n")
        assert main(told) == 2
        assert message in " ".join(capsys.readouterr().err.split())
