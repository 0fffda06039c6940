"""One page and one table of many runs: `python summary.py RESULTS NAME...` reads RESULTS/NAME.run of each name."""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.report.page import header, in_words, page, section

COLUMNS = (
    "name",
    "state",
    "method",
    "iterations",
    "center",
    "psnr_db",
    "rmse",
    "ssim",
    "seconds",
    "warnings",
    "message",
)
LONG = ("warnings", "message")
THUMBNAIL = 96


def main(arguments: list[str]) -> int:
    """Write summary.csv and summary.html; returns the exit code."""
    if len(arguments) < 2:
        print("usage: summary.py RESULTS NAME...", file=sys.stderr)
        return 2
    out, names = Path(arguments[0]), arguments[1:]
    out.mkdir(parents=True, exist_ok=True)
    runs = [describe(out, name) for name in names]
    write_table(out / "summary.csv", runs)
    (out / "summary.html").write_text(html(runs, out), encoding="utf-8")
    done = sum(run["state"] == "done" for run in runs)
    print(f"{done} of {len(runs)} scans done: {out / 'summary.html'}")
    return 0


def describe(out: Path, name: str) -> dict[str, Any]:
    """What is to say about one run, also where there is none or a damaged one."""
    folder = out / f"{name}.run"
    status = _json(folder / "status.json")
    facts = status.get("facts", {})
    return {
        "name": name,
        "state": status.get("state", "no run"),
        "method": facts.get("method", ""),
        "iterations": _iterations(folder / "metrics.jsonl"),
        **{key: facts.get(key, "") for key in ("center", "psnr_db", "rmse", "ssim")},
        "seconds": round(sum(status.get("timings", {}).values()), 1) if status else "",
        "warnings": "; ".join(status.get("warnings", [])),
        "message": status.get("message") or ("" if status else _last_line(out / "logs" / f"{name}.log")),
    }


def write_table(path: Path, runs: list[dict[str, Any]]) -> None:
    """The runs as comma-separated values."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        table.writerows(runs)


def html(runs: list[dict[str, Any]], out: Path) -> str:
    """The runs as a page with links to their reports and a picture of each."""
    done = sum(run["state"] == "done" for run in runs)
    shown = [c for c in COLUMNS if c in ("name", "state") or any(run[c] not in ("", None) for run in runs)]
    head = "<th></th>" + "".join(f"<th class='s'>{escape(name.replace('_', ' '))}</th>" for name in shown)
    body = "".join(
        f"<tr><td>{_thumbnail(out / (run['name'] + '.run'))}</td>{_cells(run, shown, out)}</tr>" for run in runs
    )
    table = f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
    state = "done" if done == len(runs) else "failed"
    return page("Scans", [header("Scans", state, f"{done} of {len(runs)} done, in {out}"), section("Runs", table)])


def _cells(run: dict[str, Any], shown: list[str], out: Path) -> str:
    cells = []
    for column in shown:
        text = escape(in_words(run[column]) if run[column] is not None else "")
        if column == "name" and (out / f"{run['name']}.run" / "report.html").is_file():
            text = f'<a href="{escape(run["name"])}.run/report.html">{text}</a>'
        if column == "state":
            text = f'<span class="state {"failed" if text == "no run" else text}">{text}</span>'
        cells.append(f"<td>{text}</td>" if column in LONG else f'<td class="s">{text}</td>')
    return "".join(cells)


def _thumbnail(folder: Path) -> str:
    """The middle slice of a run as a small inline picture; nothing where there is none."""
    from matplotlib.image import imsave

    try:
        with np.load(folder / "report_data" / "volume.npz", allow_pickle=False) as stored:
            image, (low, high) = stored["z"], stored["window"]
    except (OSError, ValueError, KeyError, EOFError):
        return ""
    step = max(1, max(image.shape) // THUMBNAIL)
    buffer = io.BytesIO()
    imsave(
        buffer, image[::step, ::step], cmap="gray", vmin=low, vmax=max(high, low + 1e-12), format="png", origin="lower"
    )
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" style="width:{THUMBNAIL}px" src="data:image/png;base64,{data}">'


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _iterations(path: Path) -> int | str:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    except (OSError, ValueError):
        return ""
    return max((line["iteration"] for line in lines if "iteration" in line), default="")


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
