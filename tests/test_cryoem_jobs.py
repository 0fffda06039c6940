"""The cryo-EM commands end to end: simulate, reconstruct, refine, stop and resume, measure, convert; and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cryoem_toys import ball
from tomodiff.analytic.fsc import fsc
from tomodiff.cli.main import main
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.recipes.cryoem.rounds import resolved
from tomodiff.recipes.run import Run

PLAIN = ("--sharpen", "off", "--set", "output.report=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 clear particles of 32 pixels, with their true map."""
    made = tmp_path_factory.mktemp("cryoem")
    given = ["--particles", "200", "--box", "32", "--pixel-a", "4", "--snr", "0.5", "--seed", "3"]
    code = main(["-q", "cryoem", "simulate", "phantom", str(made / "p.star"), *given])
    assert code == 0 and (made / "p.mrcs").exists()
    return made


def agreement(folder: Path, path: Path) -> int:
    truth, found = read_map(folder / "p_truth.mrc")[0], read_map(path)[0]
    return resolved(fsc(found * ball(32), truth * ball(32)), 0.5)


def test_reconstruct_writes_maps_curves_particles_and_a_report(folder: Path, tmp_path: Path) -> None:
    assert main(["-q", "cryoem", "reconstruct", str(folder / "p.star"), "-o", str(tmp_path / "map.mrc")]) == 0
    run = tmp_path / "map.run"
    for name in ("map_half1.mrc", "map_half2.mrc", "mask.mrc", "particles.star", "report.html"):
        assert (run / name).stat().st_size > 0, name
    assert agreement(folder, tmp_path / "map.mrc") >= 10
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "done" and 8 < status["facts"]["resolution_a"] < 20
    shown = (run / "report.html").read_text()
    assert "Resolution" in shown and "Directions of view" in shown
    volume, pixel, _ = read_map(tmp_path / "map.mrc")
    assert pixel == pytest.approx(4.0) and volume.shape == (32, 32, 32)


def test_conjugate_gradients_agree_with_the_wiener_map(folder: Path, tmp_path: Path) -> None:
    for method in ("wiener", "cg"):
        out = ["-o", str(tmp_path / f"{method}.mrc"), "--method", method, "--mask", "none", *PLAIN]
        assert main(["-q", "cryoem", "reconstruct", str(folder / "p.star"), *out]) == 0
    maps = [read_map(tmp_path / f"{method}.mrc")[0] * ball(32) for method in ("wiener", "cg")]
    assert fsc(*maps)[1:8].min() > 0.97


def test_refine_keeps_half_sets_and_unknown_columns(folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "refined")
    assert main(["-q", "cryoem", "refine", str(folder / "p.star"), "-o", out, "--iterations", "2", *PLAIN]) == 0
    before, after = read_particles(folder / "p.star"), read_particles(Path(out) / "particles.star")
    assert np.array_equal(before.half, after.half)
    assert not np.array_equal(before.rotation, after.rotation)
    assert agreement(folder, Path(out) / "map.mrc") >= 8, "half of Nyquist"


