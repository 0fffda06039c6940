"""Make the sample k-space in this folder: python -m datasets.make_mri_sample [FOLDER], in the repository.

A chest of ellipses in eight coils, along 40 spokes that run late by a part of a sample.  Object and coils are sampled
four times finer than the image, and their spectrum is summed there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tomodiff.files.kspace.ismrmrd_writer import write_ismrmrd
from tomodiff.simulate.mri import Spokes, simulate_kspace

SAMPLE = Spokes(delays=(0.6, -0.35), seed=20261128)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    kspace, truth = simulate_kspace(SAMPLE)
    path = folder / "mri_sample.h5"
    write_ismrmrd(path, kspace, truth=truth.astype(np.float32))
    print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
