"""Where the results of a job go: the settings that all kinds have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.section import Section

SUFFIXES = MappingProxyType(
    {".h5": "h5", ".hdf5": "h5", ".tif": "tiff", ".tiff": "tiff", ".mrc": "mrc", ".nii": "nii", ".nii.gz": "nii.gz"}
    | {".mha": "mha", ".nrrd": "nrrd", ".npy": "npy", ".zarr": "zarr", ".dcm": "dcm"}
)
"""The suffix of a volume file and its format."""


def volume_suffix(path: Path) -> str:
    """The suffix that says what kind of file `path` is, "" where it has none."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


class Output(Section):
    """Where results go."""

    path: fields.File = Field(
        default=Path("reconstruction"), description="volume file, or (without suffix) the folder of the whole run"
    )
    format: fields.Format | None = Field(
        default=None, description="h5, tiff, tiffs, mrc, nii, nii.gz, mha, nrrd, npy, zarr or dcm"
    )
    checkpoint_every: fields.Count | None = Field(default=None, description="iterations between checkpoints")
    checkpoint_seconds: fields.Duration | None = Field(default=60.0, description="seconds between checkpoints")
    overwrite: fields.Switch = Field(default=False, description="replace an earlier run at the same place")
    report: fields.Switch = Field(default=True, description="write report.html")

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        path, form = given.get("path", ""), given.get("format")
        suffix = volume_suffix(Path(path)) if isinstance(path, str | Path) else ""
        if suffix and suffix not in SUFFIXES:
            yield "path", f"expected a name that ends in {' '.join(SUFFIXES)}, or a folder without suffix, got {path}"
        elif suffix and form not in (None, SUFFIXES[suffix]):
            yield "format", f"{form} does not fit {path}"

    name: ClassVar[str] = "volume"
    default_format: ClassVar[str] = "h5"
    """Of a volume in the folder of its run."""

    @property
    def is_file(self) -> bool:
        """Whether `path` names the volume's file, and not the folder of the run."""
        return bool(volume_suffix(self.path))
