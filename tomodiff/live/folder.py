"""What a run directory holds, read again and again while another process writes it."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import DataError
from tomodiff.extras import library
from tomodiff.files import read_volume
from tomodiff.html import window
from tomodiff.recipes.place import is_alive, read_status
from tomodiff.recipes.run import Run
from tomodiff.report.run_report import report

MOST_READ = 4 << 30
"""Bytes of a volume that is read whole; of larger ones the page has the slices that the run kept."""
RENDERED = 192
"""Voxels along an axis of the volume that a browser renders, at most."""
AXES = "zyx"


class RunFolder:
    """A run directory, which need not be whole yet, and may lie on another machine's disk."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = threading.Lock()
        self._slices: tuple[dict[str, np.ndarray] | None, str] = None, ""
        self._volume: tuple[tuple[str, int], np.ndarray, tuple[float, ...]] | None = None

    def status(self) -> dict[str, Any]:
        """What status.json says, and whether a run was lost: its process, on this computer, is not there any more."""
        found = read_status(self.path) or {"state": "unknown", "warnings": [], "facts": {}, "timings": {}}
        here = found.get("host") == socket.gethostname() and found.get("pid") != os.getpid()
        return {**found, "lost": found["state"] == "running" and here and not is_alive(found), "name": self.path.name}

    def settings(self) -> str:
        """config.yml."""
        return self._text("config.yml")

    def command(self) -> str:
        """The command that began the run."""
        try:
            told = json.loads(self._text("env.json") or "{}").get("command", "")
        except ValueError:
            return ""
        return " ".join(told) if isinstance(told, list) else str(told)

    def grown(self, name: str, start: int) -> tuple[list[str], int]:
        """The whole lines of a file from a byte on, from the first where the file is shorter now; and where the next
        begins."""
        try:
            with (self.path / name).open("rb") as stream:
                size = stream.seek(0, 2)
                stream.seek(start if start <= size else 0)
                begin = stream.tell()
                data = stream.read()
        except OSError:
            return [], 0
        whole = data[: data.rfind(b"\n") + 1]
        return whole.decode("utf-8", "replace").splitlines(), begin + len(whole)

    def metrics(self, start: int) -> tuple[list[dict[str, Any]], int]:
        """Entries of metrics.jsonl from a byte on, without lines that a crash cut short, and where the next begins."""
        (lines, end), made = self.grown("metrics.jsonl", start), []
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                made.append(entry)
        return made, end

    def pictures(self) -> list[Path]:
        """Images that the run made, in the order of their names."""
        return sorted(p for p in self.path.glob("*.png") if not p.name.startswith("."))

    def report(self) -> str:
        """The report of what there is so far, or, of a run that has ended, what it wrote.  DataError or ConfigError
        where there is none yet."""
        written = self.path / "report.html"
        if self.status()["state"] != "running" and written.is_file():
            return written.read_text(encoding="utf-8")
        return report(Run.open(self.path))

    def shown(self) -> dict[str, Any] | None:
        """What slices there are: `whole` volume or the kept ones, shape (z, y, x), spacing, window, unit; None for no
        slices yet.  `version` changes when they do."""
        kept, version = self._kept()
        file = self._volume_file()
        if file is None and kept is None:
            return None
        made: dict[str, Any] = {"whole": file is not None, "version": version, "unit": "", "index": None}
        if kept is not None:
            made.update(shape=[int(n) for n in kept["shape"]], index=[int(n) for n in kept["index"]])
            made.update(window=[float(v) for v in kept["window"]], spacing=[float(v) for v in kept["spacing_mm"]])
            made["unit"] = str(kept["unit"])
        if file is not None:
            made["version"] = f"{file}{file.stat().st_mtime_ns}"
            if kept is None:
                volume, spacing = self._read(file)
                seen = window(volume[:: max(1, len(volume) // 16), ::4, ::4])
                made.update(shape=list(volume.shape), window=list(seen), spacing=list(spacing))
        return made

    def slice(self, axis: int, index: int) -> np.ndarray:
        """A slice (rows, columns) across an axis, float32.  DataError where there is none, or it is not kept."""
        file = self._volume_file()
        if file is not None:
            volume, _ = self._read(file)
            if not 0 <= index < volume.shape[axis]:
                raise DataError(file, f"slice {AXES[axis]}", f"0 to {volume.shape[axis] - 1}", str(index))
            return np.ascontiguousarray(volume.take(index, axis=axis), np.float32)
        kept, _ = self._kept()
        if kept is None:
            raise DataError(self.path, "slices", "a volume, or slices of one", "none yet")
        return np.ascontiguousarray(kept[AXES[axis]], np.float32)

    def nifti(self) -> bytes:
        """The volume as a NIfTI-1 file, thinned to `RENDERED` voxels along an axis, with voxels in mm.  DataError where
        there is none."""
        file = self._volume_file()
        if file is None:
            raise DataError(self.path, "volume", "a run that is done, with a volume", "none")
        nibabel = library("nibabel", "watch", "the volume in 3D needs")
        volume, spacing = self._read(file)
        step = max(1, -(-max(volume.shape) // RENDERED))
        thinned = np.ascontiguousarray(volume[::step, ::step, ::step].transpose(2, 1, 0), np.float32)
        sizes = [s * step for s in reversed(spacing)]
        middle = [-(n - 1) / 2 * s for n, s in zip(thinned.shape, sizes, strict=True)]
        affine = np.diag([*sizes, 1.0])
        affine[:3, 3] = middle
        image = nibabel.Nifti1Image(thinned, affine)
        image.header.set_xyzt_units("mm")
        made: bytes = image.to_bytes()
        return made

    def _kept(self) -> tuple[dict[str, np.ndarray] | None, str]:
        """The slices that the run kept, of its end or else of its way there."""
        for name in ("volume", "preview"):
            path = self.path / "report_data" / f"{name}.npz"
            try:
                version = f"{name}{path.stat().st_mtime_ns}"
                if self._slices[1] != version:
                    with np.load(path, allow_pickle=False) as stored:
                        self._slices = {key: stored[key] for key in stored.files}, version
                return self._slices
            except (OSError, ValueError, EOFError, KeyError):
                continue
        return None, ""

    def _volume_file(self) -> Path | None:
        """The volume of a run that is done, unless it is too large or no volume."""
        status = self.status()
        if status["state"] != "done" or not status.get("volume"):
            return None
        told = Path(status["volume"])
        path = told if told.is_file() else self.path / told.name
        readable = path.is_file() and path.suffix not in (".tif", ".cub") and path.stat().st_size <= MOST_READ
        return path if readable else None

    def _read(self, path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
        with self._lock:
            key = (str(path), path.stat().st_mtime_ns)
            if self._volume is None or self._volume[0] != key:
                volume, grid, _ = read_volume(path)
                self._volume = (key, np.asarray(volume), tuple(float(s) for s in np.broadcast_to(grid.spacing, (3,))))
            return self._volume[1:]

    def _text(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
