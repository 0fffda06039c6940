"""Compile the CPU kernels into the package: one library for each instruction set and precision.

Everything else about the package is declared in setup.cfg. TOMODIFF_PURE=1 leaves the libraries out; such a package
compiles its kernels when they are first used. TOMODIFF_PREBUILT names a folder of libraries that are taken, where they
were built from these sources, instead of compiling them again. TOMODIFF_ISAS=native builds for this machine alone, in a
third of the time.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
KERNELS = ROOT / "cuda_kernels"
LIBRARIES = "tomodiff._lib"


def load_compile() -> ModuleType:
    """tomodiff/compile.py on its own: the package cannot be imported yet, its requirements are not installed."""
    spec = importlib.util.spec_from_file_location("tomodiff_compile", ROOT / "tomodiff" / "compile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compile_ = load_compile()


def libraries() -> list[Extension]:
    """One entry for each library; its name carries the instruction set and the precision."""
    if os.environ.get("TOMODIFF_PURE") == "1":
        return []
    sources = [str(path.relative_to(ROOT)) for path in compile_.sources(KERNELS)]
    names = [compile_.library_name(isa, real) for isa in compile_.wanted_isas() for real in compile_.PRECISIONS]
    return [Extension(f"{LIBRARIES}.{name.removesuffix('.so')}", sources) for name in names]


class BuildKernels(build_ext):
    """Builds every library with tomodiff/compile.py, as many at a time as there are cores."""

    def finalize_options(self) -> None:
        """Take all cores unless the command line says otherwise."""
        super().finalize_options()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.parallel = self.parallel or cores

    def run(self) -> None:
        """Build, or say at once what is missing."""
        try:
            if self.extensions:
                compile_.compiler()
        except compile_.CompilerMissing as error:
            sys.exit(f"tomodiff: {error}.\nTOMODIFF_PURE=1 installs without compiled kernels.")
        super().run()

    def get_ext_filename(self, fullname: str) -> str:
        """Plain shared libraries, loaded by ctypes: no Python version in the name."""
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extension(self, ext: Extension) -> None:
        """One g++ run, or a copy of what was built earlier from the same sources."""
        name = ext.name.rpartition(".")[2]
        _, isa, precision = name.split("_")
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        earlier = Path(os.environ.get("TOMODIFF_PREBUILT") or ROOT / "tomodiff" / "_lib") / f"{name}.so"
        fingerprint = compile_.source_hash(KERNELS).encode()
        if earlier.is_file() and earlier != target and fingerprint in earlier.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(earlier, target)
        else:
            compile_.compile_library(KERNELS, target, isa, precision)


class AnyPythonWheel(bdist_wheel):
    """The libraries depend on the machine, not on the version of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """py3-none-<platform>."""
        platform = super().get_tag()[2]
        return "py3", "none", platform


setup(cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPythonWheel}, ext_modules=libraries())
