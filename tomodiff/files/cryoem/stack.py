"""Particle images in MRC stacks that stay on disk: read in batches, ahead of their use, as float32.

A stack may be spread over thousands of files (RELION keeps one for each micrograph) and be used in any order; images of
a batch are read in the order of the files and handed over in the order asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.files.atomic import replacing
from tomodiff.files.cryoem.mrc import MrcHeader, mapped, read_header
from tomodiff.particles import Chosen, Images

KINDS = {np.dtype(np.float32): 2, np.dtype(np.float16): 12}


@dataclass(frozen=True, eq=False)
class Stack:
    """Images `index` (from 0) of files `file`, times `sign`: an `Images` that is not in memory.

    Raises DataError on reading an image that is not finite (with its number, from 1, and its file).
    """

    headers: tuple[MrcHeader, ...]
    file: np.ndarray
    """(n,) which of the headers."""
    index: np.ndarray
    """(n,) which section of it, from 0."""
    sign: np.ndarray | None = None
    """(n,) -1 for images whose contrast is to be turned; None: all +1."""

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.file), *self.headers[0].shape[1:])

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(header.path for header in self.headers)

    @property
    def pixel(self) -> float:
        """Angstrom, as the first header tells; 0 where it does not."""
        return self.headers[0].pixel

    def __len__(self) -> int:
        return len(self.file)

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        numbers = np.atleast_1d(np.arange(len(self))[which])
        images = np.empty((len(numbers), *self.shape[1:]), np.float32)
        order = np.lexsort((self.index[numbers], self.file[numbers]))
        files, sections = self.file[numbers[order]], self.index[numbers[order]]
        # Neighbours in a file are read at once.
        cuts = np.flatnonzero((np.diff(files) != 0) | (np.diff(sections) != 1)) + 1
        for run in np.split(order, cuts) if len(order) else []:
            header = self.headers[self.file[numbers[run[0]]]]
            first = int(self.index[numbers[run[0]]])
            images[run] = mapped(header)[first : first + len(run)]
        self._check_finite(images, numbers)
        if self.sign is not None:
            images *= self.sign[numbers].astype(np.float32)[:, None, None]
        return images

    def _check_finite(self, images: np.ndarray, numbers: np.ndarray) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            doubtful = np.flatnonzero(~np.isfinite(images.sum((1, 2))))
        for i in doubtful:
            bad = np.count_nonzero(~np.isfinite(images[i]))
            if bad:
                number = int(numbers[i])
                path = self.headers[self.file[number]].path
                where = f"image {self.index[number] + 1} (particle {number + 1})"
                raise DataError(path, where, "finite pixels", f"{bad} NaN or infinite of {images[i].size}")

    def batches(self, size: int, prefetch: bool = True) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of `size` images and their images, in order; see `batches`."""
        return batches(self, size, prefetch)

    def names(self, folder: Path) -> np.ndarray:
        """RELION's names 000001@path, with paths relative to `folder` where they are inside it."""
        inside = folder.resolve()
        paths = []
        for path in self.paths:
            whole = path.resolve()
            paths.append(str(whole.relative_to(inside) if whole.is_relative_to(inside) else whole))
        pairs = zip(self.file.tolist(), self.index.tolist(), strict=True)
        return np.array([f"{index + 1:06d}@{paths[file]}" for file, index in pairs], dtype=np.str_)


def stack_of(path: Path | str) -> Stack:
    """All images of one file."""
    header = read_header(Path(path))
    n = header.shape[0]
    return open_stack([Path(path)], np.zeros(n, np.int64), np.arange(n))


def open_stack(paths: list[Path], file: np.ndarray, index: np.ndarray, sign: np.ndarray | None = None) -> Stack:
    """Images `index` (from 0) of `paths[file]`, all headers checked.

    DataError names a file that is cut short, an image that is not in its file, boxes that differ or are not square.
    """
    headers = tuple(read_header(path) for path in paths)
    file, index = np.asarray(file, np.int64), np.asarray(index, np.int64)
    if not len(file):
        raise DataError(", ".join(map(str, paths)) or "stack", "images", "at least one", "none")
    counts = np.array([header.shape[0] for header in headers])
    bad = np.flatnonzero((index < 0) | (index >= counts[file]))
    if bad.size:
        number = int(bad[0])
        path, n = headers[file[number]].path, counts[file[number]]
        found = f"image {index[number] + 1} for particle {number + 1}"
        raise DataError(path, "images", f"images 1 to {n}", found)
    first = headers[0]
    for header in headers:
        rows, columns = header.shape[1:]
        if rows != columns:
            raise DataError(header.path, "box", "square images", f"{rows} x {columns} pixels")
        if rows != first.shape[1]:
            expected = f"{first.shape[1]} pixels as in {first.path}"
            raise DataError(header.path, "box", expected, f"{rows} pixels", "Crop or scale them to one box.")
    return Stack(headers, file, index, sign)


