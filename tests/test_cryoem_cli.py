"""`tomodiff cryoem`: the commands agree with the library and with each other, and refuse what they cannot use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomodiff.analytic.fsc import fsc, gold_standard, resolution
from tomodiff.analytic.masks import from_map
from tomodiff.cli.main import main
from tomodiff.cli.options import describe, flag, names_of
from tomodiff.errors import ConfigError
from tomodiff.files.cryoem import read_map, read_particles, read_star_file
from tomodiff.recipes.config_file import load_settings
from tomodiff.recipes.job import KINDS, settings_class
from tomodiff.recipes.run import Run

SIMULATED = ["--particles", "60", "--box", "32", "--snr", "2", "--seed", "5", "--pixel-a", "3.5"]
GROUPS = {"refine": "refinement"}
PLAIN = ("fsc", "postprocess", "mask", "convert", "simulate")


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must fail with this code; returns its message, which is no traceback."""
    assert main([str(a) for a in arguments]) == code
    said = capsys.readouterr().err
    assert said.strip() and "Traceback" not in said
    return said


def done(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command; returns what it prints."""
    capsys.readouterr()
    assert main([str(a) for a in arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Particles of a phantom and a reconstruction of them, made by the commands."""
    path = tmp_path_factory.mktemp("cryoem")
    assert main(["-q", "cryoem", "simulate", "phantom", str(path / "p.star"), *SIMULATED]) == 0
    made = ["-o", str(path / "m.mrc"), "--sharpen", "-50", "--local-resolution"]
    assert main(["-q", "cryoem", "reconstruct", str(path / "p.star"), *made]) == 0
    return path


@pytest.mark.parametrize("command", [*(k.partition("-")[2] for k in KINDS if k.startswith("cryoem-")), *PLAIN])
def test_each_command_has_help(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = done(capsys, "cryoem", command, "--help")
    assert f"Usage: tomodiff cryoem {command}" in shown
    kind = f"cryoem-{command}"
    if kind not in KINDS:
        return
    names = names_of(kind, "input", GROUPS.get(command, "reconstruction"), "output")
    assert len({flag(name) for name in names}) == len(names) > 15
    for name in names:
        assert flag(name) in shown
        assert describe(name, settings_class(kind)).description.split()[0] in shown


def test_simulations_repeat_and_are_not_overwritten(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(p.name for p in folder.glob("p*")) == ["p.mrcs", "p.star", "p_truth.mrc", "p_truth.star"]
    assert "--overwrite" in refused(capsys, 2, "cryoem", "simulate", "phantom", folder / "p.star", *SIMULATED)
    few = ["--particles", "3", *SIMULATED[2:]]
    data = []
    for name, more in (("a", []), ("b", []), ("c", ["--seed", "6"])):
        done(capsys, "cryoem", "simulate", "phantom", tmp_path / f"{name}.star", *few, *more)
        data.append(mrcfile.read(tmp_path / f"{name}.mrcs"))
    np.testing.assert_array_equal(data[0], data[1])
    assert np.any(data[0] != data[2])


def test_a_map_is_simulated_in_its_own_pixel(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "cryoem", "simulate", folder / "p_truth.mrc", tmp_path / "q.star", "--particles", 2, "--box", 32)
    assert read_particles(tmp_path / "q.star").pixel == pytest.approx(3.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["phantom", "q.mrcs"], "ends in .star"), (["phantom", "q.star", "--box", "31"], "box: expected an even"),
     (["phantom", "q.star", "--snr", "0"], "snr: expected a number above 0"), (["q.txt", "q.star"], "q.txt: expected"),
     (["phantom", "q.star", "--symmetry", "C1v"], "C1v"),
     (["phantom", "q.star", "--defocus-a", "9", "1"], "defocus: expected a range")],
)  # fmt: skip
def test_simulations_that_cannot_be(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, 2, "cryoem", "simulate", *arguments)
    assert not list(tmp_path.iterdir())


def test_info_tells_what_is_in_particles_stacks_and_maps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = done(capsys, "info", folder / "p.star")
    for text in ("RELION STAR", "60", "32 x 32 pixels of 3.5 angstrom", "300 kV", "1: 30, 2: 30", "poses       yes"):
        assert " ".join(text.split()) in " ".join(shown.split())
    assert "60 of 32 x 32 pixels of 3.5 angstrom, float32" in done(capsys, "info", folder / "p.mrcs")
    assert "3.5 x 3.5 x 3.5 angstrom" in done(capsys, "info", folder / "p_truth.mrc")
    assert (
        f"input         {folder / 'p.star'}".split() == done(capsys, "info", folder / "m.run").splitlines()[2].split()
    )


def test_check_looks_at_every_image(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no problems found" in done(capsys, "check", folder / "p.star")
    for name in ("p.star", "p.mrcs"):
        shutil.copy(folder / name, tmp_path)
    config = tmp_path / "run.yml"
    config.write_text("job: cryoem-refine\ninput: {path: p.star}\noutput: {path: out}\n")
    shown = done(capsys, "check", config)
    assert "needed" in shown and str(tmp_path / "out" / "map.mrc") in shown
    with mrcfile.mmap(tmp_path / "p.mrcs", "r+") as stack:
        stack.data[6] = 2.0
        stack.flush()
    assert "1 images are constant: 7" in done(capsys, "check", tmp_path / "p.star")
    with mrcfile.mmap(tmp_path / "p.mrcs", "r+") as stack:
        stack.data[41, 3, 3] = np.nan
        stack.flush()
    for file in (tmp_path / "p.star", tmp_path / "p.mrcs", config):
        assert "image 42" in refused(capsys, 3, "check", file)
    (tmp_path / "p.mrcs").unlink()
    assert "p.mrcs" in refused(capsys, 3, "check", tmp_path / "p.star")
    assert "60" in done(capsys, "info", tmp_path / "p.star", "--root", folder)


def test_check_of_a_job_refuses_what_the_job_would(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yml"
    start = f"job: cryoem-refine\ninput: {{path: {folder / 'p.star'}, class_number: 3}}\n"
    config.write_text(start)
    assert "class_number: expected one of 0, found 3" in refused(capsys, 2, "check", config)
    start = start.replace(", class_number: 3", "")
    config.write_text(start + "refinement: {mask: absent.mrc}\n")
    assert str(tmp_path / "absent.mrc") in refused(capsys, 3, "check", config)
    config.write_text(start + f"output: {{path: {folder / 'm.mrc'}}}\n")
    assert "exists already" in refused(capsys, 2, "check", config)


def test_reconstruct_leaves_map_halves_particles_and_report(folder: Path) -> None:
    run = Run.open(folder / "m.run")
    assert run.status["state"] == "done" and run.volume_path == folder / "m.mrc"
    made = {p.name for p in run.path.iterdir()}
    assert {"map_half1.mrc", "map_half2.mrc", "map_sharpened.mrc", "mask.mrc", "particles.star"} <= made
    assert {"local_resolution.mrc", "config.yml", "env.json", "log.txt", "report.html"} <= made
    volume, pixel, _ = read_map(folder / "m.mrc")
    truth, _, _ = read_map(folder / "p_truth.mrc")
    assert pixel == pytest.approx(3.5)
    assert fsc(volume, truth)[:6].min() > 0.9  # 60 particles in known poses
    page = (run.path / "report.html").read_text()
    for heading in ("Resolution", "Directions of view", "Sharpening", "Reproduce", "Provenance"):
        assert f"<h2>{heading}</h2>" in page
    facts = run.status["facts"]
    assert facts["particles"] == 60 and facts["b_factor_a2"] == -50 and f"{facts['resolution_a']:.2f}" in page


def test_the_settings_of_a_run_make_the_same_map_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done(capsys, "run", folder / "m.run" / "config.yml", "-o", tmp_path / "again")
    np.testing.assert_array_equal(read_map(tmp_path / "again" / "map.mrc")[0], read_map(folder / "m.mrc")[0])


def test_signs_of_ewald_are_options(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = {}
    for sign in "+-":
        out = ["-o", tmp_path / f"{sign}.mrc", "--sharpen", "off", "--no-report"]
        done(capsys, "cryoem", "reconstruct", folder / "p.star", "--ewald", sign, *out)
        assert load_settings(tmp_path / f"{sign}.run" / "config.yml").reconstruction.ewald == sign
        assert not (tmp_path / f"{sign}.run" / "report.html").exists()
        maps[sign] = read_map(tmp_path / f"{sign}.mrc")[0]
    assert np.any(maps["+"] != maps["-"])


@pytest.mark.parametrize("suffix", [".star", ".json", ".csv", ".png"])
def test_fsc_of_halves(suffix: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = [folder / "m.run" / f"map_half{h}.mrc" for h in (1, 2)]
    mask, out = folder / "m.run" / "mask.mrc", tmp_path / f"curve{suffix}"
    shown = done(capsys, "cryoem", "fsc", *halves, "--mask", mask, "-o", out)
    a, b, cover = (read_map(path)[0] for path in (*halves, mask))
    expected = gold_standard(a, b, cover, np.random.default_rng(0))
    assert f"{resolution(expected.corrected, 3.5):.3f} A at FSC 0.143" in shown
    assert f"{resolution(expected.unmasked, 3.5):.3f} A" in shown
    if suffix == ".star":
        table = read_star_file(out).tables[0]
        np.testing.assert_allclose(table.floats("rlnFourierShellCorrelationCorrected"), expected.corrected, atol=6e-7)
        np.testing.assert_allclose(table.floats("rlnFourierShellCorrelationUnmaskedMaps"), expected.unmasked, atol=6e-7)
        np.testing.assert_allclose(table.floats("rlnResolution"), np.arange(17) / (32 * 3.5), atol=6e-7)
    elif suffix == ".json":
        np.testing.assert_allclose(json.loads(out.read_text())["masked"], expected.masked, rtol=1e-12)
    elif suffix == ".csv":
        table = np.genfromtxt(out, delimiter=",", names=True)
        np.testing.assert_allclose(table["randomised"], expected.randomised, rtol=1e-12)
    else:
        assert out.read_bytes().startswith(b"\x89PNG")
    assert "--overwrite" in refused(capsys, 2, "cryoem", "fsc", *halves, "-o", out)


def test_maps_that_do_not_fit_each_other(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = folder / "m.run" / "map_half1.mrc"
    small = tmp_path / "small.mrc"
    with mrcfile.new(small, np.zeros((16, 16, 16), np.float32)) as mrc:
        mrc.voxel_size = 3.5
    said = refused(capsys, 3, "cryoem", "fsc", half, small)
    assert "32 voxels of 3.5 angstrom" in said and "16 of 3.5" in said
    with mrcfile.new(tmp_path / "none.mrc", np.ones((32, 32, 32), np.float32)):
        pass
    assert "pixel" in refused(capsys, 3, "cryoem", "fsc", half, tmp_path / "none.mrc")
    assert "FSC 0.143" in done(capsys, "cryoem", "fsc", half, half, "--pixel-a", 3.5)
    said = refused(capsys, 2, "cryoem", "fsc", half, half, "-o", tmp_path / "curve.txt")
    assert ".star, .json, .csv or .png" in said and not (tmp_path / "curve.txt").exists()


def test_postprocess(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    halves = [folder / "m.run" / f"map_half{h}.mrc" for h in (1, 2)]
    again = ["--mask", folder / "m.run" / "mask.mrc", "-o", tmp_path / "post.mrc"]
    shown = done(capsys, "cryoem", "postprocess", *halves, *again, "--b-factor", "-50")
    assert "-50.0 A^2" in shown and (tmp_path / "post_fsc.star").exists()
    plain, sharp = read_map(tmp_path / "post.mrc")[0], None
    done(capsys, "cryoem", "postprocess", *halves, *again, "--b-factor", "-500", "--overwrite")
    sharp = read_map(tmp_path / "post.mrc")[0]
    power = [np.abs(np.fft.rfftn(v))[0, 0, 1:10] for v in (plain, sharp)]
    frequency = np.arange(1, 10) / (32 * 3.5)
    np.testing.assert_allclose(power[1] / power[0], np.exp(450 / 4 * frequency**2), rtol=1e-3)
    assert "--b-factor: expected auto, off or a number" in refused(
        capsys, 2, "cryoem", "postprocess", *halves, *again, "--b-factor", "much", "--overwrite"
    )
    assert "--overwrite" in refused(capsys, 2, "cryoem", "postprocess", *halves, *again)


def test_mask(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mask.mrc"
    done(capsys, "cryoem", "mask", folder / "p_truth.mrc", "-o", out, "--threshold", 1.5, "--extend", 2, "--edge", 4)
    truth, pixel, _ = read_map(folder / "p_truth.mrc")
    np.testing.assert_allclose(read_map(out)[0], from_map(truth, 1.5, 2, 4, pixel, 15.0), atol=1e-6)
    assert "--overwrite" in refused(capsys, 2, "cryoem", "mask", folder / "p_truth.mrc", "-o", out)


def test_convert_keeps_poses(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--stack", folder / "p.mrcs", "--pixel-a", 3.5, "--voltage-kv", 300, "--cs-mm", 2.7]
    given += ["--amplitude-contrast", 0.1]
    source, how = folder / "p.star", []
    for name in ("a.cs", "b.par", "c.star"):
        done(capsys, "cryoem", "convert", source, tmp_path / name, *how)
        source, how = tmp_path / name, given if name == "b.par" else []
    first, last = read_particles(folder / "p.star"), read_particles(tmp_path / "c.star")
    np.testing.assert_allclose(last.rotation, first.rotation, atol=1e-3)  # a .par tells hundredths of a degree
    np.testing.assert_allclose(last.shift, first.shift, atol=6e-3)
    np.testing.assert_array_equal(last.images[:2], first.images[:2])
    assert "--overwrite" in refused(capsys, 2, "cryoem", "convert", folder / "p.star", tmp_path / "a.cs")
    assert "stack" in refused(capsys, 2, "cryoem", "convert", tmp_path / "b.par", tmp_path / "d.star")


def test_a_job_reads_a_par(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done(capsys, "cryoem", "convert", folder / "p.star", tmp_path / "b.par")
    given = ["--stack", folder / "p.mrcs", "--pixel-a", 3.5, "--voltage-kv", 300, "--cs-mm", 2.7]
    out = ["-o", tmp_path / "b.mrc", "--sharpen", "off", "--no-report"]
    said = refused(capsys, 2, "cryoem", "reconstruct", tmp_path / "b.par", *out)
    assert "does not name its images" in said
    given += ["--amplitude-contrast", 0.1]
    done(capsys, "cryoem", "reconstruct", tmp_path / "b.par", *out, *given)
    a, b = read_map(folder / "m.mrc")[0], read_map(tmp_path / "b.mrc")[0]
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99  # half sets differ: a .par does not tell them


def test_wrong_settings_are_listed_with_their_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(
        capsys, 2, "cryoem", "refine", "p.star", "-o", tmp_path / "v.foo", "--padding", "9", "--symmetry", "C1v",
        "--mode", "global", "--half", "3", "--set", "seed=-4",
    )  # fmt: skip
    assert "6 mistakes" in message
    for option in ("--padding", "--symmetry", "--half", "--out", "--set seed"):
        assert f"  {option}: " in message
    assert "refinement.reference" in message


@pytest.mark.slow
def test_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tomodiff.cli.demo.command import sample

    try:
        sample("cryoem")
    except ConfigError as error:
        pytest.skip(str(error))
    shown = done(capsys, "demo", "cryoem", "-o", tmp_path / "demo")
    assert "report.html" in shown and "THIS IS NOT SO" not in shown
    page = next((tmp_path / "demo").rglob("report.html")).read_text()
    for heading in ("Resolution", "Directions of view", "Volume", "Convergence"):
        assert f"<h2>{heading}</h2>" in page
