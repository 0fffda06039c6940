"""A small denoiser, trained on pictures of one kind, as a prior: plug and play for CT and DiffPIR for MRI, beside TV.

    python -m workflows.benchmarks.priors [--training N] [--quick]

Pictures are random ellipses with slopes, stripes and grains.  The denoiser is a convolutional network of nine layers
at half the resolution that is told the noise (Zhang, Zuo and Zhang 2018, IEEE TIP 27, 4608); it sees N batches of
other pictures, and never an operator.  Measured on three pictures it has not seen: sparse CT (30 views with noise,
line integrals of a picture twice as fine) and undersampled radial MRI (four coils, 18 spokes with noise, from a
picture twice as fine).  TV has its best weight of a list for each picture, chosen by the truth; the network's methods
have one setting for all.  Prints all and adds JSON lines to results/priors.jsonl
beside this file.  Needs torch.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import ndimage

from tomodiff import Grid, ParallelBeam, XRay
from tomodiff.array import to_numpy
from tomodiff.extras import library
from tomodiff.interop import TorchDenoiser
from tomodiff.kernels import host_threads
from tomodiff.objective import Gaussian, GroupL1, PlugAndPlay
from tomodiff.objective.differences import Differences
from tomodiff.projectors.mri.sense import Sense
from tomodiff.simulate.mri import spokes_of
from tomodiff.solvers import DiffPir, HalfQuadratic, Pdhg, solve
from workflows.benchmarks import record

SIZE, PATCH = 96, 64
VIEWS, SPOKES, COILS = 30, 18, 4
CT_NOISE, MRI_NOISE = 0.3, 0.02
"""Deviation of a line integral (the pictures are about one, pixels of length one), and of k-space over its root mean
square."""
DRAWS = 6
"""Of DiffPIR, whose mean is the picture."""
TV_WEIGHTS = (0.03, 0.1, 0.3, 1.0, 3.0)


def picture(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ellipses from 0 to 1 with slopes, stripes and grains (n, n)."""
    y, x = (np.mgrid[:n, :n] + 0.5) / n * 2 - 1
    made = np.zeros((n, n))
    edge = n / 4
    for k in range(int(rng.integers(6, 12))):
        a, b = rng.uniform(0.7, 0.9, 2) if k == 0 else rng.uniform(0.08, 0.4, 2)
        u, v = (0, 0) if k == 0 else rng.uniform(-0.5, 0.5, 2)
        turn = rng.uniform(0, np.pi)
        p, q = (x - u) * np.cos(turn) + (y - v) * np.sin(turn), (y - v) * np.cos(turn) - (x - u) * np.sin(turn)
        inside = np.clip((1 - np.hypot(p / a, q / b)) * edge, 0, 1)  # an edge of about a pixel
        value = rng.uniform(0.2, 0.9) + 0.3 * rng.normal() * p
        kind = rng.integers(3)
        if kind == 0:
            value = value + 0.15 * np.sin(rng.uniform(12, 30) * p + rng.uniform(0, 6))
        elif kind == 1:
            grains = ndimage.gaussian_filter(rng.normal(size=(n, n)), n / 60)
            value = value + 0.12 * grains / grains.std()
        made = made * (1 - inside) + value * inside
    return made.clip(0, 1.2).astype(np.float32)


