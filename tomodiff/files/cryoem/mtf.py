"""Modulation transfer functions of detectors: STAR files as RELION reads them, or two columns of numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.cryoem.star import read_star_file
from tomodiff.files.cryoem.tilt_text import number_rows

FREQUENCY, VALUE = "rlnResolutionInversePixel", "rlnMtfValue"


def read_mtf(path: Path | str) -> np.ndarray:
    """(m, 2) frequency in cycles per pixel of the detector (0.5: Nyquist), rising, and the MTF there.

    Raises DataError for columns that are missing, frequencies that do not rise and values that are not above 0.
    """
    path = Path(path)
    if path.suffix.lower() == ".star":
        table = next((t for t in read_star_file(path).tables if FREQUENCY in t.columns), None)
        if table is None or VALUE not in table.columns:
            raise DataError(path, "", f"a table with the columns {FREQUENCY} and {VALUE}", "none")
        made = np.stack([table.floats(FREQUENCY), table.floats(VALUE)], 1)
    else:
        made = number_rows(path, 2, "frequency in 1/pixel, MTF")
    if len(made) < 2 or not (np.diff(made[:, 0]) > 0).all():
        raise DataError(path, FREQUENCY, "two or more frequencies that rise", str(made[:4, 0].tolist()))
    if not (made[:, 1] > 0).all():
        raise DataError(path, VALUE, "values above 0", f"{made[:, 1].min():g}")
    return made
