"""Scans as folders of TIFF files, which every program reads, with our geometry beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from tomodiff.files.azimuth import azimuths
from tomodiff.files.tiff_scan import SIDECAR
from tomodiff.result import Dataset, Result


def write_tiff_scan(folder: Path, dataset: Dataset, truth: Result | None, compression: str | None) -> None:
    """Fill a folder with proj_00000.tif ..., flat_*, dark_*, angles.txt in degrees and geometry.yml.

    The truth goes to truth/truth.tif, pages from the lowest z up, its grid to truth/grid.yml.
    """
    import yaml

    codec = {None: None, "gzip": "zlib"}[compression]
    for prefix, frames in (("proj", dataset.data), ("flat", dataset.flats), ("dark", dataset.darks)):
        if frames is not None:
            for i, frame in enumerate(np.asarray(frames)):
                tifffile.imwrite(folder / f"{prefix}_{i:05d}.tif", frame, compression=codec, photometric="minisblack")
    lines = [f"{angle:.9g}\n" for angle in np.rad2deg(azimuths(dataset.scan))]
    (folder / "angles.txt").write_text("# degrees\n" + "".join(lines), encoding="utf-8")
    stored = {"scan": dataset.scan.to_dict(), "kind": dataset.kind, "meta": dataset.meta,
              "history": list(dataset.history)}  # fmt: skip
    (folder / SIDECAR).write_text(yaml.safe_dump(stored, sort_keys=False, default_flow_style=None), encoding="utf-8")
    if truth is not None:
        place = folder / "truth"
        place.mkdir()
        tifffile.imwrite(place / "truth.tif", np.asarray(truth.volume), photometric="minisblack")
        grid = {"grid": truth.grid.to_dict(), "quantity": truth.quantity, "unit": truth.unit}
        (place / "grid.yml").write_text(yaml.safe_dump(grid, sort_keys=False), encoding="utf-8")
