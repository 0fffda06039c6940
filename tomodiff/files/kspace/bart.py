"""BART's pairs of files: NAME.hdr with the dimensions, NAME.cfl with complex numbers, the first dimension the fastest
(Uecker et al. 2015, ISMRM; the dimensions are those of BART's src/misc/mri.h)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import replace_text, replacing
from tomodiff.files.kspace.kspace import KSpace

COIL, TIME = 3, 10
"""Which of BART's dimensions is which; 0, 1, 2 are the readout and the two phase encodings, or x, y, z."""


def read_cfl(path: Path) -> np.ndarray:
    """The array of NAME.cfl and NAME.hdr with BART's dimensions in their order, complex64, without copying it."""
    path = path.with_suffix(".cfl")
    header = path.with_suffix(".hdr")
    try:
        lines = [line.strip() for line in header.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(header, "header", "the dimensions of an array of BART", str(error)) from error
    try:
        shape = [int(n) for n in lines[lines.index("# Dimensions") + 1].split()]
    except (ValueError, IndexError):
        raise DataError(header, "# Dimensions", "whole numbers in the line after it", "none") from None
    if not shape or min(shape) < 1:
        raise DataError(header, "# Dimensions", "numbers above 0", str(shape))
    size = path.stat().st_size if path.is_file() else -1
    wanted = 8 * int(np.prod(shape, dtype=np.int64))
    if size != wanted:
        raise DataError(path, "size", f"{wanted} bytes for {shape}", "no such file" if size < 0 else f"{size} bytes")
    return np.memmap(path, np.complex64, "r", shape=tuple(shape), order="F")


def with_dimensions(array: np.ndarray, count: int) -> np.ndarray:
    """The same array with dimensions of length one after its own, up to so many."""
    return array.reshape((*array.shape, *(1,) * (count - array.ndim)), order="F")


def write_cfl(path: Path, array: np.ndarray) -> None:
    """Write an array with BART's dimensions in their order as NAME.cfl and NAME.hdr."""
    path = path.with_suffix(".cfl")
    values = np.asarray(array, np.complex64)
    with replacing(path, values.nbytes) as unfinished:
        values.ravel(order="F").tofile(unfinished)
    replace_text(path.with_suffix(".hdr"), "# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")


def read_bart(path: Path, trajectory: Path | None) -> KSpace:
    """K-space of BART: Cartesian (x, y, z, coil) with zeros where nothing was measured; or, with a trajectory
    (3, sample, spoke) in cycles per field of view, (1, sample, spoke, coil)."""
    data = with_dimensions(read_cfl(path), TIME + 1)
    others = [n for i, n in enumerate(data.shape) if i not in (0, 1, 2, COIL, TIME)]
    if any(n != 1 for n in others):
        raise DataError(path, "dimensions", "x, y, z, coil and time alone", str(data.shape))
    meta: dict[str, Any] = {"source": str(path), "format": "BART"}
    x, y, z, coils, times = (data.shape[i] for i in (0, 1, 2, COIL, TIME))
    samples = np.asarray(data).reshape((x, y, z, coils, times), order="F")
    if trajectory is None:
        return _cartesian(samples, meta)
    if x != 1:
        raise DataError(path, "dimensions", "(1, sample, spoke, coil) beside a trajectory", str(data.shape))
    points = with_dimensions(np.asarray(read_cfl(trajectory)), TIME + 1)
    if points.shape[:3] != (3, y, z) or points.shape[TIME] not in (1, times):
        raise DataError(trajectory, "trajectory", f"(3, {y}, {z}) as {path} has", str(points.shape))
    where = points.reshape((3, y * z, -1), order="F").real
    where = np.broadcast_to(where, (3, y * z, times)).transpose(2, 1, 0).reshape(-1, 3)[:, ::-1].astype(np.float64)
    axes = [axis for axis in range(3) if np.ptp(where[:, axis]) > 0]
    if len(axes) < 2:
        raise DataError(trajectory, "trajectory", "points along two axes or three", f"{len(axes)}")
    size = int(2 * np.ceil(np.abs(where).max()))
    values = samples.reshape((y * z, coils, times), order="F").transpose(1, 2, 0).reshape(coils, -1)
    frame = None if times == 1 else np.repeat(np.arange(times), y * z)
    line = f"read {y} samples of {z} spokes and {coils} coils of {path} (BART), trajectory {trajectory}"
    return KSpace(
        np.ascontiguousarray(values), where[:, axes] / size, (size,) * len(axes), y, frame, meta=meta, history=(line,)
    )


def _cartesian(samples: np.ndarray, meta: dict[str, Any]) -> KSpace:
    """From (x, y, z, coil, time): what is zero in all coils was not measured."""
    measured = np.any(samples != 0, axis=3).transpose(3, 2, 1, 0)  # (time, z, y, x)
    shape = measured.shape[1:]
    axes = [axis for axis in range(3) if shape[axis] > 1]
    if len(axes) < 2:
        raise DataError(meta["source"], "dimensions", "two axes or three with more than one sample", str(shape))
    at = np.argwhere(measured)
    values = samples.transpose(3, 4, 2, 1, 0)[:, measured]
    sizes = np.array([shape[a] for a in axes])
    points = (at[:, 1:][:, axes] - sizes // 2) / sizes
    frame = at[:, 0] if len(measured) > 1 else None
    line = f"read {len(at)} of {measured.size} Cartesian samples of {values.shape[0]} coils of {meta['source']} (BART)"
    made = tuple(int(n) for n in sizes)
    return KSpace(np.ascontiguousarray(values), points, made, 1, frame, meta=meta, history=(line,))
