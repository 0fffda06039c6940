"""What the MRI demonstration must achieve: delays found, and an image closer to the truth than gridding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.demo.finding import Finding

if TYPE_CHECKING:
    import numpy as np

    from tomodiff.recipes.run import Run

SAMPLE = "mri_sample.h5"
DELAYS = (0.6, -0.35)
"""Samples by which the gradients of the sample are late, along y and x (`datasets/make_mri_sample.py`)."""
DELAY_ERROR = 0.05
IMAGE_ERROR = 0.12
"""Root mean square of the image's error over that of the truth, after one factor, at most."""


def settings(sample: Path) -> dict[str, Any]:
    """Of the job."""
    return {
        "job": "mri-reconstruct", "input.path": str(sample), "input.delays": "auto", "reconstruction.method": "tv",
    }  # fmt: skip


def findings(run: Run, sample: Path) -> list[Finding]:
    """Delays and image against the truth in the sample's file."""
    import h5py
    import numpy as np

    from tomodiff.files import read_volume

    with h5py.File(sample, "r") as file:
        truth = file["truth"][()]
    found = np.array(run.status["facts"]["delays_samples"])
    off = float(np.abs(found - DELAYS).max())
    error = relative_error(read_volume(run.volume_path)[0], truth)
    return [
        Finding("delays", f"{found[0]:.3f}, {found[1]:.3f} samples", f"{DELAYS} to {DELAY_ERROR}", off < DELAY_ERROR),
        Finding("image", f"{error:.1%} off the truth", f"at most {IMAGE_ERROR:.0%}", error <= IMAGE_ERROR),
    ]


def relative_error(image: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the difference over that of the truth, after the factor that suits best."""
    import numpy as np

    factor = float((image * truth).sum() / (image * image).sum())
    return float(np.linalg.norm(factor * image - truth) / np.linalg.norm(truth))
