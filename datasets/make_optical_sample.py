"""Make the sample photographs in this folder: python -m datasets.make_optical_sample [FOLDER], in the repository.

Solids on a tray, traced with exact surfaces and shadows, nine places in each pixel.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tomodiff.simulate.photographs import PhotographSet, write_photographs

SAMPLE = PhotographSet(train=36, test=6, noise=0.004, seed=20261128)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    made = folder / "optical_sample"
    write_photographs(made, SAMPLE)
    size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
    print(f"{made}  {size / 1e6:.2f} MB")
