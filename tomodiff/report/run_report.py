"""`report.html` of a run, from the run directory alone.

Of the arrays that a recipe saved it draws these, each where it is there:

    volume       the slices and the histogram that `Run.finish` keeps
    truth        z, y, x slices of the truth on the volume's grid, rmse, psnr_db, ssim
    residual     measured, simulated (v, u) of one view; view
    sinogram     before, after (view, u) of one detector row; row
    projection   before, after (v, u) of one view; view
    center       candidates, scores (n); center (pixels); score: what the scores measure

and those of which the module of the run's kind of job tells.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.files.atomic import replace_text
from tomodiff.report import (
    calibration_report,
    cryoem_report,
    curves,
    mri_report,
    optical_report,
    slices,
    terrain_report,
)
from tomodiff.report.page import (
    bars,
    bullets,
    code,
    columns,
    folded,
    header,
    page,
    pairs,
    picture,
    section,
    table,
    tiles,
)
from tomodiff.report.page import in_words as words
from tomodiff.report.plots import Plot, plot_sections

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

U, UNITS = "detector column u", ("as read", "line integral")
PLOTS = (
    Plot(
        "residual", "What the volume explains", curves.residual,
        "Projection {view}: corrected, that of the volume, and the difference",
    ),
    Plot(
        "sinogram", "Correction of the projections", partial(curves.before_after, rows="view", columns=U, units=UNITS),
        "Sinogram of detector row {row}",
    ),
    Plot(
        "projection", "Correction of the projections",
        partial(curves.before_after, rows="detector row v", columns=U, units=UNITS), "Projection {view}",
    ),
    Plot(
        "center", "Rotation axis", curves.axis_search, "Candidates for the rotation axis; the line is the one used",
        worth=lambda data: np.size(data.get("candidates", ())) > 1,
    ),
)  # fmt: skip
"""Of projections, whatever the kind of job."""
TIMES = "\N{MULTIPLICATION SIGN}"
TABLE_ROWS = 12
LOG_LINES = 60

Data = Mapping[str, dict[str, np.ndarray] | None]


def write_report(run: Run) -> Path:
    """Write RUN/report.html and return its path."""
    target = run.path / "report.html"
    replace_text(target, report(run))
    return target


def report(run: Run) -> str:
    """The page as text.  Raises DataError where a file of the run is damaged."""
    data: Data = {name: run.report_data(name) for name in ("volume", "truth")}
    own = of_kind(run.settings.job)
    env, metrics = run.environment(), run.metrics()
    scan = run.settings.input.path
    state = str(run.status["state"])
    method = str(run.status["facts"].get("method", run.settings.method))
    subtitle = f"{scan}, {method}, {env.get('started', '')}, tomodiff {env.get('tomodiff', '')}"
    return page(
        f"{scan.name}: {method}",
        [
            header(scan.stem or str(scan), state, subtitle),
            failure(run),
            section("Warnings", bullets(run.warnings), kind="warnings"),
            tiles(highlights(run, data, metrics)),
            section("Volume", *volume_pictures(data)),
            *(own.tables(run) if hasattr(own, "tables") else []),
            *plot_sections(run, own.PLOTS if own else ()),
            section("Against the truth", *truth_pictures(data)),
            section("Convergence", *convergence(metrics)),
            *plot_sections(run, PLOTS),
            columns(
                section("What was found", pairs(single(run.status["facts"]))),
                section("Time", bars(run.status["timings"], "s")),
            ),
            section("What each step found", pairs(grouped(run.status["facts"]))),
            section("Reproduce", code(reproduce(run, env))),
            columns(
                section("Settings", code((run.path / "config.yml").read_text(encoding="utf-8"))),
                section("Provenance", pairs(provenance(run, env))),
            ),
            log_tail(run.path / "log.txt"),
            f"<footer>{words(run.volume_path.name)} and this page were made by tomodiff.</footer>",
        ],
    )


def plots_of(kind: str) -> tuple[Plot, ...]:
    """All figures that runs of a kind of job may have, besides those of the volume, its truth and the convergence."""
    own = of_kind(kind)
    return (*(own.PLOTS if own else ()), *PLOTS)


def of_kind(kind: str) -> Any:
    """The module that tells what only runs of a kind of job have: PLOTS, highlights and, of some, tables; None for
    CT."""
    own = {
        "cryoem": cryoem_report,
        "terrain": terrain_report,
        "mri": mri_report,
        "optical": optical_report,
        "ct-calibrate": calibration_report,
    }
    return own.get(kind, own.get(kind.partition("-")[0]))


def failure(run: Run) -> str:
    """Why there is no result, if there is none."""
    message = str(run.status.get("message") or "")
    kind = "failure" if run.status["state"] == "failed" else "warnings"
    return section(f"This run {run.status['state']}", code(message), kind=kind) if message else ""


def single(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are one value each."""
    return {name.replace("_", " "): value for name, value in facts.items() if not isinstance(value, Mapping)}


