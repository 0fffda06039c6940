"""Columns of a recipe's own in a STAR file of particles: classes' probabilities, latents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem import read_star_file, star_table, write_star_file
from tomodiff.files.cryoem.relion import NAME


def add_columns(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    """Put columns (n,) into the table of particles of a STAR file that is there, in place of those of the same names.

    Raises DataError where no table has that many rows and names of images.
    """
    star = read_star_file(path)
    n = len(next(iter(columns.values())))
    found = [i for i, table in enumerate(star.tables) if len(table) == n and NAME in table]
    if len(found) != 1:
        raise DataError(path, "tables", f"one of {n} particles", f"{len(found)}")
    made = star_table("", dict(columns))
    table = star.tables[found[0]].replaced({name: made[name] for name in columns})
    write_star_file(path, star.with_table(found[0], table))
