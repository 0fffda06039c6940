"""Launches are checked against the C signature, on every device, and errors name the argument."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tomodiff import compile as build
from tomodiff import kernels
from tomodiff.kernels import MAX_GRID_YZ, KernelError, kernel, signatures

SHAPE = (3, 4, 5)
PRECISIONS = list(build.PRECISIONS)
ONE = (1, 1, 1)


@pytest.fixture
def launch(xp: ModuleType) -> Callable[..., Any]:
    """tv_value of a small volume, with some arguments replaced; returns the sums that it wrote."""

    def run(precision: str = "float32", grid: Any = None, block: Any = ONE, **replaced: Any) -> Any:
        nz, ny, nx = SHAPE
        given: dict[str, Any] = {
            "x": xp.arange(nz * ny * nx, dtype=precision).reshape(SHAPE) ** 2,
            "sums": xp.zeros((1, ny, nx), precision),
            "nz": nz,
            "ny": ny,
            "nx": nx,
            "wz": 1.0,
            "wy": 0.5,
            "wx": 2.0,
            "eps": 0.0,
            "half_inverse": 0.0,
        }
        assert list(given) == [p.name for p in signatures(precision)["tv_value"][1]]
        given.update(replaced)
        default = (-(-nx // kernels.lanes(xp)), ny, 1)
        kernel("tv_value", xp, precision)(default if grid is None else grid, block, tuple(given.values()))
        return given["sums"]

    return run


def total_variation(x: np.ndarray) -> float:
    """The same sum in NumPy."""
    steps = [w * np.diff(x, axis=axis, append=x.take([-1], axis=axis)) for axis, w in enumerate((1.0, 0.5, 2.0))]
    return float(np.sqrt(sum(step**2 for step in steps)).sum())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_both_precisions_compute(launch: Callable[..., Any], precision: str) -> None:
    expected = total_variation(np.arange(60.0).reshape(SHAPE) ** 2)
    assert float(launch(precision).sum()) == pytest.approx(expected, rel=1e-6 if precision == "float32" else 1e-14)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scalars_are_cast_to_the_declared_type(launch: Callable[..., Any], precision: str) -> None:
    """CuPy alone would pass a Python float as eight bytes into a float, and an int64 into an int."""
    expected = launch(precision)
    same = launch(precision, wz=1, wy=np.float64(0.5), wx=np.float32(2), nz=np.int64(3), ny=4.0, nx=np.uint8(5))
    assert (same == expected).all()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("nz", 3.5, "must be an integer, got 3.5"),
        ("nz", float("nan"), "must be an integer, got nan"),
        ("nz", float("inf"), "must be an integer, got inf"),
        ("nz", 2**31, "= 2147483648 does not fit into int32"),
        ("nz", "3", "must be an integer, got '3'"),
        ("nz", None, "must be an integer, got None"),
        ("wz", "1.0", "must be a number, got '1.0'"),
        ("wz", 1j, "must be a number, got 1j"),
        ("wz", 1e39, "does not fit into float32"),
    ],
)
def test_scalars_that_do_not_fit_are_refused(launch: Callable[..., Any], name: str, value: Any, says: str) -> None:
    with pytest.raises(KernelError, match=rf"^tv_value: argument `{name}`.*{re.escape(says)}"):
        launch(**{name: value})


def test_infinity_is_a_number(launch: Callable[..., Any]) -> None:
    """eps = inf turns the Huber function into |d|^2 * half_inverse."""
    assert float(launch(eps=float("inf"), half_inverse=1.0, wz=0, wy=0, wx=1).sum()) == sum(
        (2 * i + 1) ** 2 for i in range(60) if i % 5 != 4
    )


def test_an_array_is_no_scalar(launch: Callable[..., Any], xp: ModuleType) -> None:
    with pytest.raises(KernelError, match=r"^tv_value: argument `wz` must be a number, got"):
        launch(wz=xp.ones(3, "float32"))


def test_arrays_of_another_type_are_refused(launch: Callable[..., Any], xp: ModuleType) -> None:
    good = xp.zeros(SHAPE, "float32")
    for value, says in (
        (xp.zeros(SHAPE, "float64"), "float64"),
        (xp.zeros(SHAPE, "int32"), "int32"),
        (xp.asfortranarray(good), "not C-contiguous"),
        (good[:, ::2], "not C-contiguous"),
        ([1.0, 2.0], "list"),
        (3.0, "float"),
    ):
        with pytest.raises(KernelError, match=rf"^tv_value: argument `x` must be a C-contiguous float32 .*{says}"):
            launch(x=value)
    with pytest.raises(KernelError, match=r"argument `x` must be a C-contiguous float64 .* float32"):
        launch("float64", x=good)


def test_arrays_of_another_device_are_refused(launch: Callable[..., Any], xp: ModuleType) -> None:
    if xp is np:
        pytest.skip("needs a second device")
    with pytest.raises(KernelError, match=r"argument `x` must be a C-contiguous float32 cupy\S*, got numpy\.ndarray"):
        launch(x=np.zeros(SHAPE, "float32"))


def test_read_only_arrays_are_inputs_only(launch: Callable[..., Any], xp: ModuleType) -> None:
    if xp is not np:
        pytest.skip("CuPy has no read-only arrays")
    constant = np.ones(SHAPE, "float32")
    constant.flags.writeable = False
    assert not launch(x=constant).any()
    with pytest.raises(KernelError, match=r"argument `sums` must be a writeable C-contiguous float32"):
        launch(sums=constant)


def test_wrong_number_of_arguments_is_refused(xp: ModuleType) -> None:
    with pytest.raises(KernelError, match=r"^tv_value takes 10 arguments \(x, sums, .*half_inverse\), got 2"):
        kernel("tv_value", xp)(ONE, ONE, (1, 2))


@pytest.mark.parametrize(
    ("where", "value", "says"),
    [
        ("grid", (1, MAX_GRID_YZ + 1, 1), f"exceeds {MAX_GRID_YZ} blocks along y or z"),
        ("grid", (1, 1, MAX_GRID_YZ + 1), f"exceeds {MAX_GRID_YZ} blocks along y or z"),
        ("grid", (-1, 1, 1), "grid must be one to three counts >= 0"),
        ("grid", (1, 1, 1, 1), "grid must be one to three counts >= 0"),
        ("grid", (), "grid must be one to three counts >= 0"),
        ("block", (1.5, 1, 1), "block must be one to three counts >= 0"),
    ],
)
def test_impossible_launches_are_refused(launch: Callable[..., Any], where: str, value: Any, says: str) -> None:
    with pytest.raises(KernelError, match=f"^tv_value: .*{re.escape(says)}"):
        launch(**{where: value})


def test_an_empty_launch_does_nothing(launch: Callable[..., Any]) -> None:
    assert not launch(grid=(0, 4, 1)).any()


def test_unknown_names_are_refused(xp: ModuleType) -> None:
    with pytest.raises(KernelError, match=r"^no kernel `tv_valeu`; there are .*tv_value"):
        kernel("tv_valeu", xp)
    with pytest.raises(KernelError, match="float32 or float64, not float16"):
        kernel("tv_value", xp, "float16")


def test_signatures_are_those_of_the_sources() -> None:
    path, parameters = signatures("float64")["tv_value"]
    assert path.name == "tv.cu"
    kinds = {p.name: (p.dtype.name, p.pointer, p.const) for p in parameters}
    assert kinds["x"] == ("float64", True, True)
    assert kinds["sums"] == ("float64", True, False)
    assert kinds["nz"] == ("int32", False, False)
    assert kinds["wz"] == ("float64", False, False)
    assert {p.dtype.name for p in signatures()["rows_to_columns"][1]} == {"float32", "int32", "int64"}


def test_every_kernel_writes_something() -> None:
    written = {name: [p.name for p in ps if p.pointer and not p.const] for name, (_, ps) in signatures().items()}
    assert all(written.values()), f"kernels without an output: {[name for name, out in written.items() if not out]}"


def test_every_device_has_its_preferred_kernels() -> None:
    """Both walks of a role are launched by the tests, whichever is preferred: see tests/kernel_smoke.py."""
    roles = {role for role, _ in kernels.PREFERRED}
    for role in roles:
        for host in (True, False):
            assert kernels.PREFERRED[role, host] in signatures()


def test_device_source_stands_alone() -> None:
    """CuPy's disk cache does not see included headers, so none may be left to include."""
    for precision, word in build.PRECISIONS.items():
        for path in build.sources(kernels.FOLDER):
            text = kernels.device_source(path, precision)
            assert text.startswith(f"#define real {word}\n#define LANES 1\n")
            assert "#include" not in text
            assert "threadIdx = " not in text  # host.h is for g++ alone


def test_kernel_text_keeps_to_the_contract() -> None:
    """No includes but our own headers, no shared memory, no warps, no printing: what g++ cannot run as it stands."""
    forbidden = re.compile(
        r"#include <|__shared__|__shfl|__syncthreads|__ldg|\bprintf\b|\btex[123]D|asm\s*\(|\bdouble\b|\bfloat\b"
    )
    for path in [*kernels.FOLDER.glob("*.cu"), *kernels.FOLDER.glob("*.cuh")]:
        found = forbidden.search(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S))
        assert found is None, f"{path.name} uses {found.group()}"