def grouped(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that come in groups, such as what each correction found, by group."""
    rows: dict[str, Any] = {}
    for name, value in facts.items():
        groups = value if isinstance(value, Mapping) else {}
        if any(isinstance(inner, Mapping) for inner in groups.values()):
            rows |= {str(step).replace("_", " "): numbers for step, numbers in groups.items()}
        elif groups:
            rows[name.replace("_", " ")] = groups
    return rows


def highlights(run: Run, data: Data, metrics: list[dict[str, Any]]) -> dict[str, str]:
    """The numbers to see first, those of the kind of job before those of all."""
    own = of_kind(run.settings.job)
    shown: dict[str, str] = own.highlights(run) if own else {}
    volume, truth, facts = data["volume"], data["truth"], run.status["facts"]
    if volume is not None:
        shown["voxels (z, y, x)"] = f" {TIMES} ".join(str(n) for n in volume["shape"])
        spacing = sorted({float(f"{d:.4g}") for d in volume["spacing_mm"]})
        shown[f"voxel size ({slices.length_unit(volume)})"] = f" {TIMES} ".join(f"{d:g}" for d in spacing)
    iterations = [m["iteration"] for m in metrics if "iteration" in m]
    if iterations:
        shown["iterations"] = str(max(iterations))
    center = facts.get("center")
    if isinstance(center, int | float):
        shown["rotation axis (column)"] = f"{center:.2f}"
    if truth is not None:
        names = {"rmse": f"RMSE ({'' if volume is None else volume['unit']})", "psnr_db": "PSNR (dB)", "ssim": "SSIM"}
        shown |= {names[k]: f"{float(truth[k]):.4g}" for k in names if k in truth}
    if run.status["timings"]:
        shown["time (s)"] = f"{sum(run.status['timings'].values()):.3g}"
    return shown


def volume_pictures(data: Data) -> list[str]:
    """Slices and histogram."""
    volume = data["volume"]
    if volume is None:
        return []
    numbers = f"minimum {float(volume['minimum']):.4g}, mean {float(volume['mean']):.4g}, " + (
        f"maximum {float(volume['maximum']):.4g} {volume['unit']}"
    )
    return [
        picture(lambda theme: slices.orthogonal(volume, theme), "Slices through the middle of the volume"),
        picture(lambda theme: slices.histogram(volume, theme), f"How often each value occurs: {numbers}"),
    ]


def truth_pictures(data: Data) -> list[str]:
    """Reconstruction, truth and difference, and a profile."""
    volume, truth = data["volume"], data["truth"]
    if volume is None or truth is None or "z" not in truth or truth["z"].shape != volume["z"].shape:
        return []
    return [
        picture(lambda theme: slices.against_truth(volume, truth, theme), "The middle slice and the simulated truth"),
        picture(lambda theme: slices.profile(volume, truth, theme), "Along the middle line of that slice"),
    ]


def convergence(metrics: list[dict[str, Any]]) -> list[str]:
    """Curves, and a table of a few iterations."""
    entries = [m for m in metrics if "iteration" in m]
    if not curves.curve_names(entries):
        return []
    every = np.unique(np.linspace(0, len(entries) - 1, TABLE_ROWS).round().astype(int))
    names = list(dict.fromkeys(name for m in entries for name in m))
    rows = [[entries[i].get(name) for name in names] for i in every]
    return [picture(lambda theme: curves.convergence(entries, theme), "Metrics per iteration"), table(names, rows)]


def reproduce(run: Run, env: Mapping[str, Any]) -> str:
    """Commands that make the same volume again."""
    first = f"# as it was started, in {env.get('folder', '')}\n{shlex.join(env.get('command', []))}"
    return f"{first}\n\n# the same again\ntomodiff run {shlex.quote(str(run.path / 'config.yml'))} --out NEW"


def provenance(run: Run, env: Mapping[str, Any]) -> dict[str, Any]:
    """Who, what, where, with which versions."""
    machine = env.get("machine", {})
    rows: dict[str, Any] = {"volume": str(run.volume_path)}
    for role, entry in env.get("inputs", {}).items():
        rows[role] = f"{entry['path']} ({entry['bytes']} bytes)"
        rows[f"{role}, SHA-256"] = entry["sha256"]
    rows |= {"tomodiff": env.get("tomodiff"), "git": env.get("git"), "Python": env.get("python")}
    rows |= env.get("packages", {})
    rows |= {name: machine.get(name) for name in ("host", "system", "processor", "isa", "cores", "threads")}
    rows |= {"device": env.get("device"), "seed": env.get("seed")}
    rows |= {name: env.get(name) for name in ("started", "ended")}
    rows["resumed"] = run.status.get("resumed")
    return {name: value for name, value in rows.items() if value not in (None, {}, [])}


def log_tail(path: Path) -> str:
    """The last lines of the log."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return folded("Log", code("\n".join(lines[-LOG_LINES:]))) if lines else ""
