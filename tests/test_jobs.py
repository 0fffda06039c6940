"""One machinery for every kind of job: found by its name, set up, carried out, stopped, resumed, reported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.cli.template import template
from tomodiff.errors import ConfigError
from tomodiff.files.cryoem import write_map
from tomodiff.recipes import job as jobs
from tomodiff.recipes.config_file import load_settings, settings_from
from tomodiff.recipes.cryoem.output import keep_summary
from tomodiff.recipes.job import KINDS, recipe, settings_class
from tomodiff.recipes.place import Place
from tomodiff.recipes.run import Run
from tomodiff.report.run_report import report

CRYOEM = [kind for kind in KINDS if kind.startswith("cryoem")]
REFINE = "job: cryoem-refine\ninput: {path: p.star}\n"


def load(folder: Path, text: str) -> Any:
    (folder / "run.yml").write_text(text)
    return load_settings(folder / "run.yml")


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [line.strip() for line in str(caught.value).splitlines()][1:]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_settings_a_recipe_and_a_template(kind: str, tmp_path: Path) -> None:
    assert settings_class(kind).model_fields["job"].default == kind
    assert callable(recipe(kind)) and recipe(kind).__doc__
    settings = load(tmp_path, template(kind))
    assert settings.job == kind
    uncommented = template(kind).replace("  # ", "  ")
    for section in settings.in_order():
        for name in getattr(type(settings).model_fields[section].annotation, "model_fields", {}):
            assert f"\n  {name}: " in uncommented


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back(kind: str, tmp_path: Path) -> None:
    settings = load(tmp_path, template(kind))
    with Run.create(settings) as run:
        run.conclude()
    opened = Run.open(run.path)
    assert opened.settings == settings
    assert settings.input.path.name in report(opened)
    names = list(settings.as_dict())
    assert names[:2] == ["job", "input"] and names.index("seed") == names.index("output") + 1


def test_mistakes_are_named_with_line_and_nearest_name_in_every_kind(tmp_path: Path) -> None:
    text = """\
job: cryoem-refine
input: {path: p.star, clas_number: 3}
refinement:
  padding: 9
  mode: globl
  symetry: C1
  refine_astigmatism: true
"""
    found = mistakes(tmp_path, text)
    assert found[0] == "line 2: input.clas_number: unknown setting; did you mean class_number?"
    assert found[1] == "line 4: refinement.padding: expected a number between 1 and 4, got 9"
    assert found[2] == "line 5: refinement.mode: expected local or global, got 'globl'; did you mean global?"
    assert found[3] == "line 6: refinement.symetry: unknown setting; did you mean symmetry?"
    assert found[4].startswith("line 7: refinement.refine_astigmatism: goes with refine_defocus")
    assert len(found) == 5


def test_a_kind_that_is_none_is_answered_by_the_nearest(tmp_path: Path) -> None:
    text = REFINE.replace("refine", "refin") + "refinement: {mode: global, reference: a.mrc}\n"
    found = mistakes(tmp_path, text)
    assert len(found) == 1 and found[0].endswith("got 'cryoem-refin'; did you mean cryoem-refine?")
    assert all(kind in found[0] for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [("cryoem-refine", "refinement.symmetry", "C1h"), ("cryoem-refine", "refinement.healpix_order", 9),
     ("cryoem-refine", "refinement.local_sigma_deg", 0), ("cryoem-refine", "input.half", 3),
     ("cryoem-reconstruct", "reconstruction.sharpen", "much"), ("cryoem-reconstruct", "output.path", "map.h5"),
     ("cryoem-reconstruct", "reconstruction.ewald", "++"), ("cryoem-abinitio", "reconstruction.classes", 0),
     ("cryoem-tomogram", "input.exclude", "1,x"), ("cryoem-tomogram", "reconstruction.taper", -1)],
)  # fmt: skip
def test_values_that_cannot_be(kind: str, name: str, value: Any) -> None:
    given = {"job": (kind, ""), "input.path": ("p.star", ""), name: (value, "--it")}
    with pytest.raises(ConfigError, match=r"1 mistake\n  --it: .*expected .*, got"):
        settings_from(given)


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [("cryoem-refine", {"refinement.mode": "global"}, "a global search needs a map"),
     ("cryoem-refine", {"refinement.reference": "a.mrc"}, "starts from the poses in the file"),
     ("cryoem-reconstruct", {"reconstruction.iterations": 5}, "method wiener has none"),
     ("cryoem-tomogram", {"reconstruction.tv_weight": 1}, "method wbp has none")],
)  # fmt: skip
def test_settings_that_do_not_fit_each_other(kind: str, given: dict[str, Any], said: str) -> None:
    given |= {"job": kind, "input.path": "p.star"}
    with pytest.raises(ConfigError, match=said):
        settings_from({name: (value, name) for name, value in given.items()})


def test_paths_are_relative_to_the_file_and_words_are_no_paths(tmp_path: Path) -> None:
    text = "job: cryoem-reconstruct\ninput: {path: p.cs, root: r, passthrough: [a.cs, /b.cs]}\n"
    settings = load(tmp_path, text + "reconstruction: {mask: m.mrc}\n")
    assert settings.input.path == tmp_path / "p.cs" and settings.input.root == tmp_path / "r"
    assert settings.input.passthrough == (tmp_path / "a.cs", Path("/b.cs"))
    assert settings.reconstruction.mask == str(tmp_path / "m.mrc")
    assert settings.output.path == tmp_path / "map.mrc"
    for word in ("auto", "none"):
        assert load(tmp_path, text + f"reconstruction: {{mask: {word}}}\n").reconstruction.mask == word
    listed = {"job": ("cryoem-reconstruct", ""), "input.path": ("p.cs", ""), "input.passthrough": ("a.cs, b.cs", "")}
    assert settings_from(listed).input.passthrough == (Path.cwd() / "a.cs", Path.cwd() / "b.cs")


@pytest.mark.parametrize("kind", CRYOEM)
def test_where_maps_go(kind: str, tmp_path: Path) -> None:
    def place(out: str) -> Place:
        given = {"job": kind, "input.path": "p.star", "output.path": str(tmp_path / out)}
        return Place.of(settings_from({name: (value, name) for name, value in given.items()}).output)

    assert place("a.mrc") == Place(tmp_path / "a.run", tmp_path / "a.mrc")
    assert place("b") == Place(tmp_path / "b", tmp_path / "b" / "map.mrc")


def test_what_goes_in_is_kept_with_its_checksum(tmp_path: Path) -> None:
    for name in ("p.star", "start.mrc", "mask.mrc"):
        (tmp_path / name).write_text(name)
    settings = load(tmp_path, REFINE + "refinement: {mode: global, reference: start.mrc, mask: mask.mrc}\n")
    inputs = json.loads((Run.create(settings).path / "env.json").read_text())["inputs"]
    sums = {role: entry["sha256"] for role, entry in inputs.items()}
    names = {"particles": "p.star", "reference": "start.mrc", "mask": "mask.mrc"}
    assert sums == {role: hashlib.sha256(name.encode()).hexdigest() for role, name in names.items()}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts a function in the place of every recipe."""

    def put(function: Callable[..., Any]) -> None:
        monkeypatch.setattr(jobs, "recipe", lambda kind: function)

    return put


