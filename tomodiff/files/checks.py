"""What can be wrong with the numbers of a scan, counted before hours are spent on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tomodiff.result import Dataset

CHUNK = 1 << 22
"""Pixels that are looked at together."""
UNEVEN = 0.5
"""A step between views that differs from the usual one by more than this part of it is reported."""
BRIGHT = 1.2
"""Transmission above this (in more than BRIGHT_PART of the pixels) is more than noise."""
BRIGHT_PART = 0.01
GAP = np.deg2rad(5)


@dataclass(frozen=True)
class Problem:
    """One finding: severity "error" (reconstruction would fail or be wrong), "warning" or "note", where and what."""

    severity: str
    field: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.severity}: {self.field}: {self.message}" + (f". {self.hint}" if self.hint else "")


def check_dataset(dataset: Dataset) -> list[Problem]:
    """Everything that looks wrong in a scan, the worst first; an empty list where nothing does."""
    found = [*_numbers(dataset), *_fields(dataset), *_values(dataset), *_angles(dataset)]
    return sorted(found, key=lambda p: ("error", "warning", "note").index(p.severity))


def _chunks(frames: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, CHUNK // max(1, frames[0].size))
    for start in range(0, len(frames), step):
        yield frames[start : start + step]


def _numbers(dataset: Dataset) -> Iterator[Problem]:
    """NaN, infinities, and counts below zero."""
    for name in ("data", "flats", "darks", "weights"):
        frames = getattr(dataset, name)
        if frames is None:
            continue
        nan = inf = negative = 0
        for chunk in _chunks(frames):
            nan += int(np.isnan(chunk).sum())
            inf += int(np.isinf(chunk).sum())
            negative += int((chunk < 0).sum())
        if nan or inf:
            hint = "Mask these pixels: weights of zero, or bad-pixel correction."
            yield Problem("error", name, f"{nan} NaN and {inf} infinite values of {frames.size}", hint)
        if negative and name == "weights":
            yield Problem("error", name, f"{negative} weights below zero")
        elif negative and (dataset.kind == "counts" or name != "data"):
            hint = "Counts are never negative; were darks subtracted, or unsigned numbers read as signed?"
            yield Problem("warning", name, f"{negative} counts below zero of {frames.size}", hint)


def _fields(dataset: Dataset) -> Iterator[Problem]:
    """Flat and dark fields: there, brighter than the dark, not empty."""
    if dataset.kind != "counts":
        return
    if dataset.flats is None:
        yield Problem("error", "flats", "counts without flat fields", "Name them with flats=.")
        return
    flat = np.mean(dataset.flats, axis=0, dtype=np.float64)
    if dataset.darks is None:
        yield Problem("note", "darks", "no dark fields: taken as zero")
        dark = np.zeros_like(flat)
    else:
        dark = np.mean(dataset.darks, axis=0, dtype=np.float64)
    dim = int((flat <= dark).sum())
    if not flat.any():
        yield Problem("error", "flats", "all zero", "Was the shutter closed, or are these the dark fields?")
    elif dim == flat.size:
        yield Problem("error", "flats", "nowhere brighter than the darks", "Are flats and darks exchanged?")
    elif dim:
        yield Problem("warning", "flats", f"{dim} pixels not brighter than in the darks", "Dead pixels make rings.")


def _values(dataset: Dataset) -> Iterator[Problem]:
    """Values that the kind of data should not have."""
    data = dataset.data
    top = {"uint8": 255.0, "uint16": 65535.0}.get(str(dataset.meta.get("dtype", "")))
    if dataset.kind == "counts" and top is not None:
        full = sum(int((chunk >= top).sum()) for chunk in _chunks(data))
        if full:
            yield Problem("warning", "data", f"{full} pixels at the largest value {top:.0f}: saturated")
    if dataset.kind == "transmission":
        dark = sum(int((chunk <= 0).sum()) for chunk in _chunks(data))
        bright = sum(int((chunk > BRIGHT).sum()) for chunk in _chunks(data))
        if dark:
            yield Problem("warning", "data", f"{dark} transmissions of zero or less, which have no logarithm")
        if bright > BRIGHT_PART * data.size:
            yield Problem("warning", "data", f"{bright} transmissions above {BRIGHT}", "Do the flats fit?")
    if not any(chunk.any() for chunk in _chunks(data)):
        yield Problem("error", "data", "all zero")
    empty = [i for i, frame in enumerate(data) if frame.size > 1 and float(np.ptp(frame)) == 0.0]
    if empty:
        yield Problem("warning", "data", f"{len(empty)} views of one single value, the first is view {empty[0]}")


def _angles(dataset: Dataset) -> Iterator[Problem]:
    """Views at one angle, uneven steps, too short an arc."""
    angles = getattr(dataset.scan, "angles", None)
    if dataset.meta.get("pixel_unknown"):
        yield Problem("note", "pixel", "size unknown: 1 mm assumed", "Give pixel_mm to get attenuation in 1/mm.")
    if angles is None or len(angles) < 3:
        return
    steps = np.diff(np.sort(np.asarray(angles)))
    usual = float(np.median(steps))
    if usual > 0 and (same := int((steps < 1e-3 * usual).sum())):
        yield Problem("warning", "angles", f"{same} views at the angle of another view")
    uneven = int((np.abs(steps - usual) > UNEVEN * usual).sum())
    if uneven:
        yield Problem("note", "angles", f"{uneven} steps differ from the usual {np.rad2deg(usual):.4g} degrees")
    span = float(np.ptp(angles)) + usual
    if dataset.scan.kind == "parallel" and span < np.pi - GAP:
        yield Problem("warning", "angles", f"only {np.rad2deg(span):.4g} degrees of 180: limited-angle data")
