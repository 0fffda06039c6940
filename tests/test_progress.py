"""What a long job says of its time where there is no terminal."""

from __future__ import annotations

import io
import logging
import time

import pytest

from tomodiff.recipes import progress
from tomodiff.recipes.progress import Progress


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_a_long_stage_says_after_its_first_step_how_long(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tomodiff")
    with Progress(stream=io.StringIO()).stage("sirt", total=101, unit="it", done=1) as stage:
        for seconds in (3.0, 3.0, 3.0, 10.0):
            clock.now += seconds
            stage.advance(value=0.5)
    lines = [line for line in caplog.messages if "left" in line]
    assert lines == ["sirt 2/101 it, 0.333 it/s, 4 min 57 s left  value 0.5", lines[1]]  # then every 15 seconds
    assert lines[1].startswith("sirt 5/101 it, 0.211 it/s")


def test_a_short_stage_says_nothing_of_it(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tomodiff")
    with Progress(stream=io.StringIO()).stage("fdk", total=10) as stage:
        for _ in range(10):
            clock.now += progress.LONG_SECONDS / 50
            stage.advance()
    assert not [line for line in caplog.messages if "left" in line]
