"""Libraries that not every installation has: imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tomodiff.errors import ConfigError


def library(module: str, extra: str, what: str, called: str = "") -> Any:
    """The module.  ConfigError where it is not installed: `what` needs it, and which extra brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(f"{what} {called or module}: pip install 'tomodiff[{extra}]'") from error
