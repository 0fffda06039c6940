"""Ranks that talk through MPI (mpi4py).  Sums of arrays on GPUs go by NCCL where each rank has a GPU of its own, else
through host memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import cached_property
from math import isfinite
from typing import Any, TextIO

import numpy as np
from mpi4py import MPI

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.ranks.comm import Comm
from tomodiff.ranks.nccl import Nccl

CHUNK_BYTES = 256 << 20
"""The largest message."""
PIECES = 3
"""Single-precision numbers that hold a double."""
SECONDS_TO_READ, PAUSE = 5.0, 0.1
"""How long the last message may take to be read, and how often to look."""


class Mpi(Comm):
    """All processes that MPI started."""

    def __init__(self, comm: Any = MPI.COMM_WORLD) -> None:
        self._comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()

    def sum(self, x: Element, values: tuple[float, ...] = ()) -> tuple[Element, tuple[float, ...]]:
        """Values travel behind the last array: each rank fills a place of its own, so that nothing of them is lost."""
        if not isinstance(x, Mapping):
            return self._summed(x, values)
        *others, last = x
        made = {name: self._summed(x[name], ())[0] for name in others}
        made[last], sums = self._summed(x[last], values)
        return made, sums

    def _summed(self, a: Array, values: tuple[float, ...]) -> tuple[Array, tuple[float, ...]]:
        gpus = None if isinstance(a, np.ndarray) else self._gpus
        return self._on_host(a, values) if gpus is None else gpus.sum(a, values)

    @cached_property
    def _gpus(self) -> Nccl | None:
        """How the ranks' GPUs talk directly, if they can; all ranks ask at once, when they first sum arrays there."""
        return Nccl.between(self._comm)

    def _on_host(self, a: Array, values: tuple[float, ...]) -> tuple[Array, tuple[float, ...]]:
        host = np.ascontiguousarray(to_numpy(a))  # .get() of a GPU array waits for its stream
        flat = host.reshape(-1).view(host.real.dtype)
        step = CHUNK_BYTES // flat.itemsize
        starts = list(range(0, flat.size, step)) or [0]
        sums: tuple[float, ...] = ()
        for start in starts:
            chunk = flat[start : start + step]
            if start != starts[-1] or not values:
                self._comm.Allreduce(MPI.IN_PLACE, chunk)
                continue
            places = np.zeros((self.size, len(values), PIECES), flat.dtype)
            places[self.rank] = [_pieces(v, flat.dtype) for v in values]
            message = np.concatenate([chunk, places.reshape(-1)])
            self._comm.Allreduce(MPI.IN_PLACE, message)
            chunk[...] = message[: chunk.size]
            found = message[chunk.size :].reshape(places.shape).astype(np.float64)
            sums = tuple(float(v) for v in found.sum(2).sum(0))
        if host is not a:
            a[...] = namespace(a).asarray(host)
        return a, sums

    def total(self, value: float) -> float:
        """Added up in the order of the ranks."""
        found = np.empty(self.size)
        self._comm.Allgather(np.array([value], np.float64), found)
        return float(sum(found.tolist()))

    def any(self, flag: bool) -> bool:
        return bool(self._comm.allreduce(bool(flag), MPI.LOR))

    def share(self, value: Any) -> Any:
        return self._comm.bcast(value, root=0)

    def collect(self, value: Any) -> list[Any]:
        found: list[Any] = self._comm.allgather(value)
        return found

    def exchange(self, parts: list[Array]) -> list[Array]:
        """Pairwise, one partner after the other."""
        shapes = self._comm.alltoall([(part.shape, part.dtype.name) for part in parts])
        made: list[Array] = [np.empty(shape, dtype) for shape, dtype in shapes]
        made[self.rank][...] = parts[self.rank]
        for distance in range(1, self.size):
            to, source = (self.rank + distance) % self.size, (self.rank - distance) % self.size
            self._comm.Sendrecv(np.ascontiguousarray(parts[to]), dest=to, recvbuf=made[source], source=source)
        return made

    def summed_at(self, x: Array, rank: int) -> Array | None:
        """Overwrites x on that rank."""
        x = np.ascontiguousarray(x)
        here = rank == self.rank
        for part in _pieces_of(x):
            self._comm.Reduce(MPI.IN_PLACE if here else part, part if here else None, root=rank)
        return x if here else None

    def from_rank(self, x: Array | None, rank: int, shape: tuple[int, ...], dtype: str) -> Array:
        made = np.ascontiguousarray(x) if rank == self.rank else np.empty(shape, dtype)
        for part in _pieces_of(made):
            self._comm.Bcast(part, root=rank)
        return made

    def barrier(self) -> None:
        self._comm.Barrier()

    def abort(self, code: int) -> None:
        _wait_until_read(sys.stderr)  # mpiexec ends without what it has not read yet
        self._comm.Abort(code)


def _wait_until_read(stream: TextIO) -> None:
    """Wait a little until the other end of a pipe has taken what was written to it."""
    stream.flush()
    if sys.platform == "win32":
        return
    import fcntl
    import termios

    end = time.monotonic() + SECONDS_TO_READ
    try:
        while int.from_bytes(fcntl.ioctl(stream.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder):
            if time.monotonic() > end:
                return
            time.sleep(PAUSE)
    except (OSError, ValueError):  # not a pipe
        return
    time.sleep(PAUSE)  # what was read is still on its way to the terminal


def _pieces_of(x: np.ndarray) -> list[np.ndarray]:
    """A contiguous array as views of it that MPI takes in one message."""
    flat, step = x.reshape(-1), CHUNK_BYTES // x.itemsize
    return [flat[start : start + step] for start in range(0, flat.size, step)]


def _pieces(value: float, dtype: Any) -> list[float]:
    """A double as a sum of numbers of the given precision."""
    made: list[float] = []
    for _ in range(PIECES):
        part = float(np.asarray(value, dtype))
        made.append(part)
        value = value - part if isfinite(part) else 0.0
    return made
