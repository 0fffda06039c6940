"""How values show themselves in a notebook: a table of what they are, and small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np

MOST = 320
"""Pixels along each side of a picture, at most."""
STYLE = "text-align:left;padding:1px 12px 1px 0"


def card(title: str, facts: Mapping[str, Any], pictures: Iterable[tuple[str, np.ndarray]] = ()) -> str:
    """HTML: a title, names and values (those that are None left out), and grey pictures with captions, the first row
    lowest."""
    rows = "".join(
        f'<tr><th style="{STYLE};font-weight:normal;opacity:.7">{escape(name)}</th><td style="{STYLE}">'
        f"{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value is not None
    )
    shown = "".join(
        f'<figure style="display:inline-block;margin:4px 12px 4px 0"><img src="data:image/png;base64,{png(image)}" '
        f'style="image-rendering:pixelated;max-width:240px" alt="{escape(caption)}"><figcaption style="opacity:.7">'
        f"{escape(caption)}</figcaption></figure>"
        for caption, image in pictures
    )
    return f"<div><b>{escape(title)}</b><table>{rows}</table>{shown}</div>"


def png(image: np.ndarray) -> str:
    """A picture (rows, columns) as PNG in base 64, in its `window`, thinned to `MOST`."""
    from matplotlib.image import imsave

    step = max(1, -(-max(image.shape) // MOST))
    thinned = np.asarray(image[::step, ::step], np.float32)
    low, high = window(thinned)
    stream = io.BytesIO()
    imsave(stream, thinned, cmap="gray", vmin=low, vmax=high, origin="lower", format="png")
    return base64.b64encode(stream.getvalue()).decode()


def window(*images: np.ndarray, low: float = 0.5, high: float = 99.5) -> tuple[float, float]:
    """The values between which to spread the colours: percentiles over all images, never equal."""
    values = np.concatenate([np.asarray(i, dtype=np.float64).ravel() for i in images])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    a, b = np.percentile(values, [low, high])
    return (float(a), float(b)) if b > a else (float(a) - 0.5, float(a) + 0.5)


def lengths(values: Iterable[float]) -> str:
    """Numbers as a size: 1 x 2 x 3."""
    return " x ".join(f"{value:.5g}" for value in values)
