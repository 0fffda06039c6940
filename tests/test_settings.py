"""Settings: what they refuse, how they say it, and that what is written is read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tomodiff.cli.template import template
from tomodiff.errors import ConfigError
from tomodiff.recipes.config_file import load_settings, set_overrides, settings_from
from tomodiff.recipes.ct.settings import METHOD_DEFAULTS, CtSettings
from tomodiff.recipes.fields import as_slice
from tomodiff.recipes.yaml_tree import parse_yaml, write_yaml


def load(tmp_path: Path, text: str, *assignments: str) -> CtSettings:
    path = tmp_path / "run.yml"
    path.write_text(text)
    return load_settings(path, set_overrides(list(assignments)))


def mistakes(tmp_path: Path, text: str, *assignments: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, *assignments)
    assert caught.value.exit_code == 2
    return [line.strip() for line in str(caught.value).splitlines()]


def test_every_mistake_is_listed_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    text = """\
input:
  path: scan.h5
  binn: 2
prepare:
  center: left
  iterations: 5
reconstruction:
  method: cglss
outptu:
  path: x.h5
"""
    found = mistakes(tmp_path, text)
    assert found[0].endswith("run.yml: 5 mistakes")
    assert found[1] == "line 3: input.binn: unknown setting; did you mean bin?"
    assert found[2].startswith("line 5: prepare.center: expected auto, keep, or the detector column")
    assert found[2].endswith("got 'left'")
    assert found[3] == "line 6: prepare.iterations: unknown setting; did you mean reconstruction.iterations?"
    assert found[4].startswith("line 8: reconstruction.method: expected auto, fbp, fdk")
    assert found[4].endswith("did you mean cgls?")
    assert found[5] == "line 9: outptu: unknown setting; did you mean output?"
    assert len(found) == 6


def test_conflicts_stand_beside_mistakes_of_single_fields(tmp_path: Path) -> None:
    text = """\
input: {path: scan.h5, source_axis_mm: 300, source_detector_mm: 100}
reconstruction:
  method: cgls
  tv_weight: 0.1
  dtype: float16
output:
  path: volume.xyz
"""
    found = mistakes(tmp_path, text)[1:]
    fields = [line.split(": ")[1] for line in found]
    assert fields == [
        "input.source_detector_mm",
        "reconstruction.tv_weight",
        "reconstruction.dtype",
        "output.path",
    ]


def test_overrides_are_named_as_they_were_typed(tmp_path: Path) -> None:
    found = mistakes(tmp_path, "input: {path: a.h5}\n", "reconstruction.model=josef", "prepare.ringz=2", "job.x=1")
    assert any(line.startswith("--set reconstruction.model: ") and "did you mean joseph?" in line for line in found)
    assert any(line.startswith("--set prepare.ringz: ") and "did you mean rings?" in line for line in found)
    with pytest.raises(ConfigError, match="name=value"):
        set_overrides(["reconstruction.iterations"])


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    assert any("line 3: input.bin: stands twice" in line for line in mistakes(tmp_path, "input:\n  bin: 1\n  bin: 2\n"))


def test_input_path_is_needed(tmp_path: Path) -> None:
    assert "input: missing, and needed" in mistakes(tmp_path, "seed: 3\n")


@pytest.mark.parametrize(
    "text", ["a: [1\n", "a: b: c\n", "\t- x\n", "- 1\n- 2\n", "just words\n", "a: !!python/object:os.system {}\n"]
)
def test_what_is_not_settings_at_all_is_one_message(tmp_path: Path, text: str) -> None:
    assert len(mistakes(tmp_path, text)) == 1


def test_yaml_scalars_mean_what_they_look_like(tmp_path: Path) -> None:
    text = """\
