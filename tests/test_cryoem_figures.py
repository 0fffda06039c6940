"""Figures of maps: what they show is what they were given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from tomodiff.report.cryoem_figures import (
    CUTS,
    Arrays,
    class_gallery,
    directions,
    fsc_curves,
    guinier,
    local_resolution,
    rounds,
    truth_curves,
)
from tomodiff.report.drawing import DARK, LIGHT, Theme, encode
from tomodiff.report.latent_figures import latents, series

N, PIXEL = 32, 2.0
FREQUENCY = np.arange(N // 2 + 1) / (N * PIXEL)
CURVE = 1 / (1 + np.exp((np.arange(N // 2 + 1) - 9.5) * 2))
FSC = {
    "frequency": FREQUENCY,
    "pixel": np.array(PIXEL),
    "unmasked": CURVE**1.2,
    "masked": CURVE**0.8,
    "randomised": 0.1 * CURVE,
    "corrected": CURVE,
}
GUINIER = {
    "squared": FREQUENCY**2,
    "original": -5 - 40 * FREQUENCY**2,
    "weighted": np.where(FREQUENCY < 0.2, -5 - 50 * FREQUENCY**2, -99.0),
    "sharpened": np.full(N // 2 + 1, -5.0),
    "slope": np.array(-50.0),
    "intercept": np.array(-5.0),
}


def examples(rng: np.random.Generator) -> list[tuple[Callable[[Arrays, Theme], Figure], Arrays]]:
    euler = np.stack([rng.uniform(-180, 180, 500), np.degrees(np.arccos(rng.uniform(-1, 1, 500))), np.zeros(500)], 1)
    maps = rng.standard_normal((7, 8, 8, 8))
    resolution = np.where(rng.random((N, N, N)) < 0.2, 0, rng.uniform(4, 9, (N, N, N)))
    return [
        (fsc_curves, FSC),
        (rounds, {"frequency": FREQUENCY, "pixel": np.array(PIXEL), "fsc": np.stack([CURVE**2, CURVE])}),
        (truth_curves, {"frequency": FREQUENCY, "pixel": np.array(PIXEL), "refined": CURVE, "told": CURVE**2}),
        (directions, {"euler_deg": euler}),
        (guinier, GUINIER),
        (class_gallery, {"maps": maps, "count": np.arange(7), "pixel": np.array(3.0)}),
        (class_gallery, {"maps": maps[:1]}),
        (local_resolution, {"resolution": resolution, "pixel": np.array(PIXEL)}),
        (latents, {"coordinates": rng.normal(size=(300, 1)), "spread": np.ones(1)}),
        (latents, {"coordinates": rng.normal(size=(300, 6)), "spread": np.ones(6)}),
        (series, {"projections": rng.normal(size=(2, 7, 8, 8)), "at": rng.normal(size=(2, 7)), "pixel": np.array(3.0)}),
        (local_resolution, {"resolution": resolution, "pixel": np.array(PIXEL), "mask": resolution > 6}),
    ]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_figure_is_drawn_in_both_themes(theme: Theme, rng: np.random.Generator) -> None:
    for draw, data in examples(rng):
        assert len(encode(draw(data, theme))) > 5000, draw.__name__


def test_fsc_says_where_it_falls_below_the_threshold() -> None:
    axes = fsc_curves(FSC, LIGHT).axes[0]
    assert [line.get_label() for line in axes.get_lines()[:4]] == [
        "corrected for the mask", "masked", "without mask", "masked, random phases",
    ]  # fmt: skip
    # 1 / (1 + exp(2 (10 - 9.5))) = 0.27, and 0.05 at 11: the last good shell is 10.
    assert axes.texts[0].get_text() == f"{N * PIXEL / 10:.3g} Å"
    # Ticks are labelled with resolution, Nyquist last.
    assert axes.get_xticklabels()[-1].get_text() == "4"
    alone = fsc_curves({k: FSC[k] for k in ("frequency", "pixel", "unmasked", "corrected")}, LIGHT).axes[0]
    assert alone.get_legend() is not None
    assert [text.get_text() for text in alone.get_legend().get_texts()] == ["without mask"]


def test_directions_are_counted_where_they_point() -> None:
    euler = np.array([[90.0, 60.0, 10.0]] * 30 + [[-90.0, 150.0, 0.0]] * 12)
    mesh = directions({"euler_deg": euler}, LIGHT).axes[0].collections[0]
    counts = np.asarray(mesh.get_array()).reshape(-1, 16)[::CUTS]
    assert counts.shape == (8, 16)
    assert counts.sum() == 42
    row, column = np.unravel_index(counts.argmax(), counts.shape)
    assert counts[row, column] == 30
    # cos 60 = 0.5 is at the edge of rows 5 and 6 of 8 over -1 to 1; 90 degrees at that of columns 11 and 12 of 16.
    assert row in (5, 6)
    assert column in (11, 12)


def test_guinier_leaves_out_empty_shells() -> None:
    axes = guinier(GUINIER, LIGHT).axes[0]
    weighted = axes.get_lines()[1]
    assert len(weighted.get_xdata()) == (FREQUENCY < 0.2).sum()
    assert axes.get_legend() is not None
    assert axes.get_legend().get_texts()[-1].get_text() == "B = -200 Å²"


def test_gallery_names_the_classes(rng: np.random.Generator) -> None:
    data = {"maps": rng.random((3, 6, 6, 6)), "count": np.array([50, 30, 20])}
    panels = class_gallery(data, LIGHT).axes
    assert [p.get_title() for p in panels[:3]] == ["class 1: 50 (50%)", "class 2: 30 (30%)", "class 3: 20 (20%)"]
    assert np.array_equal(panels[0].images[0].get_array(), data["maps"][0].sum(0))
    assert np.array_equal(panels[4].images[0].get_array(), data["maps"][1, 3])


def test_series_share_their_colours(rng: np.random.Generator) -> None:
    """A component that changes nothing looks like nothing."""
    still = np.repeat(rng.random((1, 1, 6, 6)), 3, axis=1)
    moving = still + np.linspace(-1, 1, 3)[:, None, None] * rng.random((6, 6))
    data = {"projections": np.concatenate([moving, still]), "at": np.zeros((2, 3)), "pixel": np.array(2.0)}
    panels = [axes for axes in series(data, LIGHT).axes if axes.images]
    away = [axes.images[0] for axes in panels[3:6] + panels[9:12]]
    assert len({image.get_clim() for image in away}) == 1
    assert np.abs(away[0].get_array()).max() > 0.3 and np.abs(away[3].get_array()).max() < 1e-12
