"""Fixtures of all tests: random numbers, devices, and the development data beside the repository."""

from __future__ import annotations

import json
import os
import time
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


Measured = Callable[..., None]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Say a number that a goal is about: measured(name, wanted, **values).  `make quality` (TOMODIFF_QUALITY, a file)
    keeps them with the CPU seconds of the test so far; a test may say several."""
    begun = time.process_time()

    def say(name: str, wanted: str, **values: float) -> None:
        shown = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        print(f"{name}: {shown} (wanted: {wanted})")
        target = os.environ.get("TOMODIFF_QUALITY")
        if target:
            line = {"name": name, "wanted": wanted} | {k: float(f"{v:.4g}") for k, v in values.items()}
            line |= {"cpu_s": round(time.process_time() - begun, 1), "test": request.node.nodeid}
            with Path(target).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    return say


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The path of a development data file, or a skip where that data is not at hand."""

    def find(relative: str) -> Path:
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"development data {relative} is not here (set TOMODIFF_SHARED to its folder)")
        return path

    return find
