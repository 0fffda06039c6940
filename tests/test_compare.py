"""`tomodiff compare`: settings that differ, what was found, and how far volumes are apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tomodiff.cli.main import main
from tomodiff.recipes.run import Run
from tomodiff.report.comparison import apart

SAMPLE = Path(__file__).parents[1] / "datasets" / "ct_sample.h5"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs of the sample: 4 and 8 iterations of one method, and an analytic one of larger voxels."""
    folder, made = tmp_path_factory.mktemp("compared"), []
    for name, told in (
        ("few", ["--method", "sirt", "--iterations", "4", "--bin", "4"]),
        ("many", ["--method", "sirt", "--iterations", "8", "--bin", "4"]),
        ("coarse", ["--method", "fdk", "--bin", "8"]),
    ):
        made.append(folder / name)
        assert main(["ct", "reconstruct", str(SAMPLE), *told, "-o", str(made[-1]), "-q"]) == 0
    return made


def test_what_differs_and_what_was_found(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    few, many, _ = map(str, runs)
    capsys.readouterr()
    assert main(["compare", few, many, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["settings that differ"] == {"reconstruction.iterations": "4  |  8"}
    assert told["found"]["iterations"] == "4  |  8"
    values = [float(v) for v in told["found"]["value"].split("|")]
    assert values[1] < values[0]
    volumes = [Run.open(run).report_data("volume") for run in runs[:2]]
    a, b = (np.concatenate([v[axis].ravel() for axis in "zyx"]) for v in volumes if v is not None)
    assert float(told["middle slices"]["rms difference"]) == pytest.approx(np.sqrt(np.mean((a - b) ** 2)), rel=1e-3)
    assert float(told["middle slices"]["correlation"]) == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-3)
    assert main(["compare", few, few]) == 0
    assert "settings that differ\n\nnone" in capsys.readouterr().out


def test_a_page_of_both(runs: list[Path], tmp_path: Path) -> None:
    few, many, coarse = runs
    for other, pictures in ((many, 2), (coarse, 0)):  # volumes of other shapes have no difference, fdk no curves
        assert main(["compare", str(few), str(other), "-o", str(tmp_path / "both.html")]) == 0
        page = (tmp_path / "both.html").read_text()
        assert page.count("<figure>") == pictures and "reconstruction.iterations" in page
        assert "http" not in page.split("</style>")[1]
    assert apart(Run.open(few), Run.open(coarse)) is None
    assert main(["compare", str(few), str(tmp_path)]) == 2
