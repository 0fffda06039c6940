"""The ring filter: how much of the rings goes, and what it does to slices that have none.

Slices are made by this file's own filtered back-projection; ring energy is that of the angular mean about the axis, on
the two half planes that the columns on either side of the axis fill in a half turn.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import scipy.ndimage

from tomodiff.errors import ConfigError, DataError
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.prepare import RingFilter, remove_rings
from tomodiff.prepare.rings import subtract_stripes
from tomodiff.result import Dataset
from tomodiff.simulate import Ellipsoids, bead_pack, foam, sample, shepp_logan_3d, transmissions

WIDTH, VIEWS, AXIS = 160, 200, 81.8


def phantom(name: str) -> Ellipsoids:
    rng = np.random.default_rng(77)
    return {
        "head": shepp_logan_3d(70.0, 0.015),
        "sample": sample(rng, 66.0, 0.015),
        "beads": bead_pack(rng, 60.0, 12.0, 25, (3.0, 12.0), 0.02),
        "foam": foam(rng, 58.0, 12.0, 25, (3.0, 10.0), 0.015),
    }[name]


def scan() -> ParallelBeam:
    return ParallelBeam(np.linspace(0, np.pi, VIEWS, endpoint=False), (1, WIDTH)).with_axis_column(AXIS)


@cache
def through_sample(name: str) -> np.ndarray:
    """Transmissions (view, u) of the middle slice, 2 x 2 rays per pixel."""
    return np.asarray(transmissions(phantom(name), scan(), 2)[:, 0])


def sinogram(name: str, photons: float | None = None, seed: int = 1) -> np.ndarray:
    """Line integrals (view, u) of the middle slice, with Poisson noise."""
    through = through_sample(name)
    if photons is not None:
        through = np.maximum(np.random.default_rng(seed).poisson(photons * through), 1) / photons
    return -np.log(through)


def slice_of(sino: np.ndarray) -> np.ndarray:
    """Filtered back-projection with linear interpolation onto pixels of the detector's size about the axis."""
    n = 2 * WIDTH
    k = np.fft.fftfreq(n, 1 / n)
    kernel = np.where(k == 0, 0.25, np.where(k % 2 == 0, 0.0, -1 / (np.pi * np.where(k == 0, 1, k)) ** 2))
    filtered = np.fft.irfft(np.fft.rfft(sino, n, axis=1) * np.fft.rfft(kernel).real, n, axis=1)[:, :WIDTH]
    x = np.arange(WIDTH) - (WIDTH - 1) / 2
    image = np.zeros((WIDTH, WIDTH))
    for t, row in zip(scan().angles, filtered, strict=True):
        image += np.interp(x[None] * np.cos(t) + x[:, None] * np.sin(t) + AXIS, np.arange(WIDTH), row)
    return image * np.pi / len(sino)


def inside() -> np.ndarray:
    x = np.arange(WIDTH) - (WIDTH - 1) / 2
    return np.asarray(np.hypot(x[None], x[:, None]) < WIDTH / 2 - 4)


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    error = np.mean((image - truth)[inside()] ** 2)
    return float(10 * np.log10(np.ptp(truth[inside()]) ** 2 / error))


def ring_energy(error: np.ndarray) -> float:
    """The energy of the part of a slice that depends on the radius alone, on each half plane."""
    x = np.arange(WIDTH) - (WIDTH - 1) / 2
    radius = np.rint(2 * np.hypot(x[None], x[:, None])).astype(int)
    label = 2 * radius + (x[:, None] > 0) * np.ones(WIDTH, int)
    where = inside()
    count = np.bincount(label[where])
    mean = np.bincount(label[where], error[where]) / np.maximum(count, 1)
    return float((count * mean**2).sum())


