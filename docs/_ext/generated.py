"""Pages that are made from the code and from stored measurements, each time the documentation is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import drawings
import measured
import reference

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def write_pages(app: Sphinx) -> None:
    """All of them, into docs/generated; a page that says what it said before is left alone, and not built anew."""
    folder = Path(app.srcdir) / "generated"
    pages = {**reference.pages(), **measured.pages(folder.parents[1] / "workflows" / "benchmarks" / "results")}
    for name, text in pages.items():
        page = folder / name
        page.parent.mkdir(parents=True, exist_ok=True)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    drawings.draw_all(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("builder-inited", write_pages, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
