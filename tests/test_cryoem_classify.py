"""Classes of particles: told apart without references, from references, at random; and what the run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tests.cryoem_toys import ball
from tomodiff.analytic.fsc import fsc
from tomodiff.cli.main import main
from tomodiff.files.cryoem import read_map, read_particles, read_star_file
from tomodiff.recipes.cryoem.classes import clusters, pairing, posterior
from tomodiff.recipes.cryoem.columns import add_columns
from tomodiff.recipes.cryoem.rounds import resolved

SMALL = ["--particles", "300", "--box", "32", "--pixel-a", "4", "--snr", "0.2", "--seed", "3"]
QUIET = ("--set", "output.report=false")


def simulate(folder: Path, *given: str) -> Path:
    """Two conformations, known poses; the class is told in p_truth.star alone."""
    assert main(["-q", "cryoem", "simulate", "phantom", str(folder / "p.star"), "--conformations", "2", *given]) == 0
    return folder / "p.star"


@pytest.fixture(scope="module")
def particles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("classes"), *SMALL)


def right(run: Path, particles: Path) -> float:
    """The part of the particles in the class they are of; which class is called 1 does not matter."""
    found = read_particles(run / "particles.star").klass
    true = read_particles(particles.with_name("p_truth.star")).klass
    assert set(true) == {1, 2}
    return float(max((found == true).mean(), (found == 3 - true).mean()))


def test_two_conformations_are_told_apart_without_references(particles: Path, tmp_path: Path) -> None:
    assert main(["-q", "cryoem", "classify", str(particles), "-o", str(tmp_path / "run")]) == 0
    run = tmp_path / "run"
    assert right(run, particles) >= 0.95
    found = read_particles(run / "particles.star").klass
    facts = json.loads((run / "status.json").read_text())["facts"]
    counts = [facts["class_maps"][f"class {k}"]["particles"] for k in (1, 2)]
    assert counts == np.bincount(found)[1:].tolist() and counts[0] >= counts[1]
    table = read_star_file(run / "particles.star").tables[-1]
    assert table.floats("rlnMaxValueProbDistribution").min() >= 0.5
    maps = [read_map(run / name)[0] for name in ("map.mrc", "map_class2.mrc")]
    true = [read_map(particles.with_name(f"p_truth{k}.mrc"))[0] for k in (1, 2)]
    # Each map is more like its own conformation than like the other one.
    like = np.array([[np.corrcoef(m.ravel(), t.ravel())[0, 1] for t in true] for m in maps])
    assert like[[0, 1], like.argmax(1)].min() > 0.9 and set(like.argmax(1)) == {0, 1}
    shell = resolved(fsc(maps[0] * ball(32), true[int(like[0].argmax())] * ball(32)), 0.5)
    assert shell >= 8, "half of Nyquist"
    assert "class 2" in (run / "report.html").read_text()
    halves = [read_map(run / f"map_class2_half{h}.mrc")[0] for h in (1, 2)]
    assert fsc(*halves)[1:4].min() > 0.5 and not np.array_equal(*halves)


def test_references_name_the_classes(particles: Path, tmp_path: Path) -> None:
    maps = ",".join(str(particles.with_name(f"p_truth{k}.mrc")) for k in (2, 1))
    given = ["--references", maps, "--iterations", "2", "--mask", "none", *QUIET]
    assert main(["-q", "cryoem", "classify", str(particles), "-o", str(tmp_path / "run"), *given]) == 0
    assert right(tmp_path / "run", particles) >= 0.95


def test_poses_may_follow_their_class(particles: Path, tmp_path: Path) -> None:
    given = ["--align", "local", "--local-sigma-deg", "2", "--local-sigma-px", "0.5", "--iterations", "2", *QUIET]
    assert main(["-q", "cryoem", "classify", str(particles), "-o", str(tmp_path / "run"), *given]) == 0
    assert right(tmp_path / "run", particles) >= 0.95
    before, after = read_particles(particles), read_particles(tmp_path / "run" / "particles.star")
    assert not np.allclose(before.rotation, after.rotation)


def test_a_classification_goes_on_to_the_same_bits(
    particles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From random classes, stopped after its first iteration, as by Ctrl-C, and resumed."""
    from tomodiff.recipes.run import Run

    given = ["cryoem", "classify", str(particles), "--start", "random", "--iterations", "3", *QUIET]
    assert main(["-q", *given, "-o", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_requested", property(lambda self: True))
        assert main(["-q", *given, "-o", str(tmp_path / "parts")]) == 75
    assert main(["-q", "resume", str(tmp_path / "parts")]) == 0
    for name in ("map.mrc", "map_class2.mrc"):
        whole, parts = (read_map(tmp_path / run / name)[0] for run in ("whole", "parts"))
        assert np.array_equal(whole, parts)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--classes", "1"], "classes: expected a whole number above 1"),
        (["--references", "a.mrc"], "references: expected two maps or more"),
        (["--references", "a.mrc,b.mrc", "--classes", "3"], "classes: 2 references are given"),
        (["--align", "global"], "align"),
    ],
)
def test_mistakes_are_explained(
    given: list[str], says: str, particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-q", "cryoem", "classify", str(particles), "-o", str(tmp_path / "x.mrc"), *given]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "x.mrc").exists()


def test_a_reference_on_another_grid_is_refused(
    particles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tomodiff.files.cryoem import write_map

    for name in "ab":
        write_map(tmp_path / f"{name}.mrc", np.zeros((16, 16, 16), np.float32), 4.0)
    given = ["--references", f"{tmp_path / 'a.mrc'},{tmp_path / 'b.mrc'}"]
    assert main(["-q", "cryoem", "classify", str(particles), "-o", str(tmp_path / "x"), *given]) == 3
    said = capsys.readouterr().err
    assert "a.mrc" in said and "32 voxels" in said


def test_probabilities_are_those_of_bayes() -> None:
    misfit = np.array([[1.0, 2.0], [5000.0, 5003.0]])
    shares = np.array([0.25, 0.75])
    first = 0.25 * np.exp(-1) / (0.25 * np.exp(-1) + 0.75 * np.exp(-2))
    second = 0.25 / (0.25 + 0.75 * np.exp(-3))
    assert posterior(misfit, shares)[:, 0] == pytest.approx([first, second], rel=1e-12)


def test_clusters_are_found_and_empty_ones_are_no_error(rng: np.random.Generator) -> None:
    centres = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 7.0]])
    true = rng.integers(0, 3, 300)
    found = clusters(centres[true] + rng.normal(0, 0.5, (300, 2)), 3, rng)
    assert all(len(set(found[true == k])) == 1 for k in range(3)) and len(set(found)) == 3
    assert len(set(clusters(np.zeros((5, 1)), 2, rng))) <= 2


