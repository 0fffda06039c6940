"""Angles of Diamond scans whose file holds only the plan of the scan (GDA 9, `diamond_scan/scan_models`).

The measured angles are in a file of their own (the position comparator's), often not copied along.  The plan is
JSON: a list of models, each with the motor's name and either start, stop and step, or start, stop and points,
and for each model what its images are (FLAT, DARK, NORMAL).
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np

from tomodiff.files.hdf5 import Found, text
from tomodiff.files.source import RawAngles

MODELS = "scan_models"
KEYS = {"NORMAL": 0, "FLAT": 1, "DARK": 2}
WORDS = ("theta", "rot", "angle")
"""By which a motor is known to turn the sample; its unit in the plan is not (the software writes mm for all)."""


def planned_angles(file: h5py.File, names: list[Found], image_key: np.ndarray) -> RawAngles | None:
    """The angles, in degrees, that the plan gives to the projections, or None.

    None unless the plan accounts for every frame: the number and order of flats, darks and projections that it
    foresees must be exactly the image keys of the file.
    """
    for found in names:
        if found.path.endswith("/" + MODELS) and found.node is not None:
            try:
                plan = json.loads(text(found.node))
            except json.JSONDecodeError:
                continue
            for model in _with_images(plan):
                angles = _angles(model, image_key)
                if angles is not None:
                    origin = f"the plan of the scan in {file.filename}:{found.path} (the measured ones are not there)"
                    return RawAngles(angles, "deg", origin)
    return None


def _with_images(plan: Any) -> list[dict[str, Any]]:
    """All models in the plan that say what their images are."""
    if isinstance(plan, list):
        return [model for part in plan for model in _with_images(part)]
    return [plan] if isinstance(plan, dict) and "models" in plan and "imageTypes" in plan else []


def _angles(model: dict[str, Any], image_key: np.ndarray) -> np.ndarray | None:
    """The angles of the projections, None where the model is of another kind or another number of frames."""
    parts, kinds = model["models"], model["imageTypes"]
    if len(parts) != len(kinds) or not all(any(w in str(p.get("name", "")).lower() for w in WORDS) for p in parts):
        return None
    try:
        positions = [_positions(part) for part in parts]
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):  # a plan of another kind
        return None
    keys = [np.full(len(p), KEYS.get(kind, -1)) for p, kind in zip(positions, kinds, strict=True)]
    if not np.array_equal(np.concatenate(keys), image_key):
        return None
    return np.concatenate([p for p, kind in zip(positions, kinds, strict=True) if kind == "NORMAL"])


def _positions(part: dict[str, Any]) -> np.ndarray:
    """The positions of one straight scan; a step model stops at or before its end."""
    start, stop = float(part["start"]), float(part["stop"])
    if "points" in part:
        return np.linspace(start, stop, int(part["points"]))
    step = float(part["step"])
    count = int(np.floor((stop - start) / step + 1e-6)) + 1  # 1e-6 of a step: 180 / 0.06 is 2999.999...
    return start + step * np.arange(count)
