"""Phantoms against closed forms and brute force; the simulated instrument against its own statistics."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tomodiff.errors import ConfigError
from tomodiff.geometry import ConeBeam, Grid, Helix, ParallelBeam, Scan, Vectors, scan_from_dict
from tomodiff.simulate import (
    Beam,
    Detector,
    Ellipsoids,
    Misalignment,
    bead_pack,
    ellipsoid,
    foam,
    rod,
    sample,
    shepp_logan_3d,
    simulate_scan,
    sphere,
    transmissions,
)

TILTED = ellipsoid((1.5, -2.0, 0.7), (3.0, 1.2, 2.0), 0.05, (0.6, -0.9, 1.3))


def scans() -> dict[str, Scan]:
    angles = np.linspace(0.2, 2 * np.pi, 5, endpoint=False)
    parallel = ParallelBeam(angles, (9, 21), (0.9, 0.7), axis_offset=0.33, detector_offset=(0.2, -0.1))
    cone = ConeBeam(angles, 40.0, 70.0, (9, 21), (1.4, 1.1), axis_offset=-0.5, detector_tilt=(0.05, 0.1, -0.08))
    return {
        "parallel": parallel,
        "tilted axis": ParallelBeam(angles, (9, 21), (0.9, 0.7), axis_tilt=0.4),
        "cone": cone,
        "curved": ConeBeam(angles, 40.0, 70.0, (9, 21), (1.4, 1.1), curved=True, axis_offset=0.4),
        "helix": Helix(angles, 40.0, 70.0, (9, 21), (1.4, 1.1), pitch=3.0),
        "vectors": Vectors.of(cone),
    }


def brute_force(phantom: Ellipsoids, scan: Scan, steps: int = 20001, length: float = 24.0) -> np.ndarray:
    """Line integrals by testing points along each ray, spaced length / steps around its point nearest the origin."""
    origins, directions = scan.rays()
    t = (np.arange(steps) + 0.5) / steps * length - length / 2
    result = np.zeros(origins.shape[:3])
    for index in np.ndindex(*result.shape):
        o, w = origins[index], directions[index]
        points = o - (o @ w) * w + t[:, None] * w
        for c, a, r, density in zip(
            phantom.centers, phantom.semi_axes, phantom.rotations, phantom.densities, strict=True
        ):
            result[index] += density * (np.linalg.norm((points - c) @ r / a, axis=1) <= 1).sum() * length / steps
    return result


def test_a_sphere_has_the_closed_form_of_its_chord() -> None:
    center, radius, density = np.array([0.4, -0.3, 0.2]), 3.0, 0.07
    for scan in scans().values():
        origins, directions = scan.rays()
        distance = np.linalg.norm(np.cross(center - origins, directions), axis=-1)
        chord = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0))
        assert chord.max() > radius
        np.testing.assert_allclose(sphere(tuple(center), radius, density).project(scan), density * chord, atol=1e-12)


@pytest.mark.parametrize("name", ["parallel", "cone", "curved", "helix"])
def test_an_ellipsoid_agrees_with_brute_force(name: str) -> None:
    scan = scans()[name][:2]
    phantom = TILTED + sphere((-2.0, 1.0, 0.0), 1.5, -0.02)
    exact, summed = phantom.project(scan), brute_force(phantom, scan)
    assert summed.max() > 0.1
    # each of at most 4 surface crossings is off by up to one step of 24 mm / 20001
    np.testing.assert_allclose(exact, summed, atol=4 * 0.05 * 24.0 / 20001)


def test_the_shadow_window_cuts_nothing_off() -> None:
    for scan in scans().values():
        origins, directions = scan.rays()
        to_sphere = TILTED.rotations[0].T / TILTED.semi_axes[0][:, None]
        o, w = (origins - TILTED.centers[0]) @ to_sphere.T, directions @ to_sphere.T
        distance = np.linalg.norm(np.cross(o, w), axis=-1) / np.linalg.norm(w, axis=-1)
        np.testing.assert_array_equal(TILTED.project(scan) > 0, distance < 1)


def test_voxels_hold_the_volume_and_the_values() -> None:
    grid = Grid((40, 44, 48), (0.25, 0.22, 0.2), (1.5, -2.0, 0.7))
    volume = TILTED.voxelise(grid, oversample=3)
    expected = 0.05 * 4 / 3 * np.pi * 3.0 * 1.2 * 2.0
    assert volume.sum() * grid.voxel_volume == pytest.approx(expected, rel=2e-3)
    assert volume[20, 22, 24] == pytest.approx(0.05) and volume[0, 0, 0] == 0


def test_a_turned_grid_sees_the_turned_phantom() -> None:
    upright = Grid((20, 20, 20), 0.5)
    turned = Grid((20, 20, 20), 0.5, rotation=TILTED.rotations[0])
    own_axes = ellipsoid(tuple(TILTED.rotations[0].T @ TILTED.centers[0]), (3.0, 1.2, 2.0), 0.05)
    np.testing.assert_allclose(TILTED.voxelise(turned), own_axes.voxelise(upright), atol=1e-12)


def test_supersampling_approaches_the_pixel_average() -> None:
    scan = ParallelBeam(np.array([0.3]), (4, 8), 1.0)
    coarse, fine = TILTED.project(scan, 4), TILTED.project(scan, 16)
    centre = TILTED.project(scan, 1)
    assert np.abs(coarse - fine).max() < 0.3 * np.abs(centre - fine).max()
    averaged = TILTED.project(ParallelBeam(np.array([0.3]), (8, 16), 0.5)).reshape(1, 4, 2, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(TILTED.project(scan, 2), averaged, atol=1e-12)


def test_scaling_and_moving() -> None:
    scan = scans()["parallel"]
    np.testing.assert_allclose(TILTED.scaled(1.0, 3.0).project(scan), 3 * TILTED.project(scan), atol=1e-12)
    doubled = TILTED.scaled(2.0)
    np.testing.assert_allclose(doubled.centers, 2 * TILTED.centers)
    np.testing.assert_allclose(doubled.semi_axes, 2 * TILTED.semi_axes)
    np.testing.assert_allclose(TILTED.moved((1, 2, 3)).centers - TILTED.centers, [[1, 2, 3]])
    assert TILTED.radius() >= np.linalg.norm(TILTED.centers[0, :2]) + 1.2


def test_the_head_phantom_has_its_known_values() -> None:
    head = shepp_logan_3d(10.0, 0.02)
    grid = Grid((1, 3, 1), 0.02, center=(0.0, 0.0, 0.0))
    assert head.voxelise(grid)[0, 1, 0] == pytest.approx(0.02 * 0.2)  # 1 - 0.8 in the middle of the brain
    skull = Grid((1, 1, 1), 0.02, center=(0.0, 9.0, 0.0))
    assert head.voxelise(skull)[0, 0, 0] == pytest.approx(0.02)
    with pytest.raises(ConfigError, match="contrast"):
        shepp_logan_3d(contrast="loud")


def test_random_phantoms_do_not_overlap_and_are_never_negative(rng: np.random.Generator) -> None:
    beads = bead_pack(rng, radius=8.0, height=6.0, beads=40)
    gaps = np.linalg.norm(beads.centers[:, None] - beads.centers[None], axis=-1)
    reach = beads.semi_axes[:, :1] + beads.semi_axes[None, :, 0]
    assert (gaps + np.eye(len(beads)) * 1e9 > reach).all()
    assert beads.radius() <= 8.0 + 1e-9
    for phantom in (foam(rng, 8.0, 6.0), sample(rng, 8.0)):
        assert phantom.voxelise(Grid((40, 40, 40), 0.42)).min() > -1e-12


def test_bad_ellipsoids_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="semi_axes"):
        ellipsoid((0, 0, 0), (1, 0, 1), 1.0)
    with pytest.raises(ConfigError, match="rotations"):
        Ellipsoids(np.zeros((1, 3)), np.ones((1, 3)), np.ones((1, 3, 3)), np.ones(1))
    with pytest.raises(ConfigError, match="centers"):
        Ellipsoids(np.zeros((2, 3)), np.ones((1, 3)), np.eye(3)[None], np.ones(1))


def test_ideal_counts_are_beer_lambert(rng: np.random.Generator) -> None:
    scan = ParallelBeam(np.linspace(0, np.pi, 4, endpoint=False), (5, 24), 0.5)
    phantom = rod(4.0, 90.0, 0.1)
    quiet = Detector(photon_noise=False, electronic_noise=0.0)
    found = simulate_scan(phantom, scan, rng=rng, detector=quiet, beam=Beam(i0=1e6), oversample=1)
    assert found.kind == "counts" and found.flats is not None and found.darks is not None
    through = (found.data - found.darks[0]) / (found.flats[0] - found.darks[0])
    np.testing.assert_allclose(-np.log(through), phantom.project(scan), atol=1e-5)


def test_counts_have_poisson_noise_and_the_stated_flux(rng: np.random.Generator) -> None:
    scan = ParallelBeam(np.linspace(0, np.pi, 60, endpoint=False), (16, 32), 0.5)
    beam = Beam(i0=4000.0, profile=0.0, drift=0.2)
    found = simulate_scan(
        sphere((0, 0, 0), 0.01, 1e-6), scan, rng=rng, beam=beam, detector=Detector(electronic_noise=0.0)
    )
    counts = found.data.astype(float) - 100.0
    flux = np.array(found.meta["truth"]["flux"])
    assert flux[0] == pytest.approx(1.0) and flux[-1] == pytest.approx(0.8)
    error = counts.mean(axis=(1, 2)) / 4000 - flux
    assert np.abs(error).max() < 5 / np.sqrt(4000 * 512)
    variance = (counts - 4000 * flux[:, None, None]).var(axis=(1, 2)) / (4000 * flux)
    assert variance.mean() == pytest.approx(1.0, abs=5 * np.sqrt(2 / counts.size))


def test_dead_pixels_saturation_and_misalignment_are_in_the_truth(rng: np.random.Generator) -> None:
    scan = ConeBeam(np.linspace(0, 2 * np.pi, 6, endpoint=False), 100.0, 200.0, (12, 20), 1.0)
    found = simulate_scan(
        sphere((0, 0, 0), 3.0, 0.05),
        scan,
        rng=rng,
        beam=Beam(i0=1e5),
        detector=Detector(dead_pixels=3, dtype="uint16"),
        misalignment=Misalignment(axis_shift=1.5, detector_roll=0.02, jitter=(0.1, 0.2)),
    )
    truth = found.meta["truth"]
    json.dumps(found.meta)
    assert found.data.dtype == np.uint16 and truth["saturated"] == int((found.data == 65535).sum()) > 0
    for v, u in truth["dead_pixels"]:
        assert found.data[:, v, u].max() < 130
    assert found.scan == scan and truth["axis_column"] == pytest.approx(scan.axis_column + 1.5)
    true = scan_from_dict(truth["scan"])
    shift = true.project((0.0, 0.0, 0.0)) - scan.project((0.0, 0.0, 0.0))
    assert np.abs(shift.mean(axis=0) - [0.0, 1.5]).max() < 0.5 and shift.std() > 0.01


def test_transmissions_average_intensities_not_integrals() -> None:
    scan = ParallelBeam(np.array([0.0]), (1, 8), 2.0)
    phantom = rod(3.0, 300.0, 2.0)
    sub = phantom.project(ParallelBeam(np.array([0.0]), (4, 32), 0.5))
    expected = np.exp(-sub).reshape(1, 1, 4, 8, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(transmissions(phantom, scan, 4), expected, atol=1e-12)


def test_the_same_generator_state_gives_the_same_scan() -> None:
    scan = ParallelBeam(np.linspace(0, np.pi, 3, endpoint=False), (4, 12), 1.0)
    one, two = (simulate_scan(TILTED, scan, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.data, two.data)
    other = simulate_scan(TILTED, scan, rng=np.random.default_rng(6))
    assert (one.data != other.data).any()


def test_jitter_needs_an_axis_and_a_flat_detector(rng: np.random.Generator) -> None:
    curved = ConeBeam(np.zeros(2), 100.0, 200.0, (4, 8), 1.0, curved=True)
    with pytest.raises(ConfigError, match="jitter"):
        simulate_scan(TILTED, curved, rng=rng, misalignment=Misalignment(jitter=(0.1, 0.1)))
    with pytest.raises(ConfigError, match="axis"):
        simulate_scan(TILTED, Vectors.of(curved), rng=rng, misalignment=Misalignment(axis_shift=1.0))
