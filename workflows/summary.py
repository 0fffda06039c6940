"""One page and one table of many runs: `python summary.py RESULTS NAME...` reads RESULTS/runs/NAME of each name."""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
import zipfile
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.report.page import header, in_words, page, section

FACTS = (
    "method", "mode", "particles", "center", "psnr_db", "rmse", "ssim", "resolution_a", "b_factor_a2", "spacing_m",
)  # fmt: skip
"""Facts of a run that have a column, of CT, cryo-EM and terrain."""
COLUMNS = ("name", "state", "iterations", *FACTS, "worst_residual", "seconds", "warnings", "message")
LONG = ("warnings", "message")
THUMBNAIL = 96
LOGS = ("{}.log", "{}.check.log")
"""What a dataset said last: its reconstruction, or the check that it did not pass."""


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
    print(f"{done} of {len(runs)} datasets done: {out / 'summary.html'}")
    return 0


def describe(out: Path, name: str) -> dict[str, Any]:
    """What is to say about one run, also where there is none or a damaged one."""
    folder = out / "runs" / name
    status = _json(folder / "status.json")
    facts = status.get("facts", {})
    return {
        "name": name,
        "state": status.get("state", "no run"),
        "iterations": _iterations(folder / "metrics.jsonl"),
        **{name: _short(facts.get(name)) for name in FACTS},
        "worst_residual": _worst(facts.get("image_fit")),
        "seconds": round(sum(status.get("timings", {}).values()), 1) if status else "",
        "warnings": "; ".join(status.get("warnings", [])),
        "message": status.get("message") or ("" if status else _last_error(out, name)),
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
    names = "<th></th>" + "".join(f"<th class='s'>{escape(name.replace('_', ' '))}</th>" for name in shown)
    body = "".join(
        f"<tr><td>{_thumbnail(out / 'runs' / run['name'])}</td>{_cells(run, shown, out)}</tr>" for run in runs
    )
    table = f'<div class="scroll"><table><tr>{names}</tr>{body}</table></div>'
    state = "done" if done == len(runs) else "failed"
    return page(
        "Datasets", [header("Datasets", state, f"{done} of {len(runs)} done, in {out}"), section("Runs", table)]
    )


def _cells(run: dict[str, Any], shown: list[str], out: Path) -> str:
    cells = []
    for column in shown:
        text = escape(in_words(run[column]) if run[column] is not None else "")
        if column == "name" and (out / "runs" / run["name"] / "report.html").is_file():
            text = f'<a href="runs/{escape(run["name"])}/report.html">{text}</a>'
        if column == "state":
            text = f'<span class="state {"failed" if text == "no run" else text}">{text}</span>'
        cells.append(f"<td>{text}</td>" if column in LONG else f'<td class="s">{text}</td>')
    return "".join(cells)


def _thumbnail(folder: Path) -> str:
    """The middle slice of a run as a small inline picture; nothing where there is none."""
    from matplotlib.image import imsave

    image = _picture(folder / "report_data" / "volume.npz", "z")
    image = _picture(folder / "report_data" / "relief.npz", "after") if image is None else image
    if image is None:
        return ""
    low, high = np.nanpercentile(image, (1, 99)) if np.isfinite(image).any() else (0.0, 1.0)
    step = max(1, max(image.shape) // THUMBNAIL)
    buffer = io.BytesIO()
    imsave(
        buffer, image[::step, ::step], cmap="gray", vmin=low, vmax=max(high, low + 1e-12), format="png", origin="lower"
    )
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" style="width:{THUMBNAIL}px" src="data:image/png;base64,{data}">'


def _picture(path: Path, name: str) -> np.ndarray | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return np.asarray(stored[name], np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


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


def _short(value: Any) -> Any:
    """A fact for a cell: numbers to six places, several of them side by side."""
    if isinstance(value, list):
        return " x ".join(str(_short(one)) for one in value)
    return "" if value is None else float(f"{value:.6g}") if isinstance(value, float) else value


def _worst(fits: Any) -> Any:
    """The largest residual of an image over its mean."""
    found = [fit.get("of the mean") for fit in (fits or {}).values()]
    return _short(max((value for value in found if value is not None), default=None))


def _last_error(out: Path, name: str) -> str:
    """The error at the end of the first log that says anything."""
    for pattern in LOGS:
        try:
            text = (out / "logs" / pattern.format(name)).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        _, error, rest = text.strip().rpartition("error: ")
        if rest:
            return " ".join(rest.split()) if error else rest.splitlines()[-1]
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
