"""Cameras from the image support data (ISD, JSON) of the Community Sensor Model, as ALE writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from tomodiff.errors import DataError
from tomodiff.geometry.cameras import Camera, Detector, Distortion, Ellipsoid, Frame, LineScan, Track
from tomodiff.geometry.cameras.distortion import KINDS

FRAME, LINES = "USGS_ASTRO_FRAME_SENSOR_MODEL", "USGS_ASTRO_LINE_SCANNER_SENSOR_MODEL"
UNITS = {"m": 1.0, "km": 1000.0}
UNEVEN = 1e-3
"""Relative: how much the times of a table may differ from even ones."""
POINTS = 8
"""Positions or turns below which they are taken at finer steps first."""
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What tables and labels that lack something raise."""
SINGULAR = 1e-6
"""Determinant of a distortion's linear part below which it is none."""


@dataclass(frozen=True, eq=False)
class Observation:
    """A camera and where the sun stood: body-fixed, metres, None where the file does not tell."""

    camera: Camera
    sun: np.ndarray | None = None


def read_isd(path: Path) -> Observation:
    """The camera of an ISD.  Raises DataError for a file that is none, or of a model or distortion not known."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(path, "", "a readable ISD", str(error)) from error
    except ValueError as error:
        raise DataError(path, "", "an ISD in JSON", str(error)) from error
    if not isinstance(told, Mapping):
        raise DataError(path, "", "an ISD: an object of named values", type(told).__name__)
    try:
        return _Isd(path, told).observation()
    except MALFORMED as error:
        raise DataError(path, "", "the tables of an ISD", repr(error)) from error


class _Isd:
    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        self.path, self.told = path, told

    def observation(self) -> Observation:
        model = self.get("name_model")
        if model not in (FRAME, LINES):
            raise DataError(self.path, "name_model", f"{FRAME} or {LINES}", str(model))
        shape = (int(self.number("image_lines")), int(self.number("image_samples")))
        radii = self.get("radii")
        unit = UNITS.get(radii.get("unit", "km"), 1000.0)
        body = Ellipsoid(float(radii["semimajor"]) * unit, float(radii["semiminor"]) * unit)
        spin = self.turns("body_rotation")
        times, positions = self.places("instrument_position", spin)
        turns = self.turns("instrument_pointing")
        centre = float(self.told.get("center_ephemeris_time", turns.times[0]))
        camera: Camera
        if model == FRAME:
            axes = spin.at(np.array([centre])) * turns.at(np.array([centre])).inv()
            place = positions[int(np.argmin(np.abs(times - centre)))]
            camera = Frame(shape, body, self.detector(), place, axes.as_matrix()[0])
        else:
            rates = np.array(self.get("line_scan_rate"), np.float64)
            if rates.ndim != 2 or rates.shape[1] != 3 or not (rates[:, 2] > 0).all():
                raise DataError(self.path, "line_scan_rate", "rows of first line, start and time of a line", str(rates))
            speeds = self.speeds(spin, times, positions)
            pointing = spin.at(turns.times) * turns.rotations.inv()
            camera = LineScan(
                shape, body, self.detector(), rates, even_track(times - centre, positions, speeds),
                even_turns(turns.times - centre, pointing),
            )  # fmt: skip
        sun = None
        if "sun_position" in self.told:
            when, where = self.places("sun_position", spin)
            sun = where[int(np.argmin(np.abs(when - centre)))]
        return Observation(camera, sun)

    def get(self, name: str) -> Any:
        if name not in self.told:
            raise DataError(self.path, name, "a value", "none")
        return self.told[name]

    def number(self, name: str, default: float | None = None) -> float:
        value = self.told.get(name, default)
        if not isinstance(value, int | float):
            raise DataError(self.path, name, "a number", repr(value))
        return float(value)

    def array(self, table: str, name: str, columns: int) -> np.ndarray:
        try:
            values = np.array(self.get(table)[name], np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(self.path, f"{table}.{name}", f"rows of {columns} numbers", repr(error)) from error
        if values.size == 0 or values.ndim != (1 if columns == 1 else 2) or not np.isfinite(values).all():
            raise DataError(self.path, f"{table}.{name}", f"rows of {columns} numbers", f"an array {values.shape}")
        if columns > 1 and values.shape[1] != columns:
            raise DataError(self.path, f"{table}.{name}", f"rows of {columns} numbers", f"rows of {values.shape[1]}")
        return values

    def times(self, table: str, count: int) -> np.ndarray:
        times = self.array(table, "ephemeris_times", 1)
        if len(times) != count and count > 1:
            raise DataError(self.path, f"{table}.ephemeris_times", f"{count} times, one for each row", str(len(times)))
        return times[:count]

    def places(self, table: str, spin: Turns) -> tuple[np.ndarray, np.ndarray]:
        """Times and body-fixed positions (n, 3) in metres."""
        told = self.get(table)
        positions = self.array(table, "positions", 3)
        times = self.array(table, "ephemeris_times", 1)
        count = min(len(times), len(positions))
        unit = UNITS.get(told.get("unit", "km"), 1000.0)
        return times[:count], spin.at(times[:count]).apply(positions[:count]) * unit

    def speeds(self, spin: Turns, times: np.ndarray, positions: np.ndarray) -> np.ndarray | None:
        """Body-fixed velocities (n, 3) in m/s; None where none are told."""
        told = self.get("instrument_position")
        if len(told.get("velocities", ())) < len(times):
            return None
        unit = UNITS.get(told.get("unit", "km"), 1000.0)
        return spin.speeds(times, np.array(told["velocities"], np.float64)[: len(times)] * unit, positions)

    def turns(self, table: str) -> Turns:
        q = self.array(table, "quaternions", 4)
        return Turns.of(self.times(table, len(q)), q, self.get(table).get("constant_rotation"))

    def detector(self) -> Detector:
        centre = self.get("detector_center")
        first = (self.number("starting_detector_sample", 0.0), self.number("starting_detector_line", 0.0))
        summing = (self.number("detector_sample_summing", 1.0), self.number("detector_line_summing", 1.0))
        focal = float(self.get("focal_length_model")["focal_length"])
        return Detector(
            focal, np.array(self.get("focal2pixel_samples"), np.float64),
            np.array(self.get("focal2pixel_lines"), np.float64), (float(centre["sample"]), float(centre["line"])),
            first, summing, self.distortion(),
        )  # fmt: skip

    def distortion(self) -> Distortion:
        told = self.get("optical_distortion")
        kind = next(iter(told), "none") if isinstance(told, Mapping) else "none"
        if kind not in KINDS:
            raise DataError(self.path, "optical_distortion", f"one of {', '.join(KINDS)}", kind)
        given = told[kind]
        if kind == "transverse":
            k = [*given["x"], *given["y"]]
        elif kind == "kaguyalism":
            k = [given["boresight_x"], *given["x"], given["boresight_y"], *given["y"]]
        else:
            k = list(given["coefficients"])
        wanted = KINDS[kind][2]
        if len(k) != wanted:
            raise DataError(self.path, f"optical_distortion.{kind}", f"{wanted} coefficients", str(len(k)))
        if kind == "transverse" and abs(k[1] * k[12] - k[2] * k[11]) < SINGULAR:  # USGSCSM leaves such light alone
            return Distortion("radial", np.zeros(3))
        return Distortion(kind, np.array(k, np.float64))


@dataclass(frozen=True, eq=False)
class Turns:
    """Rotations from J2000 to a frame at times."""

    times: np.ndarray
    rotations: Rotation

    @classmethod
    def of(cls, times: np.ndarray, quaternions: np.ndarray, constant: Any) -> Turns:
        """Of quaternions (n, 4), scalar first, and the constant turn (nine numbers, or None) after them."""
        fixed = Rotation.identity()
        if constant is not None:
            fixed = Rotation.from_matrix(np.array(constant, np.float64).reshape(3, 3))
        return cls(times, fixed * Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]))

    def at(self, times: np.ndarray) -> Rotation:
        """The rotations at times, those of the ends beyond them."""
        return between(self.times, self.rotations, times)

    def speeds(self, times: np.ndarray, own: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Velocities (n, 3) in the frame of `own` in J2000, of `positions` in the frame: less the frame's turning."""
        seen = self.at(times).apply(own)
        if len(self.times) == 1:
            return seen
        late = 1e-3 * float(self.times[-1] - self.times[0])
        ends = np.clip(times, self.times[0], self.times[-1] - late)
        turn = (self.at(ends + late) * self.at(ends).inv()).as_rotvec() / late
        return seen + np.cross(turn, positions)


