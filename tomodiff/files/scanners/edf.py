"""EDF scans of the ESRF: a folder with NAME0000.edf, NAME0001.edf, ... and NAME.info.

As tomoscan (ESRF) describes them: the .info file has lines KEY= VALUE, of which TOMO_N (projections), ScanRange
(degrees), PixelSize (micrometres), Distance (mm), Energy (keV) and DARK_N are used; refHST0100.edf is the flat field
taken before projection 100, ref0003_0100.edf one frame of such; dark.edf is a dark field, darkend0000.edf the sum of
DARK_N.  Images after TOMO_N, taken again at some angles to see whether the sample moved, are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files.angles import RawAngles
from tomodiff.files.source import Source
from tomodiff.files.stack import ArrayStack, Stack

NUMBERED = re.compile(r"^(?P<name>.*?)_?(?P<number>\d{4,})$")
FLAT = re.compile(r"^ref(?:HST|\d{4}_)(\d+)$", re.IGNORECASE)
DARK = re.compile(r"^dark(end)?\d*$", re.IGNORECASE)


def describe(path: Path) -> Source:
    """What a folder of EDF images (or the folder of the image named) holds.  DataError for damaged files and gaps."""
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.glob("*.edf"))
    flats = {p: int(m[1]) for p in files if (m := FLAT.match(p.stem))}
    darks = [p for p in files if DARK.match(p.stem)]
    images = _projections(folder, [p for p in files if p not in flats and p not in darks])
    info = _info(folder, images[0])
    n = int(info.get("TOMO_N", len(images)))
    if not 1 <= n <= len(images):
        raise DataError(folder, "TOMO_N", f"as many images as the .info file says, {n}", str(len(images)))
    source = Source(folder, "edf", _Frames(images[:n], str(folder)))
    if len(images) > n:
        source.notes.append(f"{len(images) - n} images after the last projection left out")
    if flats:
        source.flats = _Frames(list(flats), f"{folder} (flats)")
        source.meta["flat_views"] = [min(at, n) for at in flats.values()]
    if darks:
        source.darks = ArrayStack(np.stack([_dark(p, info) for p in darks]), f"{folder} (darks)")
    source.kind = "counts" if flats else None
    if "ScanRange" in info:
        angles = np.arange(n) * info["ScanRange"] / n
        source.angles = RawAngles(angles, "deg", f"ScanRange of {folder.name}")
    else:
        source.no_angles = "no .info file with a ScanRange"
    if info.get("PixelSize", 0) > 0:
        source.pixel = (1e-3 * info["PixelSize"], 1e-3 * info["PixelSize"])
    for key, name in (("Energy", "energy_kev"), ("Distance", "detector_distance_mm")):
        if info.get(key, 0) > 0:
            source.meta[name] = info[key]
    return source


def _projections(folder: Path, files: list[Path]) -> list[Path]:
    """The images of the longest series of one name, in order.  DataError where a number is missing."""
    series: dict[str, dict[int, Path]] = {}
    for file in files:
        if match := NUMBERED.match(file.stem):
            series.setdefault(match["name"], {})[int(match["number"])] = file
    if not series:
        raise DataError(folder, "", "numbered EDF images", "none")
    numbered = max(series.values(), key=len)
    first, last = min(numbered), max(numbered)
    missing = sorted(set(range(first, last + 1)) - set(numbered))
    if missing:
        raise DataError(folder, "images", f"all numbers from {first} to {last}", f"no image {missing[0]}")
    return [numbered[k] for k in range(first, last + 1)]


def _info(folder: Path, image: Path) -> dict[str, float]:
    """The numbers of the .info file, empty where there is none."""
    match = NUMBERED.match(image.stem)
    names = [folder / f"{match['name']}.info"] if match else []
    path = next((p for p in (*names, *sorted(folder.glob("*.info"))) if p.is_file()), None)
    if path is None:
        return {}
    found = {}
    for line in path.read_text(encoding="latin-1").splitlines():
        key, _, value = line.partition("=")
        try:
            number = float(value)
        except ValueError:
            continue
        if np.isfinite(number):
            found[key.strip()] = number
    if found.get("ScanRange") == 0 or found.get("TOMO_N", 1) < 1:
        said = f"{found.get('ScanRange')}, {found.get('TOMO_N')}"
        raise DataError(path, "ScanRange, TOMO_N", "numbers above 0", said)
    return found


def _dark(path: Path, info: dict[str, float]) -> np.ndarray:
    summed = path.stem.lower().startswith("darkend")
    return _image(path).astype(np.float32) / np.float32(max(1.0, info.get("DARK_N", 1.0)) if summed else 1.0)


def _image(path: Path) -> np.ndarray:
    fabio = library("fabio", "scanners", f"{path}: reading EDF needs")
    try:
        with fabio.open(str(path)) as opened:
            data: Any = np.array(opened.data)
            short = opened.incomplete_file or any(frame.incomplete_data for frame in opened.frames())
    except Exception as error:  # fabio lets many kinds through for damaged files
        raise DataError(path, "", "a readable EDF image", f"{type(error).__name__}: {error}") from error
    if short:
        raise DataError(path, "", f"{data.nbytes} bytes of data", "less: the file is truncated")
    if data.ndim != 2 or data.dtype.kind not in "iuf":
        raise DataError(path, "", "one image of real numbers", f"{data.dtype} of shape {data.shape}")
    return np.asarray(data)


class _Frames(Stack):
    """A file for each frame."""

    def __init__(self, files: list[Path], name: str) -> None:
        first = _image(files[0])
        self.files, self.name, self.dtype = files, name, first.dtype
        self.shape = (len(files), *first.shape)  # type: ignore[assignment]

    def raw(self, frames: np.ndarray, rows: slice) -> np.ndarray:
        made = np.empty((len(frames), *self.shape[1:]), self.dtype)
        for i, k in enumerate(frames):
            image = _image(self.files[int(k)])
            if image.shape != self.shape[1:] or image.dtype != self.dtype:
                raise DataError(self.files[int(k)], "", f"{self.dtype} of shape {self.shape[1:]} as the first image",
                                f"{image.dtype} of shape {image.shape}")  # fmt: skip
            made[i] = image
        return made[:, rows]
