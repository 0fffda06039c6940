"""The package as users get it: a wheel, an editable install, a clone on PYTHONPATH; with and without a compiler."""

from __future__ import annotations

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.kernel_folder import COMPILER_ENVIRONMENT, REPOSITORY
from tomodiff import compile as build

NOWHERE = "/nonexistent/bin/g++"
SKIPPED = shutil.ignore_patterns(
    ".git",
    ".venv*",
    ".*_cache",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    "*.so",
    "runs",
    "results",
    "shared",
    ".snakemake",
)
LAUNCH = """
import numpy as np, tomodiff
from tomodiff.objective.tv import TotalVariation
print(TotalVariation()(np.eye(3, dtype="float32")), tomodiff.__file__)
"""
VALUE = 4 + 2 * 2**0.5
"""The total variation of the 3 x 3 identity, by hand: four steps along one axis, two along both."""


LIBRARIES = REPOSITORY / "tomodiff" / "_lib"
"""What setting this checkout up compiled: taken where it is of these sources, or else compiled anew."""


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """An environment without settings of ours, whose home and cache are `home`."""
    kept = {k: v for k, v in os.environ.items() if k not in COMPILER_ENVIRONMENT and not k.startswith("TOMODIFF")}
    return {**kept, "HOME": str(home), **more}


def without_compiler(home: Path) -> dict[str, str]:
    """The environment of a machine that has no compiler, and no other program either."""
    return clean_environment(home, PATH=str(home), CXX=NOWHERE, TOMODIFF_NO_COMPILE="1")


