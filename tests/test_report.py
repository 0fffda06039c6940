"""The report: measures with known values, and a page that needs nothing but itself."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from tomodiff.geometry import Grid
from tomodiff.geometry.grid import field_of_view
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.run import Run
from tomodiff.report.drawing import LIGHT, in_length, round_below, thinned
from tomodiff.report.metrics import psnr, rmse, ssim
from tomodiff.report.run_report import report, write_report
from tomodiff.report.slices import length_unit, orthogonal
from tomodiff.report.truth import compare, on_grid
from tomodiff.result import Result


def ball(grid: Grid, radius: float, soft: float) -> np.ndarray:
    """A ball with a soft edge, sampled at the voxels."""
    z, y, x = np.meshgrid(*along(grid), indexing="ij")
    return (0.05 / (1 + np.exp((np.sqrt(z * z + y * y + x * x) - radius) / soft))).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with everything that a report can show."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(5)
    given = {"input.path": (str(folder / "a <b> & c.h5"), ""), "output.path": (str(folder / "v.npy"), "")}
    run = Run.create(settings_from(given | {"reconstruction.method": ("sirt", "")}), ["tomodiff", "ct", "it's"])
    grid = Grid((12, 30, 24), (0.4, 0.2, 0.2))
    truth = Result(ball(grid, 2.0, 0.2), grid)
    result = truth.replace(volume=truth.volume + rng.normal(0, 0.002, grid.shape).astype(np.float32))
    with run:
        run.warn("the <flux> of view 3 is zero")
        for k in range(1, 30):
            run.log_metrics({"iteration": k, "residual": 1.0 / k, "change": 0.5**k})
        run.record(center=11.75, method="sirt", corrections={"flat_field": {"flats": 10, "list_of": list(range(99))}})
        run.save_timings({"reading": 0.2, "sirt": 3.0})
        run.save_report_data("sinogram", {"before": rng.random((40, 24)), "after": rng.random((40, 24)), "row": 6})
        run.save_report_data("projection", {"before": rng.random((12, 24)), "after": rng.random((12, 24)), "view": 0})
        candidates = np.linspace(8, 16, 33)
        run.save_report_data("center", {"candidates": candidates, "scores": (candidates - 11.75) ** 2, "center": 11.75})
        run.save_report_data("truth", compare(result, truth))
        run.finish(result)
    return run


class Outline(HTMLParser):
    """Headings in order, tags that stay open, and everything that a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.open: list[str] = []
        self.refers: list[str] = []
        self.images = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("img", "meta", "source", "br", "link"):
            self.open.append(tag)
        self.images += tag == "img"
        self.refers += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.fixture(scope="module")
def html(run: Run) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    assert outline.images == 8
    assert len(outline.refers) == 2 * outline.images  # light and dark
    for reference in outline.refers:
        kind, data = reference.split(",", 1)
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)


def test_warnings_come_first_and_nothing_is_left_out(html: str) -> None:
    outline = Outline()
    outline.feed(html)
    assert outline.headings[1] == "Warnings"
    for part in ("Volume", "Against the truth", "Convergence", "Rotation axis", "Reproduce", "Settings", "Provenance"):
        assert part in outline.headings
    assert "the &lt;flux&gt; of view 3" in html and "<flux>" not in html
    assert "a &lt;b&gt; &amp; c" in html and "<b> & c" not in html
    assert "it&#x27;&quot;&#x27;&quot;&#x27;s" in html  # the command as a shell takes it
    assert "flats 10; list of 0, 1, 2, 3, 4, 5, 6, 7, ... (99 in all)" in html
    assert "11.75" in html and "SHA-256" not in html  # the scan does not exist


