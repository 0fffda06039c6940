"""The circular orbit that analytic inverses need, recognised from the frames of any scan, with its angular weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry import Scan

TOLERANCE = 1e-6
"""Relative deviation from a circle about the z axis that is still one."""

ADVICE = "; the iterative methods (sirt, cgls, fista-tv) take any geometry"


@dataclass(frozen=True)
class Orbit:
    """A circular scan about z: view angles in radians, pixel width at the axis in mm, and for cones the radius.

    `fan` is the half opening angle of the fan on its wider side, 0 for a parallel beam.
    """

    angles: np.ndarray
    pixel: float
    radius: float
    fan: float

    @classmethod
    def of(cls, scan: Scan) -> Orbit:
        """The orbit of `scan`.  ConfigError if it is not a circle about z with an upright flat detector."""
        if scan.radius is not None:
            raise ConfigError(f"filtered back projection needs a flat detector, found a cylindrical one{ADVICE}")
        s, d, u, v = scan.frames().reshape(-1, 4, 3).transpose(1, 0, 2)
        if scan.kind == "parallel":
            length = np.linalg.norm(s, axis=1)
            _expect(np.abs(s[:, 2]) <= TOLERANCE * length, "rays at right angles to the rotation axis")
            width = np.abs(u[:, 0] * s[:, 1] - u[:, 1] * s[:, 0]) / length
            radius, fan = np.inf, 0.0
            angles = np.arctan2(-s[:, 0], s[:, 1])
        else:
            radii = np.hypot(s[:, 0], s[:, 1])
            radius = float(radii.mean())
            _expect(np.abs(radii - radius) <= TOLERANCE * radius, "a source at one distance from the axis")
            _expect(np.abs(s[:, 2] - s[0, 2]) <= TOLERANCE * radius, "a source at one height (no helix)")
            normal = np.cross(u, v)
            normal /= np.linalg.norm(normal, axis=1)[:, None]
            towards = (normal * -s).sum(axis=1)
            _expect(np.abs(np.abs(towards) - radius) <= 1e-4 * radius, "a detector that faces the axis (no tilts)")
            depth = np.abs((normal * (d - s)).sum(axis=1))
            width = np.linalg.norm(u, axis=1) * radius / depth
            corners = scan.pixels(v=(scan.detector_shape[0] - 1) / 2, u=[0, scan.detector_shape[1] - 1])[:, 0]
            ends = corners - s[:, None]
            axis = -s[:, None, :2]
            crossed = axis[..., 0] * ends[..., 1] - axis[..., 1] * ends[..., 0]
            along = np.arctan2(crossed, (axis * ends[..., :2]).sum(-1))
            fan = float(np.abs(along).max())
            angles = np.arctan2(s[:, 0], -s[:, 1])
        _expect(np.abs(width - width[0]) <= TOLERANCE * width[0], "one pixel width in all views")
        return cls(angles, float(width[0]), radius, fan)

    @property
    def coverage(self) -> float:
        """The angle that the views span, one step past the last, at most a full turn (radians)."""
        gaps = _gaps(np.sort(self.angles % (2 * np.pi)), 2 * np.pi)
        if len(gaps) == 1:
            return 0.0
        largest = gaps.max()
        usual = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 2 * np.pi
        return float(2 * np.pi - largest + usual) if largest > 2.5 * usual else 2 * np.pi

    def view_weights(self, period: float) -> np.ndarray:
        """The share of `period` (radians) that each view stands for: half the gaps to its neighbours.

        A gap much wider than the others (a limited range of angles) counts as an ordinary one.
        """
        folded = self.angles % period
        order = np.argsort(folded, kind="stable")
        gaps = _gaps(folded[order], period)
        usual = np.median(gaps[gaps > 1e-9]) if (gaps > 1e-9).any() else period
        gaps = np.where(gaps > 4 * usual, usual, gaps)
        weights = np.empty_like(gaps)
        weights[order] = (gaps + np.roll(gaps, 1)) / 2
        return weights


def _gaps(ordered: np.ndarray, period: float) -> np.ndarray:
    return np.diff(ordered, append=ordered[0] + period)


def _expect(holds: np.ndarray, what: str) -> None:
    if not holds.all():
        n = int((~holds).sum())
        raise ConfigError(f"filtered back projection needs {what}; {n} of {holds.size} views have not{ADVICE}")


def short_scan_weights(beta: np.ndarray, gamma: np.ndarray, fan: float, coverage: float) -> np.ndarray:
    """Weights (view, u) that count every line of a fan-beam scan of pi + 2*fan <= coverage < 2*pi once.

    beta: view angles from the start of the scan; gamma: fan angles of the columns, positive where the conjugate of
    (beta, gamma) is (beta + pi + 2*gamma, -gamma).  Parker 1982, eq. 12, with the half fan widened to what the
    coverage allows (Silver 2000).
    """
    wide = (coverage - np.pi) / 2
    b, g = beta[:, None], gamma[None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = np.sin(np.pi / 4 * b / (wide - g)) ** 2
        fall = np.sin(np.pi / 4 * (np.pi + 2 * wide - b) / (wide + g)) ** 2
    weights = np.ones(np.broadcast_shapes(b.shape, g.shape))
    weights = np.where(b < 2 * (wide - g), rise, weights)
    weights = np.where(b > np.pi - 2 * g, fall, weights)
    return np.where((b < 0) | (b > np.pi + 2 * wide), 0.0, weights)
