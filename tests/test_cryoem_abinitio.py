"""Maps from particles whose poses are unknown: the truth up to a turn, a move, and its mirror image."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize

from tests.conftest import Measured
from tests.cryoem_toys import ball, blobs, particles
from tomodiff.analytic.fsc import fsc
from tomodiff.analytic.shells import filtered, low_pass
from tomodiff.cli.main import main
from tomodiff.files.cryoem import read_map, write_particles
from tomodiff.geometry import poses
from tomodiff.geometry.orientations import so3_grid
from tomodiff.geometry.symmetry import point_group
from tomodiff.particles import Particles
from tomodiff.recipes.cryoem.abinitio import emerge, memory_of, mixture_from
from tomodiff.recipes.cryoem.data import ParticleData, View
from tomodiff.recipes.cryoem.expectation import Estimate, Mixture
from tomodiff.recipes.cryoem.rounds import resolved

C1 = point_group("C1")


def superposed(volume: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The map, or its mirror image, turned and moved to agree best with the truth: images cannot tell them apart."""
    n = len(truth)
    smooth = [filtered(v * ball(n), low_pass(n / 8, 1.0, n)) for v in (volume, volume[::-1], truth)]
    line = np.arange(4, n - 4, n // 21) - n // 2
    points = np.stack(np.meshgrid(line, line, line, indexing="ij")[::-1]).reshape(3, -1)

    def values(v: np.ndarray, R: np.ndarray, move: np.ndarray, at: np.ndarray, order: int = 1) -> np.ndarray:
        where = R @ at + move[:, None] + n // 2
        return np.asarray(map_coordinates(v, where[::-1], order=order))

    target = values(smooth[2], np.eye(3), np.zeros(3), points)

    def agreement(v: np.ndarray, R: np.ndarray, move: np.ndarray) -> float:
        return float(np.corrcoef(values(v, R, move, points), target)[0, 1])

    best = max(((agreement(smooth[m], R, np.zeros(3)), m, i) for m in (0, 1) for i, R in enumerate(GRID)))
    start, source = GRID[best[2]], (volume, volume[::-1])[best[1]]

    def misfit(w: np.ndarray) -> float:
        return -agreement(smooth[best[1]], start @ poses.exp(w[None, :3])[0], w[3:])

    w = minimize(misfit, np.zeros(6), method="Powell", options={"maxiter": 20}).x
    every = np.arange(n) - n // 2
    all_points = np.stack(np.meshgrid(every, every, every, indexing="ij")[::-1]).reshape(3, -1)
    return values(source, start @ poses.exp(w[None, :3])[0], w[3:], all_points, 3).reshape(truth.shape)


GRID = so3_grid(2)


def lost(truth: Particles, rng: np.random.Generator) -> Particles:
    """The same particles without poses, and in another frame than the one they were made in."""
    n = len(truth)
    return truth.replace(rotation=poses.random_rotations(n, rng), shift=np.zeros((n, 2)), has_poses=False)


@pytest.mark.slow
def test_four_of_five_seeds_reach_half_of_nyquist(tmp_path: Path, measured: Measured) -> None:
    """From nothing by the command, each seed with particles, noise and start of its own; shells up to FSC 0.5."""
    reached, minutes = [], []
    for seed in range(5):
        rng = np.random.default_rng(100 + seed)
        shape = blobs(100 + seed)
        truth, _ = particles(shape, 2000, rng)
        write_particles(tmp_path / f"p{seed}.star", lost(truth, rng))
        begun = time.process_time()
        given = ["-o", str(tmp_path / f"m{seed}.mrc"), "--seed", str(seed)]
        assert main(["-q", "cryoem", "abinitio", str(tmp_path / f"p{seed}.star"), *given]) == 0
        minutes.append((time.process_time() - begun) / 60)
        known = shape.volume(64, truth.pixel) * ball(64)
        found = superposed(read_map(tmp_path / f"m{seed}.mrc")[0], known)
        reached.append(resolved(fsc(found * ball(64), known), 0.5))
    seeds = {f"seed_{i}": shell for i, shell in enumerate(reached)}
    measured("ab initio, shells to FSC 0.5", ">= 16 in 4 of 5, <= 30 CPU minutes", **seeds, cpu_minutes=max(minutes))
    assert sum(shell >= 16 for shell in reached) >= 4, reached


@pytest.mark.slow
def test_a_map_emerges_from_few_particles() -> None:
    """400 clear particles: eight shells of 16, in seconds."""
    rng = np.random.default_rng(5)
    shape = blobs(5, 120, 38.0, (3.5, 5.0))
    truth, _ = particles(shape, 400, rng, box=32, snr=0.5)
    data = ParticleData(lost(truth, rng), View())
    (found,) = emerge(data, C1, 1, 30, 8.0, 100, 0)
    known = shape.volume(32, truth.pixel) * ball(32)
    assert resolved(fsc(superposed(found, known) * ball(32), known), 0.5) >= 6


def test_a_mixture_comes_back_from_a_checkpoint(rng: np.random.Generator) -> None:
    def sums() -> list[tuple[np.ndarray, np.ndarray]]:
        return [(rng.normal(size=(3, 3, 2)) + 0j, rng.random((3, 3, 2))) for _ in range(2)]

    mixture = Mixture([rng.random((4, 4, 4)) for _ in range(2)], [Estimate(sums(), 0.3), Estimate(sums(), 0.7)], 5)
    back = mixture_from(memory_of(mixture))
    assert back.resolved == 5 and [e.share for e in back.estimates] == [0.3, 0.7]
    assert all(np.array_equal(a, b) for a, b in zip(back.maps, mixture.maps, strict=True))
    pairs = zip(back.estimates[1].sums, mixture.estimates[1].sums, strict=True)
    assert all(np.array_equal(a, b) for new, old in pairs for a, b in zip(new, old, strict=True))
