"""One set of radial k-space, two kernels: through the non-uniform Fourier transform, and through CT's projector.

    python -m workflows.benchmarks.spokes [KSPACE.h5] [--figure FILE.png]

By the Fourier slice theorem a transform along each spoke gives a projection of what the coil sees.  The same coils, the
same ten steps of conjugate gradients; prints how far the images are apart in the field of view.  Without a file a chest
is simulated.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

from tomodiff.analytic.coil_maps import estimated_maps
from tomodiff.analytic.density import density_weights
from tomodiff.core import Linear, Space
from tomodiff.files.kspace import KSpace, read_kspace
from tomodiff.geometry import Grid, ParallelBeam
from tomodiff.objective import Gaussian
from tomodiff.projectors import XRay
from tomodiff.projectors.mri.sense import Sense
from tomodiff.simulate.mri import Spokes, simulate_kspace
from tomodiff.solvers import Cgls, solve

STEPS = 10
LOW_PASS = 0.12
"""Standard deviation in cycles per pixel of the Gaussian that both images are filtered with."""
INSIDE = 0.45
"""Radius of the field of view in which images are compared, in parts of its side."""


def spokes_by_projector(kspace: KSpace, maps: np.ndarray) -> tuple[Linear, np.ndarray]:
    """The image -> views (coil, spoke, u) by CT's projector, and the views that the spokes give.

    The projector interpolates between pixels, which damps each view by sinc^2; the measured views are damped so, too.
    """
    n, readout = kspace.shape[0], kspace.readout
    spokes = kspace.points.reshape(-1, readout, 2)
    along = spokes[:, 0] - spokes[:, -1]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    k = np.einsum("sjd,sd->sj", spokes, along)
    scan = ParallelBeam(np.arctan2(along[:, 0], along[:, 1]) % (2 * np.pi), (1, n), 1.0)
    projector = XRay(Grid((1, n, n), 1.0), scan)
    at = np.arange(n) - (n - 1) / 2 - 0.5 * along.sum(axis=1)[:, None]  # counted from pixel n // 2
    damped = kspace.data.reshape(len(kspace.data), -1, readout) * np.sinc(k * np.abs(along).max(axis=1)[:, None]) ** 2
    step = np.abs(np.diff(k, axis=1)).mean()
    data = step * np.einsum("csj,sju->csu", damped, np.exp(2j * np.pi * k[:, :, None] * at[:, None, :]))

    def both(call: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
        """A real operator on real and imaginary parts."""
        return call(np.ascontiguousarray(x.real)) + 1j * call(np.ascontiguousarray(x.imag))

    def project(x: np.ndarray) -> np.ndarray:
        return np.stack([both(projector, seen)[:, 0] for seen in (maps * x)[:, None]]).astype(np.complex64)

    def back(y: np.ndarray) -> np.ndarray:
        images = np.stack([both(projector.adjoint, views[:, None])[0] for views in y])
        return np.asarray((maps.conj() * images).sum(axis=0), np.complex64)

    spaces = Space((n, n), "complex64"), Space(data.shape, "complex64")
    return Linear(*spaces, project, back, "spokes by CT's projector"), data.astype(np.complex64)


def agreement(kspace: KSpace) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """How far the two images are apart, relative to the second, in the "full" band and after a "low" pass; and the
    images by CT's projector and by the non-uniform transform."""
    weights = density_weights(kspace.shape, kspace.points)
    maps = estimated_maps(kspace.data, kspace.points, kspace.shape, weights)
    zero = np.zeros(kspace.shape, np.complex64)
    A, data = spokes_by_projector(kspace, maps)
    by_ct = solve(Cgls(), Gaussian(data) @ A, zero, STEPS).x
    by_mr = solve(Cgls(), Gaussian(kspace.data) @ Sense.at(maps, kspace.points), zero, STEPS).x
    n = kspace.shape[0]
    y, x = np.mgrid[:n, :n] - n // 2
    inside = np.hypot(y, x) < INSIDE * n

    def low(image: np.ndarray) -> np.ndarray:
        width = 1 / (2 * np.pi * LOW_PASS)
        return np.asarray(gaussian_filter(image.real, width) + 1j * gaussian_filter(image.imag, width))

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm((a - b)[inside]) / np.linalg.norm(b[inside]))

    return {"full": apart(by_ct, by_mr), "low": apart(low(by_ct), low(by_mr))}, by_ct, by_mr


def draw(path: str, by_ct: np.ndarray, by_mr: np.ndarray) -> None:
    """The moduli of both images and ten times their difference."""
    from tomodiff.report.drawing import LIGHT, figure

    fig = figure(LIGHT, 9.0, 3.3)
    brightest = float(np.percentile(np.abs(by_mr), 99.8))
    pictures = (("non-uniform FFT", by_mr, 1), ("CT's projector", by_ct, 1), ("10 x difference", by_ct - by_mr, 10))
    for panel, (title, image, factor) in zip(fig.subplots(1, 3), pictures, strict=True):
        panel.imshow(factor * np.abs(image), cmap="gray", vmin=0, vmax=brightest)
        panel.set_title(title)
        panel.set_axis_off()
    fig.savefig(path, dpi=100)


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, draw; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.spokes", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("kspace", nargs="?", help="radial k-space of one slice (ISMRMRD)")
    parser.add_argument("--figure", help="picture of both images")
    given = parser.parse_args(arguments)
    simulated = Spokes(size=192, coils=8, spokes=60, noise=3e-4)
    kspace = read_kspace(given.kspace) if given.kspace else simulate_kspace(simulated)[0]
    found, by_ct, by_mr = agreement(kspace)
    print(f"apart by {found['full']:.1%}; after a low-pass of {LOW_PASS} cycles per pixel by {found['low']:.2%}")
    if given.figure:
        draw(given.figure, by_ct, by_mr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
