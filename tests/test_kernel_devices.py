"""Every kernel on a GPU, through the operators that launch it, against what it computes on the CPU."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from tests.kernel_smoke import run_all

NEAR = {"float32": 2e-4, "float64": 1e-9}
"""Largest difference allowed, of the largest number of a result: other orders of sums, other functions."""


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_gpu_computes_what_the_cpu_does(precision: str, xp: ModuleType) -> None:
    if xp is np:
        pytest.skip("compares a GPU with the CPU; `make test-gpu` runs it")
    here, there = run_all(precision), run_all(precision, xp)
    assert 0.9 * len(here) < len(there) and set(there) <= set(here)
    far = {}
    for name, made in there.items():
        assert np.isfinite(made).all(), f"{name}: not finite"
        off = np.abs(here[name] - made).max(initial=0.0) / max(np.abs(here[name]).max(initial=0.0), 1e-30)
        if off > NEAR[precision]:
            far[name] = float(off)
    assert not far, f"{len(far)} of {len(there)} results differ: {far}"
