"""How fast images of terrains and their gradients are, beside numeric differences and Mitsuba 3 in the same run.

    python -m workflows.benchmarks.terrain_gradient [--quick] [--reps N] [--threads N] [--mitsuba PYTHON]

One image of 512 x 512 heights and albedos under a sun 25 degrees high, single precision, from heights and albedo to the
image, and to the gradient of half the squared misfit in both.  numeric: central differences of the image in heights and
albedo, no more than 12 images, as elements five apart along a row, and two further on in the next, share none (without
shadows; with them every height would need two images of its own).  Ames Stereo Pipeline takes 27 evaluations a residual
when albedo, exposure and haze are sought as well, 11 for heights alone.  mitsuba: a mesh with an albedo texture,
orthographic camera, one sample a pixel, its gradient in albedo and vertices; --mitsuba names a Python that has it (its
LLVM by DRJIT_LIBLLVM_PATH).  Prints a table and adds JSON lines to results/terrain_gradient.jsonl beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.core import Operator
from tomodiff.kernels import cpu_isa
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.reflectance import direction
from workflows.benchmarks import record
from workflows.benchmarks.stopwatch import Seconds, on_host

MODELS = ("lambert", "lunar_lambert_mcewen", "hapke_1981")
COLOURS = 5
"""Elements of one colour share no element of the image that both would change."""

MITSUBA = """
import json, sys, time
import numpy as np
import mitsuba as mi
mi.set_variant("llvm_ad_mono")
import drjit as dr
given = np.load(sys.argv[1])
height, albedo, sun, threads, reps = given["h"], given["a"], given["s"], int(given["t"]), int(given["r"])
dr.set_thread_count(threads)
ny, nx = height.shape
x, y = np.meshgrid(np.arange(nx) - (nx - 1) / 2, (ny - 1) / 2 - np.arange(ny))
half = nx / 2
points = np.stack([x / half, y / half, height / half], -1).reshape(-1, 3).astype(np.float32)
uv = np.stack([(x / half + 1) / 2, (y / half + 1) / 2], -1).reshape(-1, 2).astype(np.float32)
n = np.arange(ny * nx).reshape(ny, nx)
upper = np.stack([n[1:, :-1], n[1:, 1:], n[:-1, 1:]], -1).reshape(-1, 3)
lower = np.stack([n[1:, :-1], n[:-1, 1:], n[:-1, :-1]], -1).reshape(-1, 3)
faces = np.concatenate([upper, lower]).astype(np.uint32)
props = mi.Properties()
props["bsdf"] = mi.load_dict({"type": "diffuse", "reflectance": {
    "type": "bitmap", "bitmap": mi.Bitmap(albedo[::-1, :, None].astype(np.float32)), "raw": True,
    "filter_type": "nearest"}})
mesh = mi.Mesh("ground", vertex_count=len(points), face_count=len(faces), has_vertex_texcoords=True,
               has_vertex_normals=False, props=props)
of_mesh = mi.traverse(mesh)
of_mesh["vertex_positions"], of_mesh["faces"] = mi.Float(points.ravel()), mi.UInt32(faces.ravel())
of_mesh["vertex_texcoords"] = mi.Float(uv.ravel())
of_mesh.update()
scene = mi.load_dict({"type": "scene", "integrator": {"type": "direct", "hide_emitters": True}, "ground": mesh,
    "sun": {"type": "directional", "direction": [-float(c) for c in sun],
        "irradiance": {"type": "uniform", "value": 1.0}},
    "camera": {"type": "orthographic", "to_world": mi.ScalarTransform4f().look_at([0, 0, 10], [0, 0, 0], [0, 1, 0]),
        "film": {"type": "hdrfilm", "width": nx, "height": ny, "rfilter": {"type": "box"}, "pixel_format": "luminance"},
        "sampler": {"type": "independent", "sample_count": 1}}})
params = mi.traverse(scene)
names = [k for k in params.keys() if k.endswith("vertex_positions") or k.endswith(".data")]
kept = {k: type(params[k])(params[k]) for k in names}

def forward():
    dr.eval(mi.render(scene, spp=1))

def gradient():
    held = {}
    for k in names:
        held[k] = type(kept[k])(kept[k])
        dr.enable_grad(held[k])
        params[k] = held[k]
    params.update()
    image = mi.render(scene, params, spp=1)
    dr.backward(dr.sum(dr.square(image.array - 0.1)))
    for k in names:
        dr.eval(dr.grad(held[k]))

made = {}
for name, call in (("forward", forward), ("gradient", gradient)):
    best = [float("inf")] * 2
    for rep in range(reps + 2):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        dr.sync_thread()
        now = time.perf_counter() - wall, time.process_time() - cpu
        if rep > 1:
            best = [min(a, b) for a, b in zip(best, now)]
    made[name] = best
print(json.dumps(made | {"version": mi.__version__, "unknowns": names}))
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="64 x 64, to see that it works")
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mitsuba", metavar="PYTHON", help="a Python with Mitsuba 3")
    parser.add_argument("--results", type=Path, help="folder for the JSON lines")
    given = parser.parse_args(arguments)
    os.environ["TOMODIFF_THREADS"] = str(given.threads)
    n = 64 if given.quick else 512
    height, albedo, sun = scene(n, np.random.default_rng(0))
    print(f"{record.processor()}, {given.threads} threads, {cpu_isa()}; load {os.getloadavg()[0]:.1f}", flush=True)
    rows = [row for model in MODELS for row in ours(model, height, albedo, sun, given.reps)]
    if given.mitsuba:
        rows += mitsuba(given.mitsuba, height, albedo, sun, given.threads, given.reps)
    print(table(rows))
    if given.results or not given.quick:
        common = record.circumstances("terrain_gradient", "cpu", given.threads, given.reps, given.quick)
        path = (given.results or record.RESULTS) / "terrain_gradient.jsonl"
        lines = record.write(path, [common | row for row in rows])
        print(f"{len(lines)} lines added to {path}")
    return 0


