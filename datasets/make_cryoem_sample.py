"""Make the sample particles in this folder: python -m datasets.make_cryoem_sample [FOLDER], in the repository.

500 particles of a phantom macromolecule of Gaussian blobs.  Their images are closed forms (`tomodiff.simulate`): no
projector of this package takes part.  The STAR file tells poses that are 4 degrees and 5 angstrom off, so that
refinement has something to do; the true ones are in cryoem_sample_truth.star, the true map in cryoem_sample_truth.mrc.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tomodiff.simulate.particle_set import ParticleSet, write_set
from tomodiff.simulate.particles import Imaging

SAMPLE = ParticleSet(
    particles=500,
    box=64,
    pixel=3.5,
    imaging=Imaging(snr=0.2),
    pose_error=4.0,
    shift_error=5.0,
    half=True,
    seed=20261125,
)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    for made in write_set(folder / "cryoem_sample.star", SAMPLE):
        print(f"{made}  {made.stat().st_size / 1e6:.2f} MB")
