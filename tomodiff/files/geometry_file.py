"""Scan geometry in a JSON file of its own: what `tomodiff ct calibrate` finds and `ct reconstruct --geometry` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing
from tomodiff.geometry import Scan
from tomodiff.geometry.stored import scan_from_dict

FORMAT = "tomodiff geometry 1"


def write_geometry(path: Path, scan: Scan, **found: Any) -> None:
    """The scan, and what else was found (plain values), in one piece."""
    text = json.dumps({"format": FORMAT, "scan": scan.to_dict(), **found}, indent=1)
    with replacing(path, len(text)) as part:
        part.write_text(text + "\n", encoding="utf-8")


def read_geometry(path: Path) -> Scan:
    """The scan that `write_geometry` wrote.  DataError if the file is something else."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            found = stored.get("format") if isinstance(stored, dict) else type(stored).__name__
            raise DataError(path, "format", FORMAT, str(found))
        return scan_from_dict(stored["scan"])
    except OSError as error:
        raise DataError(path, "", "a geometry file", str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(path, "", "a geometry file of tomodiff", f"{type(error).__name__}: {error}") from error
