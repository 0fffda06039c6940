"""Magnetic resonance: raw data of a scanner to an image, or a series of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.analytic.coil_maps import estimated_maps
from tomodiff.analytic.density import density_weights
from tomodiff.array import Array, namespace, to_numpy
from tomodiff.core import LinearOperator, operator_norm
from tomodiff.errors import ConfigError, DataError
from tomodiff.extras import library
from tomodiff.files import read_volume
from tomodiff.files.kspace import KSpace, read_kspace
from tomodiff.files.kspace.bart import read_cfl, with_dimensions, write_cfl
from tomodiff.geometry import Grid
from tomodiff.objective import Gaussian, GroupL1, NuclearNorm, Wavelet
from tomodiff.objective.differences import Differences
from tomodiff.projectors.mri.off_resonance import OffResonance
from tomodiff.projectors.mri.sense import Sense
from tomodiff.projectors.mri.series import Series
from tomodiff.recipes.checkpoints import Checkpoints
from tomodiff.recipes.device import device_named
from tomodiff.recipes.mri.delays import delayed, find_delays
from tomodiff.recipes.mri.settings import MriSettings
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Result
from tomodiff.solvers import Cgls, Fista, Pdhg, iterate
from tomodiff.solvers.state import State

SPARSE = 0.25
"""Numbers measured by all coils together, per pixel, below which an image cannot be expected."""


def reconstruct(settings: MriSettings, run: Run, progress: Progress) -> Result:
    """The image of the raw data that `settings` names; its complex values and the coils' sensitivities are left in the
    run directory as `image.cfl` and `maps.cfl` (BART).

    Raises DataError for files that cannot be read, ConfigError for settings that do not fit, Diverged, and Stopped with
    a checkpoint.
    """
    chosen, device = settings.reconstruction, device_named(settings.reconstruction.device)
    with progress.stage("read"):
        kspace = look_at(settings)
    _enough(kspace, run)
    if chosen.method == "low-rank" and kspace.frames < 2:
        raise ConfigError("reconstruction.method: low-rank needs a series of images, the data are of one")
    field = None if settings.input.field_map is None else given_field(settings.input.field_map, kspace)
    if settings.input.delays == "auto":
        with progress.stage("delays"):
            delays, explained = find_delays(kspace)
        run.record(delays_samples=[float(d) for d in delays], misfit_explained=explained)
        kspace = kspace.replace(points=delayed(kspace, delays))
    with progress.stage("coils"):
        weights = density_weights(kspace.shape, kspace.points)
        if chosen.maps is not None:
            maps = given_maps(chosen.maps, kspace)
        else:
            maps = estimated_maps(kspace.data, kspace.points, kspace.shape, weights)
    write_cfl(run.path / "maps.cfl", bart_order(maps[None]))
    run.record(
        method=chosen.method, coils=len(kspace.data), samples=kspace.data.shape[1], frames=kspace.frames,
        trajectory=kspace.meta.get("trajectory", "Cartesian"),
    )  # fmt: skip
    gridded = np.stack([_gridded(kspace, weights, maps, frame) for frame in range(kspace.frames)])
    if chosen.method == "gridding":
        image = gridded
    else:
        A = operator(kspace, device(maps), chosen.accuracy, field)
        image = to_numpy(_iterated(A, device(kspace.data), settings, run, progress))
    write_cfl(run.path / "image.cfl", bart_order(image[:, None]))
    _keep_pictures(run, _middle(gridded[0]), _middle(image[0]), np.stack([_middle(one) for one in maps]))
    run.save_report_data("trajectory", {"points": kspace.points[:: max(1, len(kspace.points) // 20000)]})
    return _result(image, kspace, settings, run)


def _middle(image: np.ndarray) -> np.ndarray:
    """The middle slice of a volume; an image as it is."""
    return image if image.ndim == 2 else image[len(image) // 2]


def _keep_pictures(run: Run, gridded: np.ndarray, image: np.ndarray, maps: np.ndarray) -> None:
    """Keep slices (y, x) and the coils' maps (coil, y, x) for the report."""
    pictures = {"gridding": np.abs(gridded), "image": np.abs(image), "phase": np.angle(image)}
    run.save_report_data("image", pictures)
    run.save_report_data("coils", {"maps": np.abs(maps)})


