"""What large problems would take on many nodes: a model of compute, traffic and input, from rates measured here.

    python -m workflows.benchmarks.scaling

Prints the tables of docs/scaling.md: the model beside what one and two ranks took, and its predictions.  It measures
nothing; the rates below say where they come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2

# Measured on two shared cores (AMD EPYC, 32 MiB L3), one thread a rank, 2026-11-27, mpich 5.0.2.
UPDATE_S = 1.50e-9
"""Seconds of a core for a voxel in a view, forward or adjoint: 12.9 s for 2 x 256^4 (CGLS, cone beam)."""
REPLICATED_VOXEL_S = 2.4e-8
"""Seconds of a core for what every rank does with the whole volume in an iteration: 0.40 s for 256^3 (CGLS's own
arithmetic 0.20, the volume into the order of the kernels and back 0.20)."""
PARTICLE_S = 3.26e-3
"""Seconds of a core for a local search of one particle of 96 x 96 pixels: 16.3 s for 5000; grows as pixels."""
MAP_S = 2.7
"""Seconds of a core for what every rank does with maps of 96^3 in a round, inferred from 19.0 s on one rank and 11.6 s
on two, with 7 % for two processes beside each other; grows as voxels."""
ELEMENT_S = 1.0e-4
"""Seconds of a core to fit a DEM element to four images, without intervals: 1.7 s for 128 x 128."""
LOCAL_BYTES_S = 1.4e9
"""Bytes that an Allreduce of two ranks on one computer sums in a second: 67 MB in 0.047 s."""

# Assumed of a cluster, not measured.
CORES, CORE_SHARE = 64, 0.8
"""Cores of a node, and the share of them that threads turn into speed."""
NETWORK_BYTES_S, LATENCY_S = 12.5e9, 5e-6
"""100 Gbit/s a node."""
DISK_BYTES_S, NODE_DISK_BYTES_S = 100e9, 2e9
"""Of the shared file system, and of one node's part of it."""


@dataclass(frozen=True)
class Problem:
    """What a problem asks for: core seconds that ranks share and that each repeats, bytes summed over ranks in each of
    `steps`, and bytes read and written once."""

    name: str
    shared_s: float
    replicated_s: float
    summed_bytes: float
    input_bytes: float
    steps: int = 1


def seconds(problem: Problem, nodes: int) -> tuple[float, float, float]:
    """Compute, traffic and input of the whole job on so many nodes of one rank each."""
    speed = CORES * CORE_SHARE
    compute = problem.steps * (problem.shared_s / nodes + problem.replicated_s) / speed
    hops = log2(nodes) if nodes > 1 else 0.0
    moved = 2 * problem.summed_bytes * (nodes - 1) / nodes / NETWORK_BYTES_S
    disk = problem.input_bytes / min(DISK_BYTES_S, nodes * NODE_DISK_BYTES_S)
    return compute, problem.steps * (moved + hops * LATENCY_S), disk


def cgls_of(size: int, ranks: int) -> float:
    """Seconds of an iteration of CGLS of a cone beam, size^3 voxels and size views, on ranks of one core."""
    moved = 4.0 * size**3 * 2 * (ranks - 1) / ranks / LOCAL_BYTES_S
    return 2 * UPDATE_S * size**4 / ranks + REPLICATED_VOXEL_S * size**3 + moved


def refinement_of(particles: int, box: int, ranks: int) -> float:
    """Seconds of a round of local refinement on ranks of one core."""
    return PARTICLE_S * particles * (box / 96) ** 2 / ranks + MAP_S * (box / 96) ** 3


VALIDATION: Sequence[tuple[str, Callable[[int], float], dict[int, str]]] = (
    ("CGLS 256^3, 256 views, s an iteration", lambda n: cgls_of(256, n), {1: "12.9 to 13.8", 2: "6.9 to 8.2"}),
    ("CGLS 192^3, 192 views, s an iteration", lambda n: cgls_of(192, n), {1: "4.2 to 5.2", 2: "2.5 to 2.8"}),
    ("refine 5000 of 96 x 96, s a round", lambda n: refinement_of(5000, 96, n), {1: "18.8 to 21.1", 2: "11.6 to 13.2"}),
)
"""What was measured, several calls; the first and third fixed the rates at one rank, the rest is prediction."""


def problems() -> list[Problem]:
    """The three problems: a synchrotron scan, a large particle set, a mosaic of the Moon."""
    n, volume = 4096, 4.0 * 4096**3
    updates = 2 * UPDATE_S * float(n) ** 4
    own = REPLICATED_VOXEL_S * float(n) ** 3
    pixels = 3.79e13 / 25
    halo = (640 / 512) ** 2
    share = 10_000_000 * PARTICLE_S * (256 / 96) ** 2
    return [
        # independent slabs of rows: nothing is summed, vector arithmetic is shared out
        Problem("4096^3 parallel, 4096 views, 50 x SIRT", updates + own, 0.0, 0.0, 2 * volume, 50),
        # slabs over ranks: partial projections are summed, and sent back, in each iteration
        Problem("4096^3 cone, 4096 views, 20 x CGLS in slabs", updates + own, 0.0, 2 * volume, 2 * volume, 20),
        Problem("10 million particles of 256^2, 10 rounds", share, MAP_S * (256 / 96) ** 3,
                2 * 512 * 512 * 257 * 12.0, 1e7 * 256**2 * 4, 10),
        Problem("Moon at 5 m, four images", pixels * halo * ELEMENT_S, 0.0, 0.0, pixels * 4 * 6),
    ]  # fmt: skip


def main() -> int:
    """Print both tables."""
    print("| measured here | ranks | model | measured |\n|---|---|---|---|")
    for name, model, measured in VALIDATION:
        for ranks, told in measured.items():
            print(f"| {name} | {ranks} | {model(ranks):.1f} | {told} |")
    print("\n| predicted | nodes | compute | traffic | input | in all | efficiency |\n|---|---|---|---|---|---|---|")
    for problem in problems():
        alone = sum(seconds(problem, 1))
        for nodes in (2, 10, 100, 1000):
            parts = seconds(problem, nodes)
            total = sum(parts)
            cells = " | ".join(in_hours(part) for part in (*parts, total))
            print(f"| {problem.name} | {nodes} | {cells} | {alone / nodes / total:.2f} |")
    return 0


def in_hours(value: float) -> str:
    """Seconds as hours, minutes or seconds."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if value >= 2 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.2g} s"


if __name__ == "__main__":
    raise SystemExit(main())
