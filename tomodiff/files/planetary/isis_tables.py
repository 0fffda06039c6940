"""Cameras of ISIS cubes that carry their geometry: tables of positions and turns that `spiceinit` attached.

The label is that which GDAL tells as JSON; tables are rows of doubles at the bytes it names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.planetary.isd import MALFORMED, Observation, Turns, even_track, even_turns
from tomodiff.geometry.cameras import Detector, Distortion, Ellipsoid, LineScan

INSTRUMENTS = {"NACL": -85600, "NACR": -85610}
"""Those whose detector and clock are understood, and their codes."""
TABLES = ("InstrumentPointing", "InstrumentPosition", "BodyRotation", "SunPosition")


def has_tables(label: Mapping[str, Any]) -> bool:
    """Whether a cube's label tells of such tables."""
    return all(f"Table_{name}" in label for name in TABLES)


def read_isis_camera(path: Path, label: Mapping[str, Any]) -> Observation:
    """The camera of a cube of one of INSTRUMENTS, or of a part of it that ISIS `crop` made.  Raises DataError for
    other instruments, and where the label or a table lacks something."""
    try:
        return _Cube(path, label).observation()
    except MALFORMED as error:
        raise DataError(path, "", "the label and the tables of spiceinit", repr(error)) from error


class _Cube:
    def __init__(self, path: Path, label: Mapping[str, Any]) -> None:
        self.path, self.label = path, label
        self.cube = label["IsisCube"]
        instrument = str(self.cube.get("Instrument", {}).get("InstrumentId", "none"))
        if instrument not in INSTRUMENTS:
            raise DataError(
                path, "Instrument.InstrumentId", f"one of {', '.join(INSTRUMENTS)}, whose tables are understood",
                instrument, "An ISD (JSON, as ALE's isd_generate writes it) beside the image tells any camera.",
            )  # fmt: skip
        self.code = INSTRUMENTS[instrument]

    def observation(self) -> Observation:
        size = self.cube["Core"]["Dimensions"]
        shape = int(size["Lines"]), int(size["Samples"])
        radii = np.atleast_1d(self.keyword(f"BODY{self.keyword('BODY_FRAME_CODE', 301)}_RADII", self._radii()))
        body = Ellipsoid(float(radii[0]) * 1e3, float(radii[-1]) * 1e3)
        first_sample, first_line = self._crop(shape)
        inst = self.cube["Instrument"]
        line = self._seconds(inst["LineExposureDuration"])
        line = line * (1 + self.keyword(f"INS{self.code}_MULTIPLI_LINE_ERROR", 0.0))
        line += self.keyword(f"INS{self.code}_ADDITIVE_LINE_ERROR", 0.0) / 1e3
        start = self._clock() + self.keyword(f"INS{self.code}_CONSTANT_TIME_OFFSET", 0.0)
        start += line * (self.keyword(f"INS{self.code}_ADDITIONAL_PREROLL", 1024.0) + first_line - 0.5)

        spin, aim, where = (
            self.turns("BodyRotation"),
            self.turns("InstrumentPointing"),
            self.table("InstrumentPosition"),
        )
        when = where[:, -1]
        positions = spin.at(when).apply(where[:, :3]) * 1e3
        speeds = None
        if where.shape[1] >= 7 and len(where) > 1:
            speeds = spin.speeds(when, where[:, 3:6] * 1e3, positions)
        middle = start + line * shape[0] / 2
        sun = self.table("SunPosition")
        nearest = sun[np.argmin(np.abs(sun[:, -1] - middle))]
        camera = LineScan(
            shape, body, self.detector(first_sample), np.array([[0.5, start - middle, line]]),
            even_track(when - middle, positions, speeds),
            even_turns(aim.times - middle, spin.at(aim.times) * aim.rotations.inv()),
        )  # fmt: skip
        return Observation(camera, spin.at(nearest[-1:]).apply(nearest[None, :3])[0] * 1e3)

    def detector(self, first_sample: float) -> Detector:
        code, summing = self.code, float(self.cube["Instrument"].get("SpatialSumming", 1))
        begin = float(self.cube["Instrument"].get("SampleFirstPixel", 0))
        centre = float(self.keyword(f"INS{code}_BORESIGHT_SAMPLE"))
        return Detector(
            float(self.keyword(f"INS{code}_FOCAL_LENGTH")), np.array(self.keyword(f"INS{code}_ITRANSS"), np.float64),
            np.array(self.keyword(f"INS{code}_ITRANSL"), np.float64),
            # detector sample of the cube's sample s (first: 1): (s - 0.5) summing + 0.5 + SampleFirstPixel
            (centre - 0.5 - begin, 0.0), (summing * (first_sample - 0.5), 0.0), (summing, 1.0),
            Distortion("lrolrocnac", np.array([float(self.keyword(f"INS{code}_OD_K"))])),
        )  # fmt: skip

    def table(self, name: str) -> np.ndarray:
        """(records, fields) of a table; the last field is the time."""
        told = self.label[f"Table_{name}"]
        fields = sum(key.startswith("Field_") for key in told)
        count, start = int(told["Records"]) * fields, int(told["StartByte"]) - 1
        order = "<f8" if str(told.get("ByteOrder", "Lsb")) == "Lsb" else ">f8"
        with self.path.open("rb") as file:
            file.seek(start)
            raw = file.read(8 * count)
        if len(raw) != 8 * count:
            raise DataError(self.path, f"table {name}", f"{8 * count} bytes at {start}", f"{len(raw)}: it is truncated")
        values = np.frombuffer(raw, order).reshape(-1, fields).astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(self.path, f"table {name}", "finite numbers", "NaN or infinities")
        return values

    def turns(self, name: str) -> Turns:
        rows = self.table(name)
        return Turns.of(rows[:, -1], rows, self.label[f"Table_{name}"].get("ConstantRotation"))

    def keyword(self, name: str, default: Any = None) -> Any:
        value = self.label.get("NaifKeywords", {}).get(name, default)
        if value is None:
            raise DataError(self.path, f"NaifKeywords.{name}", "a value", "none")
        return value

    def _radii(self) -> Any:
        found = [
            v for k, v in self.label.get("NaifKeywords", {}).items() if k.startswith("BODY") and k.endswith("_RADII")
        ]
        return found[0] if found else None

    def _crop(self, shape: tuple[int, int]) -> tuple[float, float]:
        """Where the cube's upper left corner lies in the original one, whose own is (0.5, 0.5)."""
        alpha = self.cube.get("AlphaCube")
        if alpha is None:
            return 0.5, 0.5
        first = float(alpha["AlphaStartingSample"]), float(alpha["AlphaStartingLine"])
        size = float(alpha["AlphaEndingSample"]) - first[0], float(alpha["AlphaEndingLine"]) - first[1]
        if abs(size[0] - shape[1]) > 1e-6 or abs(size[1] - shape[0]) > 1e-6:
            raise DataError(
                self.path, "AlphaCube", f"a part in full resolution, {shape[0]} x {shape[1]} pixels",
                f"{size[1]:g} x {size[0]:g}: the cube was reduced or enlarged",
            )  # fmt: skip
        return first

    def _clock(self) -> float:
        """Seconds of the clock's count at the preroll, which the cube holds as a double in hexadecimal digits."""
        for key, value in _leaves(self.label.get("NaifKeywords", {}), ""):
            if key.startswith("CLOCK_ET") and key.endswith("COMPUTED"):
                try:
                    return float(struct.unpack("<d", bytes.fromhex(str(value)))[0])
                except (ValueError, struct.error) as error:
                    raise DataError(self.path, key, "a double in 16 hexadecimal digits", str(value)) from error
        raise DataError(self.path, "NaifKeywords.CLOCK_ET", "the time of the spacecraft's clock", "none")

    def _seconds(self, told: Any) -> float:
        if isinstance(told, Mapping):
            unit = {"ms": 1e-3, "s": 1.0, "seconds": 1.0, "us": 1e-6}.get(str(told.get("unit", "ms")).lower())
            if unit is None:
                raise DataError(self.path, "LineExposureDuration", "ms, us or s", str(told.get("unit")))
            return float(told["value"]) * unit
        return float(told) * 1e-3


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """All values of a tree and their names: GDAL takes the slash of a clock's count for a level of its own."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}/")
        else:
            yield f"{above}{key}", value
