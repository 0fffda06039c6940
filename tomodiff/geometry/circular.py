"""Circular scans: parallel, cone and fan beams about the z axis, and laminography, whose axis leans along the beam.

At angle t the beam travels along (-sin t, cos t, 0), columns grow along (cos t, sin t, 0) and rows along z. An axis
tilt a turns that picture at t = 0 right-handed by a about the column direction: the rays then rise through the upright
volume along (-sin t cos a, cos t cos a, sin a), that is, the top of the axis leans towards the detector.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.geometry import checks
from tomodiff.geometry.checks import Array, refuse
from tomodiff.geometry.turning import MOUNTING, TurningScan


def check_axis_tilt(value: object) -> float:
    """An angle in radians by which the axis leans out of the plane across the beam, below a right angle."""
    tilt = checks.number("axis_tilt", value)
    if abs(tilt) >= np.pi / 2:
        raise refuse("axis_tilt", "less than a right angle (pi/2), in radians", value)
    return tilt


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ParallelBeam(TurningScan):
    __doc__ = f"""A parallel beam about the z axis, 2-D (one detector row) or 3-D: synchrotrons, neutrons, electrons.

    angles: (n_view,) in radians, over at most two turns.{MOUNTING}
    axis_tilt: radians by which the top of the rotation axis leans towards the detector (laminography if large).

    The detector's middle is given at the height of the axis; for a parallel beam its distance does not matter.
    """

    angles: Array
    detector_shape: tuple[int, int]
    pixel: tuple[float, float]
    axis_offset: float
    detector_offset: tuple[float, float]
    detector_tilt: tuple[float, float, float]
    axis_tilt: float
    kind: str = field(init=False)
    radius: float | None = field(init=False)

    def __init__(
        self,
        angles: Any,
        detector_shape: Any,
        pixel: Any = 1.0,
        *,
        axis_offset: float = 0.0,
        detector_offset: Any = (0.0, 0.0),
        detector_tilt: Any = (0.0, 0.0, 0.0),
        axis_tilt: float = 0.0,
    ) -> None:
        self._set(angles=checks.angles(angles), kind="parallel", radius=None)
        self._set_mounting(detector_shape, pixel, axis_offset, detector_offset, detector_tilt)
        self._set(axis_tilt=check_axis_tilt(axis_tilt))

    def at_angle_zero(self) -> Array:
        """The frame (1, 12) at angle 0."""
        return self._mount((0.0, 1.0, 0.0), 0.0, self.axis_tilt)

    def frames(self) -> Array:
        """Ray direction (unit), detector centre, column step and row step of each view: (n_view, 12), mm."""
        return self._turn(self.at_angle_zero())

    @property
    def magnification(self) -> float:
        """1: a parallel beam does not magnify."""
        return 1.0


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ConeBeam(TurningScan):
    __doc__ = f"""A point source and a detector that circle the z axis: laboratory, dental, industrial and C-arm CT.

    angles: (n_view,) in radians, over at most two turns.
    source_axis, source_detector: distances in mm from the source to the rotation axis and, further, to the detector,
        along the central ray (which meets the axis at (0, 0, 0)).{MOUNTING}
    curved: True for a cylindrical (equiangular) detector about the source, of radius `source_detector`; lengths along u
        are then arc lengths.
    axis_tilt: radians by which the top of the rotation axis leans towards the detector (laminography if large).
    """

    angles: Array
    source_axis: float
    source_detector: float
    detector_shape: tuple[int, int]
    pixel: tuple[float, float]
    axis_offset: float
    detector_offset: tuple[float, float]
    detector_tilt: tuple[float, float, float]
    axis_tilt: float
    curved: bool
    kind: str = field(init=False)
    radius: float | None = field(init=False)

    def __init__(
        self,
        angles: Any,
        source_axis: float,
        source_detector: float,
        detector_shape: Any,
        pixel: Any,
        *,
        axis_offset: float = 0.0,
        detector_offset: Any = (0.0, 0.0),
        detector_tilt: Any = (0.0, 0.0, 0.0),
        axis_tilt: float = 0.0,
        curved: bool = False,
    ) -> None:
        self._set(angles=checks.angles(angles))
        self._set_mounting(detector_shape, pixel, axis_offset, detector_offset, detector_tilt)
        self._set_point_source(source_axis, source_detector, curved)
        self._set(axis_tilt=check_axis_tilt(axis_tilt))

    def at_angle_zero(self) -> Array:
        """The frame (1, 12) at angle 0."""
        return self._mount((0.0, -self.source_axis, 0.0), self.source_detector - self.source_axis, self.axis_tilt)

    def frames(self) -> Array:
        """Source, detector centre, column step and row step of each view: (n_view, 12), mm."""
        return self._turn(self.at_angle_zero())

    @property
    def magnification(self) -> float:
        """source_detector / source_axis."""
        return self.source_detector / self.source_axis


def FanBeam(
    angles: Any,
    source_axis: float,
    source_detector: float,
    detector_columns: Any,
    pixel: Any,
    *,
    axis_offset: float = 0.0,
    detector_offset: float = 0.0,
    curved: bool = False,
) -> ConeBeam:
    """A fan beam, that is, a `ConeBeam` whose detector has a single row in the plane z = 0.

    detector_columns: number of pixels, or the shape (1, columns).
    pixel: column pitch in mm, or (row height, column pitch).
    detector_offset: of the detector's middle along u in mm.
    """
    rows, _ = shape = checks.detector_shape(detector_columns)
    if rows != 1:
        raise refuse("detector_columns", "a single row", detector_columns)
    mounting: dict[str, Any] = {
        "axis_offset": axis_offset,
        "detector_offset": (0.0, checks.number("detector_offset", detector_offset)),
    }
    return ConeBeam(angles, source_axis, source_detector, shape, pixel, curved=curved, **mounting)


def Laminography(
    angles: Any,
    tilt: float,
    detector_shape: Any,
    pixel: Any = 1.0,
    *,
    source_axis: float | None = None,
    source_detector: float | None = None,
    axis_offset: float = 0.0,
    detector_offset: Any = (0.0, 0.0),
    detector_tilt: Any = (0.0, 0.0, 0.0),
) -> ParallelBeam | ConeBeam:
    """A scan about an axis that leans by `tilt` along the beam: a flat sample stays transparent in every view.

    tilt: radians from ordinary tomography (0, axis across the beam); positive: its top leans towards the detector. The
        angle between beam and axis, by which some beamlines name it, is pi/2 - tilt.
    source_axis, source_detector: in mm, both for a cone beam (makes a `ConeBeam`), neither for a parallel one (makes a
        `ParallelBeam`).
    The other arguments are those of these two classes.
    """
    mounting = {"axis_offset": axis_offset, "detector_offset": detector_offset, "detector_tilt": detector_tilt}
    if source_axis is None and source_detector is None:
        return ParallelBeam(angles, detector_shape, pixel, axis_tilt=tilt, **mounting)
    if source_axis is None or source_detector is None:
        found = (source_axis, source_detector)
        raise refuse("source_axis, source_detector", "both (cone) or neither (parallel)", found)
    return ConeBeam(angles, source_axis, source_detector, detector_shape, pixel, axis_tilt=tilt, **mounting)
