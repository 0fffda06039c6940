"""Find where a picture was taken: its camera's pose, from coarse to fine, against a scene or a volume under X-rays.

At each level the scene is smoothed and the picture averaged alike, and the pose is moved by Levenberg and Marquardt's
method, about the middle of the scene, where turns and shifts are nearly independent.  Several starts are followed at
the coarsest level; the best few go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.geometry.poses import angle_between
from tomodiff.geometry.rigid import moved, twist_rows

Slopes = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Origins and directions (ray, 3) -> values (ray, channel), and their slopes (channel, ray, 3) in both."""

ROBUST = 0.1
"""Residuals beyond which they count less, of the range of the data."""
TRIES = 6
"""Dampings that are tried for one step."""
CLOSE = 1e-6
"""A step that changes the misfit by less, as a share, is the last."""


@dataclass(frozen=True, eq=False)
class Level:
    """A picture (row, column, channel) as coarse as the scene that `see` renders, and its camera.

    margin: pixels at the rim that smoothing has spoilt.  free_gain: values may be scaled and shifted to suit the
    picture, channel by channel (X-rays of unknown exposure).
    """

    see: Slopes
    camera: Photograph
    picture: np.ndarray
    margin: int = 0
    free_gain: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """A pose (3, 4), its misfit (mean, robust), the normal matrix (6, 6) of its twist and the noise of a value."""

    pose: np.ndarray
    misfit: float
    normal: np.ndarray
    noise: float

    @property
    def deviations(self) -> tuple[float, float]:
        """One standard deviation of turn (degrees) and shift (lengths of the scene), of the worst direction, for
        residuals that are independent."""
        covariance = np.linalg.pinv(self.normal) * self.noise**2
        worst = [float(np.sqrt(max(np.linalg.eigvalsh(covariance[i : i + 3, i : i + 3])[-1], 0))) for i in (0, 3)]
        return float(np.degrees(worst[0])), worst[1]


def settle(level: Level, pose: np.ndarray, about: np.ndarray, steps: int, every: int = 1) -> Found:
    """The pose near one at which the misfit is least, of every so-manieth pixel along rows and columns."""
    m, (height, width) = level.margin, level.camera.shape
    rows, columns = (a.ravel() for a in np.mgrid[m : height - m : every, m : width - m : every])
    data = level.picture[rows, columns].astype(np.float64)
    scale = ROBUST * max(float(np.ptp(data)), 1e-12)

    def at(pose: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, float]:
        o, d = replace(level.camera, pose=pose).rays(rows, columns)
        values, d_o, d_d = level.see(o.astype(np.float32), d.astype(np.float32))
        values = values.astype(np.float64)
        jacobian = twist_rows(o, d, d_o.astype(np.float64), d_d.astype(np.float64), about)
        if level.free_gain:
            values, jacobian = _suited(values, jacobian, data)
        residual = (values - data).T
        weight = 1 / np.sqrt(1 + (residual / scale) ** 2)
        misfit = float((scale**2 * (1 / weight - 1)).mean())
        normal = np.einsum("qni,qnj,qn->ij", jacobian, jacobian, weight)
        noise = float(np.sqrt(np.average(residual**2, weights=weight)))
        return misfit, normal, np.einsum("qni,qn,qn->i", jacobian, residual, weight), noise

    misfit, normal, slope, noise = at(pose)
    damping = 1e-2
    for _ in range(steps):
        for _ in range(TRIES):
            lifted = normal + damping * np.diag(np.diag(normal) + 1e-12 * np.trace(normal) + 1e-300)
            new = moved(pose, -np.linalg.solve(lifted, slope), about)
            tried = at(new)
            if tried[0] < misfit:
                break
            damping *= 5
        else:
            break
        small = misfit - tried[0] < CLOSE * misfit
        pose, (misfit, normal, slope, noise) = new, tried
        damping = max(damping / 5, 1e-7)
        if small:
            break
    return Found(pose, misfit, normal, noise)


def _suited(values: np.ndarray, jacobian: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (ray, channel) after the gain and offset that suit the data best, and slopes that they leave (Kaufman's
    variable projection)."""
    made, slopes = np.empty_like(values), np.empty_like(jacobian)
    for q in range(values.shape[1]):
        basis = np.linalg.qr(np.column_stack([values[:, q], np.ones(len(values))]))[0]
        made[:, q] = basis @ (basis.T @ data[:, q])
        spread = float(np.var(values[:, q]))
        gain = float(np.cov(values[:, q], data[:, q], bias=True)[0, 1]) / spread if spread > 0 else 0.0
        slopes[q] = gain * (jacobian[q] - basis @ (basis.T @ jacobian[q]))
    return made, slopes


def starts(pose: np.ndarray, about: np.ndarray, turn_deg: float, shift: float, n: int, seed: int) -> list[np.ndarray]:
    """A pose and n others about it: turned by up to `turn_deg` about random axes, shifted by up to `shift`."""
    rng, made = np.random.default_rng(seed), [pose]
    for _ in range(n):
        turn, along = rng.normal(size=(2, 3))
        turn *= np.radians(turn_deg) * rng.random() ** (1 / 3) / np.linalg.norm(turn)
        along *= shift * rng.random() ** (1 / 3) / np.linalg.norm(along)
        made.append(moved(pose, np.concatenate([turn, along]), about))
    return made


def find(
    levels: Sequence[Level], begin: Sequence[np.ndarray], about: np.ndarray, keep: int = 3, steps: int = 12,
    advance: Callable[[], Any] = lambda: None,
) -> list[Found]:  # fmt: skip
    """What becomes of the best few starts at the last level, the best first; those that became one are listed once."""
    poses = list(begin)
    for number, level in enumerate(levels):
        found = []
        for pose in poses:
            found.append(settle(level, pose, about, steps))
            advance()
        found.sort(key=lambda one: one.misfit)
        distinct: list[Found] = []
        for one in found:
            if all(_apart(one.pose, other.pose, about) for other in distinct):
                distinct.append(one)
        found = distinct[: max(keep - number, 2)]
        poses = [one.pose for one in found]
    return found


def _apart(one: np.ndarray, other: np.ndarray, about: np.ndarray) -> bool:
    """Whether two poses differ by more than a fifth of a degree, or as much of their distance from a place."""
    far = float(np.linalg.norm(one[:, 3] - about))
    turned = float(angle_between(one[:, :3], other[:, :3]))
    return turned > np.radians(0.2) or float(np.linalg.norm(one[:, 3] - other[:, 3])) > 0.0035 * far