def test_a_refinement_goes_on_to_the_same_bits(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after its first round, as by Ctrl-C, and resumed."""
    given = ["cryoem", "refine", str(folder / "p.star"), "--iterations", "2", *PLAIN]
    assert main(["-q", *given, "-o", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stop_requested", property(lambda self: True))
        assert main(["-q", *given, "-o", str(tmp_path / "parts")]) == 75
    assert Run.open(tmp_path / "parts").report_data("preview") is not None  # for who watches
    assert main(["-q", "resume", str(tmp_path / "parts")]) == 0
    whole, parts = (read_map(tmp_path / name / "map.mrc")[0] for name in ("whole", "parts"))
    assert np.array_equal(whole, parts)
    rounds, taken_up = (Run.open(tmp_path / name).report_data("rounds") for name in ("whole", "parts"))
    assert rounds is not None and taken_up is not None and rounds["fsc"].shape == (2, 17)
    assert np.array_equal(rounds["fsc"], taken_up["fsc"])


def test_fsc_mask_and_postprocess(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "cryoem", "reconstruct", str(folder / "p.star"), "-o", str(tmp_path / "m.mrc"), *PLAIN]) == 0
    halves = [str(tmp_path / "m.run" / f"map_half{h}.mrc") for h in (1, 2)]
    mask = str(tmp_path / "cover.mrc")
    assert main(["-q", "cryoem", "mask", str(tmp_path / "m.mrc"), "-o", mask]) == 0
    capsys.readouterr()
    assert main(["-q", "cryoem", "fsc", *halves, "--mask", mask, "-o", str(tmp_path / "c.json")]) == 0
    assert "A at FSC 0.143" in capsys.readouterr().out
    curves = json.loads((tmp_path / "c.json").read_text())
    assert len(curves["corrected"]) == 17 and curves["pixel_a"] == pytest.approx(4.0)
    sharp = ["-o", str(tmp_path / "s.mrc"), "--b-factor", "-100"]
    assert main(["-q", "cryoem", "postprocess", *halves, *sharp]) == 0
    assert read_map(tmp_path / "s.mrc")[0].shape == (32, 32, 32)


def test_convert_there_and_back_keeps_poses(folder: Path, tmp_path: Path) -> None:
    assert main(["-q", "cryoem", "convert", str(folder / "p.star"), str(tmp_path / "p.cs")]) == 0
    assert main(["-q", "cryoem", "convert", str(tmp_path / "p.cs"), str(tmp_path / "back.star")]) == 0
    before, after = read_particles(folder / "p.star"), read_particles(tmp_path / "back.star")
    assert np.allclose(before.rotation, after.rotation, atol=1e-5) and np.allclose(before.shift, after.shift, atol=1e-3)


def test_info_tells_particles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder / "p.star")]) == 0
    shown = capsys.readouterr().out
    assert "200" in shown and "32" in shown and "300 kV" in shown


def test_info_tells_what_a_par_holds_and_what_it_does_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-q", "cryoem", "convert", str(folder / "p.star"), str(tmp_path / "p.par")]) == 0
    capsys.readouterr()
    for command in ("info", "check"):
        assert main([command, str(tmp_path / "p.par")]) == 0
        shown = capsys.readouterr().out
        assert "200" in shown and "--pixel-a" in shown and "in angstrom" in shown


def test_local_resolution_and_ab_initio_are_in_their_reports(folder: Path, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "local"), "--local-resolution", "--sharpen", "off"]
    assert main(["-q", "cryoem", "reconstruct", str(folder / "p.star"), *out]) == 0
    assert "Local resolution" in (tmp_path / "local" / "report.html").read_text()
    given = ["--iterations", "2", "--batch", "20", "--max-resolution-a", "30"]
    assert main(["-q", "cryoem", "abinitio", str(folder / "p.star"), "-o", str(tmp_path / "start"), *given]) == 0
    shown = (tmp_path / "start" / "report.html").read_text()
    assert "Slices through the middle of the volume" in shown and "Classes" in shown


def test_a_job_is_checked_before_it_runs(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("classify", "variability"):
        config = tmp_path / f"{kind}.yml"
        config.write_text(
            f"job: cryoem-{kind}\ninput:\n  path: {folder / 'p.star'}\noutput:\n  path: {tmp_path / 'o'}\n"
        )
        assert main(["check", str(config)]) == 0
        shown = capsys.readouterr().out
        assert "needed" in shown and "no problems found" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["reconstruct", "P", "--symmetry", "C2v"], 2, "symmetry"),
        (["reconstruct", "P", "--padding", "9"], 2, "padding: expected a number between 1 and 4"),
        (["refine", "P", "--mode", "global"], 2, "reference: a global search needs a map"),
        (["refine", "P", "--refine-astigmatism"], 2, "refine_astigmatism: goes with refine_defocus"),
        (["reconstruct", "P", "--method", "wiener", "--iterations", "3"], 2, "iterations: method wiener has none"),
        (["reconstruct", "nothing.star"], 3, "nothing.star"),
        (["fsc", "nothing.mrc", "nothing.mrc"], 3, "nothing.mrc"),
    ],
)
def test_mistakes_are_explained(
    arguments: list[str], code: int, says: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(folder / "p.star") if a == "P" else a for a in arguments]
    out = [] if given[0] == "fsc" else ["-o", str(tmp_path / "x.mrc")]
    assert main(["-q", "cryoem", *given, *out]) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "x.mrc").exists()


def test_an_image_that_is_not_finite_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    import mrcfile

    for name in ("p.star", "p.mrcs"):
        shutil.copy(folder / name, tmp_path)
    with mrcfile.open(tmp_path / "p.mrcs", "r+") as stack:
        stack.data[7, 3, 3] = np.nan
    assert main(["-q", "cryoem", "reconstruct", str(tmp_path / "p.star"), "-o", str(tmp_path / "x.mrc")]) == 3
    said = capsys.readouterr().err
    assert "8" in said and "p.mrcs" in said and not (tmp_path / "x.mrc").exists()
