"""What every cryo-EM recipe leaves behind: maps, the FSC, post-processed maps, poses, and the arrays of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.analytic.fsc import FscCurves, resolution, shell_frequencies
from tomodiff.analytic.masks import from_map, soft_sphere
from tomodiff.analytic.postprocess import Guinier, Postprocessed, postprocess
from tomodiff.errors import DataError
from tomodiff.files.cryoem import read_map, write_map, write_particles
from tomodiff.geometry import Grid, poses
from tomodiff.particles import Particles
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import Halves
from tomodiff.recipes.run import Run
from tomodiff.recipes.volume_summary import summary
from tomodiff.result import Result

AUTOMATIC_LOW_PASS = 15.0
"""Angstrom to which a map is filtered before an automatic mask is cut from it (RELION's usual choice)."""
MASK_EXTEND, MASK_EDGE, CORNER_EDGE = 3.0, 6.0, 3.0
"""Voxels."""
ANGSTROM = "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}"


def mask_of(choice: str | Path | None, halves: Halves, data: ParticleData) -> np.ndarray | None:
    """The solvent mask: "auto" cuts it from the map, "none" or None is no mask, else a file."""
    n, pixel = data.operator.size, data.operator.voxel
    if choice is None or str(choice) == "none":
        return None
    if str(choice) == "auto":
        return from_map(halves.map, None, MASK_EXTEND, MASK_EDGE, pixel, max(AUTOMATIC_LOW_PASS, 4 * pixel))
    mask, _, _ = read_map(Path(choice), pixel=pixel)
    if mask.shape != (n, n, n):
        raise DataError(choice, "mask", f"a map of {n} voxels a side, as the reconstruction", str(mask.shape))
    return mask


def write_results(
    run: Run, data: ParticleData, halves: Halves, values: dict[str, np.ndarray], half: np.ndarray, *,
    mask: np.ndarray | None, sharpen: str | float, rng: np.random.Generator, map_: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Write the map, its halves, the sharpened map and the particles with their poses; keep what the report draws."""
    pixel, folder = data.operator.voxel, run.path
    volume = without_corners(halves.map if map_ is None else map_)
    for name, part in zip(("map_half1", "map_half2"), halves.half, strict=True):
        write_map(folder / f"{name}.mrc", without_corners(part), pixel)
    write_map(run.volume_path, volume, pixel)
    if mask is not None:
        write_map(folder / "mask.mrc", mask.astype(np.float32), pixel)
    made, sharpened = _sharpened(run, halves, pixel, mask, sharpen, rng)
    curves = made.curves
    if sharpened:
        write_map(folder / "map_sharpened.mrc", without_corners(made.map), pixel)
        run.record(b_factor_a2=made.b_factor)
        keep_guinier(run, made.guinier)
    for text in (*made.warnings, *write_particles(folder / "particles.star", updated(data.particles, values, half))):
        run.warn(text)
    keep_summary(run, volume, pixel)
    keep_curves(run, curves, pixel)
    run.record(
        resolution_a=resolution(curves.corrected, pixel), resolution_unmasked_a=resolution(curves.unmasked, pixel)
    )


def _sharpened(
    run: Run, halves: Halves, pixel: float, mask: np.ndarray | None, sharpen: str | float, rng: np.random.Generator
) -> tuple[Postprocessed, bool]:
    """The post-processed map, and whether it was sharpened: too coarse a map leaves no line to fit a B factor to."""
    if sharpen != "off":
        b: Any = sharpen
        try:
            return postprocess(*halves.half, pixel, mask=mask, b_factor=b, rng=rng), True
        except ValueError as error:
            if sharpen != "auto":
                raise
            run.warn(f"the map was not sharpened: {error}")
    return postprocess(*halves.half, pixel, mask=mask, b_factor=None, rng=rng), False


def updated(particles: Particles, values: dict[str, np.ndarray], half: np.ndarray, **more: Any) -> Particles:
    """Particles with what was refined in place of what the file said."""
    own = {name: values[name] for name in ("rotation", "shift", "defocus", "phase_shift", "b_factor", "scale")}
    optics = list(particles.optics)
    for g in range(len(optics)):
        members = np.flatnonzero(particles.group == g)
        if members.size:
            i = members[0]
            optics[g] = _with_shared(optics[g], {name: v[i] for name, v in values.items()})
    return particles.replace(**own, half=half, optics=tuple(optics), has_poses=True, **more)


def _with_shared(optics: Any, values: dict[str, np.ndarray]) -> Any:
    from dataclasses import replace

    def trimmed(name: str) -> tuple[float, ...]:
        there = np.flatnonzero(values[name])
        return tuple(values[name][: there[-1] + 1].tolist()) if there.size else ()

    M = values["magnification"]
    return replace(
        optics,
        cs=float(values["cs"]),
        beam_tilt=(float(values["beam_tilt"][0]), float(values["beam_tilt"][1])),
        odd_zernike=trimmed("odd_zernike"),
        even_zernike=trimmed("even_zernike"),
        magnification=((float(M[0, 0]), float(M[0, 1])), (float(M[1, 0]), float(M[1, 1]))),
    )


def keep_curves(run: Run, curves: FscCurves, pixel: float) -> None:
    """The arrays of the FSC plot."""
    run.save_report_data(
        "fsc",
        {
            "frequency": shell_frequencies(curves.unmasked, pixel),
            "unmasked": curves.unmasked,
            "masked": curves.masked,
            "randomised": curves.randomised,
            "corrected": curves.corrected,
            "pixel": pixel,
        },
    )


def keep_round(run: Run, number: int, curve: np.ndarray, pixel: float) -> None:
    """The FSC of a round (counted from 1) behind those of the rounds before it, which a resumed run has kept."""
    if not run.comm.leads:
        return
    kept = run.report_data("rounds")
    before = np.zeros((0, len(curve))) if kept is None else kept["fsc"][: number - 1]
    curves = np.concatenate([before, curve[None]])
    run.save_report_data("rounds", {"frequency": shell_frequencies(curve, pixel), "fsc": curves, "pixel": pixel})


def keep_directions(run: Run, rotation: np.ndarray) -> None:
    """The Euler angles (degrees) of all particles."""
    run.save_report_data("directions", {"euler_deg": np.rad2deg(poses.to_euler(rotation))})


def keep_guinier(run: Run, found: Guinier) -> None:
    """The arrays of the Guinier plot."""
    run.save_report_data("guinier", {name: value for name, value in vars(found).items() if value is not None})


def keep_summary(run: Run, volume: np.ndarray, pixel: float) -> None:
    """Slices and values of the map, for the report."""
    grid = Grid(volume.shape, pixel)
    run.save_report_data("volume", summary(Result(volume, grid, "density", "arbitrary")) | {"length": ANGSTROM})


def without_corners(volume: np.ndarray) -> np.ndarray:
    """A map whose corners, of which no particle tells, have the mean of what lies beyond the sphere in the box (RELION:
    softMaskOutsideMap)."""
    n = volume.shape[0]
    ball = soft_sphere(n, n / 2, CORNER_EDGE)
    outside = 1 - ball
    level = float((volume * outside).sum() / outside.sum()) if outside.any() else 0.0
    return np.asarray(volume * ball + level * outside, np.float32)
