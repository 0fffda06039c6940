"""Scans from files: `probe` looks, `read` loads what is asked for and says how it was understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError, DataError
from tomodiff.files.angles import fitted, given_angles, in_radians
from tomodiff.files.detect import opened
from tomodiff.files.hdf5 import inside
from tomodiff.files.source import Source
from tomodiff.files.stack import ArrayStack, Stack, ahead, bin_pair, empty_for, load, loaded, selected
from tomodiff.files.tiff_scan import frames_of
from tomodiff.geometry import ConeBeam, ParallelBeam, Scan
from tomodiff.result import Dataset

TURNS = 2 * 2 * np.pi
"""Angles over more than two turns are wrapped into one: the scans of `geometry` refuse them as likely degrees."""


@dataclass(frozen=True)
class Setup:
    """What a user says in place of, or beyond, what a file says; see `read`."""

    angles: Any = None
    angle_unit: str = "auto"
    flats: Any = None
    darks: Any = None
    pixel_mm: float | tuple[float, float] | None = None
    source_axis: float | None = None
    source_detector: float | None = None
    kind: str | None = None
    data_path: str | None = None

    def changes_geometry(self) -> bool:
        """Whether the geometry that a file of ours carries is to be set aside."""
        return any(v is not None for v in (self.angles, self.pixel_mm, self.source_axis, self.source_detector))


@dataclass(frozen=True)
class ScanInfo:
    """What is in a scan file, found without reading its pixels.

    `shape` (view, v, u) and `dtype` are those in the file; angles in degrees as (first, last, usual step), None
    where there are none; `pixel_mm` (v, u), None where unknown; `geometry` in words; `scan`: the geometry itself, None
    where angles are missing or doubtful.
    """

    path: str
    format: str
    shape: tuple[int, int, int]
    dtype: str
    n_flats: int
    n_darks: int
    kind: str | None
    angles_deg: tuple[float, float, float] | None
    geometry: str
    pixel_mm: tuple[float, float] | None
    meta: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    scan: Scan | None = None


def probe(path: str | Path, **setup: Any) -> ScanInfo:
    """What a scan file holds, in an instant: only headers and angles are read.  `setup` as for `read`.

    Missing or doubtful angles become a warning.  Raises DataError for what is no readable scan at all.
    """
    wanted = Setup(**setup)
    with opened(Path(path), wanted.data_path) as source:
        _replace_fields(source, wanted)
        try:
            scan = _geometry(source, wanted)
        except DataError as error:
            scan = None
            source.warnings.append(str(error))
        kind = wanted.kind or source.kind or ("counts" if source.projections.dtype.kind in "iu" else None)
        angles = np.rad2deg(getattr(scan, "angles", np.empty(0)))
        step = float(np.median(np.diff(angles))) if len(angles) > 1 else 0.0
        return ScanInfo(
            path=str(path),
            format=source.format,
            shape=source.projections.shape,
            dtype=str(source.projections.dtype),
            n_flats=len(source.flats) if source.flats else 0,
            n_darks=len(source.darks) if source.darks else 0,
            kind=kind,
            angles_deg=(float(angles[0]), float(angles[-1]), step) if len(angles) else None,
            geometry=str(scan) if scan is not None else "unknown",
            pixel_mm=scan.pixel if scan is not None and not source.meta.get("pixel_unknown") else source.pixel,
            meta=source.meta,
            warnings=tuple(source.warnings),
            scan=scan,
        )


def read(
    path: str | Path,
    *,
    rows: slice | None = None,
    views: slice | None = None,
    bin: int | tuple[int, int] = 1,
    angles: Any = None,
    angle_unit: str = "auto",
    flats: Any = None,
    darks: Any = None,
    pixel_mm: float | tuple[float, float] | None = None,
    source_axis: float | None = None,
    source_detector: float | None = None,
    kind: str | None = None,
    data_path: str | None = None,
    watch: Callable[[Dataset, slice], None] | None = None,
) -> Dataset:
    """A scan, or the part of it that is asked for, as float32; nothing else is read from the file.

    path: a Data Exchange or NXtomo file, or a TIFF stack (folder, 'scan/*.tif' or multi-page file).
    rows, views: which detector rows (without a step) and which views.
    bin: side of the squares of pixels that are averaged after cropping, or (rows, columns).
    angles: in place of the file's: a text or csv file, "start:stop:n" (stop left out) or an array; degrees, unless
        angle_unit is "rad".  angle_unit "auto" believes the file's own unit.
    flats, darks: in place of the file's: a TIFF file, folder or pattern, or an array (n, v, u) or (v, u).  These and
        angles may also be in HDF5: "file.h5:/path/in/it".
    pixel_mm: size of a detector pixel, or (v, u); where neither it nor the file says it, it is 1 mm and `meta` and
        `history` tell.
    source_axis, source_detector: distances in mm, which make the scan a cone beam; without them it is parallel.
    kind: counts, transmission or line_integrals, where the file leaves it open.
    data_path: path of the projections in an HDF5 file.
    watch: called with the dataset and which views are there, in order, while those after them are read; it may write
        over them.

    The first row of an image becomes row v = 0, the lowest z: an image whose first row is the top gives a volume
    that is upside down.  Raises DataError for what is wrong in the file, ConfigError for what is wrong in the request.
    """
    setup = Setup(angles, angle_unit, flats, darks, pixel_mm, source_axis, source_detector, kind, data_path)
    with opened(Path(path), data_path) as source:
        _replace_fields(source, setup)
        scan = _geometry(source, setup)
        n_views, nv, nu = source.projections.shape
        row_part = selected(rows, nv, "rows", steps=False)
        view_part = selected(views, n_views, "views", steps=True)
        pair = bin_pair(bin, (row_part.stop - row_part.start, nu))
        chosen = np.arange(n_views)[view_part]
        scan = scan[view_part].rows(row_part.start, row_part.stop).bin(pair)
        made = Dataset(
            data=empty_for(source.projections, len(chosen), row_part, pair),
            scan=scan,
            kind=_kind(source, setup),
            flats=None if source.flats is None else load(source.flats, None, row_part, pair),
            darks=None if source.darks is None else load(source.darks, None, row_part, pair),
            weights=None if source.weights is None else load(source.weights, chosen, row_part, pair),
            meta={
                **_flats_among(source.meta, chosen),
                "source": str(path),
                "format": source.format,
                "dtype": str(source.projections.dtype),
                "warnings": source.warnings,
            },
            history=(*source.notes, _read_line(source, row_part, view_part, pair)),
        )
        for part in ahead(loaded(source.projections, chosen, row_part, pair, made.data)):
            if watch is not None:
                watch(made, part)
        return made


def _flats_among(meta: dict[str, Any], chosen: np.ndarray) -> dict[str, Any]:
    """The meta of a file with the places of its flats counted in the chosen views: 2.5 is between the third and the
    fourth; what lies outside is at the nearest."""
    if "flat_views" not in meta:
        return meta
    places = np.interp(np.asarray(meta["flat_views"]) - 0.5, chosen, np.arange(len(chosen)))
    return {**meta, "flat_views": places.tolist()}


def _read_line(source: Source, rows: slice, views: slice, bin: tuple[int, int]) -> str:
    step = f":{views.step}" if views.step != 1 else ""
    binned = f", {bin[0]} x {bin[1]} pixels averaged" if bin != (1, 1) else ""
    return (
        f"read views {views.start}:{views.stop}{step} and rows {rows.start}:{rows.stop} of {source.path} "
        f"({source.format}){binned}"
    )


def _replace_fields(source: Source, setup: Setup) -> None:
    """Put the flats and darks that the user names in the place of the file's."""
    for name, given in (("flats", setup.flats), ("darks", setup.darks)):
        if given is not None:
            stack = _frames(given, name)
            setattr(source, name, stack)
            source.notes.append(f"{name} from {stack.name}")
    if setup.flats is not None:
        source.meta.pop("flat_views", None)
    if setup.flats is not None and source.kind is None:
        source.kind = "counts"
    source.check()