def run(*command: str | Path, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and keep what it says."""
    return subprocess.run([str(c) for c in command], env=env, cwd=cwd, text=True, capture_output=True, timeout=900)


def succeed(*command: str | Path, env: dict[str, str], cwd: Path) -> str:
    """Run a command that must succeed; returns its output."""
    done = run(*command, env=env, cwd=cwd)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources alone, as in a fresh clone."""
    return shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("clone") / "tomodiff", ignore=SKIPPED)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips where packages cannot be fetched."""
    folder = tmp_path_factory.mktemp("probe")
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "typing-extensions")
    if run(*command, env=clean_environment(folder), cwd=folder).returncode:
        pytest.skip("no package index within reach of this Python's pip")


def make_environment(folder: Path) -> Path:
    """A new, empty virtual environment; returns its bin/."""
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python cannot make virtual environments (apt-get install python3-venv)")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder / "bin"


# ---- the wheel ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(index: None, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the source distribution of the tree, so that MANIFEST.in is complete."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("built")
    env = clean_environment(folder, TOMODIFF_PREBUILT=str(LIBRARIES), TOMODIFF_ISAS="native")
    succeed(sys.executable, "-m", "build", "--outdir", folder, tree, env=env, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an empty environment, outside of the repository, into which the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    bin_ = make_environment(folder / "venv")
    succeed(bin_ / "python", "-m", "pip", "install", "--quiet", wheel, env=clean_environment(folder), cwd=folder)
    return bin_


@pytest.mark.slow
@pytest.mark.wheel
class TestWheel:
    def test_it_fits_every_python_on_this_machine(self, wheel: Path) -> None:
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        assert wheel.name.endswith(f"-py3-none-{platform}.whl")

    def test_it_holds_libraries_sources_samples_and_workflows(self, wheel: Path, tree: Path) -> None:
        names = set(zipfile.ZipFile(wheel).namelist())
        expected = {f"tomodiff/_lib/{build.library_name(build.native_isa(), real)}" for real in build.PRECISIONS}
        for folder in ("cuda_kernels", "datasets", "workflows"):
            files = [p for p in (tree / folder).rglob("*") if p.is_file()]
            expected |= {f"tomodiff/{p.relative_to(tree)}" for p in files}
        expected |= {str(p.relative_to(tree)) for p in (tree / "tomodiff").rglob("*.py")}
        expected |= {str(p.relative_to(tree)) for p in (tree / "tomodiff" / "live" / "static").iterdir()}
        expected.add("tomodiff/napari_plugin/napari.yaml")
        assert not expected - names
        strange = {n for n in names - expected if ".dist-info/" not in n}
        assert not strange, f"unexpected in the wheel: {sorted(strange)}"

    @pytest.mark.parametrize("precision", build.PRECISIONS)
    def test_kernels_run_without_a_compiler(self, installed: Path, tmp_path: Path, precision: str) -> None:
        smoke = shutil.copy(REPOSITORY / "tests" / "kernel_smoke.py", tmp_path)
        said = succeed(
            installed / "python", smoke, precision, tmp_path / "out.npz", env=without_compiler(tmp_path), cwd=tmp_path
        )
        assert "results of" in said

    @pytest.mark.slow  # tests/test_cli_ct.py runs it too
    def test_the_demo_runs_without_a_compiler(self, installed: Path, tmp_path: Path) -> None:
        if not list((REPOSITORY / "datasets").rglob("*.h5")):
            pytest.skip("datasets/ holds no sample scan yet")
        succeed(installed / "tomodiff", "demo", env=without_compiler(tmp_path), cwd=tmp_path)
        assert list(tmp_path.rglob("report.html"))

    def test_help_is_there(self, installed: Path, tmp_path: Path) -> None:
        assert "demo" in succeed(installed / "tomodiff", "--help", env=without_compiler(tmp_path), cwd=tmp_path)

    def test_requirements_agree(self, installed: Path, tmp_path: Path) -> None:
        succeed(installed / "python", "-m", "pip", "check", env=clean_environment(tmp_path), cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.wheel
@pytest.mark.skipif(build.host_isas() == ["base"], reason="one library on this kind of machine")
def test_a_wheel_runs_on_every_machine_of_its_kind(index: None, tree: Path, tmp_path: Path) -> None:
    """As it is published: with a library for each instruction set, of which the oldest runs everywhere."""
    env = clean_environment(tmp_path, TOMODIFF_PREBUILT=str(LIBRARIES))
    succeed(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, tree, env=env, cwd=tmp_path)
    (made,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(made).namelist())
    isas = build.host_isas()
    assert {f"tomodiff/_lib/{build.library_name(isa, real)}" for isa in isas for real in build.PRECISIONS} <= names
    bin_ = make_environment(tmp_path / "venv")
    succeed(bin_ / "python", "-m", "pip", "install", "--quiet", made, env=clean_environment(tmp_path), cwd=tmp_path)
    env = {**without_compiler(tmp_path), "TOMODIFF_ISA": isas[-1]}
    value, place = succeed(bin_ / "python", "-c", LAUNCH, env=env, cwd=tmp_path).split()
    assert float(value) == pytest.approx(VALUE, rel=1e-6) and place.startswith(str(bin_.parent))


# ---- other ways in ------------------------------------------------------------------------------------


@pytest.mark.wheel
@pytest.mark.slow
def test_an_editable_install_finds_its_kernels(index: None, tree: Path, tmp_path: Path) -> None:
    edited = shutil.copytree(tree, tmp_path / "edited")
    bin_ = make_environment(tmp_path / "venv")
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (site / "requirements.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # those of this environment
    env = clean_environment(tmp_path, TOMODIFF_PREBUILT=str(LIBRARIES), TOMODIFF_ISAS="native")
    succeed(
        bin_ / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--editable", edited, env=env, cwd=tmp_path
    )
    value, place = succeed(bin_ / "python", "-c", LAUNCH, env=without_compiler(tmp_path), cwd=tmp_path).split()
    assert (float(value), place) == (pytest.approx(VALUE, rel=1e-6), str(edited / "tomodiff" / "__init__.py"))
    code = "from tomodiff import kernels; print(kernels.FOLDER, kernels.SHIPPED)"
    found = succeed(bin_ / "python", "-c", code, env=env, cwd=tmp_path).split()
    assert found == [str(edited / "cuda_kernels"), str(edited / "tomodiff" / "_lib")]


@pytest.mark.slow  # compiles a library; tests/test_kernels_cache.py compiles small ones
def test_a_clone_works_from_pythonpath(tree: Path, tmp_path: Path) -> None:
    env = clean_environment(tmp_path, PYTHONPATH=str(tree))
    value, place = succeed(sys.executable, "-c", LAUNCH, env=env, cwd=tmp_path).split()
    assert (float(value), place) == (pytest.approx(VALUE, rel=1e-6), str(tree / "tomodiff" / "__init__.py"))
    assert list((tmp_path / ".cache" / "tomodiff").glob("*.so"))
    assert not list(tree.rglob("*.so")), "compiling on first use writes into the sources"


# ---- building -----------------------------------------------------------------------------------------


def test_building_without_a_compiler_says_what_to_do(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    env = clean_environment(tmp_path, CXX=NOWHERE)
    done = run(
        sys.executable, "setup.py", "-q", "build_ext", "--build-lib", tmp_path, "-t", tmp_path, env=env, cwd=tree
    )
    assert done.returncode == 1
    for words in (f"no C++ compiler `{NOWHERE}`", "apt-get install g++", "TOMODIFF_PURE=1"):
        assert words in done.stderr


def test_a_package_without_libraries_can_be_asked_for(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    copy = shutil.copytree(tree, tmp_path / "tree")
    env = clean_environment(tmp_path, CXX=NOWHERE, TOMODIFF_PURE="1")
    succeed(sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", tmp_path, env=env, cwd=copy)
    (made,) = tmp_path.glob("*.whl")
    assert made.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(made).namelist() if name.endswith(".so")]


def test_setup_cfg_lists_every_package() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(REPOSITORY / "setup.cfg")
    listed = config["options"]["packages"].split()
    folders = {p.parent.relative_to(REPOSITORY) for p in (REPOSITORY / "tomodiff").rglob("__init__.py")}
    mapped = dict(line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines())
    assert set(listed) == {".".join(folder.parts) for folder in folders} | set(mapped)
    for folder in mapped.values():
        assert (REPOSITORY / folder / "__init__.py").is_file()
