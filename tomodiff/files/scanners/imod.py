"""Tilt stacks of IMOD (.st, .ali, .mrc, .mrcs) as scans of a parallel beam: .rawtlt or .tlt beside them has the angles.

The tilt axis is taken to be vertical in the images, as it is in aligned stacks (.ali); scans whose axis leans are the
business of `tomodiff cryoem tomogram`, which reads IMOD's alignments.  With the specimen's x, y, z of IMOD (y along the
axis) our volume's x, y, z are x, -z, y, and angles keep their sign, as RELION 5 has them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import mrcfile
import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.angles import RawAngles, read_angles
from tomodiff.files.source import Source
from tomodiff.files.stack import ArrayStack
from tomodiff.geometry.units import ANGSTROM_PER_MM


def describe(path: Path) -> Source:
    """What a stack and the angles beside it hold.  DataError for damaged files and for single images."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers by other programs, which are read all the same
            opened = mrcfile.mmap(path, mode="r", permissive=True)
        data = opened.data
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise DataError(path, "", "a readable MRC stack", str(error)) from error
    if data is None or data.ndim != 3:
        found = "no data" if data is None else f"{data.ndim} axes {data.shape}"
        raise DataError(path, "", "a stack of images (MRC)", found, "The file may be truncated.")
    if np.iscomplexobj(data):
        raise DataError(path, "mode", "real numbers", str(data.dtype))
    source = Source(path, "mrc-stack", ArrayStack(data, str(path)))
    size = float(opened.voxel_size.x), float(opened.voxel_size.y)
    if all(np.isfinite(s) and s > 0 for s in size):
        source.pixel = (size[1] / ANGSTROM_PER_MM, size[0] / ANGSTROM_PER_MM)
    beside = next((p for suffix in (".tlt", ".rawtlt") if (p := path.with_suffix(suffix)).is_file()), None)
    if beside is None:
        source.no_angles = f"neither {path.stem}.tlt nor {path.stem}.rawtlt beside it"
    else:
        source.angles = RawAngles(read_angles(beside).values, "deg", str(beside))
    if path.suffix.lower() != ".ali":
        source.warnings.append("the tilt axis is taken to be vertical in the images, as it is in aligned stacks (.ali)")
    return source
