"""What every cryo-EM recipe leaves behind: maps, the FSC, post-processed maps, poses, and the arrays of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.analytic.fsc import FscCurves, gold_standard, resolution
from tomodiff.analytic.masks import from_map
from tomodiff.analytic.postprocess import postprocess
from tomodiff.files.cryoem import read_map, write_map, write_particles
from tomodiff.geometry import poses
from tomodiff.particles import Particles
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import Halves, sphere
from tomodiff.recipes.run import Run

AUTOMATIC_LOW_PASS = 15.0
"""Angstrom to which a map is filtered before an automatic mask is cut from it (RELION's usual choice)."""
MASK_EXTEND, MASK_EDGE = 3.0, 6.0
"""Voxels."""


def mask_of(choice: str | Path | None, halves: Halves, data: ParticleData) -> np.ndarray | None:
    """The solvent mask: "auto" cuts it from the map, "none" or None is no mask, else a file."""
    n, pixel = data.operator.size, data.operator.voxel
    if choice is None or str(choice) == "none":
        return None
    if str(choice) == "auto":
        return from_map(
            halves.map, low_pass=max(AUTOMATIC_LOW_PASS, 4 * pixel), pixel=pixel, extend=MASK_EXTEND, edge=MASK_EDGE
        )
    mask, _, _ = read_map(Path(choice), pixel=pixel)
    if mask.shape != (n, n, n):
        from tomodiff.errors import DataError

        raise DataError(choice, "mask", f"a map of {n} voxels a side, as the reconstruction", str(mask.shape))
    return mask


def write_results(
    run: Run, data: ParticleData, halves: Halves, values: dict[str, np.ndarray], half: np.ndarray, *,
    mask: np.ndarray | None, sharpen: str | float, rng: np.random.Generator, map_: np.ndarray | None = None,
) -> FscCurves:  # fmt: skip
    """Write the map, its halves, the sharpened map and the particles with their poses; keep what the report draws."""
    pixel, folder = data.operator.voxel, run.path
    volume = halves.map if map_ is None else map_
    for name, part in zip(("map_half1", "map_half2"), halves.half, strict=True):
        write_map(folder / f"{name}.mrc", part.astype(np.float32), pixel)
    write_map(run.volume_path, volume.astype(np.float32), pixel)
    if mask is not None:
        write_map(folder / "mask.mrc", mask.astype(np.float32), pixel)
    curves = gold_standard(*halves.half, mask, rng)
    if sharpen != "off":
        made = postprocess(*halves.half, pixel, mask=mask, b_factor=sharpen, rng=rng)
        write_map(folder / "map_sharpened.mrc", made.map.astype(np.float32), pixel)
        run.record(b_factor_a2=made.b_factor)
        keep_guinier(run, made)
    write_particles(folder / "particles.star", updated(data.particles, values, half))
    keep_curves(run, curves, pixel, data)
    run.record(
        resolution_a=resolution(curves.corrected, pixel), resolution_unmasked_a=resolution(curves.unmasked, pixel)
    )
    return curves


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


def keep_curves(run: Run, curves: FscCurves, pixel: float, data: ParticleData) -> None:
    """The arrays of the FSC plot, the orientation plot and the summary of the map."""
    n = 2 * (len(curves.unmasked) - 1)
    run.save_report_data(
        "fsc",
        {
            "frequency": np.arange(len(curves.unmasked)) / (n * pixel),
            "unmasked": curves.unmasked,
            "masked": curves.masked,
            "randomised": curves.randomised,
            "corrected": curves.corrected,
            "pixel": pixel,
        },
    )


def keep_directions(run: Run, rotation: np.ndarray) -> None:
    """The Euler angles (degrees) of all particles."""
    run.save_report_data("directions", {"euler_deg": np.rad2deg(poses.to_euler(rotation))})


def keep_guinier(run: Run, made: Any) -> None:
    """The arrays of the Guinier plot."""
    run.save_report_data("guinier", dict(made.guinier))


def default_mask(data: ParticleData) -> np.ndarray:
    """A soft sphere that holds the particle."""
    return sphere(data.operator.size, data)
