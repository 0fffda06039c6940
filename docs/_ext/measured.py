"""Tables of the stored measurements: of every benchmark its last record for each thing measured, as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TITLES = {
    "ct_projectors": "CT projectors",
    "ct_projectors_gpu": "CT projectors on a GPU",
    "analytic": "Closed-form inverses and the preparation",
    "total_variation": "Total variation",
    "out_of_core": "Volumes larger than memory",
    "ranks": "Several processes",
    "cryoem_projectors": "Projections of particles",
    "terrain_gradient": "Gradients of terrain",
    "nufft": "Non-uniform FFTs",
    "radiance": "Radiance fields",
    "optical": "Scenes from photographs",
    "priors": "Learnt priors",
    "distillation": "Score distillation",
}
ABOUT = {
    "commit", "date", "machine", "system", "device", "threads", "isa", "load", "reps", "quick", "command", "versions",
    "version", "test", "voxels", "projections", "goals", "met", "mism_gram", "difference",
}  # fmt: skip
"""Fields that say how a record was made, or more than a table can hold."""

NAMES = (
    "name",
    "what",
    "problem",
    "apart",
    "inner",
    "task",
    "scope",
    "padding",
    "program",
    "model",
    "walk",
    "case",
    "shadows",
    "dtype",
    "note",
    "half",
    "seed",
)
"""Fields that say what was measured."""


def pages(results: Path) -> dict[str, str]:
    """The benchmark page, and the numbers of quality that the page on validation includes."""
    parts = [
        "# Benchmarks\n\nEach table holds the last stored record of each thing measured, as the command above it wrote"
        " it into `workflows/benchmarks/results`. Machines are shared and noisy: trust ratios to a peer, which come "
        "from one run, and CPU seconds.\n"
    ]
    for stem, title in TITLES.items():
        records = _latest(results / f"{stem}.jsonl")
        if records:
            parts.append(f"\n## {title}\n{_tables(records)}")
    left = {path.stem for path in results.glob("*.jsonl")} - set(TITLES) - {"quality"}
    if left:
        raise ValueError(f"{', '.join(sorted(left))}: measured, but docs/_ext/measured.py has no title for it")
    return {"benchmarks.md": "".join(parts), "quality.md": _quality(_latest(results / "quality.jsonl"))}


def _latest(path: Path) -> list[dict[str, Any]]:
    """The last record of each thing measured, in the order of the file."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            key = tuple(str(record.get(name)) for name in (*NAMES, "test"))
            found.pop(key, None)
            found[key] = record
    return list(found.values())


def _tables(records: list[dict[str, Any]]) -> str:
    """A table for each set of records that one command wrote with the same fields on one day and machine."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for record in records:
        head = (_command(record), record["date"][:10], record["machine"], record["device"], str(record["threads"]))
        fields = tuple(key for key, value in record.items() if key not in ABOUT and value not in (None, "", [], {}))
        groups.setdefault((*head, *fields), []).append(record)
    text: list[str] = []
    said: tuple[str, ...] = ()
    for key, members in groups.items():
        if key[:5] != said:
            said = key[:5]
            command, date, machine, device, threads = said
            card = "" if device == "cpu" else f" with {device}"
            versions = "".join(f", {name} {number}" for name, number in (members[0].get("versions") or {}).items())
            text.append(f"\n`{command}`: {machine}{card}, {threads} threads, {date}{versions}\n")
        text.append(_table(members))
    return "".join(text)


def _command(record: dict[str, Any]) -> str:
    return str(record["command"]).split(" --results")[0].split(" --folder")[0]


def _table(records: list[dict[str, Any]]) -> str:
    fields = [key for key, value in records[0].items() if key not in ABOUT and value not in (None, "", [], {})]
    fields.sort(key=lambda key: NAMES.index(key) if key in NAMES else len(NAMES))
    rows = [fields, ["---"] * len(fields), *([_shown(record[key]) for key in fields] for record in records)]
    return "\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items())
    return str(value).replace("|", "\\|")


def _quality(records: list[dict[str, Any]]) -> str:
    """What `make quality` measured: the thing, the numbers, what was wanted, the test, the date."""
    rows = ["| what | measured | wanted | test | date |", "|---|---|---|---|---|"]
    for record in records:
        numbers = {
            key: value
            for key, value in record.items()
            if key not in ABOUT - {"difference"} | {"name", "wanted", "cpu_s", "wall_s"}
        }
        shown = ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in numbers.items())
        test = str(record.get("test", "")).split("[")[0].split("::")[0]
        rows.append(f"| {record['name']} | {shown} | {_shown(record['wanted'])} | `{test}` | {record['date'][:10]} |")
    return "\n".join(rows) + "\n"
