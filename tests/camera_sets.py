"""Cameras made up for tests: a frame camera's ISD, a line scanner's, an RPC, over one site on the Moon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tomodiff.geometry.cameras import Ellipsoid, Rational
from tomodiff.geometry.map_grid import MapGrid

MOON = Ellipsoid(1737400.0, 1737400.0)
LON, LAT = np.deg2rad(30.0), np.deg2rad(20.0)
CRS = "+proj=ortho +lat_0=20 +lon_0=30 +R=1737400 +units=m +no_defs"
ALTITUDE, FOCAL, PITCH = 50e3, 500.0, 0.01
"""Metres; mm; mm: a pixel is a metre on the ground below."""


def site(n: int, spacing: float = 1.0) -> MapGrid:
    """A map of n x n elements around the site."""
    half = n * spacing / 2
    return MapGrid((n, n), (spacing, 0, -half, 0, -spacing, half), CRS, "site")


def sun_at(azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    """Body-fixed kilometres of a sun over the site."""
    a, e = np.deg2rad([azimuth_deg, elevation_deg])
    own = np.array([np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), np.sin(e)])
    return np.asarray(1.5e8 * own @ MOON.axes(LON, LAT))


def frame_isd(size: int, forward_m: float, side_m: float, sun: tuple[float, float], **more: Any) -> dict[str, Any]:
    """A camera of size x size pixels at a place over the site, north and east of its zenith, that looks at the site."""
    east, north, up = MOON.axes(LON, LAT)
    target = MOON.places(LON, LAT)
    place = target + ALTITUDE * up + forward_m * north + side_m * east
    z = (target - place) / np.linalg.norm(target - place)
    x = np.cross(north, z)  # columns to the west or east: the detector's own axes turn them
    x /= np.linalg.norm(x)
    to_camera = np.stack([x, np.cross(z, x), z])  # rows: the camera's axes, body-fixed
    # a body that is turned against J2000, so that the chain of frames is tested
    body = Rotation.from_rotvec([0.3, -0.2, 0.9])
    pointing = Rotation.from_matrix(to_camera) * body
    told = {
        "name_model": "USGS_ASTRO_FRAME_SENSOR_MODEL", "image_lines": size, "image_samples": size,
        "center_ephemeris_time": 100.0, "radii": {"semimajor": 1737.4, "semiminor": 1737.4, "unit": "km"},
        "focal_length_model": {"focal_length": FOCAL}, "detector_center": {"line": size / 2, "sample": size / 2},
        "focal2pixel_samples": [0.0, 1 / PITCH, 0.0], "focal2pixel_lines": [0.0, 0.0, 1 / PITCH],
        "starting_detector_line": 0, "starting_detector_sample": 0, "detector_line_summing": 1,
        "detector_sample_summing": 1, "optical_distortion": {"radial": {"coefficients": [0.0, 1e-5, 0.0]}},
        "instrument_position": _table({"positions": [body.inv().apply(place / 1e3).tolist()], "unit": "km"}),
        "instrument_pointing": _table({"quaternions": [_scalar_first(pointing)]}),
        "body_rotation": _table({"quaternions": [_scalar_first(body)]}),
        "sun_position": _table({"positions": [body.inv().apply(sun_at(*sun)).tolist()], "unit": "km"}),
    }  # fmt: skip
    return told | more


def scan_isd(lines: int, samples: int, sun: tuple[float, float] = (90.0, 40.0)) -> dict[str, Any]:
    """A line scanner that flies south over the site, rolling a little, its body turning below it."""
    line = 1e-3
    times = np.linspace(-line * lines, line * lines, 33)
    speed, spin = 1.0 / line, np.array([0.0, 0.0, 1e-5])
    east, north, up = MOON.axes(LON, LAT)
    target = MOON.places(LON, LAT)
    bodies = Rotation.from_rotvec(np.outer(times, spin)).inv() * Rotation.from_rotvec([0.3, -0.2, 0.9])
    places = target + ALTITUDE * up - np.outer(speed * times, north)
    axes = Rotation.from_matrix(np.stack([north, east, -up]))  # x along the flight, y across, z down
    roll = Rotation.from_rotvec(np.outer(1e-4 * np.sin(40 * times), [1.0, 0, 0]))
    pointing = roll * axes * bodies
    told = frame_isd(samples, 0, 0, sun)
    velocities = bodies.inv().apply(np.repeat(-speed * north[None] / 1e3, len(times), 0))
    return told | {
        "name_model": "USGS_ASTRO_LINE_SCANNER_SENSOR_MODEL", "image_lines": lines, "image_samples": samples,
        "line_scan_rate": [[0.5, -line * lines / 2, line]], "detector_center": {"line": 0.0, "sample": samples / 2},
        "focal2pixel_samples": [0.0, 0.0, 1 / PITCH], "focal2pixel_lines": [0.0, 1 / PITCH, 0.0],
        "optical_distortion": {"lrolrocnac": {"coefficients": [1.81e-5]}},
        "instrument_position": _table(
            {"positions": bodies.inv().apply(places / 1e3).tolist(), "velocities": velocities.tolist(), "unit": "km"},
            times + 100,
        ),
        "instrument_pointing": _table({"quaternions": [_scalar_first(p) for p in pointing]}, times + 100),
        "body_rotation": _table({"quaternions": [_scalar_first(b) for b in bodies]}, times + 100),
    }  # fmt: skip


def rational(size: int, tilt_east: float, tilt_north: float, body: Ellipsoid = MOON) -> Rational:
    """RPC over the site: a metre a pixel, and so many pixels to the east and north for each metre of height."""
    scale = np.array([size / 2, size / 2, np.rad2deg(size / 2 / body.a), np.rad2deg(size / 2 / body.a), 500.0])
    offset = np.array([(size - 1) / 2, (size - 1) / 2, 30.0, 20.0, 0.0])
    column, row, one = np.zeros(20), np.zeros(20), np.zeros(20)
    one[0] = 1
    column[[1, 3]] = np.cos(LAT), tilt_east * 1000 / size
    row[[2, 3]] = -1.0, tilt_north * 1000 / size
    column[[7, 13]], row[10] = 1e-4, -2e-4
    return Rational((size, size), offset, scale, np.stack([column, one, row, one + 1e-4 * np.eye(20)[2]]), body)


def write_isd(path: Path, told: dict[str, Any]) -> Path:
    """A file of it."""
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def _table(values: dict[str, Any], times: Any = (100.0,)) -> dict[str, Any]:
    return values | {"ephemeris_times": list(map(float, times)), "reference_frame": 1}


def _scalar_first(r: Rotation) -> list[float]:
    x, y, z, w = r.as_quat()
    return [float(w), float(x), float(y), float(z)]
