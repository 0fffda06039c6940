"""What an installation has and can do, in lines that one can paste into a bug report."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path

import tomodiff


def diagnosis() -> dict[str, str]:
    """The whole report.  No part of it raises: what fails is written into its line."""
    parts: dict[str, Callable[[], str]] = {
        "tomodiff": _version,
        "Python": lambda: f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform,
        "processor": _processor,
        "memory": _memory,
        "packages": _packages,
        "CPU kernels": _cpu_kernels,
        "GPU": _gpu,
        "formats": _formats,
        "workflows": lambda: f"Snakemake {_present('snakemake')}",
        "sample scan": _sample,
    }
    return {name: _safely(part) for name, part in parts.items()}


def _safely(part: Callable[[], str]) -> str:
    try:
        return part()
    except Exception as error:  # a diagnosis must survive whatever it finds
        return f"FAILS: {type(error).__name__}: {error}"


def _version() -> str:
    from tomodiff.recipes.environment import revision

    folder = Path(tomodiff.__file__).resolve().parent
    commit = revision(folder)
    return f"{tomodiff.__version__} in {folder}" + (f", git {commit}" if commit else "")


def _processor() -> str:
    from tomodiff.recipes.environment import machine

    found = machine()
    threads = "".join(f", {name}={value}" for name, value in found["threads"].items())
    return f"{found['processor']}, {found['cores']} cores{threads}"


def _memory() -> str:
    from tomodiff.files.atomic import in_units
    from tomodiff.recipes.memory import free_bytes

    free = f"{in_units(free_bytes())} free"
    if not hasattr(os, "sysconf"):
        return free
    return f"{in_units(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))}, {free}"


def _packages() -> str:
    from tomodiff.recipes.environment import versions

    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _cpu_kernels() -> str:
    """Whether the kernels are there: shipped, cached or to be compiled."""
    from tomodiff import compile as build
    from tomodiff import kernels

    isa = kernels.cpu_isa()
    shipped = (kernels.SHIPPED / build.library_name(isa, "float32")).exists()
    loaded = kernels.library("float32")
    origin = "shipped" if shipped and str(kernels.SHIPPED) in loaded._name else f"compiled here ({loaded._name})"
    return f"{isa}, {origin}; compiler {shutil.which(os.environ.get('CXX', 'g++')) or 'missing'}"


def _gpu() -> str:
    """The first GPU as CuPy sees it."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install 'tomodiff[cuda12]')"
    import cupy

    if not cupy.cuda.is_available():
        return f"CuPy {cupy.__version__}, no usable GPU"
    device = cupy.cuda.runtime.getDeviceProperties(0)
    free, total = cupy.cuda.runtime.memGetInfo()
    name = f"{device['name'].decode()}, compute capability {device['major']}.{device['minor']}"
    driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    versions = f"CuPy {cupy.__version__}, driver {driver}, CUDA {runtime}"
    return f"{name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, {versions}"


def _formats() -> str:
    optional = {"NIfTI": "nibabel", "compressed HDF5 (blosc, bitshuffle)": "hdf5plugin", "packed TIFF": "imagecodecs"}
    found = ["HDF5", "TIFF", "MRC", "NumPy"]
    return ", ".join(found + [f"{name} ({_present(module)})" for name, module in optional.items()])


def _sample() -> str:
    from tomodiff.cli.demo.command import sample

    return str(sample("ct"))


def _present(module: str) -> str:
    return "installed" if importlib.util.find_spec(module) else f"not installed: pip install {module}"
