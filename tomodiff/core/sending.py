"""Arrays on the host, one after the other where kernels run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from tomodiff.array import Array


def sent(parts: Iterable[np.ndarray], device: Callable[[np.ndarray], Array]) -> Iterator[Array]:
    """Each part on the device; valid until the next is asked for.

    On a GPU the next part is read and copied, from pinned memory, while kernels work on the one before.
    """
    if isinstance(device(np.empty(0)), np.ndarray):
        yield from map(device, parts)
        return
    slots, coming = (_Slot(), _Slot()), iter(parts)
    part = next(coming, None)
    if part is None:
        return
    slots[0].send(part)
    turn = 0
    while part is not None:
        made = slots[turn].arrived()
        yield made
        slots[turn].used()
        part = next(coming, None)  # read while kernels launched by the taker run
        turn = 1 - turn
        if part is not None:
            slots[turn].send(part)


class _Slot:
    """A buffer in pinned memory and one on the GPU, and the stream that copies between them."""

    def __init__(self) -> None:
        import cupy

        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._done, self._used = cupy.cuda.Event(), cupy.cuda.Event()
        self._host: Any = None
        self._there: Any = None
        self._made: Any = None

    def send(self, part: np.ndarray) -> None:
        """Begin to copy."""
        import cupy
        import cupyx

        if self._host is None or self._host.nbytes < part.nbytes:
            self._stream.synchronize()
            self._host, self._there = cupyx.empty_pinned(part.nbytes, "uint8"), cupy.empty(part.nbytes, "uint8")
            self._used.record()  # what the memory held before may still be in use
        self._done.synchronize()  # the copy before has left the pinned memory
        host = self._host[: part.nbytes].view(part.dtype).reshape(part.shape)
        host[...] = part
        self._made = self._there[: part.nbytes].view(part.dtype).reshape(part.shape)
        self._stream.wait_event(self._used)
        self._made.set(host, self._stream)
        self._done.record(self._stream)

    def arrived(self) -> Array:
        """What was sent; kernels launched from now on wait for it."""
        import cupy

        cupy.cuda.get_current_stream().wait_event(self._done)
        return self._made

    def used(self) -> None:
        """All kernels that take it are launched."""
        self._used.record()
