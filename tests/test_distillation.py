"""Score distillation through the renderer: exemplars of a few directions make a scene that is right between them."""

from __future__ import annotations

import numpy as np
import pytest

from tomodiff.objective.denoiser import Exemplars
from tomodiff.recipes.optical.distillation import Guided
from workflows.benchmarks.distillation import camera_at, distil, main


def test_between_the_exemplars() -> None:
    """At least 2 dB nearer to exact pictures of the directions between than the blend of the two nearest exemplars."""
    line = distil(directions=24, pixels=40, iterations=300, voxels=44)
    assert line["gain_db"] >= 2


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--directions", "4", "--pixels", "12", "--iterations", "3"]) == 0
    assert "gain_db" in capsys.readouterr().out


def test_what_a_draw_wants_is_what_the_denoiser_says(rng: np.random.Generator) -> None:
    """With one exemplar the picture should be that exemplar, whatever the noise."""
    camera, exemplar = camera_at(0.3, 8), rng.random((8, 8, 3)).astype(np.float32)
    guide = Guided([camera], [Exemplars(exemplar[None])], [0.3])
    origins, directions, wanted = guide.draw(rng, guide.rays)
    assert origins.shape == directions.shape == (64, 3)
    np.testing.assert_array_equal(wanted(np.zeros((64, 3), np.float32)).reshape(8, 8, 3), exemplar)
    with pytest.raises(ValueError, match="expected 64 rays"):
        guide.draw(rng, 10)
    with pytest.raises(ValueError, match="a denoiser for each"):
        Guided([camera], [], [0.3])
