"""Bridges to other frameworks: SciPy, PyTorch and JAX, and anything that speaks DLPack."""

from tomodiff.interop.bridge_jax import as_jax
from tomodiff.interop.bridge_scipy import as_scipy
from tomodiff.interop.bridge_torch import as_torch, from_dlpack

__all__ = ["as_jax", "as_scipy", "as_torch", "from_dlpack"]
