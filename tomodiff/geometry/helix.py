"""Helical (spiral) scans: a cone beam whose source also travels along the rotation axis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.geometry import checks
from tomodiff.geometry.checks import Array
from tomodiff.geometry.turning import MOUNTING, TurningScan


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Helix(TurningScan):
    __doc__ = f"""A point source and a detector that wind about the z axis: clinical and helical laboratory CT.

    Source and detector stand at the height z = z_start + pitch * angle / (2 pi).

    angles: (n_view,) in radians, over any number of turns.
    source_axis, source_detector: distances in mm from the source to the rotation axis and, further, to the
        detector.{MOUNTING}
    pitch: mm of travel along +z per turn; negative if the source descends as angles grow.
    z_start: height in mm of the source where angle = 0, whether or not a view was taken there.
    curved: True for a cylindrical (equiangular) detector about the source, of radius `source_detector`; lengths along u
        are then arc lengths.
    """

    angles: Array
    source_axis: float
    source_detector: float
    detector_shape: tuple[int, int]
    pixel: tuple[float, float]
    pitch: float
    z_start: float
    axis_offset: float
    detector_offset: tuple[float, float]
    detector_tilt: tuple[float, float, float]
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
        pitch: float,
        z_start: float = 0.0,
        *,
        axis_offset: float = 0.0,
        detector_offset: Any = (0.0, 0.0),
        detector_tilt: Any = (0.0, 0.0, 0.0),
        curved: bool = False,
    ) -> None:
        self._set(angles=checks.angles(angles, turns=None))
        self._set_mounting(detector_shape, pixel, axis_offset, detector_offset, detector_tilt)
        self._set_point_source(source_axis, source_detector, curved)
        self._set(pitch=checks.number("pitch", pitch), z_start=checks.number("z_start", z_start))

    def at_angle_zero(self) -> Array:
        """The frame (1, 12) at angle 0, moved to the height z = 0."""
        return self._mount((0.0, -self.source_axis, 0.0), self.source_detector - self.source_axis, 0.0)

    def heights(self) -> Array:
        """Height z in mm of the source in each view."""
        z: Array = self.z_start + self.pitch * self.angles / (2 * np.pi)
        return z

    def frames(self) -> Array:
        """Source, detector centre, column step and row step of each view: (n_view, 12), mm."""
        table = self._turn(self.at_angle_zero())
        table[:, [2, 5]] += self.heights()[:, None]
        return table

    @property
    def magnification(self) -> float:
        """source_detector / source_axis."""
        return self.source_detector / self.source_axis
