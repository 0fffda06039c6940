"""Sums over ranks of arrays that lie on GPUs, one GPU for each rank, without a way through host memory."""

from __future__ import annotations

import socket
from typing import Any

from tomodiff.array import Array


class Nccl:
    """NVIDIA's NCCL, by CuPy."""

    def __init__(self, backend: Any) -> None:
        """backend: with cupyx.distributed's `all_reduce`, on the GPU that this rank computes on."""
        self._backend = backend

    @classmethod
    def between(cls, comm: Any) -> Nccl | None:
        """That of all ranks of an MPI communicator, which all call this; None where NCCL is missing on one of them, or
        two share a GPU."""
        import cupy
        from cupy.cuda import nccl

        found = comm.allgather((bool(nccl.available), socket.gethostname(), cupy.cuda.Device().pci_bus_id))
        if not all(there for there, *_ in found) or len(set(found)) < len(found):
            return None
        from cupyx.distributed import NCCLBackend

        return cls(NCCLBackend(comm.Get_size(), comm.Get_rank(), use_mpi=True))

    def sum(self, a: Array, values: tuple[float, ...] = ()) -> tuple[Array, tuple[float, ...]]:
        """The sums of an array, which is overwritten, and of numbers in double precision; one launch for both."""
        import cupy
        from cupy.cuda import nccl

        whole = a if a.flags.c_contiguous else cupy.ascontiguousarray(a)
        numbers = cupy.asarray(values, "float64") if values else None
        nccl.groupStart()
        self._backend.all_reduce(whole, whole)
        if numbers is not None:
            self._backend.all_reduce(numbers, numbers)
        nccl.groupEnd()
        if whole is not a:
            a[...] = whole
        return a, () if numbers is None else tuple(numbers.get().tolist())  # which waits for the GPU
