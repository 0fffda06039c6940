"""Preparation of X-ray scans for reconstruction: from counts to line integrals with a known rotation axis.

What brings much of SciPy with it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tomodiff.prepare.flat_field import flat_field
from tomodiff.prepare.minus_log import minus_log

if TYPE_CHECKING:
    from tomodiff.prepare.center import CenterEstimate, apply_center, find_center
    from tomodiff.prepare.chain import prepare
    from tomodiff.prepare.defects import Defects, find_defects, repair_pixels
    from tomodiff.prepare.flux import Air, find_air, normalise_flux
    from tomodiff.prepare.hardening import Hardening, linearise
    from tomodiff.prepare.lag import remove_lag
    from tomodiff.prepare.phase import PhaseRetrieval, retrieve_phase
    from tomodiff.prepare.rings import RingFilter, remove_rings
    from tomodiff.prepare.scatter import remove_scatter
    from tomodiff.prepare.stripes import remove_stripes
    from tomodiff.prepare.zingers import remove_zingers

__all__ = [
    "Air",
    "CenterEstimate",
    "Defects",
    "Hardening",
    "PhaseRetrieval",
    "RingFilter",
    "apply_center",
    "find_air",
    "find_center",
    "find_defects",
    "flat_field",
    "linearise",
    "minus_log",
    "normalise_flux",
    "prepare",
    "remove_lag",
    "remove_rings",
    "remove_scatter",
    "remove_stripes",
    "remove_zingers",
    "repair_pixels",
    "retrieve_phase",
]

_HOME = {
    "CenterEstimate": "center", "apply_center": "center", "find_center": "center", "prepare": "chain",
    "Defects": "defects", "find_defects": "defects", "repair_pixels": "defects", "Air": "flux", "find_air": "flux",
    "normalise_flux": "flux", "Hardening": "hardening", "linearise": "hardening", "remove_lag": "lag",
    "PhaseRetrieval": "phase", "retrieve_phase": "phase", "RingFilter": "rings", "remove_rings": "rings",
    "remove_scatter": "scatter", "remove_stripes": "stripes", "remove_zingers": "zingers",
}  # fmt: skip
"""Public name -> the module of this package that it is loaded from."""


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
