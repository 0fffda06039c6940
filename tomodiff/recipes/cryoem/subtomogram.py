"""Subtomogram averaging from two-dimensional tilt images, as Warp and M export them: one "particle" for each tilt.

The images of one subtomogram share their rlnGroupName.  Each carries in its CTF what it counts for: a scale (the cosine
of its tilt) and a B-factor that grows with the dose (Bharat et al. 2015, Structure 23, 1743), so that the average is
the weighted back projection of all images with their CTF, as for single particles.  Half sets must not share a
subtomogram: its images show the same molecule.
"""

from __future__ import annotations

import numpy as np

from tomodiff.errors import DataError
from tomodiff.particles import Particles

GROUP = "rlnGroupName"


def subtomograms(particles: Particles, column: str = GROUP) -> tuple[np.ndarray, list[str]]:
    """For each image the number of its subtomogram (n,), counted as they first appear, and their names.

    The names are in `column` of the particles' own table.  DataError where there is none.
    """
    table = getattr(particles.table, "table", particles.table)  # of the file, within what the reader keeps of it
    if table is None or column not in table.columns:
        found = "no table" if table is None else f"{len(table.columns)} columns without it"
        raise DataError("particles", column, "the subtomogram to which each tilt image belongs", found)
    numbers: dict[str, int] = {}
    index = np.array([numbers.setdefault(str(name), len(numbers)) for name in table[column]], np.int64)
    return index, list(numbers)


def subtomogram_halves(particles: Particles, column: str = GROUP, keep: bool = True) -> np.ndarray:
    """(n,) half set 1 or 2 of each image, the same for all images of a subtomogram.

    keep: the halves that the particles come with, where all have one; else subtomograms take turns.  DataError where
    the particles' own halves split a subtomogram, or where there are fewer than two.
    """
    index, names = subtomograms(particles, column)
    if len(names) < 2:
        raise DataError("particles", column, "at least two subtomograms for half sets", str(len(names)))
    if not keep or not (particles.half > 0).any():
        return index % 2 + 1
    low, high = np.full(len(names), 3), np.zeros(len(names), np.int64)
    np.minimum.at(low, index, particles.half)
    np.maximum.at(high, index, particles.half)
    if (low == 0).any():
        raise DataError("particles", "rlnRandomSubset", "half set 1 or 2 of every image", "some without")
    if (low != high).any():
        split = names[int(np.argmax(low != high))]
        hint = "Images of one subtomogram show the same molecule; use keep=False to divide anew."
        raise DataError("particles", "rlnRandomSubset", "one half set for each subtomogram", f"{split!r} in both", hint)
    if len(np.unique(low)) < 2:
        raise DataError("particles", "rlnRandomSubset", "subtomograms in both half sets", f"all in {low[0]}")
    return np.asarray(particles.half, np.int64)


def tilt_particles(particles: Particles, column: str = GROUP, keep: bool = True) -> Particles:
    """Tilt images ready for a reconstruction in half sets: halves by subtomogram, B-factors that damp.

    Warp and M write B-factors that damp as negative numbers; here, as in RELION, positive ones do.  DataError where
    signs are mixed, or scales are below zero.
    """
    b = particles.b_factor
    if (b < 0).any() and (b > 0).any():
        raise DataError("particles", "rlnCtfBfactor", "one sign", f"numbers from {b.min():g} to {b.max():g}")
    if (particles.scale < 0).any():
        raise DataError("particles", "rlnCtfScalefactor", "numbers >= 0", f"{particles.scale.min():g}")
    return particles.replace(b_factor=np.abs(b), half=subtomogram_halves(particles, column, keep))
