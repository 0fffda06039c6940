"""Fixtures of all tests: random numbers, devices, and the development data beside the repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("TOMODIFF_SHARED", REPOSITORY.parent / "shared"))


def _devices() -> list[object]:
    devices: list[object] = [pytest.param("numpy", id="cpu")]
    if os.environ.get("TOMODIFF_TEST_GPU"):
        devices.append(pytest.param("cupy", id="gpu"))
    return devices


@pytest.fixture(params=_devices())
def xp(request: pytest.FixtureRequest) -> ModuleType:
    """The array module under test: numpy, and cupy too when `make test-gpu` sets TOMODIFF_TEST_GPU."""
    if request.param == "cupy":
        import cupy

        return cupy
    return np


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20261122)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The path of a development data file, or a skip where that data is not at hand."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"development data {relative} is not here (set TOMODIFF_SHARED to its folder)")
        return path

    return find
