"""The device that a setting names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tomodiff.array import Array
from tomodiff.errors import ConfigError
from tomodiff.ranks import local_rank


def device_named(name: str) -> Callable[[np.ndarray], Array]:
    """How arrays get to where the computation runs: "cpu" or "cuda".  ConfigError if there is no such device.

    Of several ranks on a computer each takes a GPU of its own, as long as there are enough.
    """
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
    cupy.cuda.Device(local_rank() % cupy.cuda.runtime.getDeviceCount()).use()
    return cupy.asarray
