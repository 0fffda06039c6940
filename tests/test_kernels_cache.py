"""Compiling on first use: when, where, by whom, and what is said if it cannot be done."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.kernel_folder import DOUBLED, DRIVER, REPOSITORY, environment, make_package, run_python, runnable_isas
from tomodiff import compile as build
from tomodiff import kernels
from tomodiff.kernels import KernelError

NOWHERE = "/nonexistent/bin/g++"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


# ---- what is compiled when ----------------------------------------------------------------------------


def test_kernels_compile_once_and_are_cached(package: Path, cache: Path, tmp_path: Path) -> None:
    first = run_python(DRIVER, environment(package, cache), tmp_path)
    assert (first.stdout, first.returncode) == (DOUBLED, 0), first.stderr
    (made,) = cache.rglob("*")
    assert made.suffix == ".so" and build.source_hash(package / "cuda_kernels") in made.name
    again = run_python(DRIVER, environment(package, cache, CXX=NOWHERE), tmp_path)
    assert (again.stdout, again.returncode) == (DOUBLED, 0), again.stderr


def test_edited_sources_are_never_run_from_an_old_library(cache: Path, tmp_path: Path) -> None:
    package = make_package(tmp_path / "package")
    source = package / "cuda_kernels" / "scale.cu"
    shipped = package / "tomodiff" / "_lib" / build.library_name(kernels.cpu_isa(), "float32")
    build.compile_library(source.parent, shipped, kernels.cpu_isa(), "float32")
    forbidden = environment(package, cache, TOMODIFF_NO_COMPILE="1")
    fresh = run_python(DRIVER, forbidden, tmp_path)
    assert (fresh.stdout, fresh.returncode) == (DOUBLED, 0), fresh.stderr

    source.write_text(source.read_text().replace("factor * x[i]", "factor * x[i] + (real)1"))
    stale = run_python(DRIVER, forbidden, tmp_path)
    assert stale.returncode == 1
    assert f"{shipped} was not built from these sources" in stale.stderr
    edited = run_python(DRIVER, environment(package, cache), tmp_path)
    assert edited.stdout == "[1.0, 3.0, 5.0, 7.0, 9.0]\n", edited.stderr


def test_a_header_is_a_source_too(package: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cuda_kernels"
    folder.mkdir()
    for path in (package / "cuda_kernels").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    before = build.source_hash(folder)
    assert before == build.source_hash(package / "cuda_kernels")
    (folder / "lane.cuh").write_text((folder / "lane.cuh").read_text() + "\n")
    assert build.source_hash(folder) != before


def test_two_processes_may_compile_at_once(package: Path, cache: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER]
    env = environment(package, cache)
    racers = [
        subprocess.Popen(command, env=env, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for racer in racers:
        out, error = racer.communicate(timeout=300)
        assert (out, racer.returncode) == (DOUBLED, 0), error
    assert [path.suffix for path in cache.rglob("*")] == [".so"], "half-written files stay behind"


def test_a_failed_compilation_shows_the_compiler_message_and_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    package = make_package(tmp_path / "package")
    source = package / "cuda_kernels" / "scale.cu"
    source.write_text(source.read_text().replace("factor * x[i]", "factr * x[i]"))
    done = run_python(DRIVER, environment(package, cache), tmp_path)
    assert done.returncode == 1
    assert "the kernels do not compile with" in done.stderr and "scale.cu" in done.stderr and "factr" in done.stderr
    assert not list(cache.rglob("*"))


def test_without_a_compiler_the_message_says_what_to_install(package: Path, cache: Path, tmp_path: Path) -> None:
    done = run_python(DRIVER, environment(package, cache, CXX=NOWHERE), tmp_path)
    assert done.returncode == 1
    assert "KernelError" in done.stderr
    for words in (NOWHERE, "apt-get install g++", "set CXX"):
        assert words in done.stderr


# ---- where it is kept: code is loaded from there ------------------------------------------------------


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_cache_that_others_may_write_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)
    monkeypatch.setenv("TOMODIFF_CACHE", str(tmp_path))
    with pytest.raises(KernelError, match=f"no safe folder for compiled kernels: {tmp_path} .*set TOMODIFF_CACHE"):
        kernels.cache_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a folder of somebody else")
def test_a_cache_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    monkeypatch.setenv("TOMODIFF_CACHE", str(tmp_path))
    with pytest.raises(KernelError, match="no safe folder"):
        kernels.cache_folder()


def test_the_cache_is_private_whatever_the_umask(package: Path, tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache"
    code = f"import os\nos.umask(0)\n{DRIVER}"
    done = run_python(code, environment(package, cache), tmp_path)
    assert (done.stdout, done.returncode) == (DOUBLED, 0), done.stderr
    for path in (cache, *cache.rglob("*")):
        assert not path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH), f"{path} is open to others"


def test_the_users_cache_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TOMODIFF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.cache_folder() == tmp_path / "tomodiff"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kernels.cache_folder() == tmp_path / ".cache" / "tomodiff"


def test_without_a_home_a_private_temporary_folder_serves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.delenv("TOMODIFF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert kernels.cache_folder() == tmp_path / f"tomodiff-{os.getuid()}"
    assert stat.S_IMODE((tmp_path / f"tomodiff-{os.getuid()}").stat().st_mode) == 0o700


# ---- which instructions, how many threads -------------------------------------------------------------


def results(precision: str, tmp_path: Path, **env: str) -> dict[str, np.ndarray]:
    """What tests/kernel_smoke.py computes under some environment variables."""
    out = tmp_path / "results.npz"
    command = [sys.executable, str(REPOSITORY / "tests" / "kernel_smoke.py"), precision, str(out)]
    full = {**os.environ, "PYTHONPATH": str(REPOSITORY), **env}
    done = subprocess.run(command, env=full, cwd=tmp_path, text=True, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"isa {env.get('TOMODIFF_ISA', kernels.cpu_isa())}" in done.stdout
    with np.load(out) as file:
        return dict(file)


@pytest.mark.slow  # a checkout's set-up compiles for its own machine alone
@pytest.mark.parametrize("precision", build.PRECISIONS)
def test_instruction_sets_agree_to_rounding(precision: str, tmp_path: Path) -> None:
    best, *others = runnable_isas()
    if not others:
        pytest.skip("this machine has one instruction set")
    expected = results(precision, tmp_path, TOMODIFF_ISA=best)
    # Sources stand up to 900 voxels away, so a coordinate and the weight made of it carry a few times 900 roundings.
    bound = 4 * 900 * float(np.finfo(precision).eps)
    for isa in others:
        found = results(precision, tmp_path, TOMODIFF_ISA=isa)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            error = np.abs(found[name] - value).max() / max(float(np.abs(value).max()), 1e-30)
            assert error <= bound, f"{name}: {isa} differs from {best} by {error:.1e}"


def test_the_number_of_threads_changes_no_bit(tmp_path: Path) -> None:
    alone, many = (results("float32", tmp_path, TOMODIFF_THREADS=n) for n in ("1", "3"))
    for name, value in alone.items():
        if not name.endswith("atomic"):  # sums in any order, which no CPU prefers
            assert (many[name] == value).all(), name


def test_unknown_instruction_sets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOMODIFF_ISA", "v9")
    with pytest.raises(KernelError, match=r"^TOMODIFF_ISA=v9: expected one of "):
        kernels.cpu_isa()


def test_a_forked_child_warns_and_computes_on_one_thread(package: Path, cache: Path, tmp_path: Path) -> None:
    """OpenMP does not survive a fork: on more threads the child would hang."""
    code = f"""{DRIVER}
import os, warnings
warnings.simplefilter("always")
child = os.fork()
if child == 0:
    with warnings.catch_warnings(record=True) as said:
        kernel("scale")((5,), (1,), (x, y, 5, 3))
    print(y.tolist(), *(w.message for w in said), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    done = run_python(code, environment(package, cache, TOMODIFF_THREADS="2"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{DOUBLED}[0.0, 3.0, 6.0, 9.0, 12.0] this process was forked")
    assert "one thread" in done.stdout and "spawn" in done.stdout
