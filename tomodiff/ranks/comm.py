"""What the processes (ranks) of one job say to each other; a lone process says it to itself."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from tomodiff.array import Array, Element
from tomodiff.errors import ConfigError
from tomodiff.extras import library

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
"""Where launchers (MPICH and Intel MPI, Open MPI, MVAPICH, srun) say how many processes they started."""

LOCAL_RANKS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
"""Where they say which of the processes on its computer a process is."""


class Comm:
    """One process alone, and the interface of several.

    All ranks must make the same calls in the same order.  What they return is the same on all of them, to the bit, and
    in every run with as many ranks (on CPUs).
    """

    rank = 0
    size = 1

    @property
    def leads(self) -> bool:
        """Whether this rank writes the files and says what there is to say."""
        return self.rank == 0

    def sum(self, x: Element, values: tuple[float, ...] = ()) -> tuple[Element, tuple[float, ...]]:
        """The sums over the ranks of the arrays of `x`, which are overwritten, and of `values`, in one message."""
        return x, values

    def total(self, value: float) -> float:
        """The sum of one number over the ranks, in double precision."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return flag

    def share(self, value: Any) -> Any:
        """What rank 0 has."""
        return value

    def collect(self, value: Any) -> list[Any]:
        """What each rank has, in the order of the ranks."""
        return [value]

    def exchange(self, parts: list[Array]) -> list[Array]:
        """parts[r] goes to rank r; what each rank had for this one comes back, in their order."""
        return list(parts)

    def summed_at(self, x: Array, rank: int) -> Array | None:
        """The sum over the ranks of an array on the host, on one of them; None on the others."""
        return x

    def from_rank(self, x: Array | None, rank: int, shape: tuple[int, ...], dtype: str) -> Array:
        """An array of this shape on the host that one rank has; the others need give none."""
        return x

    def barrier(self) -> None:
        """Wait for all ranks."""

    def abort(self, code: int) -> None:
        """End all ranks at once, whatever they do; a lone process has its own ways."""


ALONE = Comm()
"""A process of its own."""


def local_rank() -> int:
    """Which of the ranks on this computer this one is, from 0: which of its GPUs to take."""
    return next((int(os.environ[name]) for name in LOCAL_RANKS if os.environ.get(name)), 0)


@lru_cache(maxsize=1)
def world() -> Comm:
    """The ranks of this job: one, or as many as mpiexec, mpirun or srun started.

    ConfigError where several were started and mpi4py is missing, or MPI does not see the others (they would do the same
    job side by side).
    """
    started = max((int(os.environ.get(name) or 1) for name in SIZES), default=1)
    if started == 1:
        return ALONE
    library("mpi4py", "mpi", f"{started} processes were started; to work together they need")
    from tomodiff.ranks.mpi import Mpi

    found = Mpi()
    if found.size == 1:
        raise ConfigError(
            f"{started} processes were started, but MPI sees each alone: start them with the mpiexec of the MPI that "
            "mpi4py uses, or with srun --mpi=pmi2 (or pmix; `srun --mpi=list` shows what there is)"
        )
    return found