def scene(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hills of 10 degrees (root mean square), some of which cast shadows, their albedo, and a sun."""
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
    k[0, 0] = 1
    height = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, n))) * k**-2.5, (n, n))
    height *= np.tan(np.deg2rad(10)) / np.sqrt(np.square(np.gradient(height)).sum(0).mean())
    sun = direction(np.deg2rad(50.0), np.deg2rad(25.0))
    return height.astype(np.float32), rng.uniform(0.1, 0.3, (n, n)).astype(np.float32), sun


def ours(
    model: str, height: np.ndarray, albedo: np.ndarray, sun: np.ndarray, reps: int
) -> list[dict[str, Any]]:  # fmt: skip
    """Forward, gradient and (without shadows) numeric gradient of one model."""
    rows = []
    x = {"height": height, "albedo": albedo}
    for shadows in ("none", "penumbra"):
        full = TerrainImages(height.shape, np.array([[0.0, 0, 1]]), model, shadows=shadows)
        A = full.fix(
            parameters=full.reflectance.photometry.model.vector(), sun=sun[None], exposure=np.ones(1), haze=np.zeros(1)
        )
        data = np.full(full.range.shape, 0.1, np.float32)
        calls = {
            "forward": lambda A=A: A(x),
            "gradient": lambda A=A, data=data: A.residual_grad(x, data),
        }
        if shadows == "none":
            calls["numeric gradient"] = lambda A=A, data=data: numeric(A, x, data)
        found = {
            name: best(call, reps if name != "numeric gradient" else max(2, reps // 5)) for name, call in calls.items()
        }
        for name, seconds in found.items():
            rows.append({
                "program": "tomodiff", "model": model, "shadows": shadows, "task": name, "cpu_s": seconds.cpu,
                "wall_s": seconds.wall, "of_forward": seconds.wall / found["forward"].wall,
            })  # fmt: skip
    return rows


def best(call: Any, reps: int) -> Seconds:
    """The best of some calls, after one that warms up."""
    call()
    seconds = Seconds()
    for _ in range(reps):
        seconds = seconds.best(on_host(call))
    return seconds


def numeric(A: Operator, x: dict[str, np.ndarray], data: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient of half the squared misfit by central differences of images, elements of one colour at a time."""
    left = (A(x) - data)[0]
    ny, nx = left.shape
    colour = (np.arange(ny)[:, None] + 2 * np.arange(nx)[None]) % COLOURS
    gradient = {name: np.zeros_like(a) for name, a in x.items()}
    step = {"height": np.float32(0.05), "albedo": np.float32(0.01)}
    for name in x:
        for c in range(COLOURS) if name == "height" else (None,):
            mask = (colour == c if c is not None else np.ones((ny, nx), bool)).astype(np.float32)
            up, down = (A(x | {name: x[name] + s * step[name] * mask})[0] for s in (1, -1))
            pulled = left * (up - down) / (2 * step[name])
            if c is None:
                gradient[name] = pulled
                continue
            around = np.pad(pulled, 1)  # a height moves the slopes of its neighbours
            total = around[1:-1, :-2] + around[1:-1, 2:] + around[:-2, 1:-1] + around[2:, 1:-1] + pulled
            gradient[name] += mask * total
    return gradient


def mitsuba(
    python: str, height: np.ndarray, albedo: np.ndarray, sun: np.ndarray, threads: int, reps: int
) -> list[dict[str, Any]]:
    """The same of Mitsuba 3 with Lambert's law, in a process of its own."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "scene.npz", h=height, a=albedo, s=sun, t=threads, r=reps)
        command = [python, "-c", MITSUBA, str(Path(folder) / "scene.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"mitsuba failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return []
    made = json.loads(done.stdout.strip().splitlines()[-1])
    return [
        {"program": f"mitsuba {made['version']}", "model": "lambert", "shadows": "hard", "task": task,
         "cpu_s": made[task][1], "wall_s": made[task][0], "of_forward": made[task][0] / made["forward"][0]}
        for task in ("forward", "gradient")
    ]  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each; with how many times as long as our gradient of the same model each other gradient takes."""
    mine = {
        (r["model"], r["shadows"]): r["wall_s"] for r in rows if r["program"] == "tomodiff" and r["task"] == "gradient"
    }
    cells = [("program", "model", "shadows", "task", "wall ms", "CPU ms", "of forward", "our gradient is faster")]
    for r in rows:
        same = mine.get((r["model"], "penumbra" if r["shadows"] == "hard" else r["shadows"]))
        ratio = f"{r['wall_s'] / same:.1f}" if same and "gradient" in r["task"] and r["wall_s"] != same else ""
        numbers = (f"{1e3 * r['wall_s']:.1f}", f"{1e3 * r['cpu_s']:.1f}", f"{r['of_forward']:.1f}")
        cells.append((r["program"], r["model"], r["shadows"], r["task"], *numbers, ratio))
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


if __name__ == "__main__":
    sys.exit(main())
