"""What the cryo-EM demonstration must achieve: from 500 particles whose poses are a little off to a better map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tomodiff.cli.demo.finding import Finding

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.recipes.run import Run

SAMPLE = "cryoem_sample.star"
CLOSED = 0.5
"""The part of the shells that wrong poses cost which refinement must win back."""
MASK_PART = 0.8
"""Radius of the sphere in which maps are compared with the truth, in half boxes."""


@dataclass(frozen=True)
class Known:
    """The sample's files: particles as told, true poses, true map."""

    particles: Path
    true_particles: Path
    true_map: Path

    @classmethod
    def beside(cls, sample: Path) -> Known:
        """The files that belong to a sample's STAR file."""
        stem = sample.stem
        return cls(sample, sample.with_name(f"{stem}_truth.star"), sample.with_name(f"{stem}_truth.mrc"))


def settings(sample: Path) -> dict[str, str]:
    """Of the job."""
    return {"input.path": str(sample), "job": "cryoem-refine"}


def findings(run: Run, sample: Path) -> list[Finding]:
    """Shells up to which the refined map agrees with the truth (FSC 0.5), against those of the poses as told and of the
    true ones."""
    import numpy as np

    from tomodiff.files.cryoem import read_map, read_particles
    from tomodiff.recipes.cryoem.rounds import resolved
    from tomodiff.report.run_report import write_report

    known = Known.beside(sample)
    truth, pixel, _ = read_map(known.true_map)
    n = len(truth)
    maps = {"refined": read_map(run.volume_path)[0], "told": reconstructed(known.particles),
            "true": reconstructed(known.true_particles)}  # fmt: skip
    curves = {name: agreement(volume, truth) for name, volume in maps.items()}
    shells = {name: resolved(curve, 0.5) for name, curve in curves.items()}
    run.save_report_data("truth_fsc", curves | {"frequency": np.arange(n // 2 + 1) / (n * pixel), "pixel": pixel})
    write_report(run)
    found = read_particles(run.path / "particles.star").rotation
    before, after = (errors(poses, read_particles(known.true_particles).rotation) for poses in
                     (read_particles(known.particles).rotation, found))  # fmt: skip

    def angstrom(shell: int) -> str:
        return f"{n * pixel / max(shell, 1):.1f} A"

    return [
        Finding(
            "map",
            f"agrees with the truth to {angstrom(shells['refined'])} (FSC 0.5)",
            f"over half of the way from {angstrom(shells['told'])} (poses as told) to {angstrom(shells['true'])}",
            shells["refined"] - shells["told"] > CLOSED * (shells["true"] - shells["told"]),
        ),
        Finding(
            "poses",
            f"off by {after:.1f} degrees in the median",
            f"below the {before:.1f} degrees that they were off",
            after < before,
        ),
    ]


def reconstructed(path: Path) -> np.ndarray:
    """The map of the particles in a file, with the poses that it tells."""
    from tomodiff.files.cryoem import read_particles
    from tomodiff.geometry.symmetry import point_group
    from tomodiff.recipes.cryoem.data import ParticleData, View
    from tomodiff.recipes.cryoem.rounds import first_round

    particles = read_particles(path)
    data = ParticleData(particles, View())
    return first_round(data, data.values(), particles.half, point_group("C1")).halves.map


def agreement(volume: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The Fourier shell correlation of two maps within a sphere."""
    from tomodiff.analytic.fsc import masked_fsc
    from tomodiff.analytic.masks import soft_sphere

    n = len(truth)
    return masked_fsc(volume, truth, soft_sphere(n, MASK_PART * n / 2, 4.0))


def errors(poses: np.ndarray, truth: np.ndarray) -> float:
    """Median angle in degrees between two sets of poses."""
    import numpy as np

    from tomodiff.geometry.poses import angle_between

    return float(np.rad2deg(np.median(angle_between(poses, truth))))
