"""CT jobs of tests, on small scans of one phantom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tomodiff.geometry import ConeBeam, ParallelBeam, Scan
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.ct import reconstruct as ct
from tomodiff.recipes.progress import Progress
from tomodiff.recipes.run import Run
from tomodiff.result import Dataset, Result
from tomodiff.simulate import Ellipsoids, sample

PARALLEL = ParallelBeam(np.linspace(0, np.pi, 48, endpoint=False), (40, 40), 0.25, axis_offset=0.3)
CONE = ConeBeam(np.linspace(0, 2 * np.pi, 30, endpoint=False), 40.0, 60.0, (12, 20), 0.9)
PLENTY = 1 << 40
ITERATIVE = ("sirt", "cgls", "lsmr", "os-sart", "osem", "mlem", "pwls", "fista-tv")
COUNTED = ("osem", "mlem")
AS_THEY_ARE = {"prepare.center": "keep", "prepare.rings": "off", "prepare.flux": "off"}
"""No correction: the files hold line integrals of a known geometry."""


def phantom() -> Ellipsoids:
    return sample(np.random.default_rng(5), 4.0)


def line_integrals(scan: Scan, noise: float = 0.01) -> Dataset:
    shift = np.random.default_rng(6).normal(0, noise, (len(scan), *scan.detector_shape))
    return Dataset((phantom().project(scan) + shift).astype(np.float32), scan, "line_integrals")


class Jobs:
    """Runs jobs on a computer of a given size, each in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch, self._count = folder, monkeypatch, 0

    def open(self, path: Path, **chosen: Any) -> Run:
        self._count += 1
        given = {"input.path": str(path), "output.path": str(self.folder / f"run{self._count}"), **AS_THEY_ARE}
        given |= {name.replace("__", "."): value for name, value in chosen.items()}
        return Run.create(settings_from({name: (value, name) for name, value in given.items()}))

    def carry_out(self, run: Run, free: float = PLENTY) -> Result:
        self._patch.setattr(ct, "free_bytes", lambda most=None: int(free))
        with run:
            result = ct.reconstruct(run.settings, run, Progress(quiet=True))
            result = result.replace(volume=np.array(result.volume))  # it may lie in the checkpoint
            run.finish(result)
        return result

    def __call__(self, path: Path, free: float = PLENTY, **chosen: Any) -> Result:
        return self.carry_out(self.open(path, **chosen), free)


def method(name: str, iterations: int = 8) -> dict[str, Any]:
    chosen = {"reconstruction__method": name}
    return chosen | (
        {"reconstruction__iterations": iterations, "reconstruction__tolerance": 0} if name in ITERATIVE else {}
    )
