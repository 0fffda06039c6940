"""A scan given view by view as vectors: the form to which all others reduce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.geometry import checks
from tomodiff.geometry import frames as frame_table
from tomodiff.geometry.checks import Array, refuse
from tomodiff.geometry.rotation import as_rotation
from tomodiff.geometry.scan import Scan

KINDS = ("parallel", "cone")


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Vectors(Scan):
    """Any scan: per view the source position (or ray direction), the detector's centre and its two pixel steps.

    frames: (n_view, 12) in mm, each triple as (x, y, z): [source position (cone) or ray direction (parallel) | detector
        centre | step per column U | step per row V]. ASTRA's `cone_vec`, and its `parallel3d_vec` up to the sign of the
        direction, which here points the way the rays travel.
    detector_shape: (rows, columns), or one number for a detector of one row.
    kind: "cone" or "parallel".
    radius: None for a flat detector, else the radius in mm of a cylinder about the source (cone only): U and V are then
        the steps at its middle, perpendicular to each other and to the line there from the source.

    `pixel` is the mean length of the V and U steps. ValueError names vectors that make no detector.
    """

    table: Array
    detector_shape: tuple[int, int]
    kind: str
    radius: float | None
    pixel: tuple[float, float]

    def __init__(self, frames: Any, detector_shape: Any, kind: str, radius: float | None = None) -> None:
        table = checks.table("frames", frames, (None, 12))
        if kind not in KINDS:
            raise refuse("kind", f"one of {KINDS}", kind)
        if radius is not None:
            radius = checks.positive("radius", radius)
            if kind == "parallel":
                raise refuse("radius", "None for a parallel beam, which has no source to curve about", radius)
        frame_table.check_frames(table, kind, radius)
        steps = np.linalg.norm(table[:, 6:12].reshape(-1, 2, 3), axis=2).mean(axis=0)
        object.__setattr__(self, "table", table)
        object.__setattr__(self, "detector_shape", checks.detector_shape(detector_shape))
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "radius", radius)
        object.__setattr__(self, "pixel", (float(steps[1]), float(steps[0])))

    @classmethod
    def of(cls, *scans: Scan) -> Vectors:
        """The views of one scan, or of several after another, as vectors; all of one kind of beam and detector."""
        if not scans:
            raise refuse("scans", "at least one scan", scans)
        first = scans[0]
        for i, scan in enumerate(scans):
            for name in ("kind", "detector_shape", "radius"):
                if getattr(scan, name) != getattr(first, name):
                    raise refuse(f"scans[{i}].{name}", f"{getattr(first, name)!r} as in scans[0]", getattr(scan, name))
        return cls(np.concatenate([s.frames() for s in scans]), first.detector_shape, first.kind, first.radius)

    def frames(self) -> Array:
        """The vectors (n_view, 12) as they were given; a read-only array."""
        return self.table

    def __len__(self) -> int:
        return len(self.table)

    @property
    def magnification(self) -> float:
        """Source-detector over source-origin distance along the detector's normal, mean of the views; 1 if parallel.

        ValueError where the origin lies at or behind a source, so that this number means nothing.
        """
        if self.kind == "parallel":
            return 1.0
        f = frame_table.split(self.table)
        normal = np.cross(f.u, f.v)
        to_detector = frame_table.dot(f.centre - f.source, normal)
        to_origin = frame_table.dot(-f.source, normal)
        if (to_origin * to_detector <= 0).any():
            raise ValueError("magnification: expected the origin in front of every source, found it at or behind one")
        return float(np.mean(to_detector / to_origin))

    def moved(self, rotation: Any = None, shift: Any = (0.0, 0.0, 0.0)) -> Vectors:
        """The scan after source and detector went to R p + shift, rigidly, for all views or one motion per view.

        rotation: None, (3, 3), or (n_view, 3, 3); shift: (3,) or (n_view, 3) in mm as (x, y, z). A sample that moved by
        p -> R'(p - shift) in front of a fixed scanner gives the same data.
        """
        n = len(self)
        step = np.asarray(shift, dtype=np.float64)
        if step.shape not in ((3,), (n, 3)):
            raise refuse("shift", f"shape (3,) or ({n}, 3)", step.shape)
        if rotation is None:
            turn = np.eye(3)
        elif np.ndim(rotation) == 3:
            if len(rotation) != n:
                raise refuse("rotation", f"one matrix, or one for each of the {n} views", len(rotation))
            turn = np.stack([as_rotation(f"rotation[{i}]", r) for i, r in enumerate(rotation)])
        else:
            turn = as_rotation("rotation", rotation)
        return self._with_table(frame_table.move(self.table, self.kind, turn, step))

    def arguments(self) -> dict[str, Any]:
        """The arguments by which the constructor makes this scan again."""
        return {"frames": self.table, "detector_shape": self.detector_shape, "kind": self.kind, "radius": self.radius}

    def _with_table(self, table: Array) -> Vectors:
        return Vectors(table, self.detector_shape, self.kind, self.radius)

    def _select(self, views: slice | np.ndarray) -> Vectors:
        return self._with_table(self.table[views])

    def _with_detector(self, shape: tuple[int, int], merge: tuple[int, int], shift: tuple[float, float]) -> Vectors:
        table = frame_table.shift_detector(self.table, self.radius, *shift)
        table[:, 6:9] *= merge[1]
        table[:, 9:12] *= merge[0]
        return Vectors(table, shape, self.kind, self.radius)