def _frames(given: Any, name: str) -> Stack:
    if isinstance(given, str | Path):
        found = inside(str(given))
        return frames_of(Path(given)) if found is None else ArrayStack(found[0], str(given))
    return ArrayStack(given, name)


def _kind(source: Source, setup: Setup) -> str:
    """What the numbers are.  Raises DataError where nothing tells counts from line integrals."""
    if setup.kind is not None:
        return setup.kind
    if source.kind is not None:
        return source.kind
    if source.projections.dtype.kind in "iu" or source.flats is not None:
        return "counts"
    raise DataError(source.path, "kind", "flat fields, or to be told what the numbers are",
                    f"{source.projections.dtype} without flat fields",
                    "Say kind='transmission' or kind='line_integrals', or name the flats.")  # fmt: skip


def _geometry(source: Source, setup: Setup) -> Scan:
    """The scan's geometry: as a file of ours carries it, else from angles, pixel size and distances."""
    if source.scan is not None and not setup.changes_geometry():
        source.notes.append(f"geometry as {source.path} carries it")
        return source.scan
    n_views, nv, nu = source.projections.shape
    if source.scan is not None:
        source.notes.append("the geometry that the file carries was set aside for the one given")
    given = source.angles if setup.angles is None else given_angles(setup.angles)
    if given is None:
        raise DataError(source.path, "angles", "rotation angles", source.no_angles,
                        "Give them with angles= (--angles): a file, or 'start:stop:n' in degrees.")  # fmt: skip
    given.values, warning = fitted(given.values, n_views, given.origin, source.projections.shape)
    if warning:
        source.warnings.append(warning)
        source.notes.append(warning)
    radians, line = in_radians(given, setup.angle_unit)
    source.notes.append(line)
    if np.ptp(radians) > TURNS:
        radians = radians % (2 * np.pi)
        source.notes.append("angles over more than two turns taken modulo one")
    pixel = _pixel(source, setup)
    if setup.source_axis is None and setup.source_detector is None:
        return ParallelBeam(radians, (nv, nu), pixel)
    if setup.source_axis is None or setup.source_detector is None:
        raise ConfigError("source_axis, source_detector: expected both distances of a cone beam, found one")
    if source.meta.get("pixel_unknown"):
        raise ConfigError("pixel_mm: expected the size of a detector pixel for a cone beam, found none")
    try:
        return ConeBeam(radians, setup.source_axis, setup.source_detector, (nv, nu), pixel)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _pixel(source: Source, setup: Setup) -> tuple[float, float]:
    """The size (v, u) of a detector pixel in mm."""
    given = setup.pixel_mm
    if given is not None:
        v, u = given if isinstance(given, tuple) else (given, given)
        if not (np.isfinite([v, u]).all() and v > 0 and u > 0):
            raise ConfigError(f"pixel_mm: expected a length above 0 mm, found {given}")
        source.meta.pop("pixel_unknown", None)  # a file of ours may carry that it was not known once
        return float(v), float(u)
    if source.pixel is not None:
        return source.pixel
    source.meta["pixel_unknown"] = True
    source.notes.append("pixel size unknown, taken as 1 mm: attenuation comes out per pixel (give pixel_mm)")
    return 1.0, 1.0
