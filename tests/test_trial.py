"""--try: a rough result in a fraction of the time, by any command that iterates; what is given stays as it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel_folder import REPOSITORY
from tomodiff.cli.main import main
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.job import KINDS, settings_class
from tomodiff.recipes.section import TrialJob

SAMPLES = REPOSITORY / "datasets"
TRIED = [kind for kind in KINDS if issubclass(settings_class(kind), TrialJob)]


def chosen(kind: str, **values: Any) -> Any:
    inputs = (
        {"input.images": ["a.tif"], "input.sun_angles": "s.txt"} if kind == "terrain-fit" else {"input.path": "x.h5"}
    )
    given = {"job": kind, **inputs, **{name.replace("__", "."): value for name, value in values.items()}}
    return settings_from({name: (value, name) for name, value in given.items()})


@pytest.mark.parametrize("kind", TRIED)
def test_what_is_not_given_is_that_of_a_trial(kind: str) -> None:
    model = settings_class(kind)
    tried, plain = chosen(kind, preview=True), chosen(kind)
    assert model.TRIAL and plain.of_trial() == ""  # type: ignore[attr-defined]
    for name, value in model.TRIAL.items():  # type: ignore[attr-defined]
        group, key = name.split(".")
        assert getattr(getattr(tried, group), key) == value != getattr(getattr(plain, group), key)
        assert key in tried.of_trial()


def test_what_is_given_stays() -> None:
    settings = chosen("optical-reconstruct", preview=True, fit__voxels=100)
    assert (settings.fit.voxels, settings.fit.iterations) == (100, 300)
    gridding = chosen("mri-reconstruct", preview=True, reconstruction__method="gridding")
    assert gridding.reconstruction.iterations is None and "nothing" in gridding.of_trial()


def test_a_run_says_that_it_is_one_and_goes_on_as_one(tmp_path: Path) -> None:
    out = tmp_path / "image"
    given = ["-q", "mri", "reconstruct", str(SAMPLES / "mri_sample.h5"), "-o", str(out), "--try"]
    assert main([*given, "--set", "output.report=false"]) == 0
    status = json.loads((out / "status.json").read_text())
    assert any(text == "a trial: iterations 5" for text in status["warnings"])
    written = yaml.safe_load((out / "config.yml").read_text())
    assert written["preview"] is True and written["reconstruction"]["iterations"] == 5
