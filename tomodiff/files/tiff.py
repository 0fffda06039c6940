"""Frames in TIFF files, one in each file or many pages in one, read by several threads."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
import tifffile

from tomodiff.errors import DataError
from tomodiff.files.stack import Stack, check_frames

SUFFIXES = (".tif", ".tiff")
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF, in either byte order."""
THREADS = min(8, os.cpu_count() or 1)
FAULTS = (tifffile.TiffFileError, OSError, ValueError, KeyError, IndexError, struct.error, zlib.error)
"""What tifffile raises on files that are cut short or damaged."""


class Page(NamedTuple):
    """Where one frame is."""

    file: Path
    number: int


def natural(path: Path) -> list[tuple[int, int | str]]:
    """A sorting key by which raw_9 comes before raw_10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


@final
class TiffStack(Stack):
    """Frames (n, v, u) in TIFF files of one shape and number type, in natural order of their names.

    Whole files are checked when they are read: opening looks at the first one only, and at the number of pages
    of the others where the first has many.
    """

    def __init__(self, files: Sequence[Path], name: str) -> None:
        self.files, self.name = sorted(files, key=natural), name
        counts = [_page_count(self.files[0])]
        counts += [1] * (len(self.files) - 1) if counts[0] == 1 else [_page_count(f) for f in self.files[1:]]
        self.single = counts[0] == 1
        self.pages = [Page(f, i) for f, n in zip(self.files, counts, strict=True) for i in range(n)]
        with _open(self.files[0]) as tiff:
            shape, self.dtype = _page(tiff, self.pages[0]).shape, np.dtype(_page(tiff, self.pages[0]).dtype)
        self.shape = (len(self.pages), *shape)  # type: ignore[assignment]
        if len(shape) != 2:
            raise DataError(self.files[0], "", "grey images (v, u)", f"{len(shape)} axes {shape} (colour?)")
        check_frames(self.files[0], "", self.shape, self.dtype)

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        pages = [self.pages[i] for i in frames]
        n_rows = len(range(*rows.indices(self.shape[1])))
        out = np.empty((len(pages), n_rows, self.shape[2]), self.dtype)
        groups: dict[Path, list[int]] = {}
        for i, page in enumerate(pages):
            groups.setdefault(page.file, []).append(i)

        def read(members: list[int]) -> None:
            with _open(pages[members[0]].file) as tiff:
                if self.single and len(tiff.pages) != 1:
                    file, first = pages[members[0]].file, self.files[0].name
                    raise DataError(file, "pages", f"one page like {first}", str(len(tiff.pages)))
                for i in members:
                    out[i] = self._read(tiff, pages[i], rows)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(read, groups.values()))
        return out

    def _read(self, tiff: tifffile.TiffFile, place: Page, rows: slice) -> np.ndarray:
        page = _page(tiff, place)
        if (page.shape, np.dtype(page.dtype)) != (self.shape[1:], self.dtype):
            raise DataError(
                place.file,
                f"page {place.number}",
                f"{self.shape[1:]} pixels of {self.dtype} like {self.files[0].name}",
                f"{page.shape} of {page.dtype}",
            )
        try:
            if page.is_memmappable and page.is_contiguous:  # reads no more of the file than the rows
                order = self.dtype.newbyteorder(tiff.byteorder)
                return np.memmap(place.file, order, "r", page.dataoffsets[0], self.shape[1:])[rows]
            return page.asarray()[rows]
        except FAULTS as error:
            raise DataError(
                place.file, f"page {place.number}", "readable pixels", str(error), "The file is truncated or damaged."
            ) from error


def _open(file: Path) -> tifffile.TiffFile:
    try:
        return tifffile.TiffFile(file)
    except FAULTS as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(file, "", "a readable TIFF file", reason) from error


def _page_count(file: Path) -> int:
    with _open(file) as tiff:
        count = len(tiff.pages)
        series = tiff.series[0] if count == 1 and tiff.series else None
        if series is not None and series.ndim == 3 and len(series) > 1:
            raise DataError(
                file,
                "pages",
                "each frame in a page of its own",
                f"one page for {series.shape}",
                "ImageJ writes so beyond 4 GB; convert it to BigTIFF or a folder of files.",
            )
    if count == 0:
        raise DataError(file, "", "a readable TIFF file", "a file without a page")
    return count


def _page(tiff: tifffile.TiffFile, place: Page) -> tifffile.TiffPage:
    try:
        page = tiff.pages[place.number]
        return page if isinstance(page, tifffile.TiffPage) else page.aspage()
    except FAULTS as error:
        raise DataError(
            place.file, f"page {place.number}", "a page", str(error), "The file is truncated or damaged."
        ) from error


def tiffs_in(folder: Path) -> list[Path]:
    """The TIFF files of a folder, by suffix, hidden ones left out, in natural order."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    return sorted((p for p in files if p.is_file()), key=natural)
