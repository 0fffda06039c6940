"""Point groups: RELION's own matrices, group axioms, and what symmetry does to poses, directions and maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tomodiff.errors import ConfigError
from tomodiff.geometry.poses import angle_between, exp, random_rotations
from tomodiff.geometry.symmetry import (
    asymmetric_unit,
    equivalent,
    nearest_equivalent,
    point_group,
    symmetrise_map,
)

ORDERS = {"C1": 1, "C4": 4, "C13": 13, "D2": 4, "D7": 14, "T": 12, "O": 24, "I1": 60, "I2": 60, "I3": 60, "I4": 60}


def dumped(path: Path) -> np.ndarray:
    """The matrices that `relion_refine --print_symmetry_ops` printed."""
    rows = [line.split() for line in path.read_text().splitlines()]
    values = [[float(v) for v in row] for row in rows if len(row) == 3 and not row[0].startswith("R")]
    return np.array(values).reshape(-1, 3, 3)


@pytest.mark.real
@pytest.mark.parametrize("name", ["C4", "D2", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"])
def test_groups_are_those_that_relion_prints(name: str, shared: Callable[[str], Path]) -> None:
    theirs = dumped(shared(f"data/cryoem/sym-ops-relion/{name}.txt"))
    ours = point_group(name)
    assert len(ours) == len(theirs)
    distance = np.abs(ours[:, None] - theirs[None]).max((-1, -2))
    # RELION rounds its matrices to five digits: its own are orthogonal to 1.3e-5.
    assert distance.min(0).max() < 1e-5
    assert sorted(distance.argmin(1)) == list(range(len(theirs)))


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_groups_are_closed_sets_of_distinct_rotations(name: str, order: int) -> None:
    group = point_group(name)
    assert group.shape == (order, 3, 3)
    assert np.array_equal(group[0], np.eye(3))
    assert np.abs(group @ np.swapaxes(group, 1, 2) - np.eye(3)).max() < 1e-13
    assert np.allclose(np.linalg.det(group), 1)
    products = (group[:, None] @ group[None]).reshape(-1, 3, 3)
    found = np.abs(products[:, None] - group[None]).max((-1, -2)) < 1e-12
    assert (found.sum(1) == 1).all()


@pytest.mark.parametrize("name", ["C4v", "D3h", "S4", "Td", "Oh", "I2h", "Ci"])
def test_mirrors_are_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*mirrors"):
        point_group(name)


@pytest.mark.parametrize("name", ["C0", "X3", "", "I5", "C-2", "D"])
def test_unknown_groups_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected C1"):
        point_group(name)


@pytest.mark.parametrize("name", ["C3", "D2", "O", "I4"])
def test_equivalent_poses_show_the_same_of_a_symmetric_object(name: str, rng: np.random.Generator) -> None:
    group = point_group(name)
    points = (group @ rng.normal(size=3)).T  # a symmetric cloud of points
    A = random_rotations(5, rng)
    seen = A @ points
    for views in np.moveaxis(equivalent(A, group) @ points, 1, 0):
        distance = np.linalg.norm(seen[..., :, None] - views[..., None, :], axis=1)
        assert distance.min(-1).max() < 1e-12


@pytest.mark.parametrize("name", ["C5", "D3", "T", "I"])
def test_angular_error_up_to_symmetry(name: str, rng: np.random.Generator) -> None:
    group = point_group(name)
    truth = random_rotations(200, rng)
    turn = exp(0.05 * rng.normal(size=(200, 3)) / 3)
    chosen = group[rng.integers(len(group), size=200)]
    found = truth @ turn @ chosen
    back = nearest_equivalent(truth, found, group)
    assert np.abs(back - truth @ turn).max() < 1e-12
    assert angle_between(truth, back) == pytest.approx(angle_between(np.eye(3), turn), abs=1e-9)


@pytest.mark.parametrize("name", ["C1", "C4", "D7", "T", "O", "I1", "I4"])
def test_asymmetric_unit_holds_one_of_each_orbit(name: str, rng: np.random.Generator) -> None:
    group = point_group(name)
    d = rng.normal(size=(3000, 3))
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    orbit = np.einsum("ni,mij->nmj", d, group)  # the third row of A S is d S
    assert (asymmetric_unit(orbit, group).sum(1) == 1).all()
    inside = d[asymmetric_unit(d, group)]
    # A margin takes in what is near the unit: here every neighbour at 0.1 rad of each of its members.
    away = np.cross(inside, rng.normal(size=inside.shape))
    away *= np.tan(0.1) / np.linalg.norm(away, axis=1, keepdims=True)
    near = (inside + away) / np.linalg.norm(inside + away, axis=1, keepdims=True)
    assert asymmetric_unit(near, group, margin=0.1 + 1e-9).all()


def test_symmetrised_maps_are_means_over_turned_copies(rng: np.random.Generator) -> None:
    group = point_group("D3")
    n, sigma = 32, 2.5
    z, y, x = np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij")
    grid = np.stack([x, y, z], -1)
    centre = np.array([5.0, 2.0, -3.0])

    def blob(at: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-((grid - at) ** 2).sum(-1) / (2 * sigma**2)))

    made = symmetrise_map(blob(centre), group)
    truth = np.mean([blob(S @ centre) for S in group], axis=0)
    # Cubic splines on a Gaussian of 2.5 voxels: fourth order in 1 / sigma.
    assert np.abs(made - truth).max() < 2e-3 * truth.max()
    with pytest.raises(ValueError, match="cubic"):
        symmetrise_map(np.zeros((3, 4, 4)), group)
