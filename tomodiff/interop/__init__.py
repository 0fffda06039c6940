"""Bridges to other frameworks: SciPy and PyTorch, and anything that speaks DLPack."""

from tomodiff.interop.bridge_scipy import as_scipy
from tomodiff.interop.bridge_torch import as_torch, from_dlpack

__all__ = ["as_scipy", "as_torch", "from_dlpack"]
