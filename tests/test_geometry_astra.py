"""Conversion from and to ASTRA's geometries, against ASTRA itself: its vectors, and images it projects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.scans import ANGLES, TIGHT, all_scans
from tomodiff.geometry import (
    ConeBeam,
    FanBeam,
    Grid,
    Helix,
    ParallelBeam,
    Scan,
    Vectors,
    astra_volume,
    from_astra,
    grid_from_astra,
    to_astra,
)

astra = pytest.importorskip("astra", reason="the peer to compare with: pip install astra-toolbox")

flat_scans = {name: scan for name, scan in all_scans().items() if scan.radius is None}


def test_parallel3d_and_cone_are_our_circular_scans() -> None:
    parallel = astra.create_proj_geom("parallel3d", 0.4, 0.5, 5, 8, ANGLES)
    cone = astra.create_proj_geom("cone", 0.4, 0.5, 5, 8, ANGLES, 60.0, 50.0)
    assert from_astra(parallel) == ParallelBeam(ANGLES, (5, 8), (0.5, 0.4))
    assert from_astra(cone) == ConeBeam(ANGLES, 60.0, 110.0, (5, 8), (0.5, 0.4))
    for geometry in (parallel, cone):
        vectors = astra.geom_2vec(geometry)
        _, ours = to_astra(from_astra(geometry), Grid(4))
        assert ours["type"] == vectors["type"]
        assert_allclose(ours["Vectors"], vectors["Vectors"], rtol=0, atol=TIGHT)
        assert_allclose(from_astra(vectors).frames(), from_astra(geometry).frames(), rtol=0, atol=TIGHT)


@pytest.mark.parametrize("scan", all_scans().values(), ids=all_scans().keys())
def test_3d_vectors_round_trip_and_astra_takes_them(scan: Scan) -> None:
    _, geometry = to_astra(scan, Grid(4))
    again = from_astra(geometry)
    assert isinstance(again, Vectors) and again.radius == scan.radius and again.kind == scan.kind
    assert_allclose(again.frames(), scan.frames(), rtol=0, atol=TIGHT)
    accepted = astra.create_proj_geom(
        geometry["type"], geometry["DetectorRowCount"], geometry["DetectorColCount"], geometry["Vectors"]
    )
    assert astra.functions.geom_size(accepted) == (scan.detector_shape[0], len(scan), scan.detector_shape[1])


def test_volumes_are_those_of_astra_and_round_trip() -> None:
    grid = Grid((4, 3, 5), (0.5, 0.7, 0.2), (10.0, -3.0, 2.0))
    window = (9.5, 10.5, -4.05, -1.95, 1.0, 3.0)
    theirs = astra.create_vol_geom(3, 5, 4, *window)
    ours = astra_volume(grid)
    assert {k: v for k, v in ours.items() if k != "option"} == {k: v for k, v in theirs.items() if k != "option"}
    assert ours["option"] == pytest.approx(theirs["option"])
    back = grid_from_astra(theirs)
    assert back.shape == grid.shape
    assert_allclose(back.spacing + back.center, grid.spacing + grid.center, rtol=0, atol=TIGHT)
    assert grid_from_astra(astra.create_vol_geom(6, 7)) == Grid((1, 6, 7))


def test_a_rotated_grid_turns_the_scan_instead() -> None:
    grid = Grid.from_rotvec((4, 3, 5), (0.3, -0.2, 0.9), (0.5, 0.7, 0.2), (10.0, -3.0, 2.0))
    upright = Grid(grid.shape, grid.spacing, grid.center)
    points = np.stack(grid.coordinates(), axis=-1)
    same_voxels = np.stack(upright.coordinates(), axis=-1)
    for scan in flat_scans.values():
        volume, geometry = to_astra(scan, grid)
        assert volume == astra_volume(upright)
        assert_allclose(from_astra(geometry).project(same_voxels), scan.project(points), rtol=0, atol=1e-9)


# --- 2-D: images and sinograms go over untouched -------------------------------------------------------------------

WIDTH, SPACING = 1.5, (1.0, 0.1, 0.1)
GRID_2D = Grid((1, 100, 96), SPACING, (0.3, -0.4, 0.0))
CENTRE = np.array([1.7, 1.1, 0.0])
"""Off both axes and the diagonals, so that every flip and swap moves it."""


def gaussian_image() -> np.ndarray:
    x, y, _ = GRID_2D.coordinates()
    image: np.ndarray = np.exp(-((x - CENTRE[0]) ** 2 + (y - CENTRE[1]) ** 2) / (2 * (WIDTH / 3) ** 2))[0]
    return image


def gaussian_sinogram(scan: Scan) -> np.ndarray:
    """The exact line integrals of that Gaussian: its peak on the ray, times sigma sqrt(2 pi)."""
    sigma = WIDTH / 3
    origin, direction = scan.rays()
    away = np.linalg.norm(np.cross(CENTRE - origin, direction), axis=-1)[:, 0]
    integrals: np.ndarray = np.exp(-(away**2) / (2 * sigma**2)) * sigma * np.sqrt(2 * np.pi)
    return integrals


def project_by_astra(projector: str, volume: dict[str, Any], geometry: dict[str, Any]) -> np.ndarray:
    number = astra.create_projector(projector, geometry, volume)
    try:
        data, sinogram = astra.create_sino(gaussian_image().astype(np.float32), number)
        astra.data2d.delete(data)
    finally:
        astra.projector.delete(number)
    return np.asarray(sinogram)


SCANS_2D = {
    "parallel": ("linear", ParallelBeam(ANGLES, 64, 0.15, axis_offset=0.33)),
    "fan": ("line_fanflat", FanBeam(ANGLES, 20.0, 31.0, 64, 0.25, axis_offset=0.33)),
}


@pytest.mark.parametrize(("projector", "scan"), SCANS_2D.values(), ids=SCANS_2D.keys())
def test_astra_projects_our_image_as_our_rays_do(projector: str, scan: Scan) -> None:
    sinogram = project_by_astra(projector, *to_astra(scan, GRID_2D, dimensions=2))
    exact = gaussian_sinogram(scan)
    # discretisation: a few percent of the peak; a flip, a mirrored angle or half a pixel of shift gives far more
    assert np.abs(sinogram - exact).max() < 0.05 * exact.max()


@pytest.mark.parametrize(
    ("projector", "geometry"),
    [
        ("linear", ("parallel", 0.15, 64, ANGLES)),
        ("line_fanflat", ("fanflat", 0.25, 64, ANGLES, 20.0, 11.0)),
    ],
)
def test_our_rays_see_the_image_as_astras_do(projector: str, geometry: tuple) -> None:
    theirs = astra.create_proj_geom(*geometry)
    scan = from_astra(theirs)
    sinogram = project_by_astra(projector, astra_volume(GRID_2D, 2), theirs)
    exact = gaussian_sinogram(scan)
    assert np.abs(sinogram - exact).max() < 0.05 * exact.max()
    vectors = astra.geom_2vec(theirs)
    _, ours = to_astra(scan, GRID_2D, dimensions=2)
    assert ours["type"] == vectors["type"]
    # a parallel beam at mirrored angles: the same rays from the other side
    assert_allclose(np.abs(ours["Vectors"][:, :2]), np.abs(vectors["Vectors"][:, :2]), rtol=0, atol=1e-12)
    assert_allclose(ours["Vectors"][:, 2:], vectors["Vectors"][:, 2:], rtol=0, atol=1e-12)
    again = from_astra(vectors)
    assert_allclose(again.frames()[:, 3:], scan.frames()[:, 3:], rtol=0, atol=1e-12)


def test_2d_volumes_round_trip() -> None:
    back = grid_from_astra(astra_volume(GRID_2D, 2))
    assert back.shape == GRID_2D.shape
    assert_allclose(back.spacing[1:], GRID_2D.spacing[1:], rtol=0, atol=TIGHT)
    assert_allclose(back.center, GRID_2D.center, rtol=0, atol=TIGHT)


def test_what_astra_cannot_hold_is_refused() -> None:
    cone = ConeBeam(ANGLES, 60.0, 110.0, (5, 8), 0.4)
    with pytest.raises(ValueError, match="one row"):
        to_astra(cone, GRID_2D, dimensions=2)
    with pytest.raises(ValueError, match="plane z = 0"):
        to_astra(Helix(ANGLES, 60.0, 110.0, 8, 0.4, pitch=3.0), GRID_2D, dimensions=2)
    with pytest.raises(ValueError, match="single slice"):
        to_astra(cone.rows(2, 3), Grid(4), dimensions=2)
    with pytest.raises(ValueError, match="dimensions"):
        to_astra(cone, Grid(4), dimensions=4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sparse_matrix"):
        from_astra({"type": "sparse_matrix"})
    with pytest.raises(ValueError, match="DetectorRowCount"):
        from_astra({"type": "cone_vec"})
