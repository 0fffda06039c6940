"""Denoisers of PyTorch, deepinv and diffusers: in closed form where there is one, and in a prior that uses them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tomodiff.interop import DiffusionDenoiser, TorchDenoiser
from tomodiff.objective import Gaussian
from tomodiff.objective.denoised import Red
from tomodiff.objective.denoiser import Wiener
from tomodiff.solvers import Gradient, solve

POWER = 0.6


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")


@pytest.mark.parametrize("channels", [False, True])
def test_a_module_in_its_own_units(torch: Any, channels: bool, rng: np.random.Generator) -> None:
    class Shrink(torch.nn.Module):
        """The exact denoiser of white normal pixels about one half, in the units of the module."""

        def __init__(self) -> None:
            super().__init__()
            self.power = torch.nn.Parameter(torch.tensor(POWER / 16, dtype=torch.float64))  # values span 4 units

        def forward(self, t: Any, sigma: float) -> Any:
            assert t.ndim == (4 if channels else 5) and t.dtype == torch.float64 and not torch.is_grad_enabled()
            return 0.5 + (t - 0.5) * self.power / (self.power + sigma**2)

    x = rng.standard_normal((3, 4, 5)).astype("float32")
    exact = Wiener(POWER, 1.0).denoise(x, 0.3)
    made = TorchDenoiser(Shrink(), low=-1.0, high=3.0, channels=channels).denoise(x, 0.3)
    np.testing.assert_allclose(made, exact, rtol=1e-5, atol=1e-6)
    assert made.dtype == np.float32
    blind = TorchDenoiser(torch.nn.Identity(), takes_sigma=False).denoise(x, 0.3)
    np.testing.assert_allclose(blind, x, rtol=1e-6)
    with pytest.raises(ValueError, match="low < high"):
        TorchDenoiser(torch.nn.Identity(), low=1.0, high=1.0)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_the_network_of_a_diffusion_model(torch: Any, prediction: str, rng: np.random.Generator) -> None:
    """What the exact network of white normal pixels predicts gives their exact denoiser."""
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)

    class Exact(torch.nn.Module):
        def forward(self, t: Any, step: int) -> Any:
            a = alphas[step]
            clean = t * a**0.5 * POWER / (a * POWER + 1 - a)
            noise = (t - a**0.5 * clean) / (1 - a) ** 0.5
            kinds = {"epsilon": noise, "sample": clean, "v_prediction": a**0.5 * noise - (1 - a) ** 0.5 * clean}
            return SimpleNamespace(sample=kinds[prediction])

    D = DiffusionDenoiser(Exact(), alphas, prediction)
    x = rng.standard_normal((6, 5))
    sigma = float(D.sigmas[300])
    np.testing.assert_allclose(D.denoise(x, sigma), Wiener(POWER).denoise(x, sigma), rtol=1e-9)
    wide = DiffusionDenoiser(Exact(), alphas, prediction, low=0.0, high=4.0)  # 2 +- 2 are the -1 and 1 of the model
    np.testing.assert_allclose(
        wide.denoise(2 + 2 * x, 2 * sigma), 2 + 2 * Wiener(POWER).denoise(x, sigma), rtol=1e-9, atol=1e-9
    )
    with pytest.raises(ValueError, match="expected at most 157"):
        D.denoise(x, 200.0)
    with pytest.raises(ValueError, match="expected epsilon"):
        DiffusionDenoiser(Exact(), alphas, "noise")
    f = Gaussian(x, 4.0) + 2.0 * Red(D, sigma)  # a prior of it: the minimum is known
    found = solve(Gradient(), f, np.zeros_like(x), 60).x
    np.testing.assert_allclose(found, 4 * x / (4 + 2.0 / (POWER + sigma**2)), rtol=1e-4, atol=1e-6)


def test_a_unet_of_diffusers(torch: Any, rng: np.random.Generator) -> None:
    """A real UNet and scheduler, untrained: what it takes and gives fits."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (pip install diffusers)")
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = diffusers.DDPMScheduler()
    D = DiffusionDenoiser(net, scheduler.alphas_cumprod, scheduler.config.prediction_type)
    x = rng.standard_normal((16, 16))
    made = D.denoise(x, 0.5)
    step = int(np.abs(np.log(D.sigmas) - np.log(0.5)).argmin())
    with torch.no_grad():
        scaled = torch.from_numpy(x * D.alphas[step] ** 0.5)[None, None].float()
        noise = net(scaled, step).sample[0, 0].double().numpy()
    np.testing.assert_allclose(made, x - D.sigmas[step] * noise, rtol=1e-4, atol=1e-5)
    assert made.dtype == np.float64


def test_a_denoiser_of_deepinv(torch: Any, rng: np.random.Generator) -> None:
    deepinv = pytest.importorskip("deepinv", reason="deepinv is not installed (pip install deepinv)")
    x = np.zeros((16, 16), "float32")
    x[4:12, 4:12] = 1
    noisy = (x + 0.2 * rng.standard_normal(x.shape)).astype("float32")
    made = TorchDenoiser(deepinv.models.TVDenoiser(n_it_max=200)).denoise(noisy, 0.2)
    assert np.linalg.norm(made - x) < 0.5 * np.linalg.norm(noisy - x)
