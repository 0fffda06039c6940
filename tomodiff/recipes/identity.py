"""What makes two starts the same job: settings, and the input files as they are."""

from __future__ import annotations

import hashlib
import json
from typing import Any

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
