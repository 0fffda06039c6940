"""What the report of a fit draws: maps no larger than a screen, and a profile through the ground that changed most."""

from __future__ import annotations

import numpy as np

from tomodiff.array import Element, block_mean
from tomodiff.recipes.run import Run
from tomodiff.recipes.terrain.problem import Problem
from tomodiff.recipes.terrain.scene import Scene
from tomodiff.recipes.terrain.schedule import Fitting

WIDEST = 600
"""Elements of a picture along an axis, at most."""
MOST_IMAGES = 4


def keep_pictures(
    run: Run, fitting: Fitting, problem: Problem, x: Element, values: dict[str, np.ndarray],
    errors: dict[str, np.ndarray],
) -> None:  # fmt: skip
    """Keep heights before and after, albedo, deviations, images and what is left of them, a profile, spectra."""
    scene, factor = fitting.scene, -(-max(fitting.scene.shape) // WIDEST)
    dy, dx = scene.grid.spacing
    size = {"spacing": np.array([dy * factor, dx * factor])}
    keep_relief(run, scene, values["height"])
    run.save_report_data("albedo", size | {"albedo": block_mean(values["albedo"], factor)})
    if errors:
        kept = {name: block_mean(errors[name], factor) for name in ("height", "albedo") if name in errors}
        run.save_report_data("deviations", size | kept)
    taken = np.asarray(problem.measured(x), np.float64)
    simulated = taken + np.asarray(problem.residual(x), np.float64)
    shown = slice(0, MOST_IMAGES)
    run.save_report_data("images", size | {
        "measured": block_mean(np.where(scene.valid, taken, np.nan)[shown], factor),
        "simulated": block_mean(simulated[shown], factor), "names": np.array(scene.names[shown]),
    })  # fmt: skip
    row = int(np.argmax(np.abs(values["height"] - scene.height).mean(1)))
    profile = {"at": np.arange(scene.shape[1]) * dx, "before": scene.height[row], "after": values["height"][row]}
    if "height" in errors:
        profile["deviation"] = errors["height"][row]
    run.save_report_data("profile", profile | {"row": row})
    run.save_report_data("slopes", spectra(scene.height, values["height"], (dy, dx)))


def keep_relief(run: Run, scene: Scene, height: np.ndarray) -> None:
    """Keep heights (ny, nx) on the grid of a scene, which may be a coarser one on the way, and those of its start."""
    factor = -(-max(scene.shape) // WIDEST)
    run.save_report_data("relief", {
        "spacing": np.array(scene.grid.spacing) * factor, "before": block_mean(scene.height, factor),
        "after": block_mean(height, factor),
    })  # fmt: skip


def spectra(before: np.ndarray, after: np.ndarray, spacing: tuple[float, float]) -> dict[str, np.ndarray]:
    """How often each slope (degrees) occurs and the power of each wavelength, before and after."""
    edges = np.linspace(0, 60, 121)
    made: dict[str, np.ndarray] = {"slope_deg": (edges[1:] + edges[:-1]) / 2}
    for name, height in (("before", before), ("after", after)):
        slope = np.rad2deg(np.arctan(np.hypot(*np.gradient(height, *spacing))))
        made[f"slopes_{name}"] = np.histogram(slope, edges, density=True)[0]
        frequency, power = radial_power(height, spacing)
        made |= {"frequency": frequency, f"power_{name}": power}
    return made


def radial_power(height: np.ndarray, spacing: tuple[float, float], bins: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Spatial frequency (1/m) and mean power of the heights there, under a Hann window, without their plane."""
    ny, nx = height.shape
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    plane = np.stack([np.ones(height.size), x.ravel(), y.ravel()], 1)
    flat = height - (plane @ np.linalg.lstsq(plane, height.ravel(), rcond=None)[0]).reshape(height.shape)
    window = np.hanning(ny)[:, None] * np.hanning(nx)[None]
    power = np.abs(np.fft.rfft2(flat * window)) ** 2 / (window**2).sum() * spacing[0] * spacing[1]
    k = np.hypot(np.fft.fftfreq(ny, spacing[0])[:, None], np.fft.rfftfreq(nx, spacing[1])[None])
    top = 0.5 / max(spacing)
    which = np.minimum((k / top * bins).astype(int), bins)
    total, count = (np.bincount(which.ravel(), w, bins + 1)[:bins] for w in (power.ravel(), np.ones(k.size)))
    centre = (np.arange(bins) + 0.5) * top / bins
    return centre[1:], (total / np.maximum(count, 1))[1:]
