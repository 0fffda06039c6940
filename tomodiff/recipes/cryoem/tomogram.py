"""A tilt series to a tomogram: read, prepare, reconstruct, with a run directory that a stopped job resumes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.core.filed import npy_file
from tomodiff.errors import ConfigError, MemoryNeeded
from tomodiff.files.atomic import in_units
from tomodiff.files.cryoem.tilt_series import expect_one_stack, read_tilt_images, read_tilt_series
from tomodiff.geometry import Grid
from tomodiff.geometry.tilt import TiltSeries
from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.ranks import own_views
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.cryoem.tilt_reconstruct import (
    ITERATIVE,
    Prepared,
    prepared,
    tomogram_iterative,
    tomogram_wbp,
    widened,
)
from tomodiff.recipes.ct.memory import required_bytes
from tomodiff.recipes.device import device_named
from tomodiff.recipes.memory import USABLE, free_bytes
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result
from tomodiff.solvers import State


class Input(Protocol):
    """What the job reads of its settings under `input`."""

    path: Any
    """.xf, .aln, .star, .tomostar or .mdoc."""
    stack: Any
    """The images, where the file does not name them."""
    doses: Any
    """An .mdoc with the doses."""
    series: str | None
    """Which series of a STAR file."""
    pixel_a: float | None
    exclude: tuple[int, ...] | None
    """Views to leave out, counted from 1 in the stack."""
    invert_tilt: bool
    bin: int


class Reconstruction(Protocol):
    """What the job reads of its settings under `reconstruction`."""

    method: str
    """wbp, sirt, cgls or fista-tv."""
    thickness_a: float | None
    weighting: str | None
    filter: str | None
    sirt_filter: int | None
    normalise: str
    dose_weighting: bool
    voltage_kv: float
    taper: int
    iterations: int | None
    relaxation: float | None
    tv_weight: Any
    """A number, or "auto"."""
    non_negative: bool | None


class Output(Protocol):
    """What the job reads of its settings under `output`."""

    checkpoint_every: int | None
    checkpoint_seconds: float | None


class Settings(Protocol):
    """Settings of the job."""

    @property
    def input(self) -> Input: ...
    @property
    def reconstruction(self) -> Reconstruction: ...
    @property
    def output(self) -> Output: ...


def tomogram(
    settings: Settings, run: Run, progress: Progress, device: Callable[[np.ndarray], Array] | None = None
) -> Result:
    """The tomogram of the series that `settings` names; what was found on the way is recorded in `run`.

    The result's grid is in mm, as all are, with the specimen's origin at voxel n // 2.  Raises DataError for files
    that cannot be read, ConfigError for settings that do not fit, MemoryNeeded, Diverged, Stopped with a checkpoint.
    """
    chosen = settings.reconstruction
    device = device or device_named(getattr(chosen, "device", "cpu"))
    series = series_of(settings.input)
    for text in series.warnings:
        run.warn(text)
    if chosen.dose_weighting and not (series.dose + series.exposure).any():
        raise ConfigError(
            "reconstruction.dose_weighting: expected doses in the files of the series, found none (--doses)"
        )
    least = min(series.image_shape) // settings.input.bin
    if chosen.taper > least // 2:
        raise ConfigError(f"reconstruction.taper: expected 0 to {least // 2} pixels, found {chosen.taper}")
    spacing = series.pixel * settings.input.bin
    shape = shape_of(series, chosen.thickness_a, settings.input.bin)
    slabs = _slabs(series, shape, settings, run)
    if run.comm.size > len(series):
        raise ConfigError(f"{run.comm.size} ranks: expected no more than images in the series, {len(series)}")
    own = series[own_views(run.comm)] if run.comm.size > 1 else series
    with progress.stage("read", total=len(own), unit="image"):
        images = read_tilt_images(own, settings.input.stack)
    with progress.stage("prepare"):
        data = prepared(
            images,
            own,
            bin=settings.input.bin,
            normalise=chosen.normalise,
            dose_weighting=chosen.dose_weighting,
            voltage=chosen.voltage_kv,
            taper=chosen.taper,
            tilts=series.tilt,
            comm=run.comm,
        )
    shown = len(own) // 2
    pair = {"before": images[shown], "after": data.images[shown], "view": shown * run.comm.size}
    run.save_report_data("tilt_image", pair)
    del images, pair
    tilts = np.rad2deg(series.tilt)
    run.record(method=chosen.method, views=len(series), tilts_deg=f"{tilts.min():.1f} to {tilts.max():.1f}")
    if chosen.method in ITERATIVE:
        volume = _iterate(data, shape, settings, run, progress, device)
    else:
        with progress.stage(chosen.method):
            volume = tomogram_wbp(
                data,
                shape,
                weighting=chosen.weighting or "ramp",
                window=chosen.filter or "ram-lak",
                sirt_iterations=chosen.sirt_filter,
                slabs=slabs,
                out=None if slabs == 1 else _in_file(shape, run),
                device=device,
            )
    grid = data.series.grid(shape)
    in_mm = Grid(grid.shape, *([v / ANGSTROM_PER_MM for v in a] for a in (grid.spacing, grid.center)))
    meta = {
        "method": chosen.method,
        "tilts_deg": tilts.tolist(),
        "voxel_a": spacing,
        "program": series.meta.get("program"),
    }
    return Result(
        volume, in_mm, "density", "1/angstrom", history=run.metrics(), meta=meta, warnings=tuple(run.warnings)
    )


def look_at(settings: Settings) -> None:
    """Raise what is wrong with the file of the tilt series."""
    series_of(settings.input)


def series_of(chosen: Input) -> TiltSeries:
    """The series that the settings name, without the views that they leave out."""
    path = Path(chosen.path)
    options: dict[str, Any] = {"invert_tilt": chosen.invert_tilt}
    if chosen.pixel_a is not None:
        options["pixel"] = chosen.pixel_a
    if chosen.series is not None:
        if path.suffix != ".star":
            raise ConfigError(f"input.series: expected a STAR file of several series, found {path}")
        options["name"] = chosen.series
    if chosen.stack is not None and path.suffix in (".xf", ".aln", ".mdoc"):
        options["stack"] = chosen.stack
    series = read_tilt_series(path, doses=chosen.doses, **options)
    if chosen.exclude:
        expect_one_stack("input.exclude", series)
        kept = ~np.isin(series.section + 1, chosen.exclude)
        if not kept.any():
            raise ConfigError(f"input.exclude: expected at least one of {len(series)} views to stay, found none")
        series = series[kept]
    return series


def shape_of(series: TiltSeries, thickness: float | None, bin: int) -> tuple[int, int, int]:
    """Voxels (z, y, x) of the tomogram: as wide as the binned images, `thickness` angstrom or what the file says."""
    rows, columns = (n // bin for n in series.image_shape)
    if thickness is not None:
        return max(1, round(thickness / (series.pixel * bin))), rows, columns
    if series.volume_shape is None:
        raise ConfigError("reconstruction.thickness_a: expected the thickness of the tomogram in angstrom, found none")
    depth, height, width = (max(1, n // bin) for n in series.volume_shape)
    return depth, height, width


def _in_file(shape: tuple[int, int, int], run: Run) -> np.ndarray:
    """Room for a tomogram among what a run keeps until it ends."""
    return npy_file(run.checkpoint().parent / "volume.npy", shape, np.float32)


def _slabs(series: TiltSeries, shape: tuple[int, int, int], settings: Settings, run: Run) -> int:
    """In how many slabs the job is done: one, or where that is not free, as many as fit, if the method has slabs.

    What is needed is recorded; MemoryNeeded where no slab fits.
    """
    method, bin = settings.reconstruction.method, settings.input.bin
    wide = widened(series.image_shape[1], series.tilt, shape) if method in ITERATIVE else shape
    small = series.replace(pixel=series.pixel * bin, image_shape=tuple(n // bin for n in series.image_shape))
    kind = "fbp" if method == "wbp" else method
    raw, free = 4 * len(series) * int(np.prod(series.image_shape)), free_bytes()
    needed = required_bytes(kind, small.scan(), small.grid(wide)) + raw
    run.record(memory_needed=in_units(needed), memory_free=in_units(free))
    if needed <= USABLE * free:
        return 1
    for slabs in range(2, shape[1] + 1) if method == "wbp" and run.comm.size == 1 else ():
        thin = shape[0], -(-shape[1] // slabs), shape[2]
        if required_bytes(kind, small.scan(), small.grid(thin)) + raw <= USABLE * free:
            told = f"{in_units(needed)} of memory, {in_units(free)} are free"
            run.warn(f"the tomogram needs {told}: done in {slabs} slabs on disk")
            return slabs
    raise MemoryNeeded(
        f"{settings.input.path}: {method} of {' x '.join(map(str, wide))} voxels needs {in_units(needed)} of "
        f"memory, {in_units(free)} are free. Try --bin {2 * bin}, less thickness, or wbp, which goes slab by slab"
    )


def _iterate(
    data: Prepared,
    shape: tuple[int, int, int],
    settings: Settings,
    run: Run,
    progress: Progress,
    device: Callable[[np.ndarray], Array],
) -> np.ndarray:
    """The iterative methods, logged to the run, with checkpoints; they go on from one that is there."""
    chosen = settings.reconstruction
    checkpoints = Checkpoints(run)
    start = checkpoints.load(namespace(device(np.zeros(1, np.float32))))
    iterations = chosen.iterations or 50
    begun = 0 if start is None else start.iteration
    with progress.stage(chosen.method, total=iterations, unit="it", done=begun) as stage, run.interruptible():

        def on_state(state: State) -> None:
            metrics = state.metrics
            run.log_metrics({"iteration": state.iteration, **{k: v for k, v in metrics.items() if k != "seconds"}})
            run.show(state.x, (1.0, 1.0, 1.0), "density", "arbitrary")
            stage.advance(value=metrics["value"], change=metrics["relative_change"])
            checkpoints.after_step(state)

        weight = chosen.tv_weight
        return tomogram_iterative(
            data,
            shape,
            chosen.method,
            iterations=iterations,
            tv_weight=float(weight) if isinstance(weight, int | float) else None,
            relaxation=chosen.relaxation or 1.0,
            non_negative=bool(chosen.non_negative),
            start=start,
            on_state=on_state,
            on_weight=lambda weight: run.record(tv_weight=weight),
            device=device,
        )
