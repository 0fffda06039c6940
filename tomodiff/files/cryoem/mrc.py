"""What the header of an MRC file says of its data (Cheng et al. 2015, J. Struct. Biol. 192, 146), checked.

Files without the word MAP or a machine stamp, as RELION and Warp wrote them, are read; the order of bytes is then the
one in which the header makes sense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from tomodiff.errors import DataError

HEADER_BYTES = 1024
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
REFUSED = {
    3: "complex 16-bit integers (mode 3)",
    4: "complex numbers (mode 4: a transform, not an image)",
    101: "4-bit integers (mode 101)",
}
MOST = 1 << 24
"""More sections, rows or columns than this are no MRC header."""
MAPS_OPEN = 64
"""Files that are kept mapped at a time."""


@dataclass(frozen=True)
class MrcHeader:
    """Where and what the data of an MRC file is."""

    path: Path
    shape: tuple[int, int, int]
    """(section, row, column) as stored."""
    dtype: np.dtype
    offset: int
    voxel: tuple[float, float, float]
    """x, y, z in angstrom: cell lengths over intervals; 0 where not told."""
    start: tuple[int, int, int]
    """nstart of columns, rows, sections."""
    origin: tuple[float, float, float]
    """x, y, z in angstrom."""
    axes: tuple[int, int, int]
    """Which of x (1), y (2), z (3) columns, rows, sections run along."""
    cell_angles: tuple[float, float, float]
    ispg: int

    @property
    def pixel(self) -> float:
        """The size of an image's pixel in angstrom that the header tells; 0 where x and y differ or nothing is told."""
        x, y, _ = self.voxel
        return x if x > 0 and abs(x - y) <= 1e-4 * x else 0.0


def read_header(path: Path) -> MrcHeader:
    """The header.  DataError for what is no MRC file, for modes that are not real numbers, for missing data."""
    import mrcfile

    try:
        raw = np.fromfile(path, mrcfile.dtypes.HEADER_DTYPE, 1)
        size = path.stat().st_size
    except OSError as error:
        raise DataError(path, "", "a readable MRC file", error.strerror or str(error)) from error
    if raw.size == 0:
        raise DataError(path, "", f"an MRC file with a header of {HEADER_BYTES} bytes", f"{size} bytes")
    orders = [(order, raw.view(raw.dtype.newbyteorder(order))[0]) for order in "<>"]
    order, header = next(((o, h) for o, h in orders if _makes_sense(h)), ("", raw[0]))
    if not order:
        raise DataError(path, "header", "an MRC file", "sizes, axes or a mode that no MRC file has")
    mode = int(header["mode"])
    if mode not in MODES:
        known = ", ".join(map(str, MODES))
        raise DataError(path, "mode", f"real numbers (modes {known})", REFUSED.get(mode, f"mode {mode}"))
    dtype = np.dtype(order + MODES[mode])
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    offset = HEADER_BYTES + max(0, int(header["nsymbt"]))
    wanted = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size < wanted:
        whole = max(0, size - offset) // (shape[1] * shape[2] * dtype.itemsize)
        found = f"{size} bytes, which end in section {whole + 1}"
        raise DataError(path, "data", f"{shape[0]} sections of {shape[1]} x {shape[2]} pixels ({wanted} bytes)", found,
                        "The file is cut short.")  # fmt: skip
    return _header_of(path, header, shape, dtype, offset)


def _header_of(path: Path, header: np.void, shape: tuple[int, int, int], dtype: np.dtype, offset: int) -> MrcHeader:
    sizes = [
        float(header["cella"][a]) / int(header["m" + a]) if int(header["m" + a]) > 0 else 0.0 for a in ("x", "y", "z")
    ]
    axes = tuple(int(header[a]) for a in ("mapc", "mapr", "maps"))
    return MrcHeader(
        path=path,
        shape=shape,
        dtype=dtype,
        offset=offset,
        voxel=(sizes[0], sizes[1], sizes[2]),
        start=(int(header["nxstart"]), int(header["nystart"]), int(header["nzstart"])),
        origin=(float(header["origin"]["x"]), float(header["origin"]["y"]), float(header["origin"]["z"])),
        axes=(1, 2, 3) if axes == (0, 0, 0) else axes,  # type: ignore[arg-type]
        cell_angles=tuple(float(header["cellb"][a]) for a in ("alpha", "beta", "gamma")),  # type: ignore[arg-type]
        ispg=int(header["ispg"]),
    )


def _makes_sense(header: np.void) -> bool:
    axes = sorted(int(header[a]) for a in ("mapc", "mapr", "maps"))
    sizes = [int(header[n]) for n in ("nx", "ny", "nz")]
    return axes in ([1, 2, 3], [0, 0, 0]) and all(0 < n < MOST for n in sizes) and 0 <= int(header["mode"]) < 128


def mapped(header: MrcHeader) -> np.ndarray:
    """The data, mapped into memory: (section, row, column) as stored."""
    stamp = header.path.stat()
    return _mapped(header, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=MAPS_OPEN)
def _mapped(header: MrcHeader, changed: int, size: int) -> np.ndarray:
    return np.memmap(header.path, header.dtype, "r", header.offset, header.shape)