def between(known: np.ndarray, rotations: Rotation, times: np.ndarray) -> Rotation:
    """Rotations at times, along great circles between known ones; those of the ends beyond."""
    if len(known) == 1:
        return rotations[np.zeros(len(times), int)]
    return Slerp(known, rotations)(np.clip(times, known[0], known[-1]))


def even_track(times: np.ndarray, places: np.ndarray, speeds: np.ndarray | None = None) -> Track:
    """A track of positions (n, 3); where times are uneven or few, of ones between them by cubics, which keep the speeds
    (n, 3) if there are any."""
    from scipy.interpolate import CubicHermiteSpline, CubicSpline

    if len(times) == 1 or is_even(times):
        return _track(times, places)
    nodes = _nodes(times)
    if speeds is not None:
        return _track(nodes, CubicHermiteSpline(times, places, speeds)(nodes))
    return _track(nodes, CubicSpline(times, places)(nodes) if len(times) > 2 else _line(times, places, nodes))


def even_turns(times: np.ndarray, rotations: Rotation) -> Track:
    """A track of quaternions, scalar first; where times are uneven or few, of ones between them."""
    if not (len(times) == 1 or is_even(times)):
        nodes = _nodes(times)
        times, rotations = nodes, between(times, rotations, nodes)
    return _track(times, continuous(rotations.as_quat()[:, [3, 0, 1, 2]]))


def is_even(times: np.ndarray) -> bool:
    """Whether there are enough times, in even steps."""
    steps = np.diff(times)
    return len(times) >= POINTS and bool(np.abs(steps / steps.mean() - 1).max() <= UNEVEN)


def _nodes(times: np.ndarray) -> np.ndarray:
    return np.linspace(times[0], times[-1], max(4 * len(times), 33))


def _line(times: np.ndarray, values: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(nodes, times, v) for v in values.T], 1)


def _track(times: np.ndarray, values: np.ndarray) -> Track:
    step = float(times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0
    return Track(float(times[0]), step, values)


def continuous(q: np.ndarray) -> np.ndarray:
    """Quaternions (n, 4) with signs that do not jump."""
    turns = np.where((q[1:] * q[:-1]).sum(1) < 0, -1.0, 1.0)
    return q * np.concatenate([[1.0], np.cumprod(turns)])[:, None]
