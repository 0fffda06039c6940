"""What the demonstration with photographs must achieve: views that were held out, and the camera of one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomodiff.cli.demo.finding import Finding

if TYPE_CHECKING:
    from tomodiff.recipes.run import Run

SAMPLE = "optical_sample/transforms_train.json"
PSNR_DB = 29.0
"""Of views that were held out, in the mean, at least."""
OFF_DEG = 5.0
OFF = 0.2
"""How wrong the camera is that is to be found, in degrees and in units of the scene, 5 % of its distance."""
FOUND_DEG = 0.5


def settings(sample: Path) -> dict[str, Any]:
    """Of the job."""
    return {
        "job": "optical-reconstruct", "input.path": str(sample),
        "input.test": str(sample.with_name("transforms_test.json")), "fit.voxels": 80, "fit.iterations": 500,
        "fit.rays": 4000,
    }  # fmt: skip


def findings(run: Run, sample: Path) -> list[Finding]:
    """Views against photographs that were held out, and one of them located."""
    from dataclasses import replace

    import numpy as np

    from tomodiff.files.photographs import read_views
    from tomodiff.files.radiance_file import read_field
    from tomodiff.geometry.poses import angle_between
    from tomodiff.geometry.rigid import moved
    from tomodiff.recipes.optical.locate import locate

    reached = float(run.status["facts"]["psnr_held_out_db"])
    view = read_views(sample.with_name("transforms_test.json"))[0]
    twist = np.array([np.radians(OFF_DEG) / 2**0.5, 0, np.radians(OFF_DEG) / 2**0.5, 0, OFF, 0])
    begin = replace(view.camera, pose=moved(view.camera.pose, twist, view.camera.place))
    found = locate(read_field(run.path), begin, view.pixels(), n_starts=4)
    turned = float(np.degrees(angle_between(found.camera.pose[:, :3], view.camera.pose[:, :3])))
    return [
        Finding("views held out", f"{reached:.1f} dB", f"at least {PSNR_DB:g} dB", reached >= PSNR_DB),
        Finding(
            "camera", f"{turned:.2f} degrees off" + (f" ({found.doubt})" if found.doubt else ""),
            f"at most {FOUND_DEG:g} from {OFF_DEG:g}", turned <= FOUND_DEG and not found.doubt,
        ),
    ]  # fmt: skip
