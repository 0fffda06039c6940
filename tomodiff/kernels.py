"""Launch the kernels of `cuda_kernels/` on a GPU (NVRTC through CuPy) or on CPU threads (g++).

`kernel(name, xp)` has the call signature of `cupy.RawKernel`, `k(grid, block, args)`, on both devices.
Every argument is checked against the kernel's own C signature: scalars are cast to the declared type,
arrays of another dtype, memory layout or device are refused by name.
"""

from __future__ import annotations

import ctypes
import functools
import getpass
import math
import os
import platform
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tomodiff import compile as build

_HERE = Path(__file__).resolve().parent
FOLDER = next(p for p in (_HERE / "cuda_kernels", _HERE.parent / "cuda_kernels") if p.is_dir())
SHIPPED = _HERE / "_lib"
_CTYPES = {"int": np.int32, "long long": np.int64}
MAX_GRID_YZ = 65535


class KernelError(TypeError):
    """A kernel was called with arguments that its C signature does not allow."""


class Parameter(NamedTuple):
    """One parameter of a kernel, from its C declaration."""

    name: str
    dtype: np.dtype
    pointer: bool
    const: bool


@functools.cache
def signatures(precision: str = "float32") -> dict[str, tuple[Path, tuple[Parameter, ...]]]:
    """Every kernel's file and parameters, `real` read as `precision`."""
    table: dict[str, tuple[Path, tuple[Parameter, ...]]] = {}
    for path in build.sources(FOLDER):
        for name, text in build.KERNEL.findall(path.read_text()):
            table[name] = (path, tuple(_parameter(p, precision, name) for p in text.split(",")))
    return table


def _parameter(text: str, precision: str, kernel_name: str) -> Parameter:
    *kind, name = text.replace("__restrict__", "").replace("*", " * ").split()
    base = " ".join(word for word in kind if word not in ("const", "*"))
    if base != "real" and base not in _CTYPES:
        raise KernelError(f"{kernel_name}: parameter `{name}` has type `{base}`; kernels take real, int and long long")
    return Parameter(name, np.dtype(_CTYPES.get(base, precision)), "*" in kind, "const" in kind)


def check(name: str, args: tuple[Any, ...], array_type: Any, precision: str) -> list[Any]:
    """Scalars cast to the declared types and arrays as they are, or KernelError naming the argument."""
    declared = signatures(precision)[name][1]
    if len(args) != len(declared):
        raise KernelError(
            f"{name} takes {len(declared)} arguments ({', '.join(p.name for p in declared)}), got {len(args)}"
        )
    checked: list[Any] = []
    for value, p in zip(args, declared, strict=True):
        if not p.pointer:
            checked.append(_scalar(name, p, value))
        elif value is None:
            checked.append(None)
        else:
            fits = isinstance(value, array_type) and value.dtype == p.dtype and value.flags.c_contiguous
            if not fits or (not p.const and isinstance(value, np.ndarray) and not value.flags.writeable):
                layout = "" if getattr(getattr(value, "flags", None), "c_contiguous", True) else " (not C-contiguous)"
                access = "" if p.const else "writeable "
                raise KernelError(
                    f"{name}: argument `{p.name}` must be a {access}C-contiguous {p.dtype} {array_type.__module__}."
                    f"{array_type.__name__}, got {type(value).__module__}.{type(value).__name__} "
                    f"{getattr(value, 'dtype', '')}{layout}"
                )
            checked.append(value)
    return checked


def _scalar(name: str, p: Parameter, value: Any) -> Any:
    """The number as the declared type; refuses what is no real number or does not fit it."""
    whole = p.dtype.kind == "i"
    number = float(value) if isinstance(value, (int, float, np.integer, np.floating)) else None
    if number is None or (whole and number % 1 != 0):
        raise KernelError(f"{name}: argument `{p.name}` must be {'an integer' if whole else 'a number'}, got {value!r}")
    largest = int(np.iinfo(p.dtype).max) if whole else float(np.finfo(p.dtype).max)
    if math.isfinite(number) and abs(int(value) if whole else number) > largest:
        raise KernelError(f"{name}: argument `{p.name}` = {value!r} does not fit into {p.dtype}")
    return p.dtype.type(value)


# ---- the CPU ------------------------------------------------------------------------------------------


