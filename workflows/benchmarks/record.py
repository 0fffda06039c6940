"""Measurements as a table to read and as JSON lines to keep."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from tomodiff.kernels import cpu_isa
from tomodiff.recipes.environment import processor
from workflows.benchmarks.measure import Measurement

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
COLUMNS = ("problem", "program", "fwd {} s", "adj {} s", "fwd wall", "adj wall", "fwd Gu/s", "adj Gu/s",
           "fwd ratio", "adj ratio", "wanted", "verdict", "adjoint?", "same?")  # fmt: skip
LEFT = ("problem", "program", "verdict")


def table(measurements: Sequence[Measurement], device: str, judged: bool) -> str:
    """All measurements, a line each; goals are judged unless the problems were too small for that."""
    unit = "CPU" if device == "cpu" else "GPU"
    rows = [tuple(name.format(unit) for name in COLUMNS)]
    rows += [_cells(m, judged) for m in measurements]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = []
    for n, row in enumerate(rows):
        aligned = [str.ljust if name in LEFT else str.rjust for name in COLUMNS]
        cells = [align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
        if n == 0:
            lines.append("-" * len("  ".join(cells)))
    return "\n".join(lines)


def _cells(m: Measurement, judged: bool) -> tuple[str, ...]:
    ratios = ("", "") if m.ratios is None else tuple(f"{r:.2f}" for r in m.ratios)
    wanted, verdict = "", ""
    if m.goals is not None:
        wanted = f"{m.goals[0]:g} / {m.goals[1]:g}"
        verdict = "too small to judge" if not judged else "no peer" if m.met is None else _verdict(m)
    return (
        m.problem.name,
        m.contender.label,
        *(f"{s:.3g}" for s in (m.forward.cpu, m.adjoint.cpu, m.forward.wall, m.adjoint.wall)),
        *(f"{g:.2f}" for g in m.speeds),
        *ratios,
        wanted,
        verdict,
        f"{m.mism_gram:.0e}",
        "" if m.difference is None else f"{m.difference:.0e}",
    )


def _verdict(m: Measurement) -> str:
    words = []
    assert m.met is not None and m.ratios is not None
    for i, name in enumerate(("fwd", "adj")):
        word = "met" if m.met[i] else "MISSED"
        if m.stretch is not None and m.met[i] and m.ratios[i] >= m.stretch[i] > m.goals[i]:  # type: ignore[index]
            word = f"met ({m.stretch[i]:g} too)"
        words.append(f"{name} {word}")
    return ", ".join(words)


def append(
    path: Path, measurements: Sequence[Measurement], device: str, threads: int, reps: int, quick: bool
) -> list[dict[str, Any]]:
    """Add a JSON line for each measurement to the file; returns what was written."""
    common = circumstances("ct_projectors", device, threads, reps, quick)
    return write(path, [common | _line(m, device) for m in measurements])


def circumstances(module: str, device: str, threads: int, reps: int, quick: bool) -> dict[str, Any]:
    """What all lines of a run have in common: the state of this tree, the machine, and how the benchmark was called."""
    return {
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": processor(),
        "system": platform.platform(),
        "device": device_name(device),
        "threads": threads,
        "isa": cpu_isa(),
        "load": round(os.getloadavg()[0], 2),
        "reps": reps,
        "quick": quick,
        "command": " ".join(["python -m", f"workflows.benchmarks.{module}", *sys.argv[1:]]),
    }


def keep(module: str, line: dict[str, Any], threads: int, reps: int, quick: bool) -> None:
    """Print what was measured on the CPU as a line, and, unless quick, add it to results/<module>.jsonl."""
    print("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in line.items()), flush=True)
    if not quick:
        write(RESULTS / f"{module}.jsonl", [circumstances(module, "cpu", threads, reps, quick) | line])


def write(path: Path, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add JSON lines to a file, numbers to four figures; returns what was written."""
    short = [{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()} for line in lines]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in short)
    return short


def _line(m: Measurement, device: str) -> dict[str, Any]:
    unit = "cpu" if device == "cpu" else "gpu"
    contender = m.contender
    versions = {"python": platform.python_version(), "numpy": metadata.version("numpy")}
    if device == "cuda":
        import cupy

        versions |= {"cupy": cupy.__version__, "cuda": str(cupy.cuda.runtime.runtimeGetVersion())}
    return {
        "problem": m.problem.name,
        "voxels": list(m.problem.grid.shape),
        "projections": list(m.problem.projections),
        "program": contender.program,
        "versions": versions | {contender.program.lower(): contender.version},
        "model": contender.model,
        "walk": contender.walk,
        "dtype": contender.dtype,
        f"forward_{unit}_s": m.forward.cpu,
        f"adjoint_{unit}_s": m.adjoint.cpu,
        "forward_wall_s": m.forward.wall,
        "adjoint_wall_s": m.adjoint.wall,
        "forward_gups": m.speeds[0],
        "adjoint_gups": m.speeds[1],
        "mism_gram": m.mism_gram,
        "difference": m.difference,
        "ratio_of": None if m.reference is None else f"{m.reference.problem.name} {m.reference.contender.label}",
        "forward_ratio": None if m.ratios is None else m.ratios[0],
        "adjoint_ratio": None if m.ratios is None else m.ratios[1],
        "goals": m.goals,
        "met": m.met,
        "note": contender.note,
    }


def commit() -> str | None:
    """The git commit of this tree, with "+changes" where it was edited; None where it is no checkout."""
    try:
        head = _git("rev-parse", "HEAD")
        edited = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!*.jsonl")  # results apart
        return f"{head}+changes" if edited else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def device_name(device: str) -> str:
    """The GPU's name, or just that it is the CPU."""
    if device == "cpu":
        return "cpu"
    import cupy

    name: str = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()
    return name