def look_at(settings: MriSettings) -> KSpace:
    """The raw data, or why it cannot be had."""
    given = settings.input
    return read_kspace(
        given.path, trajectory=given.trajectory, slice_number=given.slice, trajectory_unit=given.trajectory_unit
    )


def _enough(kspace: KSpace, run: Run) -> None:
    """DataError where there are fewer samples than an image could come from; a warning where there are few."""
    pixels = int(np.prod(kspace.shape)) * kspace.frames
    seen, coils = kspace.data.shape[1], len(kspace.data)
    if seen * coils < SPARSE * pixels:
        wanted = f"{int(SPARSE * pixels)} or more of all coils for {pixels} pixels"
        raise DataError(kspace.source, "samples", wanted, str(seen * coils))
    if seen * coils < pixels:
        run.warn(f"{seen} samples of {coils} coils for {pixels} pixels: fewer numbers than unknowns, regularise")


def given_maps(path: Path, kspace: KSpace) -> np.ndarray:
    """Sensitivities of BART (x, y, z, coil) for this image.  ConfigError where they are of another."""
    found = with_dimensions(np.asarray(read_cfl(path)), 4)
    wanted = (*reversed(kspace.shape), *(1,) * (3 - len(kspace.shape)), len(kspace.data))
    if found.shape[:4] != wanted or found.size != np.prod(wanted):
        raise ConfigError(f"reconstruction.maps: {path}: expected {wanted} for {kspace.source}, found {found.shape}")
    maps = found.reshape(wanted, order="F").T.reshape(-1, *kspace.shape)
    return np.ascontiguousarray(maps, np.complex64)


def bart_order(series: np.ndarray) -> np.ndarray:
    """(time, coil, *shape) in BART's order: x, y, z, coil, six dimensions of length one, time."""
    time, coils, *shape = series.shape
    whole = series.reshape(time, coils, *(1,) * (3 - len(shape)), *shape)
    return whole.transpose(4, 3, 2, 1, 0).reshape(*whole.shape[:1:-1], coils, 1, 1, 1, 1, 1, 1, time)


def _gridded(kspace: KSpace, weights: np.ndarray, maps: np.ndarray, frame: int) -> np.ndarray:
    """The adjoint of one image in time, with each sample by the part of k-space that it stands for."""
    own = kspace.of_frame(frame)
    if kspace.frames > 1:
        weights = density_weights(own.shape, own.points)
    made: np.ndarray = Sense.at(maps, own.points).adjoint((own.data * weights).astype(np.complex64))
    return made


def operator(kspace: KSpace, maps: Array, accuracy: float, field: np.ndarray | None = None) -> LinearOperator:
    """Images (time, *shape) -> samples (coil, sample), under a field that is off by so many Hz at each pixel."""
    frame_of = np.zeros(kspace.data.shape[1], int) if kspace.frame is None else kspace.frame
    own = [np.flatnonzero(frame_of == i) for i in range(kspace.frames)]
    frames = [kspace.of_frame(i) for i in range(kspace.frames)]
    if field is None:
        return Series([Sense.at(maps, frame.points, accuracy) for frame in frames], own)
    coils = maps.shape[:1]
    return Series(
        [Sense(maps, OffResonance(field, frame.times, frame.points, coils, accuracy)) for frame in frames], own
    )


def given_field(path: Path, kspace: KSpace) -> np.ndarray:
    """The field map of a volume file in Hz.  ConfigError where it is of another image, or readouts have no times."""
    if kspace.times is None:
        raise ConfigError(f"input.field_map: expected the time between samples in {kspace.source}, found none")
    field = read_volume(path)[0]
    if field.size != np.prod(kspace.shape) or field.shape[-2:] != kspace.shape[-2:]:
        raise ConfigError(f"input.field_map: {path}: expected {kspace.shape} pixels, found {field.shape}")
    if not np.isfinite(field).all():
        raise DataError(
            path, "field map", "finite frequencies in Hz", f"{np.count_nonzero(~np.isfinite(field))} others"
        )
    made: np.ndarray = field.reshape(kspace.shape)
    return made


