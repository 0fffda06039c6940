"""Small programs that tests/test_ranks.py starts under mpiexec: `python -m tests.rank_programs NAME OUT`."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tests.toys import Dense, dense
from tomodiff.core import check_adjoint
from tomodiff.errors import DataError
from tomodiff.geometry import ConeBeam, Grid
from tomodiff.objective import Gaussian
from tomodiff.projectors import XRay
from tomodiff.projectors.xray_ranks import XRayAcrossRanks
from tomodiff.ranks import AcrossRanks, Comm, Spread, SpreadData, own_views, world
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.solvers import Cgls, Fista, LbfgsB, Sirt, load, save, solve

VIEWS, PIXELS, UNKNOWNS = 13, 5, 24


def problem(dtype: str = "float64") -> tuple[Dense, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    A = dense(rng, (UNKNOWNS,), (VIEWS, PIXELS), dtype)
    A = Dense(np.abs(A.matrix), A.domain.shape, A.range.shape)
    x = np.abs(rng.standard_normal(UNKNOWNS)).astype(dtype)
    return A, x, rng.random((VIEWS, PIXELS)).astype(dtype) + 0.5


def sums(comm: Comm) -> dict[str, Any]:
    """Arrays of every kind, and values that single precision does not hold."""
    made: dict[str, Any] = {}
    for dtype in ("float32", "float64", "complex64"):
        x = {"a": np.full((3, 2), comm.rank + 1, dtype), "b": np.full(4, 10 * (comm.rank + 1), dtype)}
        found, values = comm.sum(x, (1 / 3 + comm.rank, -1e-7))
        made[dtype] = [float(found["a"].real.sum()), float(found["b"].real.sum()), *values]
    _, (bad,) = comm.sum(np.zeros(2, np.float32), (float("inf") if comm.rank == 1 else 1.0,))
    made["infinite"] = bad == float("inf")
    parts = comm.exchange([np.full((comm.rank + 1, r + 1), comm.rank, np.float32) for r in range(comm.size)])
    made["exchange"] = all(p.shape == (r + 1, comm.rank + 1) and (p == r).all() for r, p in enumerate(parts))
    made["any"] = [comm.any(comm.rank == comm.size - 1), comm.any(False)]
    made["total"] = comm.total(comm.rank + 0.5)
    return made


def solvers(comm: Comm) -> dict[str, Any]:
    """Every linear and gradient solver finds what one process finds, with the same values to the bit on all ranks."""
    A, x, weights = problem()
    data = A.forward(x)
    mine = own_views(comm)
    own = A[mine]
    spread = Gaussian(Spread(data[mine], comm), Spread(weights[mine], comm)) @ SpreadData(own, comm)
    alone = Gaussian(data, weights) @ A
    across = AcrossRanks(Gaussian(data[mine], weights[mine]) @ own, comm)
    start = np.full(UNKNOWNS, 0.5)
    made: dict[str, Any] = {"adjoint": check_adjoint(SpreadData(own, comm), np.random.default_rng(1), trials=1)}
    runs = {
        "cgls": (Cgls(), spread, alone), "sirt": (Sirt(low=0.0), spread, alone), "fista": (Fista(), spread, alone),
        "lbfgsb": (LbfgsB(inner=5), across, alone),
    }  # fmt: skip
    for name, (solver, f, g) in runs.items():
        there, here = solve(solver, f, start, 12), solve(solver, g, start, 12)
        made[name] = float(np.linalg.norm(there.x - here.x) / np.linalg.norm(here.x))
        digests = comm.collect(hashlib.sha256(there.x.tobytes() + str(there.metrics["value"]).encode()).hexdigest())
        made[f"{name} agrees"] = len(set(digests)) == 1
        made[f"{name} digest"] = digests[0]
    return made


def slabs(comm: Comm) -> dict[str, Any]:
    """A volume in slabs over the ranks is projected as the whole, and back."""
    scan = ConeBeam(np.linspace(0, 2 * np.pi, 11, endpoint=False), 60.0, 90.0, (20, 24), 1.5)
    grid, rng = Grid((17, 19, 18), (1.2, 1.0, 0.9), (0.5, -1.0, 1.0)), np.random.default_rng(5)
    A, B = XRay(grid, scan, dtype="float64"), XRayAcrossRanks(grid, scan, comm, dtype="float64")
    x, y = rng.random(A.domain.shape), rng.random(A.range.shape)
    made = B.forward(Spread(np.ascontiguousarray(x[B.part]), comm))["own"]
    back = B.adjoint(Spread(np.ascontiguousarray(y[own_views(comm)]), comm))["own"]
    return {
        "forward": max(comm.collect(float(np.abs(made - A.forward(x)[own_views(comm)]).max()))),
        "adjoint": max(comm.collect(float(np.abs(back - A.adjoint(y)[B.part]).max()))),
        "dot": check_adjoint(B, np.random.default_rng(comm.rank), trials=2),
    }


def checkpoints(comm: Comm, out: Path) -> dict[str, Any]:
    """A state with a part on every rank comes back, each part to its rank."""
    A, x, _ = problem("float32")
    mine = own_views(comm)
    f = Gaussian(Spread(A.forward(x)[mine], comm), None) @ SpreadData(A[mine], comm)
    half = solve(Cgls(), f, np.zeros_like(x), 4)
    save(out / "state", half, comm=comm)
    comm.barrier()
    again = solve(Cgls(), f, load(out / "state", comm=comm), 8)
    whole = solve(Cgls(), f, half, 8)
    if comm.size == 3:
        return {"same": comm.collect(bool((again.x == whole.x).all())), "others keep less": _small(out)}
    run: Any = Stub(out, comm)
    kept = Checkpoints(run)
    for state in (half, whole):
        kept.keep(state)
    comm.barrier()
    if not comm.leads:  # as if it had been killed before it replaced its own
        os.replace(out / "state.rank1.previous", out / "state.rank1")
    comm.barrier()
    found = kept.load()
    assert found is not None
    same = (
        found.iteration == half.iteration
        and (found.x == half.x).all()
        and (found.memory["residual"]["own"] == half.memory["residual"]["own"]).all()
    )
    return {"same": comm.collect(bool(same)), "others keep less": _small(out)}


class Stub:
    """What checkpoints need of a run."""

    def __init__(self, folder: Path, comm: Comm) -> None:
        self.folder, self.comm = folder, comm

    def checkpoint(self) -> Path:
        return self.folder / "state"

    def about(self) -> dict[str, Any]:
        return {"ranks": self.comm.size}


def _small(out: Path) -> bool:
    small = (out / "state").stat().st_size > (out / "state.rank1").stat().st_size
    return small


def fails(comm: Comm) -> None:
    """One rank meets an error while the others wait for it."""
    import tomodiff.cli.main as command

    def broken(**_: Any) -> None:
        if comm.rank == comm.size - 1:
            raise DataError("scan.h5", "projections", "numbers", "a hole")
        comm.barrier()

    command.app = broken  # type: ignore[assignment]
    sys.exit(command.main([]))


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    program = {"sums": sums, "solvers": solvers, "slabs": slabs, "checkpoints": checkpoints, "fails": fails}[name]
    found = program(world(), folder) if name == "checkpoints" else program(world())
    if world().leads:
        import json

        (folder / "found.json").write_text(json.dumps(found))
