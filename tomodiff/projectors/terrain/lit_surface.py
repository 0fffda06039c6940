"""One image of a surface whose heights are known: how light the ground is under a sun."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.photometry import ReflectanceModel, model_named

ZENITH = 1 - 1e-12
"""Cosine above which a sun casts no shadows: it is overhead."""


def lit_surface(
    height: np.ndarray, spacing: tuple[float, float], sun: np.ndarray, view: np.ndarray,
    model: str | ReflectanceModel, *, parameters: np.ndarray | None = None, shadows: str = "penumbra", **surface: Any,
) -> np.ndarray:  # fmt: skip
    """The reflectance (ny, nx) of a surface of albedo 1, NaN in its holes; float64.

    height: (ny, nx) metres, NaN in holes; spacing: metres along y and x.
    sun: (1, 3), towards it; view: (1, 3) or (1, 3, ny, nx), towards the camera.
    parameters: of the model, its own typical ones by default; surface: body_radius and frames of `TerrainImages`.
    """
    model = model_named(model) if isinstance(model, str) else model
    holes = ~np.isfinite(height)
    A = TerrainImages(
        height.shape,
        view,
        model,
        spacing,
        shadows="none" if sun[0, 2] > ZENITH else shadows,
        dtype="float64",
        **surface,
    )
    made = A({
        "height": np.where(holes, 0.0, height - np.nanmean(height)), "albedo": np.ones(height.shape),
        "parameters": model.vector() if parameters is None else parameters,
        "sun": sun, "exposure": np.ones(1), "haze": np.zeros(1),
    })[0]  # fmt: skip
    return np.where(holes, np.nan, made)