def _iterated(A: LinearOperator, data: Array, settings: MriSettings, run: Run, progress: Progress) -> Array:
    """The iterative methods, logged to the run, with checkpoints; they go on from one that is there."""
    chosen, checkpoints = settings.reconstruction, Checkpoints(run)
    xp = namespace(data)
    zero = xp.zeros(A.domain.shape, A.domain.dtype)
    f: Any = Gaussian(data) @ A
    back = A.adjoint(data)
    weight = (chosen.weight or 0.0) * float(abs(back).max())
    spatial = tuple(range(1, zero.ndim))
    if chosen.method == "cg-sense":
        steepest = operator_norm(A, np.random.default_rng(settings.seed), xp=xp) ** 2 if chosen.damping else 0.0
        solver: Any = Cgls((chosen.damping or 0.0) * steepest)
    elif chosen.method == "l1-wavelet":
        wavelet = chosen.wavelet or "db4"
        solver = Fista(weight * Wavelet(wavelet, _levels(zero.shape[1:], wavelet), spatial))
    elif chosen.method == "tv":
        solver, f = Pdhg(), f + weight * (GroupL1() @ Differences(zero.shape, axes=spatial, dtype=A.domain.dtype))
    else:
        solver = Fista(weight * len(zero) ** 0.5 * NuclearNorm())
    run.record(weight_used=weight)
    start: State | None = checkpoints.load(xp)
    iterations, begun = chosen.iterations or 1, 0 if start is None else start.iteration
    state = start
    with progress.stage(chosen.method, total=iterations, unit="it", done=begun) as stage, run.interruptible():
        for state in iterate(solver, f, zero if start is None else start, iterations):
            measured = {k: v for k, v in state.metrics.items() if k != "seconds"}
            run.log_metrics({"iteration": state.iteration, **measured})
            run.show(abs(state.x[0]).reshape(-1, *state.x.shape[-2:]), (1.0, 1.0, 1.0), "image", "arbitrary")
            stage.advance(value=state.metrics["value"], change=state.metrics["relative_change"])
            checkpoints.after_step(state)
    assert state is not None
    return state.x


def _levels(shape: tuple[int, ...], wavelet: str) -> int:
    """As many halvings as the shape and the wavelet allow, at most four.  ConfigError where they allow none."""
    pywt = library("pywt", "wavelets", "l1-wavelet needs", "PyWavelets")
    if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
        raise ConfigError(f"reconstruction.wavelet: expected an orthogonal one (haar, db4, sym8, coif2), got {wavelet}")
    most = min((n & -n).bit_length() - 1 for n in shape)
    if most < 1:
        raise ConfigError(f"reconstruction.method: l1-wavelet needs even sizes, the image is {shape}; take tv")
    return max(1, min(most, 4, pywt.dwt_max_level(min(shape), wavelet)))


def _result(image: np.ndarray, kspace: KSpace, settings: MriSettings, run: Run) -> Result:
    """The modulus as a volume; images of a series of slices one after the other along z."""
    if len(kspace.shape) == 3 and kspace.frames > 1:
        run.warn("a series of volumes: the volume is the mean of their moduli; all are in image.cfl")
        volume = np.abs(image).mean(axis=0)
    else:
        volume = np.abs(image).reshape(-1, *kspace.shape[-2:])
        if kspace.frames > 1:
            run.warn("a series of slices: the volume's z is the number of the image")
    pixel = kspace.pixel_mm or (1.0,) * len(kspace.shape)
    if not kspace.pixel_mm:
        run.warn("the size of a pixel is not known: lengths are in pixels")
    spacing = pixel if len(pixel) == 3 else (1.0, *pixel)
    meta = {
        "method": settings.reconstruction.method,
        "settings": settings.as_dict(),
        "source": kspace.meta,
        "history": list(kspace.history),
    }
    grid = Grid(volume.shape, spacing)
    return Result(volume.astype(np.float32), grid, "signal", "a.u.", run.metrics(), meta, tuple(run.warnings))
