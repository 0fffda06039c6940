"""Where and with what a run was made: the content of its `env.json`."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import tomodiff
from tomodiff.files.provenance import checksum
from tomodiff.kernels import cores, cpu_isa
from tomodiff.recipes.section import Job

PACKAGES = ("numpy", "scipy", "h5py", "tifffile", "mrcfile", "nibabel", "astropy", "pydantic", "matplotlib")
THREAD_SETTINGS = ("OMP_NUM_THREADS", "TOMODIFF_THREADS", "TOMODIFF_ISA")
CHECKSUM_LIMIT = 2_000_000_000
"""Bytes of input above which no checksum is taken: reading it all would cost more than it tells."""


def environment(settings: Job, command: list[str]) -> dict[str, Any]:
    """Versions, machine, source revision, seeds, inputs and command line, as plain values."""
    return {
        "tomodiff": tomodiff.__version__,
        "git": revision(Path(tomodiff.__file__).resolve().parent),
        "python": platform.python_version(),
        "packages": versions(),
        "machine": machine(),
        "device": settings.device,
        "seed": settings.seed,
        "inputs": inputs(settings),
        "command": command,
        "folder": str(Path.cwd()),
        "started": now(),
    }


def now() -> str:
    """The time, as ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """The versions of the packages that touch numbers or files, and of CuPy if it is there."""
    found = {}
    for name in (*PACKAGES, "cupy-cuda12x", "cupy-cuda13x"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The computer: name, system, processor, vector instructions, cores this process may use, thread settings."""
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "processor": processor(),
        "isa": cpu_isa(),
        "cores": cores(),
        "threads": {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ},
    }


def processor() -> str:
    """The processor's name, as Linux has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def revision(folder: Path) -> str | None:
    """The git commit that `folder` is checked out from, with "+changes" if it was edited; None elsewhere."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents[:1])):
        return None  # an installed copy: a repository further up is somebody else's
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(folder, "status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def inputs(settings: Job) -> dict[str, dict[str, Any]]:
    """Each input file or folder that exists: its path, size in bytes and SHA-256."""
    found = {}
    for role, path in settings.input_files().items():  # not a range of angles, a pattern, a path inside HDF5
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        size = sum(p.stat().st_size for p in files)
        digest = checksum(path) if size <= CHECKSUM_LIMIT else f"not taken (more than {CHECKSUM_LIMIT} bytes)"
        found[role] = {"path": str(path), "bytes": size, "sha256": digest}
    return found


def command_line() -> list[str]:
    """The command as it was typed."""
    name = Path(sys.argv[0]).name
    return [*(["python", "-m", "tomodiff"] if name in ("", "-c", "-m", "__main__.py") else [name]), *sys.argv[1:]]
