"""Write photographs with their cameras as a `transforms.json` in the way of instant-ngp and nerfstudio."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.files.atomic import replace_text
from tomodiff.files.photographs import FROM_OPENGL, LENS
from tomodiff.geometry.cameras.photograph import Photograph


def write_transforms(path: Path, names: Sequence[str], cameras: Sequence[Photograph]) -> None:
    """Write the cameras of images with these names, relative to the file; each has its own lens beside its pose."""
    frames = [frame_of(name, camera) for name, camera in zip(names, cameras, strict=True)]
    common = {k: v for k, v in frames[0].items() if all(frame.get(k) == v for frame in frames) and k != "file_path"}
    own = [{k: v for k, v in frame.items() if k not in common or k == "transform_matrix"} for frame in frames]
    common.pop("transform_matrix", None)
    replace_text(path, json.dumps({**common, "frames": own}, indent=1) + "\n")


def frame_of(name: str, camera: Photograph) -> dict[str, Any]:
    """One camera in fields of instant-ngp's names."""
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([camera.pose[:, :3] @ FROM_OPENGL, camera.pose[:, 3]])
    made: dict[str, Any] = {
        "w": camera.shape[1], "h": camera.shape[0], "fl_x": camera.focal[0], "fl_y": camera.focal[1],
        "cx": camera.centre[0], "cy": camera.centre[1],
    }  # fmt: skip
    if any(camera.distortion):
        made |= {"camera_model": "OPENCV", **dict(zip(LENS, camera.distortion, strict=True))}
    return {"file_path": name, **made, "transform_matrix": matrix.tolist()}
