"""Progress of what goes over all particles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.progress import Progress


@contextmanager
def passes(progress: Progress, name: str, data: ParticleData, count: int = 1) -> Iterator[Callable[[int], None]]:
    """A stage that goes over a rank's particles `count` times; gives what counts them."""
    with progress.stage(name, total=count * len(data) // data.comm.size, unit="particle") as stage:
        yield stage.advance
