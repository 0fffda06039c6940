"""Bridges to other frameworks: SciPy, PyTorch, JAX, PyLops, and anything that speaks DLPack."""

from tomodiff.interop.bridge_jax import as_jax
from tomodiff.interop.bridge_pylops import FromPylops, FromPyproximal, as_pylops, as_pyproximal
from tomodiff.interop.bridge_scipy import as_scipy
from tomodiff.interop.bridge_torch import as_torch
from tomodiff.interop.denoisers import DiffusionDenoiser, TorchDenoiser
from tomodiff.interop.dlpack import any_kind, from_dlpack

__all__ = [
    "DiffusionDenoiser",
    "FromPylops",
    "FromPyproximal",
    "TorchDenoiser",
    "any_kind",
    "as_jax",
    "as_pylops",
    "as_pyproximal",
    "as_scipy",
    "as_torch",
    "from_dlpack",
]
