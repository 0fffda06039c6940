"""How a preparation step leaves its trace on a dataset: a line of history, numbers for the report, warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tomodiff.errors import ConfigError, DataError
from tomodiff.result import KINDS, Dataset

NEXT_STEP = {"counts": "Run flat_field first", "transmission": "Run minus_log first"}
"""What turns a dataset of one kind into the next."""


def record(
    dataset: Dataset, step: str, line: str, numbers: Mapping[str, Any] | None = None, warnings: Iterable[str] = ()
) -> Dataset:
    """The dataset with `line` in its history, `numbers` in meta["prepare"][step] and `warnings` in meta["warnings"].

    Numbers are plain (JSON) values.  Fields that are there already are kept; a step run twice keeps its last numbers.
    """
    prepare = {**dataset.meta.get("prepare", {}), step: dict(numbers or {})}
    found = [*dataset.meta.get("warnings", ()), *(f"{step}: {text}" for text in warnings)]
    meta = {**dataset.meta, "prepare": prepare}
    if found:
        meta["warnings"] = found
    return dataset.replace(meta=meta).noted(f"{step}: {line}")


def expect_kind(dataset: Dataset, step: str, *kinds: str) -> None:
    """Raise DataError unless the dataset is of one of these kinds."""
    if dataset.kind not in kinds:
        too_early = KINDS.index(dataset.kind) < max(KINDS.index(kind) for kind in kinds)
        hint = NEXT_STEP[dataset.kind] if too_early else ""
        raise DataError(source(dataset), f"kind, for {step}", " or ".join(kinds), dataset.kind, hint)


def source(dataset: Dataset) -> str:
    """What an error about this dataset calls it: its file where that is known."""
    return str(dataset.meta.get("source", dataset.meta.get("file", "dataset")))


def pixel_mm(dataset: Dataset, step: str) -> tuple[float, float]:
    """The size (v, u) of a detector pixel, for a step that needs it in mm.  DataError where it is not known,
    ConfigError for scans that have no single one."""
    pixel = getattr(dataset.scan, "pixel", None)
    if pixel is None:
        raise ConfigError(f"{step}: a {type(dataset.scan).__name__} scan has no single pixel size")
    if dataset.meta.get("pixel_unknown"):
        raise DataError(source(dataset), f"pixel size, for {step}", "one in mm", "none", "Give --pixel-mm")
    return pixel[0], pixel[1]
