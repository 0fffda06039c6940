"""What the terrain demonstration must achieve: heights, slopes and albedo from four images and a coarse DEM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.demo.finding import Finding

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.recipes.run import Run

SAMPLE = "terrain_sample/sun_angles.txt"
HEIGHT, SLOPE, ALBEDO = 0.13, 1.0, 0.02
"""Errors (root mean square) that it may leave: elements, degrees, relative."""
EDGE = 6
"""Elements along the edges that are not compared."""


def settings(sample: Path) -> dict[str, object]:
    """The settings of the demonstration by their dotted names, from the sample's table of suns."""
    folder = sample.parent
    return {
        "job": "terrain-fit", "input.images": [str(p) for p in sorted(folder.glob("sun*.tif"))],
        "input.dem": str(folder / "dem.tif"), "input.sun_angles": str(sample), "input.image_exposures": 1,
    }  # fmt: skip


def findings(run: Run, sample: Path) -> list[Finding]:
    """The errors of heights (about their mean), slopes and albedo against the truth, for the report, too."""
    import numpy as np

    from tomodiff.files.planetary import read_raster
    from tomodiff.report.run_report import write_report

    folder = sample.parent
    truth = {name: read_raster(folder / f"truth_{name}.tif") for name in ("height", "albedo")}
    found = read_raster(run.volume_path).values
    albedo = read_raster(run.path / "run-albedo-final.tif").values
    start, spacing = read_raster(folder / "dem.tif").values, truth["height"].grid.spacing
    size = float(np.sqrt(np.prod(spacing)))

    def off(height: np.ndarray) -> float:
        return float(_inner(height - truth["height"].values).std()) / size

    def tilt(height: np.ndarray) -> np.ndarray:
        return _inner(np.rad2deg(np.arctan(np.hypot(*np.gradient(height, *spacing)))))

    slope = float(np.sqrt(np.mean((tilt(found) - tilt(truth["height"].values)) ** 2)))
    relative = float(np.sqrt(np.mean(_inner(albedo / truth["albedo"].values - 1) ** 2)))
    run.record(**{"against the truth": {
        "height (elements)": f"{off(found):.3f}", "slope (degrees)": f"{slope:.2f}",
        "albedo": f"{100 * relative:.2f} %",
    }})  # fmt: skip
    profile = run.report_data("profile")
    if profile is not None:
        run.save_report_data("profile", profile | {"truth": truth["height"].values[int(profile["row"])]})
    write_report(run)
    return [
        Finding("height", f"{off(found):.3f} elements off, {off(start):.2f} before", f"at most {HEIGHT}",
                off(found) <= HEIGHT),
        Finding("slope", f"{slope:.2f} degrees off", f"at most {SLOPE:g}", slope <= SLOPE),
        Finding("albedo", f"{100 * relative:.2f} % off", f"at most {100 * ALBEDO:g} %", relative <= ALBEDO),
    ]  # fmt: skip


def _inner(values: np.ndarray) -> np.ndarray:
    return values[EDGE:-EDGE, EDGE:-EDGE]
