"""What values show of themselves in a notebook."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from matplotlib.image import imread

from tomodiff.geometry import ConeBeam, Grid, Helix, ParallelBeam
from tomodiff.html import MOST, card, png
from tomodiff.result import Dataset, Result

SCAN = ConeBeam(np.linspace(0, 6, 7), 40.0, 80.0, (12, 15), (1.7, 1.9), axis_offset=0.7)


def pictures(html: str) -> list[np.ndarray]:
    """The images in a piece of HTML, as arrays from 0 to 1, the lowest row first."""
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [imread(io.BytesIO(base64.b64decode(text)))[::-1, :, 0] for text in found]


def test_geometry() -> None:
    shown = SCAN._repr_html_()
    for text in ("ConeBeam", "12 x 15 pixels of 1.7 x 1.9 mm", "axis offset", "0.7", "source axis", "40"):
        assert text in shown, text
    for scan in (ParallelBeam(np.arange(3.0), (4, 5), 1.0), Helix(np.arange(9.0), 40.0, 80.0, (4, 5), 1.0, pitch=3.0)):
        assert type(scan).__name__ in scan._repr_html_()
    grid = Grid((4, 5, 6), (0.5, 1.0, 1.0), (0, 0, 2.5))._repr_html_()
    assert "4 x 5 x 6" in grid and "2 x 5 x 6 mm" in grid and "0, 0, 2.5 mm" in grid and "turned" not in grid
    assert "turned" in Grid.from_rotvec((4, 5, 6), (0, 0, 0.1))._repr_html_()


def test_data_and_results(rng: np.random.Generator) -> None:
    data = rng.random((7, 12, 15)).astype(np.float32)
    shown = Dataset(data, SCAN, "line_integrals", history=("minus_log",), meta={})._repr_html_()
    assert "line integrals" in shown and "minus_log" in shown and "flat fields" not in shown
    (image,) = pictures(shown)
    assert image.shape == (12, 15) and np.corrcoef(image.ravel(), data[3].ravel())[0, 1] > 0.99
    volume = rng.random((4, 5, 6)).astype(np.float32)
    result = Result(volume, Grid((4, 5, 6)), warnings=("dark <corner>",))
    slices = pictures(result._repr_html_())
    for found, wanted in zip(slices, (volume[2], volume[:, 2], volume[:, :, 3]), strict=True):
        assert found.shape == wanted.shape and np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99
    assert "dark &lt;corner&gt;" in result._repr_html_()


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_pictures_of_nothing_and_of_much(fill: float) -> None:
    (image,) = pictures(f'<img src="data:image/png;base64,{png(np.full((3, 4), fill))}">')
    assert image.shape == (3, 4)
    (image,) = pictures(card("large", {}, [("", np.zeros((2 * MOST + 1, 10)))]))
    assert max(image.shape) <= MOST