def cpu_isa() -> str:
    """The best instruction set that this machine runs and the kernels are built for; TOMODIFF_ISA overrides."""
    wanted = os.environ.get("TOMODIFF_ISA")
    known = build.host_isas()
    if wanted:
        if wanted not in known:
            raise KernelError(f"TOMODIFF_ISA={wanted}: expected one of {', '.join(known)}")
        return wanted
    return build.native_isa()


def cache_folder() -> Path:
    """Where kernels compiled on first use are kept: TOMODIFF_CACHE, else ~/.cache/tomodiff.

    A folder that others could write to is refused, since code is loaded from it.
    """
    chosen = os.environ.get("TOMODIFF_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for folder in [Path(chosen)] if chosen else [Path(home) / "tomodiff", _private_temporary()]:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        status = folder.stat()
        if not hasattr(os, "getuid"):
            return folder  # Windows: folders of a user are closed to others by their place
        if status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return folder
    raise KernelError(
        f"no safe folder for compiled kernels: {chosen or home + '/tomodiff'} must be writable by you and "
        "by nobody else; set TOMODIFF_CACHE"
    )


def _private_temporary() -> Path:
    owner = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    return Path(tempfile.gettempdir()) / f"tomodiff-{owner}"


@functools.cache
def library(precision: str) -> ctypes.CDLL:
    """The CPU kernels of one precision: the shipped library if it was built from these sources, else the cached one."""
    override = os.environ.get("TOMODIFF_LIBRARY_" + precision.upper())  # a sanitizer build, in tests
    if override:
        return ctypes.CDLL(override)
    # Waiting threads of OpenMP otherwise spin for milliseconds, which on a shared machine takes time from working ones.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    isa, fingerprint = cpu_isa(), build.source_hash(FOLDER)
    file_name = build.library_name(isa, precision)
    shipped = SHIPPED / file_name
    if shipped.exists():
        loaded = ctypes.CDLL(str(shipped))
        if _hash_of(loaded) == fingerprint:
            return loaded
    if os.environ.get("TOMODIFF_NO_COMPILE"):
        raise KernelError(f"{shipped} was not built from these sources and TOMODIFF_NO_COMPILE forbids compiling them")
    target = cache_folder() / f"{platform.machine()}-{fingerprint}-{file_name}"  # no subfolder: its mode is checked
    if not target.exists():
        try:
            build.compile_library(FOLDER, target, isa, precision)
        except build.CompilerMissing as error:
            raise KernelError(str(error)) from error
    return ctypes.CDLL(str(target))


def _hash_of(loaded: ctypes.CDLL) -> str:
    return ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(loaded, "tomodiff_source"))).decode()


_LOADED_IN = os.getpid()


def threads() -> int:
    """The number of CPU threads a launch uses: TOMODIFF_THREADS, else OpenMP's default (0).

    OpenMP does not survive fork(): a forked child runs its kernels on one thread, and says so.
    """
    if os.getpid() != _LOADED_IN:
        warnings.warn(
            "this process was forked after tomodiff was imported; its kernels run on one thread "
            "(start worker processes with the `spawn` method)",
            RuntimeWarning,
            stacklevel=4,
        )
        return 1
    return int(os.environ.get("TOMODIFF_THREADS", "0"))


def host_threads() -> int:
    """The number of CPU threads that a launch will use, for kernels whose work is shared out by the caller."""
    return threads() or int(os.environ.get("OMP_NUM_THREADS", "0").split(",")[0] or 0) or cores()


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class HostKernel:
    """A kernel compiled by g++, called like `cupy.RawKernel`."""

    def __init__(self, name: str, precision: str) -> None:
        self.name, self.precision = name, precision
        self._entry = getattr(library(precision), name + "_launch")
        self._entry.restype = None

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        """Run the kernel over `grid` blocks of `block` threads and return when it is done."""
        size = _launch_size(self.name, grid, block)
        if 0 in size:
            return
        values = check(self.name, args, np.ndarray, self.precision)
        boxes = [_box(v) for v in values]
        pointers = (ctypes.c_void_p * len(boxes))(*map(ctypes.addressof, boxes))
        self._entry((ctypes.c_uint * 6)(*size), pointers, threads())


def _box(value: Any) -> Any:
    if value is None:
        return ctypes.c_void_p(None)
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    return np.ctypeslib.as_ctypes_type(value.dtype)(value)


