"""What scans about a rotation axis share: the detector's mounting, and where the axis projects."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from tomodiff.geometry import checks
from tomodiff.geometry import frames as frame_table
from tomodiff.geometry.checks import Array, refuse
from tomodiff.geometry.rotation import about_x, about_y, about_z
from tomodiff.geometry.scan import Scan

T = TypeVar("T", bound="TurningScan")

MOUNTING = """
    detector_shape: (rows, columns), or one number for a detector of one row.
    pixel: (row pitch, column pitch) on the detector in mm, or one number.
    axis_offset: in mm on the detector: the rotation axis projects so far to the +u side of the middle column.
    detector_offset: (v, u) in mm: how far the detector's middle lies, in its own plane (along the arc if curved), from
        the point where the central ray through the axis meets it. The two offsets along u count by their difference.
    detector_tilt: (roll, pitch, yaw) in radians about that point, each right-handed about the beam, +u and +v: roll
        turns the top edge towards +u, pitch brings it towards the source, yaw takes the +u edge away from the source.
        Roll is applied first, then pitch, then yaw, all about the untilted directions. A curved detector can only roll.
"""
"""Meaning of the arguments that all scans about an axis take."""


class TurningScan(Scan):
    """A scan in which source and detector turn about the z axis of the volume (the sample turns the other way)."""

    angles: Array
    axis_offset: float
    detector_offset: tuple[float, float]
    detector_tilt: tuple[float, float, float]

    @abstractmethod
    def at_angle_zero(self) -> Array:
        """The frame (1, 12) at angle 0, before any travel along z."""

    def __len__(self) -> int:
        return len(self.angles)

    @property
    def axis_column(self) -> float:
        """The column, counted from 0 and fractional, onto which the point (0, 0, 0) of the axis projects at angle 0."""
        return (self.detector_shape[1] - 1) / 2 + (self.axis_offset - self.detector_offset[1]) / self.pixel[1]

    def with_axis_offset(self: T, axis_offset: float) -> T:
        """The same scan with the axis displaced by `axis_offset` mm, measured on the detector, instead."""
        return replace(self, axis_offset=axis_offset)  # type: ignore[type-var]

    def with_axis_column(self: T, column: float) -> T:
        """The same scan with the axis projecting onto `column` (0-based, fractional: the "centre of rotation")."""
        offset = (checks.number("column", column) - (self.detector_shape[1] - 1) / 2) * self.pixel[1]
        return self.with_axis_offset(offset + self.detector_offset[1])

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _set_mounting(
        self, detector_shape: Any, pixel: Any, axis_offset: float, detector_offset: Any, detector_tilt: Any
    ) -> None:
        """Check and store the fields that all scans about an axis have."""
        roll, pitch, yaw = checks.vector("detector_tilt", detector_tilt)
        if max(abs(pitch), abs(yaw)) >= np.pi / 2:
            raise refuse("detector_tilt", "pitch and yaw below a right angle, in radians", detector_tilt)
        self._set(
            detector_shape=checks.detector_shape(detector_shape),
            pixel=checks.pixel(pixel),
            axis_offset=checks.number("axis_offset", axis_offset),
            detector_offset=checks.pair("detector_offset", detector_offset),
            detector_tilt=(roll, pitch, yaw),
        )

    def _set_point_source(self, source_axis: float, source_detector: float, curved: bool) -> None:
        """Check and store the distances of a point source and the curvature of the detector mounted before."""
        near, far = checks.positive("source_axis", source_axis), checks.positive("source_detector", source_detector)
        if far <= near:
            raise refuse("source_detector", f"more than source_axis ({near:g} mm): it is measured from the source", far)
        if not isinstance(curved, bool):
            raise refuse("curved", "True or False", curved)
        if curved:
            self._check_cylinder(far)
        self._set(source_axis=near, source_detector=far, curved=curved, kind="cone", radius=far if curved else None)

    def _check_cylinder(self, radius: float) -> None:
        """Refuse a cylinder that is not about the source, or that reaches half a turn about it."""
        if any(self.detector_tilt[1:]):
            expected = "no pitch or yaw, which would take a curved detector off its source"
            raise refuse("detector_tilt", expected, self.detector_tilt)
        half_arc = self.detector_shape[1] * self.pixel[1] / 2 + abs(self.axis_offset - self.detector_offset[1])
        if half_arc >= np.pi / 2 * radius:
            expected = f"pixels within a quarter turn of the central ray ({np.pi / 2 * radius:g} mm of arc)"
            raise refuse("detector_shape", expected, f"{half_arc:g} mm")

    def _mount(self, source: tuple[float, float, float], pivot: float, axis_tilt: float) -> Array:
        """The frame (1, 12) at angle 0: beam along +y, the detector pivoted at (0, pivot, 0), the axis then tilted."""
        dv, du = self.pixel
        roll, pitch, yaw = self.detector_tilt
        tilt = about_z(yaw) @ about_x(pitch) @ about_y(roll)
        frame = np.concatenate([source, (0.0, pivot, 0.0), tilt[:, 0] * du, tilt[:, 2] * dv])[None]
        v, u = self.detector_offset
        frame = frame_table.shift_detector(frame, self.radius, v / dv, (u - self.axis_offset) / du)
        return frame_table.move(frame, self.kind, about_x(axis_tilt), np.zeros(3))

    def _turn(self, frame: Array) -> Array:
        """That frame turned about z to the angle of each view."""
        c, s = np.cos(self.angles), np.sin(self.angles)
        zero, one = np.zeros_like(c), np.ones_like(c)
        turns = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]).transpose(2, 0, 1)
        return frame_table.move(np.broadcast_to(frame, (len(c), 12)), self.kind, turns, np.zeros(3))

    def _select(self: T, views: slice | np.ndarray) -> T:
        return replace(self, angles=self.angles[views])  # type: ignore[type-var]

    def _with_detector(self: T, shape: tuple[int, int], merge: tuple[int, int], shift: tuple[float, float]) -> T:
        (v, u), (dv, du) = self.detector_offset, self.pixel
        return replace(  # type: ignore[type-var]
            self,
            detector_shape=shape,
            pixel=(dv * merge[0], du * merge[1]),
            detector_offset=(v + shift[0] * dv, u + shift[1] * du),
        )