def test_classes_of_the_two_halves_are_paired(rng: np.random.Generator) -> None:
    maps = list(rng.normal(size=(3, 6, 6, 6)))
    common = 100 * rng.normal(size=(6, 6, 6))
    order = np.array([2, 0, 1])
    second = [np.asarray(maps[k] + common + 0.1 * rng.normal(size=(6, 6, 6))) for k in np.argsort(order)]
    assert np.array_equal(pairing([m + common for m in maps], second), order)


def test_columns_join_the_table_of_particles(particles: Path, tmp_path: Path) -> None:
    from tomodiff.errors import DataError
    from tomodiff.files.cryoem import write_star_file

    star = read_star_file(particles)
    write_star_file(tmp_path / "q.star", star)
    add_columns(tmp_path / "q.star", {"mine": np.arange(300.0)})
    table = read_star_file(tmp_path / "q.star").tables[-1]
    assert np.array_equal(table.floats("mine"), np.arange(300.0))
    assert np.array_equal(table["rlnAngleRot"], star.tables[-1]["rlnAngleRot"]), "texts of numbers are kept"
    with pytest.raises(DataError, match=r"q\.star.*one of 3 particles"):
        add_columns(tmp_path / "q.star", {"mine": np.arange(3.0)})


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_nineteen_of_twenty_are_right_at_a_tenth_of_the_noise(seed: int, tmp_path: Path, measured: Measured) -> None:
    """2000 particles of 64 pixels, two conformations, SNR 0.1, no references."""
    given = ["--particles", "2000", "--box", "64", "--pixel-a", "3.5", "--snr", "0.1", "--seed", str(seed)]
    path = simulate(tmp_path, *given)
    assert main(["-q", "cryoem", "classify", str(path), "-o", str(tmp_path / "run"), *QUIET]) == 0
    share = right(tmp_path / "run", path)
    measured("two classes at SNR 0.1, assigned right", ">= 0.95", seed=seed, share=share)
    assert share >= 0.95
