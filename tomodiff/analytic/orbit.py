"""The circular orbit that analytic inverses need, recognised from the frames of any scan, with its angular weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.geometry import Scan

TOLERANCE = 1e-6
"""Relative deviation from a circle about the z axis that is still one."""

SAME_ANGLE = 1e-9
"""Difference in radians of angles that are the same but for rounding."""

NEARLY_CENTRED = 1.0
"""Columns that a detector may reach further on one side of the axis and still count as centred."""

PASSAGE = 0.3
"""Part of the overlap of opposite views over which the weights pass from a half to 0 and 1."""

ADVICE = "; the iterative methods (sirt, cgls, fista-tv) take any geometry"


@dataclass(frozen=True)
class Orbit:
    """A circular scan about z: view angles in radians, pixel width at the axis in mm, and for cones the radius.

    `fan` is the half opening angle of the fan on its wider side, 0 for a parallel beam; `tilt` the angle by which the
    rays of a parallel beam rise (laminography), 0 for a cone.
    """

    angles: np.ndarray
    pixel: float
    radius: float
    fan: float
    tilt: float = 0.0

    @classmethod
    def of(cls, scan: Scan) -> Orbit:
        """The orbit of `scan`.  ConfigError if it is not a circle about z with an upright flat detector."""
        if scan.radius is not None:
            raise ConfigError(f"filtered back projection needs a flat detector, found a cylindrical one{ADVICE}")
        s, d, u, v = scan.frames().reshape(-1, 4, 3).transpose(1, 0, 2)
        nv, nu = scan.detector_shape
        level = np.abs(u[:, 2]) * nu <= np.linalg.norm(v, axis=1)
        _expect(level, "detector rows at right angles to the axis, to a pixel from end to end (no roll)")
        tilt = 0.0
        if scan.kind == "parallel":
            rise = np.arcsin(s[:, 2] / np.linalg.norm(s, axis=1))
            _expect(np.abs(rise - rise[0]) <= TOLERANCE, "rays at one angle to the rotation axis")
            tilt = float(rise.mean()) if np.abs(rise).max() > TOLERANCE else 0.0
            length = np.linalg.norm(s[:, :2], axis=1)
            _expect(length > TOLERANCE, "rays that are not along the rotation axis")
            width = np.abs(u[:, 0] * s[:, 1] - u[:, 1] * s[:, 0]) / length
            aside = np.abs(v[:, 0] * s[:, 1] - v[:, 1] * s[:, 0]) / length
            _expect(aside * nv <= width, "detector columns along the axis, to a pixel from end to end")
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
            leaning = np.hypot(v[:, 0], v[:, 1]) > 0.02 * np.linalg.norm(v, axis=1)
            _expect(~leaning, "detector columns along the axis")
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
        return cls(angles, float(width[0]), radius, fan, tilt)

    @property
    def coverage(self) -> float:
        """The angle that the views span, one step past the last, at most a full turn (radians)."""
        gaps = _gaps(np.sort(self.angles % (2 * np.pi)), 2 * np.pi)
        if len(gaps) == 1:
            return 0.0
        left_out, usual = _left_out(gaps)
        return float(2 * np.pi - gaps.max() + usual) if left_out.any() else 2 * np.pi

    def view_weights(self, period: float) -> np.ndarray:
        """The share of `period` (radians) that each view stands for: half the gaps to its neighbours.

        A range that the views leave out counts as one ordinary step, so that the shares then sum to less.
        """
        folded = self.angles % period
        order = np.argsort(folded, kind="stable")
        gaps = _gaps(folded[order], period)
        left_out, usual = _left_out(gaps)
        gaps = np.where(left_out, usual, gaps)
        weights = np.empty_like(gaps)
        weights[order] = (gaps + np.roll(gaps, 1)) / 2
        return weights

    def left_out(self, period: float) -> float:
        """How much of `period` (radians) no view stands for."""
        return max(0.0, float(period - self.view_weights(period).sum()))


def _gaps(ordered: np.ndarray, period: float) -> np.ndarray:
    return np.diff(ordered, append=ordered[0] + period)


def _left_out(gaps: np.ndarray) -> tuple[np.ndarray, float]:
    """Which gaps between neighbouring views are ranges that the scan leaves out, and the median of its steps.

    Steps may be irregular (the widest of n random ones is about ln n times their mean), so only a gap of over four
    times the widest step counts, the few widest aside.
    """
    steps = np.sort(gaps[gaps > SAME_ANGLE])
    if not steps.size:
        return np.zeros(len(gaps), dtype=bool), 0.0
    widest = steps[-min(len(steps), 2 + len(steps) // 50)]
    left_out = gaps > 4 * widest
    return left_out, float(np.median(steps[steps <= 4 * widest]))


def _expect(holds: np.ndarray, what: str) -> None:
    if not holds.all():
        n = int((~holds).sum())
        raise ConfigError(f"filtered back projection needs {what}; {n} of {holds.size} views have not{ADVICE}")


def short_scan_weights(beta: np.ndarray, gamma: np.ndarray, coverage: float) -> np.ndarray:
    """Weights (view, u) that count every line of a fan-beam scan once; coverage: from pi and the fan angle to 2*pi.

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


def overlap_weights(columns: np.ndarray) -> np.ndarray:
    """Weights (u) that count every line of a full turn once; columns: their distance from that of the axis.

    Each line is seen from both sides and counts half, but for an axis off the detector's middle: towards the nearer
    edge the weight then passes to 0 and opposite to 1, since what lies further out on that side is seen once.
    After Wang 2002 (Med. Phys. 29, 1634), with the passage kept to the outer part of the overlap for less noise.
    """
    overlap = min(-columns.min(), columns.max())
    if overlap <= 0:
        return np.ones(len(columns))
    wider = columns.max() + columns.min()  # columns further out on the positive side
    if abs(wider) <= NEARLY_CENTRED:
        return np.full(len(columns), 0.5)
    outward = columns * np.sign(wider) / overlap
    passed = np.clip((np.abs(outward) - 1 + PASSAGE) / PASSAGE, 0.0, 1.0)
    return np.asarray(0.5 + 0.5 * np.sign(outward) * np.sin(np.pi / 2 * passed) ** 2)
