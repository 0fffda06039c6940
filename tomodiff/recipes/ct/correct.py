"""From a scan file to line integrals, and from a volume to a result: what whole jobs, slabs and previews share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.core.filed import npy_file
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe, read
from tomodiff.files.geometry_file import read_geometry
from tomodiff.files.stack import selected
from tomodiff.geometry import Grid, Scan, fit_grid
from tomodiff.kernels import host_threads
from tomodiff.prepare import prepare
from tomodiff.prepare.arriving import Arriving
from tomodiff.prepare.scatter import REACH as SCATTER_REACH
from tomodiff.recipes.ct.settings import CtSettings, ScanJob
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset, Result

OVERLAP = 8
"""Rows that slabs share on each side where corrections look around, or the method couples slices (total variation)."""
AXIS_ROWS = 32
"""Rows in the middle of the scan from which the axis is found."""


def grid_of(scan: Scan, settings: CtSettings) -> Grid:
    """The default grid of the scan, with the voxel size that the settings may give."""
    return fit_grid(scan, settings.reconstruction.voxel_mm)


def corrected(
    settings: ScanJob,
    run: Run,
    progress: Progress,
    rows: slice | None = None,
    center: float | None = None,
    quiet: bool = False,
) -> tuple[Dataset, dict[str, Any]]:
    """Line integrals of the scan (or of some detector rows), and the report of `prepare`.

    center: the axis if it is known already; quiet: keep nothing for the report.
    """
    chosen, wanted = settings.input, settings.prepare
    selection = chosen.selection()
    if rows is not None:
        selection["rows"] = rows
    options = {**wanted.options(), "threads": host_threads()}
    begun = Arriving(options["defects"], options["flat_model"], options["threads"], in_place=True)
    before: dict[str, list[np.ndarray]] = {"sinogram": [], "projection": []}

    def watch(dataset: Dataset, views: slice) -> None:
        if not quiet:
            before["sinogram"].append(dataset.data[views, dataset.data.shape[1] // 2].copy())
            before["projection"] = before["projection"] or [dataset.data[0].copy()]
        begun(dataset, views)

    with progress.stage("read"):
        dataset = read(chosen.path, **selection, **chosen.setup(), watch=watch)
    if center is not None:
        options |= {"center": center, "search": None}
    if chosen.geometry is not None:
        whole = probe(chosen.path, **chosen.setup()).scan
        dataset = dataset.replace(scan=part_of(geometry_for(settings, whole), selection))
        options |= {"center": None, "search": None}
    with progress.stage("correct"):
        prepared, report = prepare(dataset, **options, begun=begun)
    if not quiet:
        keep_pictures(np.concatenate(before["sinogram"]), before["projection"][0], prepared, report, run)
    return prepared, report


def corrected_middle(
    settings: CtSettings, nv: int, run: Run, progress: Progress, center: float | None = None
) -> tuple[Dataset, dict[str, Any]]:
    """The middle rows of a scan of nv rows, with its axis and the pictures for the report."""
    middle = max(0, (nv - AXIS_ROWS) // 2)
    return corrected(settings, run, progress, file_rows(settings, middle, min(nv, middle + AXIS_ROWS)), center)


def corrected_rows(
    settings: CtSettings, part: slice, nv: int, run: Run, progress: Progress, center: float | None
) -> tuple[Dataset, slice, slice]:
    """Some of nv rows with `OVERLAP` rows around them, corrected, which of the scan's rows these are, and which of
    them are `part`.  Corrections see as many more rows as they blur over."""
    low, high = max(0, part.start - OVERLAP), min(nv, part.stop + OVERLAP)
    reach = max(0, blurred_over(settings) - OVERLAP)
    first, last = max(0, low - reach), min(nv, high + reach)
    made, _ = corrected(settings, run, progress, file_rows(settings, first, last), center, quiet=True)
    if reach:
        kept = slice(low - first, high - first)
        weights = None if made.weights is None else made.weights[:, kept]
        made = made.replace(data=made.data[:, kept], weights=weights, scan=made.scan.rows(kept.start, kept.stop))
    return made, slice(low, high), slice(part.start - low, part.stop - low)


def blurred_over(settings: ScanJob) -> int:
    """How many detector rows away, after binning, the values are that phase retrieval and scatter mix into a row; 0
    where neither is asked for."""
    wanted = settings.prepare
    phase = wanted.phase_retrieval()
    if phase is None and wanted.scatter is None:
        return 0
    info = probe(settings.input.path, **settings.input.setup())
    if info.scan is None:
        return 0
    scan = info.scan.bin(settings.input.bin)
    rows = [0] if phase is None else [phase.at(scan, {**info.meta, "source": info.path}).margin(scan)]
    if wanted.scatter is not None:
        rows.append(int(np.ceil(SCATTER_REACH * wanted.scatter[1] / getattr(scan, "pixel", (np.inf,))[0])))
    return max(rows)


def geometry_for(settings: ScanJob, whole: Scan | None) -> Scan:
    """The scan of the geometry file that the settings name, for all rows and views of the data.  ConfigError if it is
    of another scan."""
    path = settings.input.geometry
    assert path is not None
    made = read_geometry(path)
    if whole is not None and (len(made), made.detector_shape) != (len(whole), whole.detector_shape):
        found = f"{len(made)} views of {made.detector_shape[0]} x {made.detector_shape[1]} pixels"
        wanted = f"{len(whole)} views of {whole.detector_shape[0]} x {whole.detector_shape[1]} pixels"
        raise ConfigError(f"input.geometry: {path}: expected {wanted}, as {settings.input.path} has, found {found}")
    return made


def part_of(scan: Scan, selection: dict[str, Any]) -> Scan:
    """The scan of selected views, rows and bins.  ConfigError for views, rows and bins that there are not."""
    if selection["views"] is not None:
        scan = scan[selected(selection["views"], len(scan), "views", steps=True)]
    if selection["rows"] is not None:
        rows = selected(selection["rows"], scan.detector_shape[0], "rows", steps=False)
        scan = scan.rows(rows.start, rows.stop)
    try:
        return scan.bin(selection["bin"]) if selection["bin"] > 1 else scan
    except ValueError as error:
        raise ConfigError(str(error)) from error


def axis_column(report: dict[str, Any]) -> float | None:
    """The column of the rotation axis that the preparation found or was given."""
    found = report["steps"].get("find_center", {}).get("center")
    return None if found is None else float(found)


def keep_pictures(
    sinogram: np.ndarray, projection: np.ndarray, prepared: Dataset, report: dict[str, Any], run: Run
) -> None:
    """Keep the numbers, the warnings and the before-and-after pictures of the correction for the report; given are the
    sinogram of the middle row and the first projection as they were read."""
    steps = {name: dict(numbers) for name, numbers in report["steps"].items()}
    curve = steps.get("find_center", {}).pop("curve", None)
    run.record(center=axis_column(report), corrections=steps)
    for text in report["warnings"]:
        run.warn(text)
    row = len(projection) // 2
    run.save_report_data("sinogram", {"before": sinogram, "after": prepared.data[:, row], "row": row})
    run.save_report_data("projection", {"before": projection, "after": prepared.data[0], "view": 0})
    if curve is not None:
        measure = {"score": "mismatch of opposite views", "center": axis_column(report)}
        run.save_report_data("center", {"candidates": curve["columns"], "scores": curve["values"], **measure})


def result_of(
    volume: np.ndarray,
    grid: Grid,
    dataset: Dataset,
    report: dict[str, Any],
    method: str,
    settings: ScanJob,
    run: Run,
) -> Result:
    """The volume with its provenance."""
    pixel_unknown = bool(dataset.meta.get("pixel_unknown"))
    if pixel_unknown:
        run.warn("the pixel size is not known: lengths are in pixels, attenuation per pixel (give --pixel-mm)")
    meta = {
        "method": method,
        "settings": settings.as_dict(),
        "source": dataset.meta,
        "history": list(dataset.history),
        "center": axis_column(report),
        "scan": str(dataset.scan),
    }
    quantity, unit = "attenuation", "1/pixel" if pixel_unknown else "1/mm"
    if isinstance(settings, CtSettings) and settings.reconstruction.water is not None:
        water = water_of(settings.reconstruction.water, dataset)
        meta["water_per_mm"] = water
        quantity, unit, volume = "CT number", "HU", ct_numbers(volume, water)
    return Result(volume, grid, quantity, unit, run.metrics(), meta, tuple(run.warnings))


def ct_numbers(volume: np.ndarray, water: float) -> np.ndarray:
    """1000 (attenuation / water - 1), in a file beside that of the volume where it lies in one (which a job that is
    resumed still needs)."""
    if isinstance(volume, np.memmap) and volume.filename is not None:
        made: np.ndarray = npy_file(Path(volume.filename).with_name("ct_numbers.npy"), volume.shape, volume.dtype)
    else:
        made = np.empty_like(volume)
    for plane, target in zip(volume, made, strict=True):
        target[...] = 1000 * (plane / water - 1)
    return made


def water_of(given: float | str, dataset: Dataset) -> float:
    """The attenuation of water in 1/mm, as given or as the scan's file has it.  DataError where it has none."""
    value = dataset.meta.get("water_per_mm") if given == "file" else given
    if value is None:
        name = str(dataset.meta.get("source", "scan"))
        raise DataError(name, "attenuation of water", "one in the file", "none", "Give --water in 1/mm")
    return float(value)


def file_rows(settings: CtSettings, low: int, high: int) -> slice:
    """The rows of the file that are rows low <= v < high of the selected and binned scan."""
    chosen, n = settings.input.selection()["rows"], settings.input.bin
    offset = 0
    if chosen is not None:
        rows = probe(settings.input.path, **settings.input.setup()).shape[1]
        offset = chosen.indices(rows)[0]
    return slice(offset + low * n, offset + high * n)
