"""What makes two starts the same job: settings, and the input files as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomodiff.errors import DataError
from tomodiff.recipes.section import Job

NOT_WHAT = ("iterations", "tolerance", "memory_gb")
"""Settings that say when a job ends and what it may take: a run that stopped may go on with others."""


def identity(settings: Job) -> dict[str, Any]:
    """A sum of the settings but for those and the output, sizes and times of the input files."""
    chosen = {name: value for name, value in settings.as_dict().items() if name != "output"}
    for group in chosen.values():
        for name in NOT_WHAT if isinstance(group, dict) else ():
            group.pop(name, None)
    text = json.dumps(chosen, sort_keys=True, default=str)
    files = {role: path.stat() for role, path in settings.input_files().items()}
    return {
        "settings": hashlib.sha256(text.encode()).hexdigest()[:16],
        **{f"{role} (bytes, time)": [s.st_size, s.st_mtime_ns] for role, s in files.items()},
    }


def refuse_other(was: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """DataError where a file of a run's checkpoint folder is of another job than this one, which says what differs."""
    changed = next((name for name in now if name in was and was[name] != now[name]), None)
    if changed is not None:
        raise DataError(
            where, f"checkpoint: {changed}", str(was[changed]), str(now[changed]),
            f"This checkpoint is of another job; start anew: tomodiff run {where.parent.parent}/config.yml --overwrite",
        )  # fmt: skip
