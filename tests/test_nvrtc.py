"""Every kernel compiles for the GPUs of the last years, in registers alone, as NVRTC says without a GPU."""

from __future__ import annotations

import ctypes
import re
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tomodiff import compile as build
from tomodiff import kernels

pytestmark = pytest.mark.nvrtc

ARCHITECTURES = ("sm_75",)
"""Turing, the oldest that CUDA 13 knows."""
LATER = ("sm_80", "sm_90", "sm_100", "sm_120")
"""Ampere, Hopper, Blackwell for data centres and for desks."""

FILES = build.sources(kernels.FOLDER)
_ENTRY = re.compile(r"Compiling entry function '(\w+)' for '\w+'(.*?)(?=Compiling entry function|\Z)", re.S)
_MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


class Usage(NamedTuple):
    """What one kernel takes of a GPU: registers per thread, bytes of local memory."""

    registers: int
    stack: int
    spills: int


def nvrtc_library() -> ctypes.CDLL:
    """The compiler from NVIDIA's wheel for CUDA 12 or 13, or a skip."""
    for wheel in ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc"):
        try:
            files = metadata.files(wheel) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if re.fullmatch(r"libnvrtc\.so\.\d+", file.name):
                return ctypes.CDLL(str(file.locate()))
    pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc-cu12)")


@pytest.fixture(scope="session")
def nvrtc() -> ctypes.CDLL:
    return nvrtc_library()


class Compiled(NamedTuple):
    """NVRTC's return code, its log with that of ptxas, and the assembly."""

    code: int
    log: str
    ptx: str


def compile_for(nvrtc: ctypes.CDLL, source: str, name: str, architecture: str) -> Compiled:
    """Compile as CuPy does: to machine code, which brings ptxas in, and always with -ftz=true."""
    program = ctypes.c_void_p()
    given: list[Any] = [ctypes.byref(program), source.encode(), name.encode(), 0, None, None]
    assert nvrtc.nvrtcCreateProgram(*given) == 0
    options = [f"--gpu-architecture={architecture}", "-std=c++17", "-ftz=true", "--ptxas-options=-v"]
    code = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options)))
    texts = []
    for what in ("ProgramLog", "PTX"):
        size = ctypes.c_size_t()
        getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(max(size.value, 1))
        getattr(nvrtc, f"nvrtcGet{what}")(program, text)
        texts.append(text.value.decode())
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return Compiled(code, *texts)


def usage(log: str) -> dict[str, Usage]:
    """Every kernel's use of registers and local memory, from the log of ptxas."""
    table = {}
    for name, text in _ENTRY.findall(log):
        memory, registers = _MEMORY.search(text), re.search(r"Used (\d+) registers", text)
        assert memory is not None and registers is not None, f"{name}: ptxas said {text!r}"
        stack, stores, loads = map(int, memory.groups())
        table[name] = Usage(int(registers.group(1)), stack, stores + loads)
    return table


def show(path: Path, precision: str, found: dict[str, dict[str, Usage]]) -> None:
    """Print registers per thread: kernels down, architectures across."""
    print(f"\n{path.name}, {precision}: registers per thread")
    width = max(map(len, next(iter(found.values()))))
    print(" " * width, *(f"{a:>7}" for a in found))
    for kernel in sorted(next(iter(found.values()))):
        print(f"{kernel:{width}}", *(f"{found[a][kernel].registers:7d}" for a in found))


@pytest.mark.parametrize("architectures", [ARCHITECTURES, pytest.param(LATER, marks=pytest.mark.slow)], ids="+".join)
@pytest.mark.parametrize("precision", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_kernels_compile_without_spills(
    nvrtc: ctypes.CDLL, path: Path, precision: str, architectures: tuple[str, ...]
) -> None:
    """Prints the registers (pytest -rP shows them).  A literal without a type would make a float kernel compute in
    double, up to 64 times slower on a desktop GPU: there are none."""
    source = kernels.device_source(path, precision)
    declared = {name for name, (file, _) in kernels.signatures(precision).items() if file == path}
    found: dict[str, dict[str, Usage]] = {}
    for architecture in architectures:
        made = compile_for(nvrtc, source, path.name, architecture)
        assert made.code == 0, f"{path.name} does not compile for {architecture}:\n{made.log}"
        found[architecture] = usage(made.log)
        assert set(found[architecture]) == declared
        assert precision == "float64" or not doubles(made.ptx)
    show(path, precision, found)
    local = {(a, k): u for a, table in found.items() for k, u in table.items() if u.stack or u.spills}
    assert not local, f"local memory in use: {local}"


def test_a_kernel_with_local_memory_is_recognised(nvrtc: ctypes.CDLL) -> None:
    """An array with a run-time index needs a stack frame."""
    source = """extern "C" __global__ void wasteful(float* x, int n) {
        float a[64];
        for (int i = 0; i < n; ++i) a[(i * n) % 64] = x[i];
        x[0] = a[n % 64];
    }"""
    made = compile_for(nvrtc, source, "wasteful.cu", "sm_80")
    assert made.code == 0
    assert usage(made.log)["wasteful"].stack >= 256


def doubles(ptx: str) -> set[str]:
    """The instructions of an assembly that work on float64."""
    return set(re.findall(r"\b\w+(?:\.\w+)*\.f64\b", ptx))


def test_double_precision_is_recognised(nvrtc: ctypes.CDLL) -> None:
    source = 'extern "C" __global__ void careless(float* x) { x[0] = 0.1 * x[0]; }'
    assert doubles(compile_for(nvrtc, source, "careless.cu", "sm_80").ptx)
