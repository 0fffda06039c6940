"""The device that a setting names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.array import Array
from tomodiff.errors import ConfigError


def device_named(name: str) -> Callable[[np.ndarray], Array]:
    """How arrays get to where the computation runs: "cpu" or "cuda".  ConfigError if there is no such device."""
    if name == "cpu":
        return np.asarray
    try:
        import cupy
    except ImportError as error:
        raise ConfigError(
            'device: expected CuPy for cuda, found none; install "tomodiff[cuda12]" or "tomodiff[cuda13]"'
        ) from error
    if not cupy.cuda.is_available():
        raise ConfigError("device: expected an NVIDIA GPU for cuda, found none (see `tomodiff doctor`)")
    return cupy.asarray
