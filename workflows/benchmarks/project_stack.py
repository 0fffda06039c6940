"""Project a map along the poses of particles: `python -m workflows.benchmarks.project_stack MAP.mrc IN.star OUT.mrcs`.

What relion_project does, so that the whole of both can be timed: read, project, write.
"""

from __future__ import annotations

import sys

import numpy as np

from tomodiff.files.cryoem import read_map, read_particles, write_stack
from tomodiff.projectors.fourier_slice import FourierSlice
from tomodiff.projectors.spectrum import fft_workers


def main(volume: str, poses: str, out: str) -> None:
    """Images with CTF by RELION's interpolation: linear, padded twice, with its gridding correction."""
    import scipy.fft

    particles = read_particles(poses)
    A = FourierSlice.of(particles, gridding="radial", r_max=particles.box / 2)
    made = A(A.inputs(particles, np.ascontiguousarray(read_map(volume)[0], np.float32)))
    images = scipy.fft.irfft2(made, (A.box, A.box), **fft_workers(np))
    write_stack(out, [np.fft.fftshift(images, (1, 2))], len(particles), A.box, particles.pixel)


if __name__ == "__main__":
    main(*sys.argv[1:])
