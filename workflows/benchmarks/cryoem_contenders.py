"""What is timed of particle images: our operators and commands, torch-projectors and RELION where they are installed.

A `Task` names what is computed; contenders of one task compute the same from the same numbers.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

import tomodiff
from tomodiff.files.cryoem import write_particles
from tomodiff.geometry import poses
from tomodiff.particles import Optics, Particles, particles_of
from tomodiff.projectors.fourier_slice import FourierSlice
from workflows.benchmarks.stopwatch import Seconds, of_command, on_host

PIXEL = 2.8
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Contender:
    """A program at a task; `run` does it once and says how long it took.

    scope: "kernel" from arrays to arrays, the padded transform given; "operator" from a volume; "command" from files to
    files, start of the program included.
    """

    task: str
    scope: str
    program: str
    version: str
    run: Callable[[], Seconds]
    note: str = ""
    seconds: Seconds = field(default_factory=Seconds)


def problem(count: int, box: int, rng: np.random.Generator) -> tuple[np.ndarray, Particles]:
    """A smooth ball of noise, and particles in random poses with shifts and astigmatism; their images are noise."""
    line = np.fft.fftfreq(box)
    k2 = line[:, None, None] ** 2 + line[:, None] ** 2 + line[: box // 2 + 1] ** 2
    cube, axes = (box,) * 3, (0, 1, 2)
    noise = np.fft.rfftn(rng.standard_normal(cube))
    volume = np.fft.irfftn(noise * np.exp(-60 * k2), cube, axes)
    place = np.arange(box) - box // 2
    volume *= place[:, None, None] ** 2 + place[:, None] ** 2 + place**2 < (0.4 * box) ** 2
    U = rng.uniform(1e4, 2.5e4, count)
    particles = particles_of(
        rng.standard_normal((count, box, box), dtype=np.float32), poses.random_rotations(count, rng),
        Optics(300.0, 2.7, 0.1, PIXEL), rng.normal(0, 4, (count, 2)),
        np.stack([U, U - rng.uniform(0, 500, count), rng.uniform(-1.5, 1.5, count)], 1), half=np.arange(count) % 2 + 1,
    )  # fmt: skip
    return np.ascontiguousarray(volume, np.float32), particles


def ours(volume: np.ndarray, particles: Particles, kernel: str) -> Iterator[Contender]:
    """Our kernels and operators in single precision, twofold padding."""
    A, plain = (FourierSlice.of(particles, kernel=kernel, ctf=ctf) for ctf in ("ctf", "none"))
    x = A.inputs(particles, volume)
    spectrum = A.spectrum.forward(volume)
    records, bare = (np.ascontiguousarray(B.records(x), np.float32) for B in (A, plain))
    images = np.empty(A.range.shape, A.range.dtype)
    data = A(x) + np.float32(0.1)
    sums, grown = np.zeros((*spectrum.shape, 4), np.float32), np.zeros_like(spectrum)
    ones = np.ones((1, particles.box), np.float32)
    calls: dict[tuple[str, str], Callable[[], Any]] = {
        ("slices", "kernel"): lambda: plain.slicer.images(spectrum, bare, images),
        ("slices with CTF", "kernel"): lambda: A.slicer.images(spectrum, records, images),
        ("insertion", "kernel"): lambda: plain.slicer.insert(sums, data, bare, None, None),
        ("insertion with CTF", "kernel"): lambda: A.slicer.insert(sums, data, records, None, None),
        ("slices and adjoint", "kernel"): lambda: plain.slicer.residual(spectrum, None, bare, ones, g_spectrum=grown),
        ("gradient in volume, pose, CTF", "kernel"): lambda: A.slicer.residual(
            spectrum, data, records, ones, g_spectrum=grown
        ),
        ("gradient in pose, CTF", "kernel"): lambda: A.slicer.residual(spectrum, data, records, ones),
        ("slices with CTF", "operator"): lambda: A(x),
        ("gradient in volume, pose, CTF", "operator"): lambda: A.residual_grad(x, data),
    }
    for (task, scope), call in calls.items():
        yield Contender(task, scope, f"tomodiff {kernel}", tomodiff.__version__, partial(on_host, call))


def torch_projectors(volume: np.ndarray, particles: Particles, threads: int) -> Iterator[Contender]:
    """The same kernels of torch-projectors (no CTF), where it is installed and loads."""
    if importlib.util.find_spec("torch_projectors") is None:
        return
    import torch
    import torch_projectors as theirs

    torch.set_num_threads(threads)
    box, n = particles.box, len(particles)
    padded = np.zeros((2 * box,) * 3, np.float32)
    padded[(slice(box // 2, box // 2 + box),) * 3] = volume
    spectrum = torch.fft.rfftn(torch.fft.ifftshift(torch.from_numpy(padded)), dim=(-3, -2, -1))[None]
    turns = torch.from_numpy(np.ascontiguousarray(particles.rotation, np.float32))[None]
    moves = torch.from_numpy(np.ascontiguousarray(particles.shift / PIXEL, np.float32))[None]
    shape = {"output_shape": (box, box), "oversampling": 2.0, "interpolation": "linear"}
    images = torch.fft.rfft2(torch.from_numpy(particles.images[:]))[None]
    weights = torch.ones(images.shape, dtype=torch.float32)
    inserted = {"oversampling": 2.0, "interpolation": "linear"}
    assert images.shape == (1, n, box, box // 2 + 1)

    def both() -> None:
        inputs = [t.detach().clone().requires_grad_(True) for t in (spectrum, turns, moves)]
        made = theirs.project_3d_to_2d_forw(*inputs, **shape)
        made.abs().square().sum().mul(0.5).backward()

    def apart(call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                call()

        return run

    calls: dict[str, Callable[[], Any]] = {
        "slices": apart(lambda: theirs.project_3d_to_2d_forw(spectrum, turns, moves, **shape)),
        "insertion": apart(lambda: theirs.backproject_2d_to_3d_forw(images, turns, weights, moves, **inserted)),
        "slices and adjoint": both,
    }
    version = f"{metadata.version('torch_projectors')} (torch {torch.__version__})"
    for task, call in calls.items():
        yield Contender(task, "kernel", "torch-projectors", version, partial(on_host, call))


def commands(volume: np.ndarray, particles: Particles, folder: Path, threads: int, peers: bool) -> Iterator[Contender]:
    """Whole programs on the same files in `folder`: ours, and RELION's where they are installed."""
    with mrcfile.new(folder / "map.mrc", overwrite=True) as mrc:
        mrc.set_data(volume)
        mrc.voxel_size = PIXEL
    write_particles(folder / "in.star", particles, stack=folder / "in.mrcs")
    environment = os.environ | {
        "TOMODIFF_THREADS": str(threads), "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONPATH": str(REPOSITORY),
    }  # fmt: skip

    def command(
        task: str, program: str, version: str, *words: str, note: str = "", then: tuple[str, ...] = ()
    ) -> Contender:
        def run() -> Seconds:
            spent = of_command(words, folder, environment)
            if not then:
                return spent
            more = of_command(then, folder, environment)
            return Seconds(spent.cpu + more.cpu, spent.wall + more.wall)

        return Contender(task, "command", program, version, run, note)

    python, version = sys.executable, tomodiff.__version__
    project = (python, "-m", "workflows.benchmarks.project_stack", "map.mrc", "in.star", "ours.mrcs")
    yield command("project with CTF", "tomodiff linear", version, *project)
    reconstruct = (python, "-m", "tomodiff", "cryoem", "reconstruct", "in.star", "-o", "made.mrc")
    quiet = ("--set", "output.overwrite=true", "--set", "output.report=false", "--mask", "none", "--sharpen", "off")
    note = "their FSC and the map of all particles, too"
    yield command("two half maps with CTF", "tomodiff linear", version, *reconstruct, *quiet, note=note)
    if not (peers and shutil.which("relion_reconstruct")):
        return
    relion, alike = relion_version(), ("--ctf", "--pad", "2", "--angpix", str(PIXEL))
    project = ("relion_project", "--i", "map.mrc", "--ang", "in.star", "--o", "out", *alike)
    yield command("project with CTF", "RELION", relion, *project)
    base = ("relion_reconstruct", "--i", "in.star", "--skip_gridding", *alike)
    first, second = ((*base, "--o", f"half{half}.mrc", "--subset", str(half)) for half in (1, 2))
    yield command("two half maps with CTF", "RELION", relion, *first, then=second)
    yield command("one map with CTF", "RELION", relion, *base, "--o", "all.mrc")


def relion_version() -> str:
    """What relion_refine says of itself."""
    said = subprocess.run(["relion_refine", "--version"], capture_output=True, text=True, check=False).stdout
    return said.replace("RELION version:", "").split("\n")[0].strip() or "unknown"
