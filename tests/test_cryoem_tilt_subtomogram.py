"""Averages of subtomograms from their tilt images: half sets by molecule, and real in-situ ribosomes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tomodiff.analytic.fsc import masked_fsc
from tomodiff.cli.main import main
from tomodiff.errors import DataError
from tomodiff.files.cryoem import read_map, read_particles
from tomodiff.geometry.poses import from_euler
from tomodiff.particles import Optics, Particles, particles_of
from tomodiff.recipes.cryoem.data import ParticleData, View
from tomodiff.recipes.cryoem.halves import back_project
from tomodiff.recipes.cryoem.subtomogram import GROUP, subtomogram_halves, subtomograms, tilt_particles

PIXEL = 15.68
"""Angstrom: images binned 8 times from 1.96 (the file's magnification leaves the binning out)."""
PROTOTYPE = [0.99, 0.96, 0.91, 0.83, 0.59]
"""Shells 1 to 5 by a program of its own (trilinear, twofold padding, no astigmatism, no correction for gridding)."""
BINARY = 0.143
"""The usual threshold of the Fourier shell correlation (Rosenthal & Henderson 2003)."""


class Table:
    """The least that a particles' table offers: named columns of text."""

    def __init__(self, columns: dict[str, list[str]]) -> None:
        self.values, self.columns = columns, list(columns)

    def __getitem__(self, name: str) -> list[str]:
        return self.values[name]


def particles(groups: list[str], half: list[int], **more: object) -> Particles:
    n = len(groups)
    rotation = np.tile(np.eye(3), (n, 1, 1))
    optics = Optics(300.0, 2.7, 0.07, PIXEL)
    table = Table({GROUP: groups})
    return particles_of(np.zeros((n, 4, 4), np.float32), rotation, optics, half=np.array(half), table=table, **more)


def test_images_of_a_subtomogram_stay_together() -> None:
    groups = ["b", "a", "b", "c", "a", "c", "b"]
    index, names = subtomograms(particles(groups, [0] * 7))
    np.testing.assert_array_equal(index, [0, 1, 0, 2, 1, 2, 0])
    assert names == ["b", "a", "c"]
    np.testing.assert_array_equal(subtomogram_halves(particles(groups, [0] * 7)), [1, 2, 1, 1, 2, 1, 1])


def test_given_halves_are_kept_unless_they_split_a_subtomogram() -> None:
    kept = subtomogram_halves(particles(["a", "a", "b"], [2, 2, 1]))
    np.testing.assert_array_equal(kept, [2, 2, 1])
    np.testing.assert_array_equal(subtomogram_halves(particles(["a", "a", "b"], [2, 2, 1]), keep=False), [1, 1, 2])
    with pytest.raises(DataError, match=r"one half set for each subtomogram, found 'a' in both"):
        subtomogram_halves(particles(["a", "a", "b"], [2, 1, 1]))
    with pytest.raises(DataError, match="half set 1 or 2 of every image"):
        subtomogram_halves(particles(["a", "a", "b"], [2, 2, 0]))
    with pytest.raises(DataError, match="in both half sets, found all in 2"):
        subtomogram_halves(particles(["a", "a", "b"], [2, 2, 2]))
    with pytest.raises(DataError, match="at least two subtomograms"):
        subtomogram_halves(particles(["a", "a"], [0, 0]))
    with pytest.raises(DataError, match=r"rlnGroupName.*no table"):
        subtomogram_halves(particles(["a", "b"], [0, 0]).replace(table=None))


def test_b_factors_damp_whatever_sign_the_program_wrote() -> None:
    made = tilt_particles(particles(["a", "b"], [0, 0], b_factor=np.array([-13.0, -26.0])))
    np.testing.assert_array_equal(made.b_factor, [13, 26])
    with pytest.raises(DataError, match="rlnCtfBfactor: expected one sign"):
        tilt_particles(particles(["a", "b"], [0, 0], b_factor=np.array([-13.0, 26.0])))
    with pytest.raises(DataError, match="rlnCtfScalefactor"):
        tilt_particles(particles(["a", "b"], [0, 0], scale=np.array([1.0, -1.0])))


def ribosomes(folder: Path) -> Particles:
    """219 tilt images of 6 ribosomes in situ, exported by Warp and M (test data of cryoDRGN)."""
    lines = [line.split() for line in (folder / "sta_testing_bin8.star").read_text().splitlines() if "@" in line]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the file's header has no machine stamp
        with mrcfile.open(folder / lines[0][9].split("@")[1], permissive=True) as mrc:
            stack = mrc.data.copy()

    def column(number: int) -> np.ndarray:
        return np.array([float(line[number]) for line in lines])

    return particles_of(
        stack[[int(line[9].split("@")[0]) - 1 for line in lines]].astype(np.float32),
        from_euler(*np.deg2rad([column(13), column(14), column(15)])),
        Optics(column(2)[0], column(3)[0], column(4)[0], PIXEL),
        defocus=np.column_stack([column(6), column(7), np.deg2rad(column(8))]),
        b_factor=column(16),
        scale=column(17),
        half=column(18).astype(np.int64),
        table=Table({GROUP: [line[19] for line in lines]}),
    )


def average(images: Particles, which: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """The map of some of the images by weighted back projection: a tenth of the mean weight is added to all weights."""
    some = images.replace(rotation=rotation, table=None)
    data = ParticleData(some, View())
    sums = back_project(data, data.values(), np.flatnonzero(which), np.ones((1, images.box // 2 + 1)), np.eye(3)[None])
    folded, padded = sums.folded(), sums.slicer.spectrum.size
    own = folded.weight[:, :, folded.spectrum.skirt :]  # all of the whole transform twice, but for the first plane
    mean = float(own.sum() - own[:, :, 0].sum() / 2) / (padded * padded * (padded // 2 + 1))
    return np.asarray(sums.volume(np.full(images.box, 0.1 * mean)))


@pytest.mark.real
def test_halves_of_real_ribosomes_agree_and_do_not_with_transposed_rotations(shared: Callable[[str], Path]) -> None:
    """Three molecules against three.  A transposed rotation back projects along wrong directions: past the lowest
    frequencies, where any blob agrees with any other, nothing is left."""
    images = tilt_particles(ribosomes(shared("data/cryoem/cryodrgn-sta-ribosome")), keep=False)
    assert len(images) == 219
    assert np.bincount(subtomograms(images)[0]).size == 6
    z, y, x = np.indices((images.box,) * 3) - images.box // 2
    mask = (np.sqrt(z * z + y * y + x * x) < 12).astype(np.float64)
    curves = []
    for rotation in (images.rotation, images.rotation.swapaxes(1, 2).copy()):
        first, second = (average(images, images.half == h, rotation) for h in (1, 2))
        curves.append(masked_fsc(first, second, mask)[1:9])
    right, wrong = curves
    print("shells 1 to 8:", *np.round(curves, 2))
    np.testing.assert_allclose(right[:5], PROTOTYPE, atol=0.05)
    assert (right > BINARY).all()
    assert wrong[5:].max() < BINARY


@pytest.mark.real
def test_the_command_averages_tilt_images(shared: Callable[[str], Path], tmp_path: Path) -> None:
    """The same through files: B-factors of Warp's sign, the pixel of images binned by 8 (the file tells the unbinned
    one), half sets by molecule."""
    path = shared("data/cryoem/cryodrgn-sta-ribosome") / "sta_testing_bin8.star"
    given = ["--tilt-images", "--pixel-a", str(PIXEL), "--mask", "none", "--sharpen", "off"]
    assert main(["-q", "cryoem", "reconstruct", str(path), "-o", str(tmp_path / "map.mrc"), *given]) == 0
    halves = [read_map(tmp_path / "map.run" / f"map_half{h}.mrc")[0] for h in (1, 2)]
    z, y, x = np.indices((64,) * 3) - 32
    curve = masked_fsc(halves[0], halves[1], (np.sqrt(z * z + y * y + x * x) < 12).astype(np.float64))
    assert (curve[1:5] > 0.7).all()
    written = read_particles(tmp_path / "map.run" / "particles.star")
    halves_of = {name: set() for name in written.table.table["rlnGroupName"]}
    for name, half in zip(written.table.table["rlnGroupName"], written.half, strict=True):
        halves_of[name].add(half)
    assert len(halves_of) == 6 and all(len(both) == 1 for both in halves_of.values())
