"""Denoisers of PyTorch: networks, those of deepinv, and the networks of diffusion models.

Each is a `Denoiser` (`objective/denoiser.py`), and so serves plug-and-play, RED, score priors and samplers alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tomodiff.array import Array, to_numpy
from tomodiff.interop.dlpack import from_dlpack

if TYPE_CHECKING:
    import torch


class TorchDenoiser:
    """A torch module as a denoiser of images (y, x), volumes (z, y, x), or such with channels first.

    module(t) or, with `takes_sigma`, module(t, sigma), where t has the axes (1, channel, ...) and sigma is a number in
    the module's own units; modules of deepinv are of the second kind.  low, high: the values that are 0 and 1 for the
    module, which were trained so; sigma is divided by high - low.  channels: the array has a first axis of channels.
    Arrays stay where they are, so the module must be on their device, and are given in the module's own precision.
    """

    def __init__(
        self, module: torch.nn.Module, *, takes_sigma: bool = True, low: float = 0.0, high: float = 1.0,
        channels: bool = False,
    ) -> None:  # fmt: skip
        if not high > low:
            raise ValueError(f"TorchDenoiser: expected low < high, got {low} and {high}")
        self.module, self.takes_sigma, self.low, self.high, self.channels = module, takes_sigma, low, high, channels

    def denoise(self, x: Array, sigma: float) -> Array:
        """What the module makes of x."""
        span = self.high - self.low
        tensor = _given((x - self.low) / span, self.module, self.channels)
        made = self._called(tensor, sigma / span)
        return _returned(made, x) * x.dtype.type(span) + x.dtype.type(self.low)

    def _called(self, tensor: torch.Tensor, sigma: float) -> Any:
        import torch

        with torch.no_grad():
            return self.module(tensor, sigma) if self.takes_sigma else self.module(tensor)


class DiffusionDenoiser(TorchDenoiser):
    """The network of a diffusion model, such as a UNet of diffusers, as a denoiser.

    The model has seen x_t = sqrt(a_t) x0 + sqrt(1 - a_t) n (Ho, Jain and Abbeel 2020): noise of deviation sigma is that
    of the step t where sqrt((1 - a_t) / a_t) comes nearest, and x is scaled by sqrt(a_t).  module(x_t, t) gives a
    tensor, or an object with it as `sample`.  alphas_cumprod (steps,): the a_t; of diffusers, those of the scheduler,
    whose `config.prediction_type` is `prediction`: "epsilon" (the noise), "sample" (x0) or "v_prediction".  low, high:
    the values that are -1 and 1 for the model.  ValueError for a sigma beyond those of the model.
    """

    def __init__(
        self, module: torch.nn.Module, alphas_cumprod: Any, prediction: str = "epsilon", *, low: float = -1.0,
        high: float = 1.0, channels: bool = False,
    ) -> None:  # fmt: skip
        if prediction not in ("epsilon", "sample", "v_prediction"):
            raise ValueError(
                f"DiffusionDenoiser: prediction: expected epsilon, sample or v_prediction, got {prediction!r}"
            )
        half = (high - low) / 2
        super().__init__(module, low=low + half, high=high, channels=channels)
        self.prediction = prediction
        self.alphas = to_numpy(from_dlpack(alphas_cumprod)).astype(np.float64)
        self.sigmas = np.sqrt((1 - self.alphas) / self.alphas)

    def _called(self, tensor: torch.Tensor, sigma: float) -> Any:
        import torch

        if not sigma <= self.sigmas[-1] * (1 + 1e-6):
            raise ValueError(
                f"DiffusionDenoiser: sigma: expected at most {self.sigmas[-1]:.4g} (for values from -1 to 1), "
                f"got {sigma:.4g}"
            )
        step = int(np.abs(np.log(self.sigmas) - np.log(sigma)).argmin())
        kept = float(self.alphas[step])
        scaled = kept**0.5 * tensor
        with torch.no_grad():
            made = self.module(scaled, step)
        made = getattr(made, "sample", made)
        if self.prediction == "sample":
            return made
        if self.prediction == "epsilon":
            return tensor - float(self.sigmas[step]) * made
        return kept**0.5 * scaled - (1 - kept) ** 0.5 * made


def _given(x: Array, module: Any, channels: bool) -> torch.Tensor:
    """An array as a tensor with axes of a batch and of channels, in the dtype of the module."""
    import torch

    tensor = torch.from_dlpack(x)[None] if channels else torch.from_dlpack(x)[None, None]
    parameter = next(iter(module.parameters()), None) if hasattr(module, "parameters") else None
    return tensor if parameter is None else tensor.to(parameter.dtype)


def _returned(tensor: torch.Tensor, like: Array) -> Array:
    made = from_dlpack(tensor.reshape(like.shape).contiguous())
    return made.astype(like.dtype)
