"""CTF refinement finds the defocus of particles and the beam tilt of a group that images were made with."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cryoem_toys import blobs, particles
from tomodiff.particles import Optics, Particles
from tomodiff.recipes.cryoem.align import likelihood_weights
from tomodiff.recipes.cryoem.data import ParticleData, View
from tomodiff.recipes.cryoem.optics import (
    joined_defocus,
    quadratic_coefficients,
    refine_defocus,
    refine_groups,
    split_defocus,
)

TILT = (3.0, -2.0)
PIXEL, BOX = 1.4, 96


@pytest.fixture(scope="module")
def case():
    """Fine images of a small particle under a tilted beam, whose file knows neither the tilt nor the right defocus.

    The box holds what a defocus of 0.5 micrometres moves; the model of a CTF is wrong about what leaves the box.
    """
    rng = np.random.default_rng(8)
    shape = blobs(8, 250, 28.0, (1.2, 2.0))
    truth, sigma = particles(
        shape,
        300,
        rng,
        box=BOX,
        pixel=PIXEL,
        snr=0.15,
        shift=1.0,
        defocus=(2e3, 5e3),
        optics=Optics(300.0, 2.7, 0.1, PIXEL, beam_tilt=TILT),
    )
    defocus = truth.defocus.copy()
    defocus[:, :2] += rng.normal(0, 300, (300, 1))
    told = truth.replace(defocus=defocus, optics=(Optics(300.0, 2.7, 0.1, PIXEL),))
    return truth, ParticleData(told, View()), shape.volume(BOX, PIXEL), np.full((1, 49), (BOX * sigma) ** 2)


def least_information(truth: Particles, volume: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(n,) what each image tells of its mean defocus, 1/angstrom^2: J'J at the truth."""
    data = ParticleData(truth, View())
    index = np.arange(len(data))
    found = data.slicer.normal(
        data.operator.spectrum.forward(volume), data.transforms(index), data.records(data.values(), index),
        likelihood_weights(noise), ctf=True,
    )  # fmt: skip
    J = quadratic_coefficients(data.operator.records)[:, :, 0]
    return np.einsum("np,npq,nq->n", J, found[2][:, :3, :3], J)


def test_defocus_splits_and_joins(rng: np.random.Generator) -> None:
    defocus = np.stack([rng.uniform(1e4, 2e4, 9), rng.uniform(5e3, 1e4, 9), rng.uniform(-1.5, 1.5, 9)], 1)
    assert np.allclose(joined_defocus(split_defocus(defocus)), defocus)
    turned = joined_defocus(split_defocus(defocus[:, [1, 0, 2]] + [0, 0, np.pi / 2]))
    turned[:, 2] = (turned[:, 2] + np.pi / 2) % np.pi - np.pi / 2  # the same ellipse, named the other way round
    assert np.allclose(turned, defocus)


def test_beam_tilt_and_defocus_are_found(case) -> None:
    truth, data, volume, noise = case
    values = refine_groups(data, (volume, volume), data.values(), truth.half, noise, ("beam_tilt",))
    assert np.abs(values["beam_tilt"][0] - TILT).max() < 0.3
    assert (values["beam_tilt"] == values["beam_tilt"][0]).all(), "a group shares its tilt"
    values = refine_defocus(data, volume, values, np.arange(300), noise)

    away = values["defocus"][:, :2].mean(1) - truth.defocus[:, :2].mean(1)
    # In units of the least standard deviation (Cramer and Rao) a normal error has a median size of 0.6745.
    assert np.median(np.abs(away) * least_information(truth, volume, noise) ** 0.5) < 1.3 * 0.6745
    assert np.median(np.abs(away)) < np.median(np.abs(data.particles.defocus - truth.defocus)[:, :2]) / 2
    kept = split_defocus(values["defocus"])[:, 1:] - split_defocus(data.particles.defocus)[:, 1:]
    assert np.abs(kept).max() < 1e-6, "astigmatism was not to be refined"


def test_unknown_parameters_are_refused(case) -> None:
    truth, data, volume, noise = case
    with pytest.raises(ValueError, match=r"expected some of beam_tilt.*found \['tilt'\]"):
        refine_groups(data, (volume, volume), data.values(), truth.half, noise, ("tilt",))
