"""`ct-calibrate`: a scan's geometry from its own projections, written as geometry.json for `ct reconstruct
--geometry`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tomodiff.array import Element, to_numpy
from tomodiff.errors import ConfigError, DataError
from tomodiff.files import probe
from tomodiff.files.geometry_file import write_geometry
from tomodiff.geometry import Scan
from tomodiff.geometry.fit import fit_grid
from tomodiff.projectors.geometry_errors import is_turn
from tomodiff.recipes.calibration.identify import Certainty, certainties
from tomodiff.recipes.calibration.joint import Level, Plan, calibrate, calibrated
from tomodiff.recipes.calibration.settings import CalibrateSettings
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.ct.correct import axis_column, corrected, geometry_for, result_of
from tomodiff.recipes.device import device_named
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result
from tomodiff.solvers import State

FEWEST_VIEWS = 8


def calibrate_scan(settings: CalibrateSettings, run: Run, progress: Progress) -> Result:
    """The volume that goes with the geometry found; geometry.json holds the latter, of all rows of the detector.

    Raises DataError for a scan that cannot be read, ConfigError for one that this is not for: a curved detector, too
    few views, or errors of single views where only some of the views are used.
    """
    chosen = settings.calibration
    plan = Plan(tuple(chosen.once), tuple(chosen.each), None, chosen.steps, chosen.products)
    device = device_named(chosen.device)
    dataset, report = corrected(settings, run, progress)
    scan = dataset.scan
    if scan.radius is not None:
        raise ConfigError(f"{settings.input.path}: expected a flat detector, found a curved one")
    if len(scan) < FEWEST_VIEWS:
        raise ConfigError(f"{settings.input.path}: expected {FEWEST_VIEWS} views or more, found {len(scan)}")
    if scan.kind == "parallel" and any(name.startswith("source") for name in (*plan.once, *plan.each)):
        raise ConfigError("calibration: a parallel beam has no source that could be displaced")
    data = device(np.ascontiguousarray(dataset.data, np.float32))
    if not bool((abs(data) < np.inf).all()):
        raise DataError(settings.input.path, "data", "finite line integrals", "NaN or infinities")
    grid = fit_grid(scan, chosen.voxel_mm)
    if len(scan) < scan.detector_shape[1]:
        run.warn(
            f"{len(scan)} views are fewer than the {scan.detector_shape[1]} columns of the detector: the volume is so "
            "free that it takes up part of the errors, which then come out too small (try --bin 2)"
        )
    checkpoints = Checkpoints(run, "ct-calibrate")
    stopped = checkpoints.resume(len(scan), "views")
    with progress.stage("calibrate", total=plan.steps * len(plan.bins(scan)), unit="step") as bar:
        watch = _Watch(run, bar, scan, checkpoints)
        onward = None if stopped is None else watch.taken_up(*stopped, device)
        errors, volume, level = calibrate(data, scan, grid, plan, watch.step, onward)
    before = {name: level.deviation(name) for name in errors}
    told = certainties(scan, level.grid, plan.once, plan.each, before)
    whole = _whole(settings, axis_column(report))
    if whole is not None and len(whole) != len(scan) and plan.each:
        raise ConfigError("input.views: errors of single views need all views of the scan")
    base = scan if whole is None else whole
    write_geometry(run.path / "geometry.json", calibrated(base, plan, errors), errors=_plain(errors), views=len(scan))
    _record(run, scan, errors, told)
    _keep_views(run, scan, errors)
    return result_of(to_numpy(volume), level.grid, dataset, report, "joint Gauss-Newton", settings, run)


def _whole(settings: CalibrateSettings, center: float | None) -> Scan | None:
    """The scan of all rows and views with unbinned pixels, about the axis that the preparation found; None if the
    same."""
    chosen = settings.input
    scan = probe(chosen.path, **chosen.setup()).scan
    if chosen.geometry is not None:
        return geometry_for(settings, scan)
    if center is not None and scan is not None and hasattr(scan, "with_axis_column"):
        # a binned column c covers the old ones from c n to c n + n - 1
        made: Scan = scan.with_axis_column(center * chosen.bin + (chosen.bin - 1) / 2)
        return made
    return scan


class _Watch:
    """Says and keeps every step."""

    def __init__(self, run: Run, bar: Any, scan: Scan, checkpoints: Checkpoints) -> None:
        self.run, self.bar, self.scan, self.checkpoints = run, bar, scan, checkpoints
        self.began, self.count = time.monotonic(), 0

    def taken_up(
        self, count: int, values: dict[str, np.ndarray], memory: dict[str, Any], device: Any
    ) -> tuple[int, int, Element]:
        """What an earlier start of the run left: the number of the level, the steps done in it, and the unknowns."""
        self.count = count
        x = {name: device(a) for name, a in values.items() if name != "views"}
        return int(memory["level"]), int(memory["steps"]), x

    def step(self, number: int, level: Level, state: State, misfit: float) -> None:
        """After each step."""
        self.count += 1
        pixels = level.errors.scan.pixel[1] / self.scan.pixel[1]
        self.run.log_metrics(
            {"iteration": self.count, "misfit": misfit, "pixels": pixels, "seconds": time.monotonic() - self.began}
        )
        self.bar.advance(misfit=misfit)
        if self.run.show(state.x["volume"], level.grid.spacing, "attenuation", "1/mm"):
            freed = {name: level.errors.freed(name, to_numpy(state.x[name])) for name in level.errors.domain}
            _keep_views(self.run, self.scan, freed)
        kept = {"views": np.arange(len(self.scan))} | {name: to_numpy(a) for name, a in state.x.items()}
        self.checkpoints.after(self.count, kept, {"level": number, "steps": state.iteration})


def in_words(name: str, value: float, pixel: float) -> str:
    """A shift in mm and pixels, a turn in degrees."""
    return f"{np.rad2deg(value):.4f} deg" if is_turn(name) else f"{value:.5g} mm ({value / pixel:.3f} pixels)"


def _record(run: Run, scan: Scan, errors: dict[str, np.ndarray], told: list[Certainty]) -> None:
    pixel = scan.pixel[1]
    found = {
        c.name: {
            "value": in_words(c.name, float(errors[c.name][0]), pixel),
            "told by the data": "yes" if c.told else "no",
            "hard to tell from": ", ".join(c.like),
        }
        for c in told
    }
    run.record(geometry=found)
    hidden = [c.name for c in told if not c.told]
    if hidden:
        run.warn(
            f"no data tell {', '.join(hidden)} here: a motion of the whole sample does the same; what stands there in "
            "geometry.json is what was assumed beforehand"
        )
    pairs = sorted({tuple(sorted((c.name, other))) for c in told for other in c.like})
    for one, other in pairs:
        run.warn(f"{one} and {other} do nearly the same to the projections: only their sum is told well")


def _keep_views(run: Run, scan: Scan, errors: dict[str, np.ndarray]) -> None:
    """The errors of single views, in pixels or degrees, if there are any."""
    drawn = {
        name: np.rad2deg(a) if is_turn(name) else a / scan.pixel[1]
        for name, a in errors.items() if a.shape == (len(scan),) and len(scan) > 1
    }  # fmt: skip
    if drawn:
        run.save_report_data("views", drawn)


def _plain(errors: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: {"unit": "rad" if is_turn(name) else "mm", "values": a.tolist()} for name, a in errors.items()}
