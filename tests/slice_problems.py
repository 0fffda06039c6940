"""Problems for tests of the Fourier-slice operator: random parameters, and its plain model in a few lines of NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.geometry import poses
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.records import NAMES

SPECIAL = np.stack(
    [np.eye(3), poses.from_euler(0.3, 0.0, 0.5), poses.from_euler(0.3, np.pi, 0.5), np.diag([1.0, -1.0, -1.0])]
)
"""The identity, both poles, and a turn by 180 degrees."""


def parameters(n: int, rng: np.random.Generator, special: bool = False) -> dict[str, np.ndarray]:
    """Everything that a record holds, at random; the first poses on the axes if `special`."""
    rotation = poses.random_rotations(n, rng)
    if special:
        rotation[: len(SPECIAL)] = SPECIAL[:n]
    return {
        "rotation": rotation,
        "shift": rng.normal(0, 3, (n, 2)),
        "defocus": np.stack([*rng.uniform(5e3, 2e4, (2, n)), rng.uniform(-1.5, 1.5, n)], 1),
        "cs": np.full(n, 2.7),
        "phase_shift": rng.uniform(0, 1.5, n),
        "amplitude_contrast": rng.uniform(0.05, 0.2, n),
        "b_factor": rng.uniform(0, 50, n),
        "scale": rng.uniform(0.5, 1.5, n),
        "beam_tilt": rng.normal(0, 2, (n, 2)),
        "odd_zernike": rng.normal(0, 5, (n, 12)),
        "even_zernike": rng.normal(0, 5, (n, 16)),
        "magnification": np.eye(2) + rng.normal(0, 0.01, (n, 2, 2)),
    }


def operator(size: int, box: int, n: int, rng: np.random.Generator, **options: Any) -> FourierSlice:
    """An operator of n particles from three kinds of microscope."""
    pixel = np.array([3.0, 3.0, 2.5])[np.arange(n) % 3]
    voltage = np.array([300.0, 200.0, 100.0])[np.arange(n) % 3]
    options = {"dtype": "float64", "dose": np.linspace(0, 20, n), "voxel": 3.0} | options
    return FourierSlice(size, box, pixel, voltage, **options)


def inputs(A: FourierSlice, rng: np.random.Generator, special: bool = False) -> dict[str, np.ndarray]:
    """A random element of the operator's domain."""
    volume = rng.normal(size=(A.size,) * 3).astype(A.dtype)
    return {"volume": volume} | parameters(len(A.records), rng, special)


SCALES = dict.fromkeys(NAMES, 1.0) | {"b_factor": 100.0, "odd_zernike": 10.0, "even_zernike": 10.0}
"""How far a parameter moves in a slope test for a step of one; of the defocus, angstrom and radians apart."""


def moves(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A direction in one parameter, of a size at which the model bends."""
    made = SCALES[name] * rng.normal(size=shape)
    return made * np.array([1e3, 1e3, 0.1]) if name == "defocus" else made
