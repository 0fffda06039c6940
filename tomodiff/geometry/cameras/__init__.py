"""Cameras: where places on a body are seen in an image, with derivatives."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tomodiff.geometry.cameras.distortion import Distortion
from tomodiff.geometry.cameras.ellipsoid import Ellipsoid
from tomodiff.geometry.cameras.path import Track
from tomodiff.geometry.cameras.pinhole import Detector, Frame, LineScan, view_of
from tomodiff.geometry.cameras.rational import WGS84, Rational


class Camera(Protocol):
    """What a camera tells.  Columns and rows are whole numbers in the middles of pixels; positions are body-fixed, in
    metres."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""

    @property
    def ellipsoid(self) -> Ellipsoid:
        """Of the body."""

    def image_of(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows (2, n) at which positions (3, n) are seen, NaN where they are not, and their derivatives
        (2, 3, n), 1/m."""

    def ground_of(self, pixels: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes (n,) in radians that pixels (2, n) see at a height, NaN where they see none."""

    def within(self, places: np.ndarray) -> np.ndarray:
        """(n,) whether the camera tells where positions (3, n) are seen."""


__all__ = [
    "WGS84",
    "Camera",
    "Detector",
    "Distortion",
    "Ellipsoid",
    "Frame",
    "LineScan",
    "Rational",
    "Track",
    "view_of",
]
