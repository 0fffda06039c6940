"""Radiance fields: our renderer and its adjoint beside PyTorch's, and Mitsuba's where it is installed.

    python -m workflows.benchmarks.radiance [--rays N] [--voxels N] [--reps N] [--threads N] [--quick]

A camera's rays through a fog that is dense everywhere (softplus; no cell is left out, no ray ends early), harmonics of
degree 1, samples half a voxel apart.  PyTorch's is `grid_sample`, cumulative sums and autograd on the same samples, in
single precision; images and gradients are compared first.  Each is the best of N rounds in turn.  Prints all and adds
JSON lines to results/radiance.jsonl beside this file.  Needs torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import Any

import numpy as np

from tomodiff.extras import library
from tomodiff.geometry import Grid
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.projectors.harmonics import harmonics
from tomodiff.projectors.march import gathered
from tomodiff.projectors.radiance import RadianceField
from tomodiff.simulate.solids import looking
from workflows.benchmarks import record
from workflows.benchmarks.analytic import in_turn


def problem(voxels: int, rays: int) -> tuple[RadianceField, dict[str, np.ndarray], np.ndarray]:
    """The operator, its input, and what comes from above to its adjoint."""
    rng = np.random.default_rng(0)
    grid = Grid((voxels,) * 3, 2.0 / voxels)
    side = round(rays**0.5)
    pose = looking(np.array([2.3, 2.6, 1.9]), np.zeros(3))
    camera = Photograph((side, side), (1.6 * side,) * 2, (side / 2,) * 2, pose)
    origins, directions = camera.rays()
    field = 0.3 * rng.normal(size=(*grid.shape, 13))
    field[..., 0] -= 1.0
    rays = len(origins)
    x = {"field": field, "origins": origins, "directions": directions, "background": rng.random((rays, 3))}
    A = RadianceField(grid, rays, 1, "softplus", stop=0.0)
    return A, {name: a.astype(np.float32) for name, a in x.items()}, rng.normal(size=(rays, 3)).astype(np.float32)


def samples(A: RadianceField, x: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """Origins and directions (ray, x y z) in voxels, how many voxels there are, and each ray's first sample and the one
    past its last."""
    turn, n = A.grid.index_from_world, np.array(A.grid.shape[::-1])
    o, d = x["origins"] @ turn[:, :3].T + turn[:, 3], x["directions"] @ turn[:, :3].T
    with np.errstate(divide="ignore"):
        ends = np.stack([(-1 - o) / d, (n - o) / d])
    near, far = ends.min(axis=0).max(axis=1), ends.max(axis=0).min(axis=1)
    return o, d, n, np.maximum(np.floor(near / A.step - 0.5), 0), np.floor(far / A.step - 0.5) + 2


class Torch:
    """The same by grid_sample and autograd."""

    def __init__(self, A: RadianceField, x: dict[str, np.ndarray]) -> None:
        self.torch = torch = library("torch", "torch", "this benchmark needs")
        to = torch.from_numpy
        o, d, n, first, last = samples(A, x)
        count = int((last - first).max())
        t = (first[:, None] + np.arange(count) + 0.5) * A.step
        places = o[:, None] + t[..., None] * d[:, None]
        # voxels' middles are at (2 i + 1) / n - 1 for grid_sample without aligned corners; beyond them it pads zeros
        scaled = (2 * places + 1) / n - 1
        inside = ((places > -1) & (places < n)).all(axis=-1)
        self.where = to(scaled.astype(np.float32))[None, None]
        self.inside, self.step = to(inside.astype(np.float32)), A.step
        self.basis = to(harmonics(x["directions"], 1))
        self.field = to(np.ascontiguousarray(np.moveaxis(x["field"], -1, 0)))[None].requires_grad_()
        self.background = to(x["background"])

    def forward(self) -> Any:
        """Colours (ray, 3)."""
        torch = self.torch
        v = torch.nn.functional.grid_sample(self.field, self.where, align_corners=False, padding_mode="zeros")[0, :, 0]
        tau = torch.nn.functional.softplus(v[0]) * self.inside * self.step
        before = torch.cumsum(tau, dim=1) - tau
        weight = torch.exp(-before) * (1 - torch.exp(-tau))
        colour = torch.relu(0.5 + torch.einsum("qkns,nk->nsq", v[1:].reshape(3, 4, *v.shape[1:]), self.basis))
        through = torch.exp(-tau.sum(dim=1))
        return (weight[..., None] * colour).sum(dim=1) + through[:, None] * self.background

    def both(self, g: Any) -> Any:
        """The gradient of the field (1, number, z, y, x)."""
        self.field.grad = None
        self.forward().backward(g)
        return self.field.grad


def compare(voxels: int, rays: int, threads: int, reps: int) -> dict[str, Any]:
    """The line of one problem."""
    A, x, g = problem(voxels, rays)
    peer = Torch(A, x)
    peer.torch.set_num_threads(threads)
    into, theirs = A.copies(np), peer.torch.from_numpy(g)
    image, gradient = A(x), A.linearize(x)[1].adjoint(g)["field"]
    their_image, their_gradient = peer.forward().detach().numpy(), np.moveaxis(peer.both(theirs).numpy()[0], 0, -1)

    def ours() -> None:
        gathered(A.gradient(x, lambda seen: seen - g, into)[1]["field"])

    def forward_only() -> Any:
        with peer.torch.no_grad():
            return peer.forward()

    calls = {
        "own_forward": lambda: A(x),
        "torch_forward": forward_only,
        "own_both": ours,
        "torch_both": lambda: peer.both(theirs),
    }
    fog = _mitsuba(A, x, threads)
    if fog is not None:
        seen, turned = np.array(fog.forward()).T, fog.both(g)
        assert np.abs(seen - image).max() < 1e-3, "Mitsuba's image differs"
        assert np.linalg.norm(turned - gradient) < 1e-2 * np.linalg.norm(gradient), "Mitsuba's gradient differs"
        calls |= {"mitsuba_forward": fog.forward, "mitsuba_both": lambda: fog.both(g)}
    best = in_turn(calls, reps)
    of_mitsuba = {
        f"mitsuba_{key}_ratio": best[f"mitsuba_{key}"].wall / best[f"own_{key}"].wall
        for key in ("forward", "both")
        if fog is not None
    }
    return of_mitsuba | {
        "name": f"{len(g)} rays, {voxels}^3", **{f"{key}_wall_s": took.wall for key, took in best.items()},
        "forward_ratio": best["torch_forward"].wall / best["own_forward"].wall,
        "both_ratio": best["torch_both"].wall / best["own_both"].wall,
        "image_difference": float(np.abs(image - their_image).max()),
        "gradient_difference": float(np.linalg.norm(gradient - their_gradient) / np.linalg.norm(gradient)),
    }  # fmt: skip


def _mitsuba(A: RadianceField, x: dict[str, np.ndarray], threads: int) -> Any:
    """The same by Mitsuba; None where it is not installed."""
    if importlib.util.find_spec("mitsuba") is None:
        return None
    from workflows.benchmarks.radiance_mitsuba import Mitsuba

    return Mitsuba(A, x, threads)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.radiance", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--rays", type=int, default=10000, help="of a camera, about (default 10000)")
    parser.add_argument("--voxels", type=int, default=64, help="along each axis (default 64)")
    parser.add_argument("--reps", type=int, default=5, help="rounds, of which the best counts (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each (default 2)")
    parser.add_argument("--quick", action="store_true", help="keep nothing: to see that all runs")
    given = parser.parse_args(arguments)
    os.environ["TOMODIFF_THREADS"] = str(given.threads)
    line = compare(given.voxels, given.rays, given.threads, given.reps)
    record.keep("radiance", line, given.threads, given.reps, given.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
