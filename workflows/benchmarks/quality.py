"""How good results are: `python -m workflows.benchmarks.quality [--only NAME] [--results FOLDER]`, in the repository.

Runs the tests that measure a number some goal is about (the fixture `measured` of tests/conftest.py; slow ones too, an
hour of one core), prints a table and adds a JSON line for each number to results/quality.jsonl beside this file.  A
test fails where its goal is missed; its numbers are kept all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tomodiff
from workflows.benchmarks import record

REPOSITORY = Path(__file__).resolve().parents[2]
OWN = ("name", "wanted", "cpu_s", "test")


def main(arguments: list[str] | None = None) -> int:
    """Run, print, keep; the exit code is that of pytest."""
    parser = argparse.ArgumentParser(prog="python -m workflows.benchmarks.quality", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--only", metavar="NAME", help="tests whose names contain this (pytest -k)")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="folder for the JSON lines")
    given = parser.parse_args(arguments)
    files = sorted(p for p in (REPOSITORY / "tests").glob("test_*.py") if "Measured" in p.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "numbers"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            given.only or "",
            *map(str, files),
        ]
        environment = os.environ | {"TOMODIFF_QUALITY": str(kept)}
        code = subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode
        found = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    print(table(found))
    threads = int(os.environ.get("TOMODIFF_THREADS", "1"))
    common = record.circumstances("quality", "cpu", threads, 1, False) | {"version": tomodiff.__version__}
    lines = record.write(given.results / "quality.jsonl", [common | line for line in found])
    print(f"{len(lines)} lines added to {given.results / 'quality.jsonl'}")
    return code


def table(found: list[dict[str, Any]]) -> str:
    """A line for each number."""
    rows = [("what", "measured", "wanted", "CPU s")]
    for line in found:
        values = ", ".join(f"{k} {v:g}" for k, v in line.items() if k not in OWN)
        rows.append((line["name"], values, line["wanted"], f"{line['cpu_s']:g}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


if __name__ == "__main__":
    sys.exit(main())