def stack_behind(images: Images) -> tuple[Stack, np.ndarray]:
    """The stack that some images are of, and (n,) which of it they are.  ValueError where they are not in files."""
    index = np.arange(images.shape[0])
    while isinstance(images, Chosen):
        index, images = images.index[index], images.of
    if not isinstance(images, Stack):
        raise ValueError("images: expected images in files, got an array; write them with write_stack first")
    return images, index


def batches(images: Images, size: int, prefetch: bool = True) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of `size` of any images and what they hold, in order; with `prefetch` the next batch is read meanwhile."""
    if size < 1:
        raise ValueError(f"size: expected at least 1 image, got {size}")
    n = images.shape[0]
    slices = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    if not prefetch or len(slices) < 2:
        for part in slices:
            yield part, images[part]
        return
    with ThreadPoolExecutor(1, "images") as reader:
        ahead = reader.submit(images.__getitem__, slices[0])
        for number, part in enumerate(slices):
            now = ahead.result()
            if number + 1 < len(slices):
                ahead = reader.submit(images.__getitem__, slices[number + 1])
            yield part, now


def write_stack(
    path: Path | str, images: Iterable[np.ndarray], n: int, box: int, pixel: float, dtype: Any = np.float32
) -> None:
    """Write `n` images of `box` pixels (single ones, or batches of them) one after another: never all in memory.

    dtype: float32 (mode 2) or float16 (mode 12).  pixel: angstrom.  The file appears when it is whole.  ValueError
    for other shapes or numbers of images, and for values beyond float16.
    """
    import mrcfile

    kind = np.dtype(dtype)
    if kind not in KINDS:
        raise ValueError(f"dtype: expected float32 or float16, got {kind}")
    path = Path(path)
    if not pixel > 0:
        raise ValueError(f"pixel: expected a size above 0 angstrom, got {pixel}")
    header = np.zeros(1, mrcfile.dtypes.HEADER_DTYPE)
    for axis, count in zip("xyz", (box, box, n), strict=True):
        header["n" + axis] = header["m" + axis] = count
        header["cella"][axis] = count * pixel
    header["mz"] = 1  # an image stack holds n sections of one unit cell each (MRC2014)
    header["cella"]["z"] = pixel
    header["mode"], header["ispg"], header["nversion"] = KINDS[kind], 0, 20140
    for name, value in zip(("alpha", "beta", "gamma"), (90, 90, 90), strict=True):
        header["cellb"][name] = value
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["map"] = mrcfile.constants.MAP_ID
    header["machst"] = list(mrcfile.utils.machine_stamp_from_byte_order("<"))
    header["nlabl"] = 1
    header["label"][0, 0] = b"tomodiff: particle images"
    sums = _Sums()
    with replacing(path, 1024 + n * box * box * kind.itemsize) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        for block in images:
            file.write(_block(block, box, kind, sums).data)
        if sums.images != n:
            raise ValueError(f"images: expected {n} of them, got {sums.images}")
        header["dmin"], header["dmax"], header["dmean"], header["rms"] = sums.low, sums.high, sums.mean, sums.rms
        file.seek(0)
        file.write(header.tobytes())


@dataclass
class _Sums:
    """Statistics of what was written so far."""

    images: int = 0
    pixels: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float:
        return self.total / max(1, self.pixels)

    @property
    def rms(self) -> float:
        return max(0.0, self.squares / max(1, self.pixels) - self.mean**2) ** 0.5


def _block(images: np.ndarray, box: int, kind: np.dtype, sums: _Sums) -> np.ndarray:
    """Images as they are stored, counted."""
    block = np.asarray(images)
    block = block[None] if block.ndim == 2 else block
    if block.shape[1:] != (box, box) or block.dtype.kind not in "fiu":
        raise ValueError(f"images: expected real images of {box} x {box} pixels, got {block.dtype} {block.shape[1:]}")
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(block, kind.newbyteorder("<"))
    if not len(stored):
        return stored
    low, high = float(stored.min()), float(stored.max())  # NaN if any is
    if not np.isfinite(low + high):
        raise ValueError(f"images: expected finite values that fit {kind}, got others from image {sums.images + 1} on")
    sums.images += len(block)
    sums.pixels += block.size
    sums.low, sums.high = min(sums.low, low), max(sums.high, high)
    for image in stored:
        values = image.astype(np.float64).ravel()
        sums.total += float(values.sum())
        sums.squares += float(values @ values)
    return stored
