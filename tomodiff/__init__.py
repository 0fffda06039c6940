"""Differentiable tomography: what was imaged, from what was measured.

Names of the public interface are loaded when they are first used, so that `import tomodiff` and the command's
`--help` cost next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Space": "tomodiff.core",
    "Operator": "tomodiff.core",
    "LinearOperator": "tomodiff.core",
    "Functional": "tomodiff.core",
    "check_adjoint": "tomodiff.core",
    "check_gradient": "tomodiff.core",
    "Grid": "tomodiff.geometry",
    "ParallelBeam": "tomodiff.geometry",
    "FanBeam": "tomodiff.geometry",
    "ConeBeam": "tomodiff.geometry",
    "Helix": "tomodiff.geometry",
    "Laminography": "tomodiff.geometry",
    "Vectors": "tomodiff.geometry",
    "fit_grid": "tomodiff.geometry",
    "Dataset": "tomodiff.result",
    "Result": "tomodiff.result",
    "probe": "tomodiff.files",
    "read": "tomodiff.files",
    "read_volume": "tomodiff.files",
    "write": "tomodiff.files",
    "write_scan": "tomodiff.files",
    "XRay": "tomodiff.projectors",
    "fbp": "tomodiff.analytic",
    "fdk": "tomodiff.analytic",
    "find_center": "tomodiff.prepare",
    "TomodiffError": "tomodiff.errors",
}
"""Public name -> the module it is loaded from."""

__all__ = ["__version__", *_HOME]

if TYPE_CHECKING:
    from tomodiff.errors import TomodiffError as TomodiffError


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'tomodiff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
