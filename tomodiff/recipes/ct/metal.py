"""Metal in the object: its shadow, where hardly a photon arrives, is bridged before the reconstruction.

What a first reconstruction shows above a threshold is metal; rays through it get the line between the values on both
sides of the shadow in their detector row (Kalender, Hebel & Ebersberger 1987, Radiology 164, 576), and the metal is put
back into the volume as the first reconstruction had it.
"""

from __future__ import annotations

import numpy as np

from tomodiff.array import Array, namespace, to_numpy
from tomodiff.errors import ConfigError
from tomodiff.projectors import XRay

LEAST_PATH = 0.05
"""Voxels of metal on a ray from which on it counts as shadowed."""

MOST_SHADOW = 0.5
"""Share of a view beyond which there is nothing left to draw lines between."""


def without_metal(values: Array, A: XRay, first: Array, threshold: float) -> tuple[Array, Array]:
    """Line integrals (view, v, u) with the shadows of metal bridged, and where in the volume it is.

    threshold: attenuation in 1/mm above which the first reconstruction is metal.  ConfigError where half of the rays go
    through it.
    """
    metal = first > threshold
    if not bool(metal.any()):
        return values, metal
    shadow = A.forward(metal.astype(first.dtype)) > LEAST_PATH * min(A.grid.spacing)
    share = float(shadow.mean())
    if share > MOST_SHADOW:
        raise ConfigError(
            f"reconstruction.metal: {share:.0%} of the rays go through what is above {threshold:g} 1/mm; expected a "
            f"threshold above all but the metal (the largest value is {float(first.max()):.3g})"
        )
    return namespace(values).asarray(bridged(to_numpy(values), to_numpy(shadow))), metal


def bridged(values: np.ndarray, shadow: np.ndarray) -> np.ndarray:
    """The values (view, v, u) with straight lines along u across the shadow; a row without any end keeps its values."""
    made = values.copy()
    columns = np.arange(values.shape[2])
    for view, v in np.argwhere(shadow.any(axis=2)):
        dark = shadow[view, v]
        if not dark.all():
            made[view, v, dark] = np.interp(columns[dark], columns[~dark], values[view, v, ~dark])
    return made
