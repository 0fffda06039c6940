"""Compile `cuda_kernels/` with g++: one shared library for each instruction set and precision.

Standard library only: `setup.py` runs this file before the package can be imported.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

PRECISIONS = {"float32": "float", "float64": "double"}
ISA_FLAGS = {
    "v4": ["-march=x86-64-v4", "-mtune=generic", "-mprefer-vector-width=512"],
    "v3": ["-march=x86-64-v3", "-mtune=generic"],
    "v2": ["-march=x86-64-v2", "-mtune=generic"],
    "base": [],
}
# No -ffast-math: it would flip the denormal mode of the whole process.
FLAGS = ["-std=c++17", "-O3", "-fopenmp", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=fast"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wno-unknown-pragmas", "-Werror=double-promotion"]
KERNEL = re.compile(r"__global__\s+void\s+(\w+)\s*\((.*?)\)\s*\{", re.S)
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.M)


class CompilerMissing(RuntimeError):
    """No C++ compiler where one is needed."""


def sources(folder: Path) -> list[Path]:
    """The kernel files of `folder`, in the order in which they are compiled."""
    return sorted(folder.glob("*.cu"))


def source_hash(folder: Path) -> str:
    """A fingerprint of all that decides what a compiled library computes."""
    h = hashlib.sha256(repr((FLAGS, ISA_FLAGS)).encode())
    for path in sorted([*folder.glob("*.cu"), *folder.glob("*.cuh"), *folder.glob("*.h")]):
        h.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return h.hexdigest()[:24]


def expand(path: Path, seen: set[str] | None = None) -> str:
    """The text of a kernel file with our own headers put in place (once each), as CuPy's cache key needs."""
    seen = set() if seen is None else seen

    def insert(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in seen:
            return ""
        seen.add(name)
        return expand(path.parent / name, seen)

    return _INCLUDE.sub(insert, path.read_text()).replace("#pragma once", "")


def host_source(folder: Path, precision: str) -> str:
    """The one translation unit that g++ compiles: host.h, every kernel file, an entry point per kernel."""
    parts = ['#include "host.h"', f"#define real {PRECISIONS[precision]}"]
    names: list[str] = []
    for path in sources(folder):
        parts.append(f'#include "{path.name}"')
        names += [name for name, _ in KERNEL.findall(path.read_text())]
    parts += [f"HOST_EXPORT({name})" for name in names]
    parts.append(
        f'extern "C" __attribute__((visibility("default"))) const char tomodiff_source[] = "{source_hash(folder)}";'
    )
    return "\n".join(parts) + "\n"


def host_isas() -> list[str]:
    """The instruction sets to build for on this kind of machine, best first."""
    return ["v4", "v3", "v2"] if platform.machine() in ("x86_64", "AMD64") else ["base"]


_NEEDS = {"v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, "v3": {"avx2", "fma", "bmi2", "f16c"}}


@functools.cache
def native_isa() -> str:
    """The best instruction set of `host_isas` that this machine runs."""
    known = host_isas()
    if known == ["base"]:
        return "base"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    flags = set(next((line for line in lines if line.startswith("flags")), "").split())
    return next((isa for isa, needs in _NEEDS.items() if needs <= flags), "v2")


def wanted_isas() -> list[str]:
    """The instruction sets to build for now: all, or for TOMODIFF_ISAS=native that of this machine alone."""
    chosen = os.environ.get("TOMODIFF_ISAS", "all")
    if chosen not in ("all", "native"):
        raise ValueError(f"TOMODIFF_ISAS: expected all or native, got {chosen!r}")
    return host_isas() if chosen == "all" else [native_isa()]


def library_name(isa: str, precision: str) -> str:
    """The file name of a compiled library."""
    return f"kernels_{isa}_{precision}.so"


def compiler() -> str:
    """The C++ compiler: the environment's CXX, or g++."""
    cxx = os.environ.get("CXX", "g++")
    if shutil.which(cxx.split()[0]) is None:
        raise CompilerMissing(
            f"no C++ compiler `{cxx}` (install g++, for instance `apt-get install g++`, or set CXX), "
            "and no library compiled from these sources was shipped for this machine"
        )
    return cxx


def compile_library(folder: Path, target: Path, isa: str, precision: str, extra: tuple[str, ...] = ()) -> Path:
    """Compile all kernels of `folder` into the library `target`, which appears in one piece or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    os.close(handle)
    command = [*compiler().split(), *FLAGS, *ISA_FLAGS[isa], *extra, f"-I{folder}", "-x", "c++", "-", "-o", part]
    try:
        done = subprocess.run(command, input=host_source(folder, precision), text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"the kernels do not compile with `{' '.join(command)}`:\n{done.stderr}")
        os.chmod(part, 0o755)
        os.replace(part, target)  # atomic: many processes may race for one cache
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
    return target
