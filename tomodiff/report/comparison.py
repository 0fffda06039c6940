"""Two runs beside each other: which settings differ, what each found, how each converged, and their volumes."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.report import curves, slices
from tomodiff.report.page import page, picture, section, table
from tomodiff.report.run_report import highlights

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

Rows = list[tuple[str, Any, Any]]
NOT_COMPARED = ("output.path", "output.overwrite", "output.report")
"""Settings that say where results go, not what they are."""


def differing(one: Run, other: Run) -> Rows:
    """The settings that are not the same: dotted name, and the value of each; None where it has none."""
    first, second = (_flat(run.settings.as_dict()) for run in (one, other))
    names = [name for name in {**first, **second} if name not in NOT_COMPARED]
    return [(n, first.get(n), second.get(n)) for n in names if first.get(n) != second.get(n)]


def found(one: Run, other: Run) -> Rows:
    """The numbers to see first, the last of each metric, and the seconds in all, of both."""
    first, second = _numbers(one), _numbers(other)
    return [(name, first.get(name), second.get(name)) for name in {**first, **second}]


def apart(one: Run, other: Run) -> dict[str, float] | None:
    """How far the kept middle slices are apart: rms of the difference, the same over that of the first, and
    correlation; None where there are none, or they are of other shapes."""
    a, b = (run.report_data("volume") for run in (one, other))
    if a is None or b is None or any(a[axis].shape != b[axis].shape for axis in "zyx"):
        return None
    x, y = (np.concatenate([v[axis].ravel() for axis in "zyx"]).astype(np.float64) for v in (a, b))
    rms, size = float(np.sqrt(np.mean((x - y) ** 2))), float(np.sqrt(np.mean(x**2)))
    made = {"rms difference": rms, "relative to the first": rms / size if size else float("nan")}
    spread = np.std(x) * np.std(y)
    return {**made, "correlation": float(np.mean((x - x.mean()) * (y - y.mean())) / spread) if spread else float("nan")}


def comparison(one: Run, other: Run) -> str:
    """A page as text, self-contained."""
    names = [run.path.name for run in (one, other)]
    names = [str(run.path) for run in (one, other)] if names[0] == names[1] else names
    differences, volumes = differing(one, other), [run.report_data("volume") for run in (one, other)]
    metrics = {name: run.metrics() for name, run in zip(names, (one, other), strict=True)}
    distance = apart(one, other)
    return page(
        f"{names[0]} and {names[1]}",
        [
            f"<header><h1>{escape(names[0])} and {escape(names[1])}</h1></header>",
            section("Settings that differ", table(["setting", *names], differences) if differences else "<p>None.</p>"),
            section("What was found", table(["", *names], found(one, other))),
            section("Convergence", *(
                [picture(lambda theme: curves.both(metrics, theme), "Metrics of both, per iteration")]
                if curves.shared_names(metrics) else []
            )),
            section("Volumes", *(
                [picture(
                    lambda theme: slices.against_truth(volumes[0], volumes[1], theme, (names[0], names[1])),  # type: ignore[arg-type]
                    "The middle slice of both, and the first less the second",
                ), table(list(distance), [list(distance.values())])] if distance else []
            )),
        ],
    )  # fmt: skip


def _numbers(run: Run) -> dict[str, Any]:
    data = {name: run.report_data(name) for name in ("volume", "truth")}
    metrics = run.metrics()
    last = {k: v for k, v in (metrics[-1] if metrics else {}).items() if k not in curves.NOT_CURVES}
    state = {"state": run.status["state"], "warnings": len(run.warnings)}
    return {**state, **highlights(run, data, metrics), **last}


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings within settings by their dotted names."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        made |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return made
