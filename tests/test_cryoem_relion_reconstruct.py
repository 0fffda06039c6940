"""Maps of noiseless images that RELION projected, beside relion_reconstruct's of the same images."""

from __future__ import annotations

import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from tests.conftest import Measured
from tests.cryoem_golden import relion
from tests.cryoem_toys import ball, blobs
from tomodiff.cli.main import main
from tomodiff.files.cryoem import read_map, write_particles
from tomodiff.geometry import poses
from tomodiff.particles import Optics, particles_of

needs_relion = pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")
N, PIXEL, COUNT = 64, 3.0, 600


@pytest.mark.relion
@needs_relion
@pytest.mark.parametrize("ctf", [pytest.param(False, id="plain", marks=pytest.mark.slow), pytest.param(True, id="CTF")])
def test_noiseless_projections_give_a_map_no_worse_than_theirs(ctf: bool, tmp_path: Path, measured: Measured) -> None:
    """Errors within the sphere that the images see, relative to the map.  Theirs with padding 2 and its gridding
    iterations; ours is the command's default but for the regularisation, which noiseless images do not need."""
    rng = np.random.default_rng(17)
    truth = blobs(17, 200, 0.3 * N * PIXEL, (1.6 * PIXEL, 2.5 * PIXEL)).volume(N, PIXEL)
    U = rng.uniform(8e3, 2e4, COUNT)
    particles = particles_of(
        np.zeros((COUNT, N, N), np.float32), poses.random_rotations(COUNT, rng), Optics(300.0, 2.7, 0.1, PIXEL),
        defocus=np.stack([U, U, 0 * U], 1), half=np.arange(COUNT) % 2 + 1,
    )  # fmt: skip
    mrcfile.write(tmp_path / "map.mrc", truth, voxel_size=PIXEL)
    write_particles(tmp_path / "in.star", particles, stack=tmp_path / "in.mrcs")
    with_ctf = ["--ctf"] if ctf else []
    relion(tmp_path, "relion_project", "--i", "map.mrc", "--ang", "in.star", "--o", "out", *with_ctf, "--angpix", PIXEL)
    same = ["--i", "out.star", "--o", "theirs.mrc", "--angpix", PIXEL, "--pad", 2, *with_ctf]
    relion(tmp_path, "relion_reconstruct", *same)
    given = ["-o", str(tmp_path / "ours.mrc"), "--regularise", "none", "--sharpen", "off", "--mask", "none"]
    given += [] if ctf else ["--ctf", "off"]
    assert main(["-q", "cryoem", "reconstruct", str(tmp_path / "out.star"), *given]) == 0
    inside = ball(N, 0.7)

    def error(name: str) -> float:
        made = read_map(tmp_path / name)[0]
        return float(np.linalg.norm((made - truth) * inside) / np.linalg.norm(truth * inside))

    ours, theirs = error("ours.mrc"), error("theirs.mrc")
    measured(
        "noiseless RELION projections, error of the map", "<= that of relion_reconstruct", ours=ours, theirs=theirs
    )
    assert ours <= theirs
