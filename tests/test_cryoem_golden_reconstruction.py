"""Reconstructions of RELION's own images agree with RELION's reconstructions, symmetry and beam tilt included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Measured
from tomodiff.analytic.fsc import fsc
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.geometry.symmetry import point_group
from tomodiff.particles import Particles
from tomodiff.recipes.cryoem.data import ParticleData, View
from tomodiff.recipes.cryoem.halves import back_project

pytestmark = pytest.mark.real

FOLDER = "data/cryoem/relion313-golden"
SAME = 1e-2
"""Relative difference within the sphere that RELION does not mask: both are the same sums, but RELION's are in double
precision, from angles of six digits, and its weights are floored in whole shells."""


def reconstructed(particles: Particles, group: str = "C1") -> np.ndarray:
    """With RELION's interpolation, gridding correction and largest frequency."""
    data = ParticleData(particles, View(gridding="radial", r_max=particles.box / 2))
    noise = np.ones((len(particles.optics), particles.box // 2 + 1))
    sums = back_project(data, data.values(), np.arange(len(data)), noise, point_group(group))
    return np.asarray(sums.volume())


def inside(n: int) -> np.ndarray:
    """The sphere in which RELION leaves a map as it is; it masks the corners."""
    line = np.arange(n) - n // 2
    return line[:, None, None] ** 2 + line[:, None] ** 2 + line**2 < (n / 2 - 4) ** 2


def difference(a: np.ndarray, b: np.ndarray) -> float:
    kept = inside(len(b))
    return float(np.linalg.norm((a - b)[kept]) / np.linalg.norm(b[kept]))


@pytest.mark.parametrize("half", [1, 2])
def test_half_maps(shared: Callable[[str], Path], half: int, measured: Measured) -> None:
    folder = shared(FOLDER)
    particles = read_particles(folder / "proj_notilt.star")
    found = reconstructed(particles[particles.half == half])
    off = difference(found, read_map(folder / f"rec_half{half}.mrc")[0])
    measured("half maps of the golden set", "RELION's", half=half, difference=off)
    assert off < SAME


def test_symmetry(shared: Callable[[str], Path]) -> None:
    folder = shared(FOLDER)
    particles, truth = read_particles(folder / "proj_notilt.star"), read_map(folder / "rec_D2.mrc")[0]
    assert difference(reconstructed(particles, "D2"), truth) < SAME
    assert difference(reconstructed(particles, "C2"), truth) > 10 * SAME


def test_beam_tilt_has_the_right_sign(shared: Callable[[str], Path]) -> None:
    """The second optics group is tilted by (8, -5) mrad, which relion_reconstruct takes into account."""
    folder = shared(FOLDER)
    particles, truth = read_particles(folder / "proj_beamtilt.star"), read_map(folder / "rec_beamtilt.mrc")[0]
    assert any(o.beam_tilt != (0.0, 0.0) for o in particles.optics)
    assert difference(reconstructed(particles), truth) < SAME
    from dataclasses import replace

    turned = tuple(replace(o, beam_tilt=(-o.beam_tilt[0], -o.beam_tilt[1])) for o in particles.optics)
    assert difference(reconstructed(particles.replace(optics=turned)), truth) > SAME


def test_the_hand_is_that_of_the_volume(shared: Callable[[str], Path]) -> None:
    """An FSC of halves cannot tell a map from its mirror image; RELION made these images from a known volume."""
    folder = shared(FOLDER)
    truth = read_map(folder / "vol70S_64.mrc")[0]
    found = reconstructed(read_particles(folder / "proj_beamtilt.star")) * inside(64)
    right, mirrored = fsc(found, truth * inside(64)), fsc(found[::-1], truth * inside(64))
    assert right[3:16].min() > 0.9 and mirrored[6:16].max() < 0.5
