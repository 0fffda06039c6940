"""Draw docs/images/sample.png from the folder that `tomodiff demo` wrote: truth, FDK and FISTA-TV side by side."""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

import tomodiff
from tomodiff.files import read_truth
from tomodiff.prepare import prepare
from tomodiff.report.truth import on_grid


def main(run: Path) -> None:
    """Draw the middle slices."""
    root = Path(__file__).resolve().parent.parent.parent
    sample = root / "datasets" / "ct_sample.h5"
    volume, grid, _ = tomodiff.read_volume(run / "volume.h5")
    data, _ = prepare(tomodiff.read(sample), rings="normal")
    pictures = {
        "truth": on_grid(read_truth(sample), grid),
        "FDK": tomodiff.fdk(data.data, data.scan, grid),
        "FISTA-TV": volume,
    }
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    axes = figure.subplots(1, 3)
    high = float(pictures["truth"].max())
    for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
        image = ax.imshow(picture[len(picture) // 2], cmap="gray", vmin=0, vmax=high, origin="lower")
        ax.set_title(name)
        ax.set_axis_off()
    figure.colorbar(image, ax=axes, label="attenuation (1/mm)", shrink=0.85)
    figure.savefig(Path(__file__).with_name("sample.png"), dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
