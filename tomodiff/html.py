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
    """A picture (rows, columns) as PNG in base 64, from its 0.5th to its 99.5th percentile, thinned to `MOST`."""
    from matplotlib.image import imsave

    step = max(1, -(-max(image.shape) // MOST))
    thinned = np.asarray(image[::step, ::step], np.float32)
    finite = thinned[np.isfinite(thinned)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    stream = io.BytesIO()
    imsave(stream, thinned, cmap="gray", vmin=low, vmax=high if high > low else low + 1, origin="lower", format="png")
    return base64.b64encode(stream.getvalue()).decode()


def lengths(values: Iterable[float]) -> str:
    """Numbers as a size: 1 x 2 x 3."""
    return " x ".join(f"{value:.5g}" for value in values)
