"""The rotation axis of a scan, found from a few of its rows."""

from __future__ import annotations

import logging

from tomodiff.errors import ConfigError
from tomodiff.files import probe, read
from tomodiff.prepare import prepare
from tomodiff.recipes.settings import CtSettings

LOG = logging.getLogger("tomodiff")
ROWS = 32
"""Rows in the middle of the detector that are read, unless others are asked for: enough, and quickly read."""


def find_column(settings: CtSettings) -> float:
    """The detector column (of the binned detector, if it is binned) onto which the axis projects."""
    chosen, wanted = settings.input, settings.prepare
    part = chosen.selection()
    if part["rows"] is None:
        n_rows = probe(chosen.path, **chosen.setup()).shape[1]
        wide = min(n_rows, ROWS * chosen.bin) // chosen.bin * chosen.bin or n_rows
        part["rows"] = slice((n_rows - wide) // 2, (n_rows - wide) // 2 + wide)
    dataset = read(chosen.path, **part, **chosen.setup())
    prepared, report = prepare(dataset, **{**wanted.options(), "rings": "off"})
    found = report["steps"]["find_center"]
    if found["center"] is None:
        raise ConfigError(f"{chosen.path}: {prepared.history[-1]}")
    for text in report["warnings"]:
        LOG.warning("%s", text)
    confidence = found["confidence"]
    LOG.info("%s, confidence %s", found["method"], "unknown" if confidence is None else f"{confidence:.2f}")
    return float(found["center"])