def test_a_recipe_that_writes_its_own_files(
    tmp_path: Path, stub: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def own(settings: Any, run: Run, progress: Any) -> None:
        seen.append(settings)
        volume = np.ones((4, 4, 4), np.float32)
        write_map(run.volume_path, volume, 1.5)
        write_map(run.path / "map_half1.mrc", volume, 1.5)
        keep_summary(run, volume, 1.5)
        run.record(resolution_a=3.25)

    stub(own)
    (tmp_path / "p.star").write_text("data_\n")
    (tmp_path / "run.yml").write_text(REFINE)
    assert main(["run", str(tmp_path / "run.yml"), "--device", "cuda", "-o", str(tmp_path / "m.mrc")]) == 0
    assert seen[0].refinement.device == "cuda" and seen[0].device == "cuda"
    run = Run.open(tmp_path / "m.run")
    assert run.status["state"] == "done" and run.volume_path == tmp_path / "m.mrc" and run.volume_path.exists()
    page = (run.path / "report.html").read_text()
    assert "voxel size (\N{LATIN CAPITAL LETTER A WITH RING ABOVE})" in page and "3.25" in page
    capsys.readouterr()
    assert main(["info", str(run.path)]) == 0
    assert "cryoem-refine" in capsys.readouterr().out


def test_a_job_that_stopped_goes_on(
    tmp_path: Path, stub: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def half_way(settings: Any, run: Run, progress: Any) -> None:
        if not run.checkpoint().exists():
            run.checkpoint().write_text("half")
            raise run.stopped(1)
        write_map(run.volume_path, np.ones((2, 2, 2), np.float32), 1.0)

    stub(half_way)
    (tmp_path / "p.star").write_text("data_\n")
    (tmp_path / "run.yml").write_text(REFINE + "output: {path: out}\n")
    assert main(["run", str(tmp_path / "run.yml")]) == 75
    assert f"tomodiff resume {tmp_path / 'out'}" in capsys.readouterr().err
    assert main(["resume", str(tmp_path / "out")]) == 0
    run = Run.open(tmp_path / "out")
    assert run.status["state"] == "done" and not run.has_checkpoint() and (run.path / "map.mrc").exists()
    assert main(["resume", str(tmp_path / "out")]) == 2
    assert main(["report", str(tmp_path / "out")]) == 0


def test_a_job_that_failed_says_so_and_makes_room(tmp_path: Path, stub: Callable[..., None]) -> None:
    def broken(settings: Any, run: Run, progress: Any) -> None:
        raise ConfigError("not today")

    stub(broken)
    (tmp_path / "p.star").write_text("data_\n")
    for _ in range(2):
        assert main(["cryoem", "refine", str(tmp_path / "p.star"), "-o", str(tmp_path / "m.mrc")]) == 2
        status = Run.open(tmp_path / "m.run").status
        assert status["state"] == "failed" and status["message"] == "not today"


@pytest.mark.parametrize("text", [None, "hello\n", "\x80 pickled"])
def test_what_cannot_be_read_costs_no_run_directory(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "p.star").write_text(text, encoding="latin-1")
    before = sorted(tmp_path.iterdir())
    assert main(["cryoem", "reconstruct", str(tmp_path / "p.star"), "-o", str(tmp_path / "m.mrc")]) == 3
    assert sorted(tmp_path.iterdir()) == before