input: {path: scan.h5, rows: 10:20}
prepare: {rings: off, flux: [0, 12], center: 1e2}
reconstruction: {method: fista-tv, tolerance: 1e-3}
"""
    settings = load(tmp_path, text)
    assert settings.input.rows == "10:20" and settings.input.selection()["rows"] == slice(10, 20, None)
    assert settings.prepare.rings == "off"
    assert settings.prepare.flux == (0, 12)
    assert settings.prepare.center == 100.0
    assert settings.reconstruction.tolerance == 0.001


def test_paths_are_relative_to_the_file_or_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = load(tmp_path, "input: {path: scan.h5, angles: '0:180:181', flats: /abs/f.tif}\n", "output.path=v.h5")
    assert settings.input.path == tmp_path / "scan.h5"
    assert settings.input.angles == "0:180:181"
    assert settings.input.flats == "/abs/f.tif"
    assert settings.output.path == tmp_path / "elsewhere" / "v.h5"


@pytest.mark.parametrize("method", [m for m in METHOD_DEFAULTS if m != "auto"])
def test_each_method_has_its_own_settings_and_no_others(method: str) -> None:
    settings = settings_from({"input.path": ("a.h5", ""), "reconstruction.method": (method, "--method")})
    own = set(METHOD_DEFAULTS[method])
    everything = {name for table in METHOD_DEFAULTS.values() for name in table}
    assert {name for name in everything if getattr(settings.reconstruction, name) is not None} == own


def test_resolved_settings_read_back_to_themselves(tmp_path: Path) -> None:
    for method in METHOD_DEFAULTS:
        first = settings_from({"input.path": ("a.h5", ""), "reconstruction.method": (method, "")})
        path = tmp_path / f"{method}.yml"
        path.write_text(write_yaml(first.as_dict()))
        assert load_settings(path) == first


def test_auto_method_follows_the_beam() -> None:
    settings = settings_from({"input.path": ("a.h5", "")})
    assert settings.reconstruction.method_for("parallel") == "fbp"
    assert settings.reconstruction.method_for("cone") == "fdk"


def test_the_template_is_valid_and_complete(tmp_path: Path) -> None:
    text = template()
    settings = load(tmp_path, text)
    assert settings == load(tmp_path, "input: {path: scan.h5}\n")
    uncommented = [line.replace("# ", "", 1) if line.startswith("  # ") else line for line in text.splitlines()]
    known = {f"{s}.{n}" for s in ("input", "prepare", "reconstruction", "output") for n in _fields(s)}
    listed = parse_yaml("\n".join(line for line in uncommented if " has: " not in line), "template").values
    assert {f"{s}.{n}" for s, group in listed.items() if isinstance(group, dict) for n in group} == known


def _fields(section: str) -> list[str]:
    model = CtSettings.model_fields[section].annotation
    return list(model.model_fields)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "cut"), [("1:4", slice(1, 4, None)), (":5", slice(None, 5, None)), ("2:", slice(2, None, None)),
                      ("0:9:3", slice(0, 9, 3)), ("-4:", slice(-4, None, None)), (None, None)],
)  # fmt: skip
def test_spans(text: str | None, cut: slice | None) -> None:
    assert as_slice(text) == cut


@pytest.mark.parametrize("text", ["5", "4:4", "5:2", "a:b", "1:9:0", "1:2:3:4", ""])
def test_spans_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        as_slice(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [("input.pixel_mm", "0"), ("input.pixel_mm", "-1"), ("input.pixel_mm", ".nan"), ("input.bin", "0"),
     ("input.bin", "1.5"), ("input.rows", "5"), ("input.rows", "0:9:2"), ("prepare.center", ".inf"),
     ("prepare.flux", "[9, 3]"), ("prepare.flux", "[1, 2, 3]"), ("prepare.rings", "-1"),
     ("prepare.center_search", "9:3"), ("seed", "-1"),
     ("reconstruction.voxel_mm", "small"), ("output.checkpoint_every", "0"), ("output.format", "jpg"),
     ("output.path", "v.xyz"), ("preview", "maybe"), ("job", "mri"), ("input", "scan.h5")],
)  # fmt: skip
def test_values_that_cannot_be(tmp_path: Path, name: str, value: str) -> None:
    found = mistakes(tmp_path, "input: {path: a.h5}\n", f"{name}={value}")
    assert found[0].endswith("1 mistake")
    assert found[1].startswith(f"--set {name}: ")
    assert "expected" in found[1] and "got" in found[1]
