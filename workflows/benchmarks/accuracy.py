"""How exact the analytic inverses and the projectors are: prints the tables of docs/accuracy.md (half a minute).

python -m workflows.benchmarks.accuracy
"""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np

import tomodiff
from tomodiff.analytic import fbp, fdk
from tomodiff.geometry import ConeBeam, Grid, ParallelBeam
from tomodiff.projectors import XRay
from tomodiff.recipes.environment import processor
from tomodiff.simulate import Ellipsoids, ellipsoid, shepp_logan_3d

HEIGHT = 8.0
"""Height in mm above the plane of the source of the object that is measured."""

VOXEL, VIEWS = 0.2, 360


def pile(radius: float, half_height: float, pitch: float) -> Ellipsoids:
    """Equal ellipsoids of revolution about the z axis, the highest centred at HEIGHT, down to -HEIGHT; 1 per mm."""
    heights = np.arange(HEIGHT, -HEIGHT - 1e-9, -pitch)
    parts = [ellipsoid((0.0, 0.0, float(z)), (radius, radius, half_height), 1.0) for z in heights]
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


OBJECTS = {
    "balls of radius 2 mm, 4 mm apart": (2.0, 2.0, 4.0),
    "discs of radius 6 mm, 1.6 mm thick, 3.2 mm apart": (6.0, 0.8, 3.2),
}


def reconstruction(phantom: Ellipsoids, degrees: float, grid: Grid) -> np.ndarray:
    """FDK (or FBP of a parallel beam for 0 degrees) where a ray through z = HEIGHT on the axis rises by `degrees`."""
    size, angles = (110, 80), np.linspace(0, 2 * np.pi, VIEWS, endpoint=False)
    scan: ConeBeam | ParallelBeam = ParallelBeam(angles, size, VOXEL)
    if degrees:
        distance = HEIGHT / np.tan(np.deg2rad(degrees))
        rows = int(2 * (HEIGHT + 1.5) * distance / (distance - 6.0) / VOXEL)  # the nearer side looks larger
        scan = ConeBeam(angles, distance, 1.5 * distance, (rows, 100), 1.5 * VOXEL)
    (nv, nu), (dv, du) = scan.detector_shape, scan.pixel
    fine = replace(scan, detector_shape=(2 * nv, 2 * nu), pixel=(dv / 2, du / 2))
    data = phantom.project(fine).reshape(VIEWS, nv, 2, nu, 2).mean(axis=(2, 4)).astype(np.float32)
    return (fbp if degrees == 0 else fdk)(data, scan, grid)


def cone_angles() -> None:
    """The error inside the highest ball and disc, for cone angles up to 15 degrees."""
    print("| cone angle at the object | " + " | ".join(f"{name}: mean | worst voxel" for name in OBJECTS) + " |")
    print("|---|" + "---|" * (2 * len(OBJECTS)))
    for degrees in (0, 2, 5, 10, 15):
        row = []
        for radius, half_height, pitch in OBJECTS.values():
            grid = Grid((17, 64, 64), VOXEL, (0.0, 0.0, HEIGHT))
            volume = reconstruction(pile(radius, half_height, pitch), degrees, grid)
            x, y, z = grid.coordinates()
            inside = np.hypot(x, y) ** 2 / radius**2 + (z - HEIGHT) ** 2 / half_height**2 < 0.5**2
            error = volume[inside] - 1
            row += [f"{100 * error.mean():+.2f} %", f"{100 * error[np.abs(error).argmax()]:+.1f} %"]
        print(f"| {degrees}° | " + " | ".join(row) + " |")


def projectors() -> None:
    """The error of both projectors against exact line integrals, for shrinking voxels."""
    phantom = shepp_logan_3d(8.0)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False) + 0.1
    print("| voxel | pixel | Joseph, parallel | footprint, parallel | Joseph, cone | footprint, cone |")
    print("|---|---|---|---|---|---|")
    for pixel_follows in (True, False):
        for voxel in (0.8, 0.4, 0.2) if pixel_follows else (0.4, 0.2):
            pixel = voxel if pixel_follows else 0.8
            n, m = round(17.6 / voxel), round(17.6 / pixel)
            truth, row = phantom.voxelise(Grid(n, voxel)), []
            cone = ConeBeam(angles, 60.0, 90.0, (m, m), 1.5 * pixel)
            for scan in (ParallelBeam(angles, (m, m), pixel), cone):
                exact = phantom.project(scan, 6)
                for model in ("joseph", "footprint"):
                    found = XRay(Grid(n, voxel), scan, model, "float64").forward(truth)
                    row.append(f"{100 * np.linalg.norm(found - exact) / np.linalg.norm(exact):.2f} %")
            print(f"| {voxel} mm | {pixel} mm | " + " | ".join(row) + " |")


if __name__ == "__main__":
    print(f"tomodiff {tomodiff.__version__}, {processor()}, {datetime.date.today().isoformat()}\n")
    cone_angles()
    print()
    projectors()
