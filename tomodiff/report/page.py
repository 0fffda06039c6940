"""Pieces of a self-contained HTML page: everything inline, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tomodiff.report.drawing import DARK, LIGHT, WIDTH, Draw, encode, laid_out_like
from tomodiff.report.style import STYLE

NOTHING = "\N{EN DASH}"
MOST_LISTED = 8
"""Members of a list that a table shows."""


def page(title: str, body: Iterable[str]) -> str:
    """A whole document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main></body></html>\n"
    )


def header(title: str, state: str, subtitle: str) -> str:
    """The title with a badge and a line below."""
    badge = f'<span class="state {escape(state)}">{escape(state)}</span>'
    return f"<header><h1>{escape(title)}</h1>{badge}<p>{escape(subtitle)}</p></header>"


def section(title: str, *parts: str, kind: str = "") -> str:
    """A card with a heading; nothing if there is nothing in it."""
    inside = "\n".join(part for part in parts if part)
    if not inside:
        return ""
    return f'<section class="{kind}"><h2>{escape(title)}</h2>\n{inside}\n</section>'


def folded(title: str, *parts: str) -> str:
    """A card that opens on a click."""
    return f"<section><details><summary>{escape(title)}</summary>\n{''.join(parts)}\n</details></section>"


def columns(*sections: str) -> str:
    """Cards side by side where there is room."""
    return f'<div class="columns">{"".join(sections)}</div>'


def picture(draw: Draw, caption: str) -> str:
    """A figure in the light and the dark theme; the reader's system chooses."""
    light = draw(LIGHT)
    share, shown = min(100.0, 100 * light.get_figwidth() / WIDTH), encode(light)
    dark = laid_out_like(draw(DARK), light)
    return (
        "<figure><picture>"
        f'<source media="(prefers-color-scheme: dark)" srcset="data:image/png;base64,{encode(dark)}">'
        f'<img alt="{escape(caption)}" style="width:{share:.0f}%" src="data:image/png;base64,{shown}">'
        "</picture>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def bullets(texts: Sequence[str]) -> str:
    """A list."""
    return f"<ul>{''.join(f'<li>{escape(t)}</li>' for t in texts)}</ul>" if texts else ""


def tiles(values: Mapping[str, str]) -> str:
    """The few numbers to see first."""
    inside = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in values.items()
    )
    return f'<div class="tiles">{inside}</div>' if inside else ""


def pairs(values: Mapping[str, Any]) -> str:
    """A table of names and values."""
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(in_words(value))}</td></tr>" for name, value in values.items()
    )
    return f'<div class="scroll"><table>{rows}</table></div>' if rows else ""


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of numbers under headings."""
    head = "".join(f'<th class="n">{escape(n.replace("_", " "))}</th>' for n in names)
    body = "".join("<tr>" + "".join(f'<td class="n">{escape(in_words(v))}</td>' for v in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def bars(values: Mapping[str, float], unit: str) -> str:
    """A table with a bar for each value."""
    largest = max(values.values(), default=0) or 1
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="n">{value:.3g} {unit}</td>'
        f'<td style="width:50%"><div class="bar" style="width:{100 * value / largest:.1f}%"></div></td></tr>'
        for name, value in values.items()
    )
    return f"<table>{rows}</table>" if rows else ""


def code(text: str) -> str:
    """Text as it was typed."""
    return f"<pre>{escape(text)}</pre>"


def in_words(value: Any) -> str:
    """A plain value as a reader wants it: five digits, no Python."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{str(k).replace('_', ' ')} {in_words(v)}" for k, v in value.items()) or NOTHING
    if isinstance(value, list | tuple) and len(value) > MOST_LISTED:
        return f"{in_words(value[:MOST_LISTED])}, ... ({len(value)} in all)"
    if isinstance(value, list | tuple):
        return ", ".join(in_words(v) for v in value) or NOTHING
    return str(value)
