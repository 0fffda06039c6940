"""What the CT demonstration must achieve, and whether it did: from the truth that its sample scan carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.demo.finding import Finding

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

SAMPLE = "ct_sample.h5"
CLOSE = 0.1
"""Columns by which the axis that was found may differ from the true one."""


def settings(sample: Path) -> dict[str, Any]:
    """Of the job."""
    return {"input.path": str(sample), "reconstruction.method": "fista-tv", "reconstruction.iterations": 40}


def findings(run: Run, scan: Path) -> list[Finding]:
    """The axis and the error of a finished run on a simulated scan, against what the scan's metadata says of the truth.

    The volume must be nearer to the truth than the standard method, FDK, gets from the same scan without noise and
    faults, told the true axis: that number comes with the sample and depends on its sampling alone.
    """
    from tomodiff.files import probe

    known: dict[str, Any] = probe(scan).meta["truth"]
    facts = run.status["facts"]
    column, true = float(facts["center"]), float(known["axis_column"])
    psnr, yardstick = float(facts["psnr_db"]), float(known["fdk_of_perfect_data_psnr_db"])
    return [
        Finding("axis", f"column {column:.2f}", f"{true:.2f} within {CLOSE:g}", abs(column - true) <= CLOSE),
        Finding(
            "error",
            f"PSNR {psnr:.1f} dB against the truth",
            f"above {yardstick:.1f} dB, which FDK gets from this scan without noise and faults",
            psnr > yardstick,
        ),
    ]