def test_the_report_is_made_from_the_run_directory_alone(run: Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    run.path.rename(moved)
    try:
        text = report(Run.open(moved))
    finally:
        moved.rename(run.path)
    assert text.count("<img") == 8


def test_a_run_that_failed_has_a_report(tmp_path: Path) -> None:
    given = {"input.path": (str(tmp_path / "s.h5"), ""), "output.path": (str(tmp_path / "x"), "")}
    with pytest.raises(ZeroDivisionError), Run.create(settings_from(given)) as run:
        raise ZeroDivisionError("no light")
    text = report(Run.open(run.path))
    assert "This run failed" in text and "no light" in text and "<img" not in text


def test_errors_of_known_size(rng: np.random.Generator) -> None:
    truth = np.linspace(0, 2, 1000).reshape(10, 10, 10)
    assert rmse(truth + 0.02, truth) == pytest.approx(0.02)
    assert psnr(truth + 0.02, truth) == pytest.approx(40.0)  # 20 log10(2 / 0.02)
    assert psnr(truth, truth) == float("inf")
    mask = np.zeros(truth.shape, dtype=bool)
    mask[0] = True
    broken = truth.copy()
    broken[1:] = 7
    assert rmse(broken, truth, mask) == 0
    with pytest.raises(ValueError, match="shape"):
        rmse(truth, truth[1:])
    with pytest.raises(ValueError, match="uniform"):
        psnr(truth, np.ones_like(truth))
    with pytest.raises(ValueError, match="mask"):
        rmse(truth, truth, np.zeros(truth.shape, dtype=bool))


def test_ssim_agrees_with_scikit_image(rng: np.random.Generator) -> None:
    skimage = pytest.importorskip("skimage.metrics", reason="scikit-image, the reference here, is not installed")
    truth = rng.random((14, 25, 31))
    for sigma in (0.0, 0.05, 0.5):
        noisy = truth + sigma * rng.standard_normal(truth.shape)
        theirs = skimage.structural_similarity(
            noisy, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=float(truth.max() - truth.min()),
        )  # fmt: skip
        assert ssim(noisy, truth) == pytest.approx(theirs, abs=1e-9)
    assert ssim(truth, truth) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "fine", [Grid((24, 60, 60), 0.25), Grid((24, 61, 58), 0.25, (0.1, -0.2, 0.05)), Grid((8, 20, 20), 0.75),
             Grid((12, 30, 30), 0.5, (0.25, 0.0, 0.0)), Grid((36, 90, 90), 1 / 6)],
)  # fmt: skip
def test_truth_on_another_grid(fine: Grid) -> None:
    ours = Grid((12, 30, 30), 0.5)
    there = on_grid(Result(ramp(fine), fine), ours)
    inside = (slice(2, -2), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(there[inside], ramp(ours)[inside], atol=1e-5)  # averages and interpolation are exact


def ramp(grid: Grid) -> np.ndarray:
    """A linear function of position, 0.3 x + 0.5 y - 0.7 z."""
    z, y, x = np.meshgrid(*along(grid), indexing="ij")
    return (0.3 * x + 0.5 * y - 0.7 * z).astype(np.float32)


def along(grid: Grid) -> list[np.ndarray]:
    """The positions of the voxels along z, y and x."""
    ends = zip(grid.shape, grid.spacing, grid.center[::-1], strict=True)
    return [(np.arange(n) - (n - 1) / 2) * d + c for n, d, c in ends]


def test_the_field_of_view_is_a_cylinder() -> None:
    mask = field_of_view(Grid((3, 100, 200), (1.0, 2.0, 1.0)))
    assert mask.mean() == pytest.approx(np.pi / 4, abs=0.01)
    assert not mask[0, 0] and mask[50, 100]


def test_rotated_grids_are_not_compared(rng: np.random.Generator) -> None:
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    grid = Grid((2, 12, 12), 1.0, (0, 0, 0), turn)
    volume = Result(rng.random((2, 12, 12)).astype(np.float32), grid)
    with pytest.raises(ValueError, match="upright"):
        on_grid(volume, Grid((2, 12, 12), 1.0))


@pytest.mark.parametrize(("width", "bar"), [(1.0, 1.0), (0.99, 0.5), (7, 5), (0.02, 0.02), (499, 200), (5, 5)])
def test_scale_bars_are_round(width: float, bar: float) -> None:
    assert round_below(width) == pytest.approx(bar)


def test_lengths_in_words() -> None:
    assert in_length(0.05, "mm") == "50 µm" and in_length(2, "mm") == "2 mm"


def test_thinned_images_keep_their_mean(rng: np.random.Generator) -> None:
    image = rng.random((3000, 900))
    small = thinned(image, 1000)
    assert small.shape == (1000, 300)
    assert small.mean() == pytest.approx(image.mean())
    assert thinned(image, 3000) is image


@pytest.mark.parametrize("shape", [(1, 40, 40), (2, 300, 200), (90, 20, 20), (1, 1, 50), (5, 64, 1)])
def test_slices_of_any_shape_can_be_drawn(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    from tomodiff.recipes.volume_summary import summary

    volume = summary(Result(rng.random(shape, dtype=np.float32), Grid(shape, 0.1)))
    volume = {name: np.asarray(value) for name, value in volume.items()}
    figure = orthogonal(volume, LIGHT)
    figure.canvas.draw()
    assert 1 <= len(figure.axes) <= 4


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        ({"unit": "1/mm"}, "mm"),
        ({"unit": "1/pixel"}, "pixels"),
        ({"unit": "1/unit"}, "unit"),
        ({"unit": "1/angstrom"}, "mm"),  # a tomogram's grid is in mm
        ({"unit": "arbitrary", "length": "A"}, "A"),
    ],
)
def test_scale_bars_are_in_the_unit_of_the_grid(summary: dict[str, str], said: str) -> None:
    assert length_unit(summary) == said  # type: ignore[arg-type]