def _launch_size(name: str, grid: tuple[int, ...], block: tuple[int, ...]) -> list[int]:
    for what, numbers in (("grid", grid), ("block", block)):
        if not 1 <= len(numbers) <= 3 or any(n != int(n) or n < 0 for n in numbers):
            raise KernelError(f"{name}: {what} must be one to three counts >= 0, got {tuple(numbers)}")
    size = [*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3]]
    if max(size[1], size[2]) > MAX_GRID_YZ:
        raise KernelError(f"{name}: grid {tuple(grid)} exceeds {MAX_GRID_YZ} blocks along y or z")
    return [int(n) for n in size]


# ---- the GPU ------------------------------------------------------------------------------------------


def device_source(path: Path, precision: str) -> str:
    """The text that NVRTC compiles: headers put in place, `real` and LANES defined."""
    return f"#define real {build.PRECISIONS[precision]}\n#define LANES 1\n{build.expand(path)}"


@functools.cache
def _module(path: Path, precision: str, cupy: ModuleType) -> Any:
    return cupy.RawModule(code=device_source(path, precision), options=("-std=c++17",))


class DeviceKernel:
    """A kernel compiled by NVRTC, with checked arguments."""

    def __init__(self, name: str, precision: str, cupy: ModuleType) -> None:
        self.name, self.precision, self._type = name, precision, cupy.ndarray
        self._raw = _module(signatures(precision)[name][0], precision, cupy).get_function(name)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        """Queue the kernel on the current CUDA stream."""
        size = _launch_size(self.name, grid, block)
        if 0 not in size:
            values = check(self.name, args, self._type, self.precision)
            self._raw(tuple(size[:3]), tuple(size[3:]), tuple(0 if v is None else v for v in values))


@functools.cache
def kernel(name: str, xp: ModuleType = np, precision: str = "float32") -> Callable[..., None]:
    """The kernel `name` for arrays of the module `xp`, numpy or cupy, in float32 or float64."""
    if precision not in build.PRECISIONS:
        raise KernelError(f"kernels compute in float32 or float64, not {precision}")
    if name not in signatures(precision):
        raise KernelError(f"no kernel `{name}`; there are {', '.join(signatures(precision))}")
    return HostKernel(name, precision) if xp is np else DeviceKernel(name, precision, xp)


def lanes(xp: ModuleType) -> int:
    """How many neighbouring outputs one thread of a kernel owns on the device of `xp`."""
    return 256 if xp is np else 1


# Where a CPU and a GPU prefer different walks over the same weights: (role, is it the CPU?) -> kernel.
PREFERRED = {
    ("rows_adjoint", True): "xray_rows_adjoint",
    ("rows_adjoint", False): "xray_rows_adjoint",
    ("column_adjoint", True): "xray_column_adjoint_planes",
    ("column_adjoint", False): "xray_column_adjoint_gather",
    ("ray_adjoint", True): "xray_ray_adjoint_planes",
    ("ray_adjoint", False): "xray_ray_adjoint_atomic",  # ten times as fast as gathering on an H100
    ("curved_adjoint", True): "xray_ray_adjoint_planes",
    ("curved_adjoint", False): "xray_ray_adjoint_atomic",
    ("warp_adjoint", True): "warp_adjoint_planes",
    ("warp_adjoint", False): "warp_adjoint_atomic",
    ("nufft_adjoint", True): "nufft_adjoint_planes",
    ("nufft_adjoint", False): "nufft_adjoint_atomic",
    ("emission_pull", True): "emission_pull_copies",
    ("emission_pull", False): "emission_pull_atomic",
    ("radiance_pull", True): "radiance_pull_copies",
    ("radiance_pull", False): "radiance_pull_atomic",
    ("footprint_adjoint", True): "xray_footprint_adjoint_planes",
    ("footprint_adjoint", False): "xray_footprint_adjoint_atomic",
}


UPRIGHT_CONE = {True: "columns", False: "rays"}
"""How a CPU (True) and a GPU walk cones whose detector columns share a path: both walks have kernels for both."""


def preferred(role: str, xp: ModuleType) -> str:
    """The name of the kernel that the device of `xp` runs fastest for `role`."""
    return PREFERRED[role, xp is np]
