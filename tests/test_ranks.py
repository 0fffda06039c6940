"""Several processes at one problem, started for real: sums, solvers, whole jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.rank_jobs import (
    REPOSITORY,
    make_scans,
    reconstruct,
    started,
    under_ranks,
)
from tomodiff.cli.main import main
from tomodiff.errors import ConfigError, MemoryNeeded
from tomodiff.geometry import ConeBeam, ParallelBeam, fit_grid
from tomodiff.ranks import Comm, world
from tomodiff.recipes.config_file import settings_from
from tomodiff.recipes.ct import rank_slabs
from tomodiff.recipes.ct.memory import required_bytes
from tomodiff.recipes.memory import LIBRARIES_BYTES, USABLE

pytestmark = pytest.mark.mpi


def program(name: str, n: int, folder: Path) -> dict[str, Any]:
    done = under_ranks(n, "-m", "tests.rank_programs", name, folder, cwd=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def test_a_process_alone_is_a_comm_of_one(rng: np.random.Generator) -> None:
    comm, x = Comm(), rng.random(3)
    assert comm.leads and comm.size == 1 and comm.sum(x, (2.0,)) == (x, (2.0,)) and comm.total(3.0) == 3.0
    assert comm.collect("a") == ["a"] and comm.any(True) and comm.share(5) == 5
    assert comm.exchange([x])[0] is x


def test_processes_that_do_not_see_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    code = "import os; os.environ['SLURM_STEP_NUM_TASKS'] = '2'\nfrom tomodiff.ranks import world\nworld()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode and "ConfigError: 2 processes were started, but MPI sees each alone" in done.stderr
    world.cache_clear()
    monkeypatch.setenv("PMI_SIZE", "3")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ConfigError, match=r"3 processes.*tomodiff\[mpi\]"):
        world()
    world.cache_clear()


@started
def test_sums_keep_double_precision_beside_single(tmp_path: Path) -> None:
    found = program("sums", 3, tmp_path)
    for dtype in ("float32", "float64", "complex64"):
        a, b, first, second = found[dtype]
        assert (a, b) == (36.0, 240.0)
        assert first == pytest.approx(4.0, rel=1e-14) and second == pytest.approx(-3e-7, rel=1e-14)
    assert found["infinite"] and found["exchange"] and found["any"] == [True, False] and found["total"] == 4.5


@started
@pytest.mark.parametrize("n", [2, 3])
def test_solvers_do_not_know_of_ranks(n: int, tmp_path: Path) -> None:
    found = program("solvers", n, tmp_path)
    assert found["adjoint"] < 1e-13
    for name in ("cgls", "sirt", "fista", "lbfgsb"):
        assert found[name] < 1e-8 and found[f"{name} agrees"], found
    again = program("solvers", n, tmp_path)
    assert again == found  # to the bit: the digests are part of it


@started
def test_a_checkpoint_has_a_part_for_every_rank(tmp_path: Path) -> None:
    found = program("checkpoints", 3, tmp_path)
    assert found == {"same": [True] * 3, "others keep less": True}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.json", "state", "state.rank1", "state.rank2"]


@started
def test_ranks_go_on_from_the_newest_checkpoint_that_all_have(tmp_path: Path) -> None:
    assert program("checkpoints", 2, tmp_path) == {"same": [True] * 2, "others keep less": True}


@started
@pytest.mark.parametrize("n", [2, 3])
def test_slabs_of_a_volume_are_projected_as_the_whole(n: int, tmp_path: Path) -> None:
    found = program("slabs", n, tmp_path)
    assert found["forward"] < 1e-11 and found["adjoint"] < 1e-11 and found["dot"] < 1e-12, found


@started
def test_an_error_of_one_rank_ends_all(tmp_path: Path) -> None:
    job = under_ranks(3, "-m", "tests.rank_programs", "fails", tmp_path, cwd=REPOSITORY, background=True)
    _, said = job.communicate(timeout=60)  # a hang otherwise: the others wait at a barrier
    assert job.returncode == 3
    assert "rank 2: error: scan.h5: projections: expected numbers, found a hole" in said


# ---- whole jobs


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_scans(tmp_path_factory.mktemp("scans"))


@started
@pytest.mark.parametrize(
    ("kind", "method"),
    [("cone", "fdk"), ("parallel", "fbp"), ("cone", "cgls"), ("cone", "sirt"), ("cone", "fista-tv"),
     ("parallel", "fista-tv")],
)  # fmt: skip
def test_ranks_give_the_volume_of_one(kind: str, method: str, scans: dict[str, Path], tmp_path: Path) -> None:
    more = ["-m", method] + ([] if method in ("fbp", "fdk") else ["--iterations", "6", "--tolerance", "0"])
    if method == "fista-tv":
        more += ["--tv-weight", "0.002"]
    one = reconstruct(1, scans[kind], tmp_path / "one.npy", *more)
    two = reconstruct(2, scans[kind], tmp_path / "two.npy", *more, "--set", "reconstruction.across_ranks=views")
    assert np.linalg.norm(two - one) < 2e-5 * np.linalg.norm(one)


@started
def test_slices_of_a_parallel_beam_are_shared_out(scans: dict[str, Path], tmp_path: Path) -> None:
    """Each rank those of its rows, in parts that fit; the axis and the stripes are those of the whole."""
    corrections = ["--rings", "normal", "--flux", "off"]
    scan = ParallelBeam(np.linspace(0, np.pi, 40, endpoint=False), (20, 32), (1.0, 1.0))  # four rows and their margins
    needed = required_bytes("fbp", scan, fit_grid(scan), 20) / USABLE
    memory = ["--set", f"reconstruction.memory_gb={(LIBRARIES_BYTES + 2.05 * needed) / 1e9}"]
    one = reconstruct(1, scans["parallel"], tmp_path / "one.npy", corrections=corrections)
    two = reconstruct(2, scans["parallel"], tmp_path / "two.npy", *memory, corrections=corrections)
    assert np.linalg.norm(two - one) < 1e-6 * np.linalg.norm(one)
    told = (tmp_path / "two.run" / "status.json").read_text()
    assert json.loads(told)["facts"]["across_ranks"] == "rows", told


@started
@pytest.mark.parametrize(("kind", "method"), [("cone", "fdk"), ("cone", "cgls"), ("parallel", "sirt")])
def test_a_volume_in_slabs_is_the_whole(kind: str, method: str, scans: dict[str, Path], tmp_path: Path) -> None:
    more = ["-m", method] + ([] if method == "fdk" else ["--iterations", "6", "--tolerance", "0"])
    one = reconstruct(1, scans[kind], tmp_path / "one.npy", *more)
    two = reconstruct(2, scans[kind], tmp_path / "two.npy", *more, "--set", "reconstruction.across_ranks=slabs")
    assert np.linalg.norm(two - one) < 2e-5 * np.linalg.norm(one)
    assert json.loads((tmp_path / "two.run" / "status.json").read_text())["facts"]["across_ranks"] == "slabs"


class Pair(Comm):
    """The first of two ranks on one computer."""

    size = 2

    def collect(self, value: Any) -> list[Any]:
        return [value, value]


def test_a_volume_that_does_not_fit_goes_in_slabs(
    scans: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(free: float, method: str = "cgls", how: str = "auto") -> bool:
        given = {"input.path": str(scans["cone"]), "output.path": "v", "reconstruction.method": method}
        given["reconstruction.across_ranks"] = how
        settings = settings_from({name: (value, name) for name, value in given.items()})
        run: Any = SimpleNamespace(comm=Pair())
        monkeypatch.setattr(rank_slabs, "free_bytes", lambda most: 2 * free / rank_slabs.USABLE)
        return rank_slabs.wants_slabs(settings, method, scan, grid, 0, run)

    scan = ConeBeam(np.linspace(0, 6, 50), 400.0, 600.0, (100, 100), 1.5)
    grid, own = fit_grid(scan), scan[::2]
    whole, half = (required_bytes("cgls", own, g) for g in (grid, grid[: grid.shape[0] // 2]))
    assert not asked(whole) and asked(0.95 * whole) and asked(2 * whole, how="slabs")
    assert asked(1e12, "fdk", how="slabs")  # where the correction takes most, either way
    with pytest.raises(MemoryNeeded, match="more nodes"):
        asked(0.95 * half)
    with pytest.raises(MemoryNeeded):
        asked(0.95 * whole, how="views")
    with pytest.raises(ConfigError, match="fista-tv has no slabs"):
        asked(1000, "fista-tv")


@started
def test_corrections_are_shared_out_too(scans: dict[str, Path], tmp_path: Path) -> None:
    """With the axis found, rings filtered and the flux set: rows know less of each other, so within the noise."""
    one = reconstruct(1, scans["cone"], tmp_path / "one.npy", corrections=[])
    two = reconstruct(2, scans["cone"], tmp_path / "two.npy", corrections=[])
    assert np.linalg.norm(two - one) < 0.03 * np.linalg.norm(one)
    facts = json.loads((tmp_path / "two.run" / "status.json").read_text())["facts"]
    assert facts["center"] == pytest.approx(15.5, abs=0.5)


@started
def test_settings_errors_come_once_and_no_hang(scans: dict[str, Path], tmp_path: Path) -> None:
    done = under_ranks(2, "-m", "tomodiff", "ct", "reconstruct", scans["cone"], "-m", "fbp", "-o", tmp_path / "v.npy",
                       cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("fbp is for parallel beam") == 1
    done = under_ranks(2, "-m", "tomodiff", "ct", "reconstruct", tmp_path / "absent.h5", "-o", tmp_path / "v.npy",
                       cwd=tmp_path)  # fmt: skip
    assert done.returncode != 0 and done.stderr.count("absent.h5") >= 1
    done = under_ranks(2, "-m", "tomodiff", "ct", "reconstruct", scans["cone"], "-o", tmp_path / "v.npy", "--set",
                       "reconstruction.across_ranks=rows", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("rows are for fbp") == 1
    done = under_ranks(2, "-m", "tomodiff", "ct", "reconstruct", scans["cone"], "-m", "os-sart", "-o",
                       tmp_path / "v.npy", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("os-sart is done by one process") == 1


# ---- terrain


@started
@pytest.mark.slow
def test_tiles_of_terrain_are_shared_out(tmp_path: Path) -> None:
    """Tiles are blended in their order: the map is the same to the bit."""
    sample = REPOSITORY / "datasets" / "terrain_sample"
    pytest.importorskip("rasterio", reason="rasterio is not installed")
    settings = {
        "job": "terrain-fit",
        "input": {"images": [str(p) for p in sorted(sample.glob("sun*.tif"))], "dem": str(sample / "dem.tif"),
                  "sun_angles": str(sample / "sun_angles.txt"), "image_exposures": 1},
        "fit": {"tile_size": 64, "tile_halo": 8, "max_iterations": 3, "errors": False},
        "output": {"report": False},
    }  # fmt: skip
    (tmp_path / "fit.yml").write_text(json.dumps(settings))
    given = ["-q", "run", str(tmp_path / "fit.yml")]
    assert main([*given, "-o", str(tmp_path / "one")]) == 0
    done = under_ranks(2, "-m", "tomodiff", *given, "-o", tmp_path / "two", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    maps = [next((tmp_path / name).glob("*DEM-final.tif")) for name in ("one", "two")]
    assert maps[0].read_bytes() == maps[1].read_bytes()
    done = under_ranks(
        2, "-m", "tomodiff", *given, "--set", "fit.tile_size=null", "-o", tmp_path / "whole", cwd=tmp_path
    )
    assert done.returncode == 2 and "--tile-size" in done.stderr
