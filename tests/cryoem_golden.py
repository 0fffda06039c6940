"""The half maps, mask and tables that RELION 3.1.3 made, and running its programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np

GOLDEN = "data/cryoem/relion313-golden/"
PIXEL = 5.0


def golden(shared: Callable[[str], Path], name: str) -> np.ndarray:
    """One of the golden maps."""
    return np.asarray(mrcfile.read(shared(GOLDEN + name)))


def star_tables(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The numeric loops of a STAR file: table -> column -> values."""
    tables: dict[str, dict[str, np.ndarray]] = {}
    columns: list[str] = []
    rows: list[list[str]] = []
    name = ""
    for words in [line.split() for line in path.read_text().splitlines()] + [["data_end"]]:
        if words and words[0].startswith("data_"):
            if rows:
                tables[name] = dict(zip(columns, np.array(rows, float).T, strict=True))
            name, columns, rows = words[0][5:], [], []
        elif len(words) == 2 and words[0].startswith("_rln") and words[1].startswith("#"):
            columns.append(words[0][1:])
        elif columns and len(words) == len(columns):
            rows.append(words)
    return tables


def relion(folder: Path, program: str, *words: object) -> None:
    """Run a RELION program in a folder. Its exit status is not looked at: it fails where Ghostscript is missing, after
    all else is written."""
    subprocess.run([program, *map(str, words)], cwd=folder, capture_output=True, timeout=120, check=False)
