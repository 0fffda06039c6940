"""Small projects as RELION keeps them, written by hand: a STAR file of text beside stacks made with mrcfile."""

from __future__ import annotations

import warnings
from pathlib import Path

import mrcfile
import numpy as np

OPTICS = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
_rlnSphericalAberration #4
_rlnAmplitudeContrast #5
_rlnImagePixelSize #6
_rlnImageSize #7
_rlnImageDimensionality #8
1 near 300.000000 2.700000 0.100000 1.500000 16 2
2 far  200.000000 1.400000 0.070000 1.500000 16 2
"""
PARTICLES = """
# version 30001

data_particles

loop_
_rlnImageName #1
_rlnAngleRot #2
_rlnAngleTilt #3
_rlnAnglePsi #4
_rlnOriginXAngst #5
_rlnOriginYAngst #6
_rlnDefocusU #7
_rlnDefocusV #8
_rlnDefocusAngle #9
_rlnOpticsGroup #10
_rlnRandomSubset #11
_lensOfMyOwn #12
"""
ROWS = (
    "000002@a.mrcs  10.00 20.0 30.0  1.50 -3.0  12000.1 11000.2 45.0 1 1 first",
    "000001@b.mrcs -40.00 95.5 120. -6.25  0.0  13000.0 12500.0 -10. 2 2 'of two words'",
    "000001@a.mrcs   0.00  0.0  0.0  0.00  0.0  14000.0 13900.0 90.0 1 2 third",
)


def stack(path: Path, images: np.ndarray, pixel: float = 1.5) -> np.ndarray:
    """An MRC stack on disk; gives the images back."""
    with warnings.catch_warnings(), mrcfile.new(path, overwrite=True) as mrc:
        warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile's, of pixels that are not finite
        mrc.set_data(images)
        mrc.set_image_stack()
        mrc.voxel_size = pixel
    return images


def project(folder: Path, optics: str = OPTICS, particles: str = PARTICLES, rows: tuple[str, ...] = ROWS) -> Path:
    """A STAR file of two optics groups and three particles in two stacks, a.mrcs (3 images) and b.mrcs (2)."""
    rng = np.random.default_rng(7)
    for name, n in (("a.mrcs", 3), ("b.mrcs", 2)):
        stack(folder / name, rng.standard_normal((n, 16, 16)).astype(np.float32))
    path = folder / "particles.star"
    path.write_text(optics + particles + "".join(f"{row}\n" for row in rows) + "\n")
    return path