def trained(batches: int, seed: int = 0) -> Any:
    """The network after so many batches of pictures with noise."""
    torch = library("torch", "torch", "this benchmark needs")
    torch.manual_seed(seed)

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            sizes = [5, *[56] * 8, 4]
            self.layers = torch.nn.ModuleList(torch.nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))

        def forward(self, x: Any, sigma: Any) -> Any:
            h = torch.nn.functional.pixel_unshuffle(x, 2)
            level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1, 1, 1)
            h = torch.cat([h, level.expand(len(x), 1, *h.shape[2:])], dim=1)
            for layer in self.layers[:-1]:
                h = torch.relu(layer(h))
            return x - torch.nn.functional.pixel_shuffle(self.layers[-1](h), 2)

    net, rng = Net(), np.random.default_rng(seed)
    steps = torch.optim.Adam(net.parameters(), 2e-3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(steps, batches)
    pool = torch.from_numpy(np.stack([picture(rng, SIZE) for _ in range(max(24, min(400, batches)))]))[:, None]
    for _ in range(batches):
        chosen = pool[torch.randint(len(pool), (12,))]
        i, j = (int(k) for k in torch.randint(SIZE - PATCH + 1, (2,)))
        clean = chosen[..., i : i + PATCH, j : j + PATCH]
        sigma = torch.exp(torch.empty(12, 1, 1, 1).uniform_(float(np.log(0.005)), float(np.log(1.0))))
        loss = ((net(clean + sigma * torch.randn_like(clean), sigma) - clean) ** 2 / sigma).mean()
        steps.zero_grad()
        loss.backward()
        steps.step()
        fall.step()
    return net.eval()


class Turned:
    """The mean of a denoiser's results for a picture (y, x) that is turned and mirrored in all eight ways."""

    def __init__(self, denoiser: TorchDenoiser) -> None:
        self.denoiser = denoiser

    def denoise(self, x: Any, sigma: float) -> Any:
        """The picture denoised."""
        total = np.zeros_like(x)
        for k in range(4):
            for step in (1, -1):
                turned = np.ascontiguousarray(np.rot90(x, k)[:, ::step])
                total += np.rot90(self.denoiser.denoise(turned, sigma)[:, ::step], -k)
        return total / 8


class Complex:
    """A denoiser of real pictures (y, x) for complex ones: what it leaves of each part."""

    def __init__(self, denoiser: Turned) -> None:
        self.denoiser = denoiser

    def denoise(self, x: Any, sigma: float) -> Any:
        """Both parts denoised; their noise is the same."""
        parts = (self.denoiser.denoise(np.ascontiguousarray(p), sigma) for p in (x.real, x.imag))
        real, imaginary = parts
        return (real + 1j * imaginary).astype(x.dtype)


class Planes:
    """A denoiser of pictures (y, x) for volumes of one slice."""

    def __init__(self, denoiser: Turned) -> None:
        self.denoiser = denoiser

    def denoise(self, x: Any, sigma: float) -> Any:
        """The slice denoised."""
        return self.denoiser.denoise(np.ascontiguousarray(x[0]), sigma)[None]


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """In dB, of a peak of 1."""
    return -10 * float(np.log10(np.mean((np.abs(found) - truth) ** 2)))


def ct(net: Any, fine: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """PSNR of sparse CT by TV's best weight and by plug and play."""
    angles = np.linspace(0, np.pi, VIEWS, endpoint=False)
    scan = ParallelBeam(angles, (1, int(1.45 * SIZE)), 1.0)
    lines = XRay(Grid((1, 2 * SIZE, 2 * SIZE), (1.0, 0.5, 0.5)), scan).forward(fine[None])
    data = (lines + CT_NOISE * rng.normal(size=lines.shape)).astype(np.float32)
    A, zero = XRay(Grid((1, SIZE, SIZE)), scan), np.zeros((1, SIZE, SIZE), np.float32)
    f = Gaussian(data, 1 / CT_NOISE**2) @ A
    best = max(
        psnr(solve(Pdhg(), f + w * 20 * (GroupL1() @ Differences(zero.shape)), zero, 300).x[0], truth)
        for w in TV_WEIGHTS
    )
    prior = PlugAndPlay(Planes(Turned(TorchDenoiser(net))))
    return {"tv_db": best, "own_db": psnr(solve(HalfQuadratic(prior, 1 / 0.5**2, 1.35), f, zero, 26).x[0], truth)}


def mri(net: Any, fine: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """PSNR of radial MRI by TV's best weight and by DiffPIR."""
    points = spokes_of(SIZE, SPOKES)
    maps = [_maps(n) for n in (SIZE, 2 * SIZE)]
    data = Sense.at(maps[1], points / 2).forward(fine.astype(np.complex64)) / 4
    noise = MRI_NOISE * float(np.sqrt(np.mean(np.abs(data) ** 2)))
    data = data + noise * (rng.normal(size=(2, *data.shape)) * np.array([1, 1j]).reshape(2, 1, 1)).sum(axis=0) / 2**0.5
    A, zero = Sense.at(maps[0], points), np.zeros((SIZE, SIZE), np.complex64)
    f = Gaussian(data.astype(np.complex64), 1 / noise**2) @ A
    best = max(
        psnr(solve(Pdhg(), f + w * 200 * (GroupL1() @ Differences(zero.shape, dtype="complex64")), zero, 300).x, truth)
        for w in TV_WEIGHTS
    )
    sigmas = tuple(float(s) for s in np.geomspace(0.5, 0.01, 30))
    denoiser = Complex(Turned(TorchDenoiser(net)))
    draws = [solve(DiffPir(denoiser, sigmas, 3.0, 1.0, seed=k), f, zero, len(sigmas)).x for k in range(DRAWS)]
    play = solve(HalfQuadratic(PlugAndPlay(denoiser), 1 / 0.5**2, 1.25), f, zero, 30).x
    return {"tv_db": best, "own_db": psnr(np.mean([to_numpy(x) for x in draws], axis=0), truth),
            "play_db": psnr(to_numpy(play), truth)}  # fmt: skip


def _maps(n: int) -> np.ndarray:
    """Smooth sensitivities (coil, n, n), whose squares add up to one."""
    y, x = (np.mgrid[:n, :n] + 0.5) / n * 2 - 1
    angles = 2 * np.pi * np.arange(COILS) / COILS
    made = np.stack([np.exp(-((x - np.cos(a)) ** 2 + (y - np.sin(a)) ** 2) / 2 + 1j * a * x) for a in angles])
    return (made / np.sqrt((np.abs(made) ** 2).sum(axis=0))).astype(np.complex64)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, keep; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.priors", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--training", type=int, default=4000, help="batches that the network sees (default 4000)")
    parser.add_argument("--quick", action="store_true", help="keep nothing: to see that all runs")
    given = parser.parse_args(arguments)
    began = time.process_time()
    net = trained(given.training)
    training = time.process_time() - began
    rng = np.random.default_rng(77)
    pictures = [picture(rng, 2 * SIZE) for _ in range(1 if given.quick else 3)]
    for name, measure in (("CT, plug and play", ct), ("MRI, DiffPIR", mri)):
        found = [measure(net, fine, fine.reshape(SIZE, 2, SIZE, 2).mean(axis=(1, 3)), rng) for fine in pictures]
        line: dict[str, Any] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        gains = [one["own_db"] - one["tv_db"] for one in found]
        line |= {
            "name": name,
            "gain_db": float(np.mean(gains)),
            "least_gain_db": min(gains),
            "training_cpu_s": training,
        }
        record.keep("priors", line, host_threads(), 1, given.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())
