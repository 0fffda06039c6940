"""Sets of labelled pictures: BOP (6D poses), COCO with run lengths, and HDF5 with everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tomodiff.extras import library
from tomodiff.files.atomic import make_folder, replace_text, replacing
from tomodiff.files.pictures import as_bytes
from tomodiff.geometry.cameras.photograph import Photograph

DEPTH_SCALE = 0.1
"""Millimetres of one step of BOP's depth."""
DEEPEST = 65535
"""Steps of BOP's depth; what is further counts as unknown, which is 0."""


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths of a mask (row, column): down columns, zeros first."""
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(ends).tolist()
    return {"counts": [0, *counts] if flat.size and flat[0] else counts, "size": list(mask.shape)}


def mask_of(lengths: Mapping[str, Any]) -> np.ndarray:
    """The mask (row, column) of run lengths."""
    counts = lengths["counts"]
    made = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return made.reshape(tuple(lengths["size"]), order="F")


def box_of(mask: np.ndarray) -> list[int]:
    """Column, row, width and height around a mask; -1 for an empty one, as BOP has it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return [-1, -1, -1, -1]
    return [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]


class Coco:
    """`coco.json`: an annotation with run lengths for each thing that is seen."""

    def __init__(self, categories: Sequence[str]) -> None:
        self.numbers = {name: i + 1 for i, name in enumerate(categories)}
        kinds = [{"id": i, "name": name, "supercategory": "solid"} for name, i in self.numbers.items()]
        self.whole: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": kinds}

    def add(self, number: int, name: str, visible: np.ndarray, kinds: Sequence[str]) -> None:
        """One picture, and the masks (thing, row, column) of what is seen in it."""
        rows, columns = visible.shape[1:]
        self.whole["images"].append({"id": number, "file_name": name, "width": columns, "height": rows})
        for mask, kind in zip(visible, kinds, strict=True):
            if mask.any():
                made: dict[str, Any] = {"id": len(self.whole["annotations"]) + 1, "image_id": number, "iscrowd": 0}
                made |= {"category_id": self.numbers[kind], "area": int(mask.sum()), "bbox": box_of(mask)}
                self.whole["annotations"].append(made | {"segmentation": run_lengths(mask)})

    def write(self, folder: Path) -> None:
        """The file."""
        replace_text(folder / "coco.json", json.dumps(self.whole) + "\n")


class Bop:
    """One scene of BOP's format (Hodan et al., bop.felk.cvut.cz): rgb, depth, mask, mask_visib and three JSON files."""

    def __init__(self, folder: Path, categories: Sequence[str], unit_mm: float) -> None:
        self.folder, self.unit_mm = folder / "000000", unit_mm
        self.numbers = {name: i + 1 for i, name in enumerate(categories)}
        self.cameras: dict[str, Any] = {}
        self.truth: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}
        for name in ("rgb", "depth", "mask", "mask_visib"):
            make_folder(self.folder / name)

    def add(
        self, number: int, values: np.ndarray, depth: np.ndarray, camera: Photograph, things: Sequence[Any],
        whole: np.ndarray, visible: np.ndarray,
    ) -> None:  # fmt: skip
        """One picture with the solids in it; depths are along the camera's axis."""
        (fx, fy), (cx, cy) = camera.focal, camera.centre
        turn = camera.pose[:, :3].T
        shift = -turn @ camera.place * self.unit_mm
        steps = np.rint(np.nan_to_num(depth) * self.unit_mm / DEPTH_SCALE)
        _save(self.folder / "rgb" / f"{number:06d}.png", as_bytes(values))
        _save(self.folder / "depth" / f"{number:06d}.png", np.where(steps > DEEPEST, 0, steps).astype(np.uint16))
        # BOP's pixel (0, 0) has its middle at (0, 0), ours at (1/2, 1/2)
        matrix = [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0]
        camera_of = {"cam_K": matrix, "depth_scale": DEPTH_SCALE, "cam_R_w2c": turn.ravel().tolist()}
        self.cameras[str(number)] = camera_of | {"cam_t_w2c": shift.tolist()}
        self.truth[str(number)], self.seen[str(number)] = [], []
        for i, thing in enumerate(things):
            place = turn @ (thing.pose[:, 3] - camera.place) * self.unit_mm
            self.truth[str(number)].append({
                "cam_R_m2c": (turn @ thing.pose[:, :3]).ravel().tolist(), "cam_t_m2c": place.tolist(),
                "obj_id": self.numbers[thing.kind],
            })  # fmt: skip
            known = whole[i] & np.isfinite(depth)
            everywhere, shown = int(whole[i].sum()), int(visible[i].sum())
            self.seen[str(number)].append({
                "bbox_obj": box_of(whole[i]), "bbox_visib": box_of(visible[i]), "px_count_all": everywhere,
                "px_count_valid": int(known.sum()), "px_count_visib": shown,
                "visib_fract": shown / everywhere if everywhere else 0.0,
            })  # fmt: skip
            _save(self.folder / "mask" / f"{number:06d}_{i:06d}.png", as_bytes(whole[i] * 1.0))
            _save(self.folder / "mask_visib" / f"{number:06d}_{i:06d}.png", as_bytes(visible[i] * 1.0))

    def write(self) -> None:
        """The JSON files."""
        for name, content in (
            ("scene_camera", self.cameras), ("scene_gt", self.truth), ("scene_gt_info", self.seen),
        ):  # fmt: skip
            replace_text(self.folder / f"{name}.json", json.dumps(content) + "\n")


@contextmanager
def labelled_hdf5(
    path: Path, count: int, shape: tuple[int, int], settings: str
) -> Iterator[Callable[[Any], None]]:  # fmt: skip
    """What writes one picture after the other, `count` of (rows, columns), into a file that appears when all are there:
    `/values` (picture, row, column, 3) in 8 bits, `/depth`, `/normals`, `/labels`, `/flow`, `/pose` (picture, 3, 4),
    `/parameters` (JSON of each picture) and `/settings` (JSON)."""
    kinds = {"values": (3, "u1"), "depth": (1, "f4"), "normals": (3, "f4"), "labels": (1, "i4"), "flow": (2, "f4")}
    with replacing(path, count * shape[0] * shape[1] * 12) as target, h5py.File(target, "w") as file:
        for name, (channels, dtype) in kinds.items():
            one = shape if channels == 1 else (*shape, channels)
            options: dict[str, Any] = {"chunks": (1, *one), "compression": "gzip", "shuffle": True}
            file.create_dataset(name, (count, *one), dtype, **options)
        file.create_dataset("pose", (count, 3, 4), "f8")
        file.create_dataset("parameters", (count,), h5py.string_dtype())
        file["settings"] = settings
        done = iter(range(count))

        def add(picture: Any) -> None:
            k, exact = next(done), picture.exact
            file["values"][k] = as_bytes(picture.values)
            for name, values in (("depth", exact.depth), ("normals", exact.normals), ("labels", exact.labels)):
                file[name][k] = values
            file["flow"][k], file["pose"][k] = picture.flow, picture.draw.camera.pose
            file["parameters"][k] = json.dumps(picture.draw.record)

        yield add


def _save(path: Path, values: np.ndarray) -> None:
    image = library("PIL.Image", "scanners", "writing pictures needs", "pillow")
    with replacing(path, values.nbytes) as target:
        image.fromarray(values).save(target)
