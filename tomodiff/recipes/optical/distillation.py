"""A scene distilled from what frozen denoisers know of its pictures, one denoiser for each direction to look from.

Text to 3D in its smallest honest form (Poole et al. 2023, DreamFusion): a picture of the scene gets noise, a denoiser
that was told the direction says what it shows, and the difference goes through the renderer's adjoint: the gradient of
score distillation with the weight sigma^2.  No gradient passes through the denoiser, so any will do: `Exemplars` of
pictures, or the network of a diffusion model (`interop.DiffusionDenoiser`), whose prompt says from where one looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tomodiff.array import Array, namespace
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.objective.denoiser import Denoiser


class Guided:
    """Draws of whole pictures for `fitting`, each with what its direction's denoiser would have it be.

    cameras: all of one size.  denoisers: one for each, of pictures (rows, columns, 3).  sigmas: levels of noise, in
    units of colours.
    """

    def __init__(self, cameras: Sequence[Photograph], denoisers: Sequence[Denoiser], sigmas: Sequence[float]) -> None:
        if len({camera.shape for camera in cameras}) != 1 or len(denoisers) != len(cameras):
            raise ValueError("Guided: expected cameras of one size, and a denoiser for each")
        self.cameras, self.denoisers, self.sigmas = tuple(cameras), tuple(denoisers), tuple(float(s) for s in sigmas)

    @property
    def rays(self) -> int:
        """Of a picture."""
        return int(np.prod(self.cameras[0].shape))

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, Callable[[Array], Array]]:
        """All rays of a camera drawn at random, and a function of colours (ray, 3) to what they should be."""
        if n != self.rays:
            raise ValueError(f"Guided: expected {self.rays} rays, those of a picture, got {n}")
        k = int(rng.integers(len(self.cameras)))
        camera, sigma = self.cameras[k], self.sigmas[rng.integers(len(self.sigmas))]
        noise = rng.standard_normal((*camera.shape, 3))

        def wanted(seen: Array) -> Array:
            noisy = seen.reshape(noise.shape) + sigma * namespace(seen).asarray(noise, seen.dtype)
            return self.denoisers[k].denoise(noisy, sigma).reshape(seen.shape)

        origins, directions = camera.rays()
        return origins.astype(np.float32), directions.astype(np.float32), wanted