def gain_errors(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Offsets (u,) of the line integrals that gain errors make."""
    if kind == "all pixels":
        return np.asarray(0.03 * rng.standard_normal(WIDTH))
    return np.asarray((rng.random(WIDTH) < 0.1) * rng.choice([-1, 1], WIDTH) * rng.uniform(0.02, 0.08, WIDTH))


def filtered(sino: np.ndarray, strength: str = "normal", drift: bool = False) -> np.ndarray:
    return np.asarray(subtract_stripes(sino[:, None], RingFilter(strength, drift))[0][:, 0])


@pytest.mark.parametrize("photons", [None, 3e4])
@pytest.mark.parametrize(
    "name, kind, allowed",
    [
        ("head", "all pixels", 0.1),
        ("head", "some pixels", 0.1),
        ("sample", "some pixels", 0.1),
        # many steep flanks that stay in their columns: a filter that harms no slice halves the amplitude there at least
        ("sample", "all pixels", 0.25),
        ("beads", "some pixels", 0.25),
        ("foam", "some pixels", 0.25),
    ],
)
def test_little_of_the_ring_energy_is_left(name: str, kind: str, allowed: float, photons: float | None) -> None:
    clean = sinogram(name, photons)
    offsets = gain_errors(kind, np.random.default_rng(4))
    left = slice_of(filtered(clean + offsets) - clean)
    before = slice_of(np.broadcast_to(offsets, clean.shape))
    assert ring_energy(left) <= allowed * ring_energy(before)


@pytest.mark.parametrize("name", ["head", "sample", "beads", "foam"])
@pytest.mark.parametrize("photons", [None, 1e5, 1e4])
def test_slices_without_rings_lose_less_than_a_fifth_of_a_decibel(name: str, photons: float | None) -> None:
    truth = phantom(name).voxelise(Grid((1, WIDTH, WIDTH), 1.0), 3)[0]
    clean = sinogram(name, photons)
    before, after = psnr(slice_of(clean), truth), psnr(slice_of(filtered(clean)), truth)
    assert after > before - 0.2, (before, after)


@pytest.mark.parametrize("views", [45, 91])
def test_few_views(views: int) -> None:
    few = slice(None, None, VIEWS // views)
    clean = sinogram("head", 3e4)[few]
    offsets = gain_errors("some pixels", np.random.default_rng(4))
    error = filtered(clean + offsets) - clean
    detail = error.mean(axis=0) - scipy.ndimage.uniform_filter1d(error.mean(axis=0), 15)
    assert (detail**2).sum() < 0.2 * (offsets**2).sum()


def test_wide_stripes_need_the_strong_filter() -> None:
    clean = sinogram("head")
    offsets = np.zeros(WIDTH)
    offsets[60:64], offsets[101:105] = 0.05, -0.04
    left = {s: ((filtered(clean + offsets, s) - clean).mean(axis=0) ** 2).sum() for s in ("light", "strong")}
    assert left["strong"] < 0.3 * (offsets**2).sum()
    assert left["light"] > 2 * left["strong"]


def test_drifting_gains() -> None:
    clean = sinogram("head", 1e5)
    offsets = gain_errors("some pixels", np.random.default_rng(9))
    time = np.linspace(-0.5, 0.5, VIEWS)[:, None]
    dirty = clean + offsets * (1 + time)
    rest = {drift: ((filtered(dirty, drift=drift) - clean) ** 2).sum() for drift in (False, True)}
    assert rest[True] < 0.6 * rest[False]


def test_offsets_of_a_blank_scan_are_found_exactly(rng: np.random.Generator) -> None:
    offsets = np.zeros(64)
    offsets[[10, 25, 40]] = 0.1, -0.2, 0.05
    data = np.broadcast_to(offsets, (40, 1, 64)).copy()
    result, found = subtract_stripes(data, RingFilter())
    np.testing.assert_allclose(result, 0, atol=0.02 * 0.2)
    np.testing.assert_allclose(found[0], offsets, atol=0.02 * 0.2)


def test_rows_are_independent_and_threads_change_nothing(rng: np.random.Generator) -> None:
    clean = sinogram("head")
    data = np.stack([clean + gain_errors("all pixels", rng) for _ in range(3)], axis=1).astype(np.float32)
    kept = data.copy()
    one, _ = subtract_stripes(data, RingFilter(), threads=1)
    two, _ = subtract_stripes(data, RingFilter(), threads=2)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[:, 1:2], subtract_stripes(data[:, 1:2], RingFilter())[0])
    np.testing.assert_array_equal(data, kept)
    assert one.dtype == np.float32


def test_it_says_what_it_did_and_refuses_what_it_cannot() -> None:
    data = Dataset(sinogram("head")[:, None].astype(np.float32), scan(), "line_integrals")
    done = remove_rings(data, RingFilter("light"))
    numbers = done.meta["prepare"]["remove_rings"]
    assert numbers["strength"] == "light" and numbers["offset_largest"] >= numbers["offset_rms"]
    assert done.history[-1].startswith("remove_rings") and done.kind == "line_integrals"
    with pytest.raises(ConfigError, match="strength"):
        RingFilter("furious")
    with pytest.raises(DataError, match="minus_log"):
        remove_rings(data.replace(kind="transmission"))
