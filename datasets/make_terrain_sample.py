"""Make the sample terrain in this folder: python -m datasets.make_terrain_sample [FOLDER], in the repository.

A fractal surface with craters and patches of albedo, seen from above under four suns.  Images are made four times finer
than the map by formulas written out in `tomodiff.simulate.terrain`: no projector of this package takes part.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tomodiff.simulate.terrain_set import TerrainSet, write_terrain

SAMPLE = TerrainSet(seed=20261125)

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    for made in write_terrain(folder / "terrain_sample", SAMPLE):
        print(f"{made}  {made.stat().st_size / 1e6:.2f} MB")
