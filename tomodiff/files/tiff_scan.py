"""Scans as TIFF stacks: a folder, a glob pattern or a multi-page file, with flats, darks and angles beside them.

In a folder, files whose names start with flat, white, ref or open are flat fields, with dark dark fields (as are
folders of these names); the rest are projections, or else the files of the one other subfolder.  Angles are in
angles.txt, angles.csv, theta.txt or theta.csv.  A `geometry.yml` as our own writer leaves it comes before all else.
"""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

from tomodiff.errors import DataError
from tomodiff.files.angles import read_angles
from tomodiff.files.carried import stored_scan
from tomodiff.files.source import RawAngles, Source
from tomodiff.files.stack import Stack
from tomodiff.files.tiff import TiffStack, tiffs_in

FLATS = ("flat", "white", "ref", "open", "ob_")
DARKS = ("dark", "df_", "dc_")
ANGLES = ("angles.txt", "angles.csv", "theta.txt", "theta.csv")
SIDECAR = "geometry.yml"


def describe(path: Path) -> Source:
    """What a folder, a glob pattern or a file of TIFFs holds."""
    if path.is_dir():
        return _folder(path)
    files = _matching(path)
    if not files:
        raise DataError(path, "", "TIFF files", "none that match")
    flats, darks, rest = _by_prefix(files) if len(files) > 1 else ([], [], files)
    folder = files[0].parent
    return _described(path, rest, flats, darks, folder if len(files) > 1 else None)


def _matching(path: Path) -> list[Path]:
    return [path] if path.is_file() else [Path(p) for p in glob.glob(str(path))]


def is_folder_of_tiffs(folder: Path) -> bool:
    """Whether there are TIFF files in a folder or in a folder in it."""
    return bool(tiffs_in(folder)) or any(tiffs_in(p) for p in folder.iterdir() if p.is_dir())


def _folder(folder: Path) -> Source:
    flats, darks, rest = _by_prefix(tiffs_in(folder))
    subfolders = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    flat_folders, dark_folders, others = _by_prefix(subfolders)
    flats += [f for p in flat_folders for f in tiffs_in(p)]
    darks += [f for p in dark_folders for f in tiffs_in(p)]
    if not rest:
        full = [p for p in others if tiffs_in(p)]
        if len(full) != 1:
            found = ", ".join(p.name for p in full) or "none"
            raise DataError(folder, "projections", "TIFF files, or one subfolder with them", found)
        inner_flats, inner_darks, rest = _by_prefix(tiffs_in(full[0]))
        flats, darks = flats or inner_flats, darks or inner_darks
    return _described(folder, rest, flats, darks, folder)


def _by_prefix(paths: list[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Flats, darks and the rest, by how the names start."""
    flats = [p for p in paths if p.name.lower().startswith(FLATS)]
    darks = [p for p in paths if p.name.lower().startswith(DARKS)]
    return flats, darks, [p for p in paths if p not in flats and p not in darks]


def _described(path: Path, files: list[Path], flats: list[Path], darks: list[Path], folder: Path | None) -> Source:
    if not files:
        raise DataError(path, "projections", "TIFF files beside flats and darks", "none")
    source = Source(path, "tiff", TiffStack(files, str(path)))
    source.flats = TiffStack(flats, f"{path} (flats)") if flats else None
    source.darks = TiffStack(darks, f"{path} (darks)") if darks else None
    source.kind = "counts" if flats else None
    source.angles, source.no_angles = _angles(folder, path)
    if folder is not None and (folder / SIDECAR).exists():
        _read_sidecar(folder / SIDECAR, source)
    return source


def _angles(folder: Path | None, path: Path) -> tuple[RawAngles | None, str]:
    candidates = [path.with_suffix(".txt"), path.with_suffix(".csv")] if folder is None else []
    candidates += [folder / name for name in ANGLES] if folder is not None else []
    for file in candidates:
        if file.exists():
            return read_angles(file), ""
    names = ", ".join(file.name for file in candidates)
    return None, f"no angles file ({names})"


def _read_sidecar(file: Path, source: Source) -> None:
    import yaml

    try:
        stored: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        scan, kind = stored["scan"], stored["kind"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(file, "", "YAML with scan and kind", str(error)) from error
    source.scan, source.kind = stored_scan(scan, str(file)), str(kind)
    source.meta = {**source.meta, **stored.get("meta", {})}
    source.notes = [*stored.get("history", []), *source.notes]


def frames_of(path: Path) -> Stack:
    """Flats or darks that a user names: a file, a folder or a glob pattern of TIFFs."""
    files = tiffs_in(path) if path.is_dir() else _matching(path)
    if not files:
        raise DataError(path, "", "TIFF files", "none")
    return TiffStack(files, str(path))
