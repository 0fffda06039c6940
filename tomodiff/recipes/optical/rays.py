"""Rays of many photographs, to draw from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tomodiff.geometry.cameras.photograph import Photograph


class Rays:
    """The pixels of photographs with known cameras, and their rays.

    Cameras with the same lens share one table of where each pixel looks, so that a draw costs no distortion.
    images: (rows, columns, 3) each, as its camera has them.
    """

    def __init__(self, cameras: Sequence[Photograph], images: Sequence[np.ndarray]) -> None:
        self.cameras, tables, starts = cameras, {}, []
        planes: list[np.ndarray] = []
        for camera in cameras:
            if camera.lens not in tables:
                tables[camera.lens] = sum(len(plane) for plane in planes)
                planes.append(np.stack(camera.plane(), axis=1).astype(np.float32))
            starts.append(tables[camera.lens])
        self._plane, self._table = np.concatenate(planes), np.array(starts)
        self._first = np.cumsum([0, *(camera.shape[0] * camera.shape[1] for camera in cameras)])
        self._turn = np.stack([camera.pose[:, :3] for camera in cameras]).astype(np.float32)
        self._place = np.stack([camera.place for camera in cameras]).astype(np.float32)
        self.pixels = np.concatenate([np.asarray(image, np.float32).reshape(-1, 3) for image in images])
        if len(self.pixels) != self._first[-1]:
            raise ValueError(f"Rays: images: expected {self._first[-1]} pixels as cameras have, got {len(self.pixels)}")

    def __len__(self) -> int:
        return len(self.pixels)

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Origins, directions and pixels (n, 3) of rays drawn at random, each as likely as the others."""
        at = rng.integers(0, len(self), n)
        view = np.searchsorted(self._first, at, side="right") - 1
        x, y = self._plane[self._table[view] + at - self._first[view]].T
        turn = self._turn[view]
        directions = turn[:, :, 0] * x[:, None] + turn[:, :, 1] * y[:, None] + turn[:, :, 2]
        directions /= np.sqrt(np.einsum("ij,ij->i", directions, directions))[:, None]
        return self._place[view], directions, self.pixels[at]
