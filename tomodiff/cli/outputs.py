"""Files that a command is to write."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace earlier files")]


def refuse_existing(overwrite: bool, *paths: Path | None) -> None:
    """ConfigError for the first of these files or folders that is there already, unless it may be replaced."""
    from tomodiff.errors import ConfigError

    taken = next((path for path in paths if path is not None and path.exists()), None)
    if taken is not None and not overwrite:
        raise ConfigError(f"{taken}: exists already; choose another name, or add --overwrite")
