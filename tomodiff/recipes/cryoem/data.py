"""Particles as the recipes work on them: transforms in batches or in memory, records, noise, on one device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomodiff.array import Array, namespace, to_numpy
from tomodiff.errors import ConfigError, DataError
from tomodiff.particles import Particles
from tomodiff.prepare.particle_images import masked, radius, shell_power, transforms
from tomodiff.projectors.fourier_slice import FourierSlice, parameters
from tomodiff.projectors.slicer import Slicer
from tomodiff.ranks import ALONE, Comm

FEWEST = 8
"""Particles of each rank."""
SOME = 64
"""Images that are looked at together where only their corners count."""
BATCH_BYTES = 256 << 20
"""Of transforms that are worked on at a time, where they are not all kept."""
KEEP_BYTES = 4 << 30
"""Transforms of a set are kept in memory up to this size."""
MASK_EDGE = 5.0
"""Pixels over which the mask of an image falls."""


@dataclass(frozen=True)
class View:
    """How particles are modelled: the settings that every recipe shares.

    size: of the volume, voxels; r_max: steps of the images' transforms; diameter: of the particle, angstrom (images are
    masked beyond; None: not at all).
    """

    kernel: str = "linear"
    padding: float = 2.0
    gridding: str = "separable"
    ewald: int = 0
    r_max: float | None = None
    diameter: float | None = None
    ctf: bool = True
    dtype: str = "float32"
    device: Callable[[np.ndarray], Array] = field(default=np.asarray)

    def operator(self, particles: Particles, r_max: float | None = None) -> FourierSlice:
        """The model of some particles."""
        options: dict[str, Any] = {} if self.ctf else {"ctf": "none"}
        return FourierSlice.of(
            particles, kernel=self.kernel, padding=self.padding, gridding=self.gridding,
            ewald=self.ewald if self.ctf and particles.has_ctf else 0, dtype=self.dtype,
            r_max=r_max if r_max is not None else self.r_max, **options,
        )  # fmt: skip


class ParticleData:
    """The transforms of particle images, read once and kept where they fit, and what is needed to model them.

    Of several ranks each goes through its own particles (`mine`) and reads no others' images; `joined` brings what was
    found for them to all.
    """

    def __init__(self, particles: Particles, view: View, comm: Comm = ALONE) -> None:
        if 1 < comm.size > len(particles) // FEWEST:
            raise ConfigError(
                f"expected at least {FEWEST} particles for each of {comm.size} ranks, found {len(particles)} in all"
            )
        self.particles, self.view, self.comm = particles, view, comm
        self.operator = view.operator(particles)
        self.slicer: Slicer = self.operator.slicer
        self.slicer.unique = True
        box = particles.box
        item = 8 if view.dtype == "float32" else 16
        each = box * (box // 2 + 1) * item
        self.batch = int(max(1, min(len(particles), BATCH_BYTES // each)))
        self.keeps = len(particles) * each <= KEEP_BYTES * comm.size
        self._kept: dict[int, Array] = {}

    def __len__(self) -> int:
        return len(self.particles)

    def mine(self, index: np.ndarray) -> np.ndarray:
        """Those of the particles `index` that are this rank's."""
        return index[self.comm.rank :: self.comm.size]

    def joined(self, found: np.ndarray) -> np.ndarray:
        """(m, ...) something of all m particles of an index, from what each rank has of `mine(index)`."""
        if self.comm.size == 1:
            return found
        parts = self.comm.collect(found)
        made = np.empty((sum(map(len, parts)), *found.shape[1:]), found.dtype)
        for rank, part in enumerate(parts):
            made[rank :: self.comm.size] = part
        return made

    @property
    def box(self) -> int:
        return self.particles.box

    def values(self) -> dict[str, np.ndarray]:
        """The parameters of all particles (see `records.NAMES`), as the file has them."""
        return parameters(self.particles)

    def records(self, values: dict[str, np.ndarray], index: np.ndarray) -> Array:
        """(m, 48) the records of some particles with these parameters, on the device."""
        made = self.operator.records[index]({name: v[index] for name, v in values.items()})
        return self.view.device(np.ascontiguousarray(made, self.view.dtype))

    def batches(
        self, index: np.ndarray, advance: Callable[[int], None] | None = None
    ) -> Iterator[tuple[np.ndarray, Array]]:
        """Transforms of the particles `index` in batches, with their indices; in any order that reads files forward.

        Where they are not kept in memory, the images of the next batch are read while this one is worked on.
        """
        parts = [index[start : start + self.batch] for start in range(0, len(index), self.batch)]
        with ThreadPoolExecutor(1) as reader:
            coming = None
            for i, chosen in enumerate(parts):
                made = self.transforms(chosen) if coming is None else self._transformed(chosen, coming.result())
                coming = None
                if not self.keeps and i + 1 < len(parts):
                    coming = reader.submit(self._images, parts[i + 1])
                yield chosen, made
                if advance:
                    advance(len(chosen))

    def transforms(self, index: np.ndarray) -> Array:
        """(m, box, box // 2 + 1) the transforms of some particles, masked beyond the diameter."""
        if not self.keeps:
            return self._read(index)
        missing = np.array([i for i in index if int(i) not in self._kept], dtype=np.int64)
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            for i, F in zip(part, self._read(part), strict=True):
                self._kept[int(i)] = F
        kept = [self._kept[int(i)] for i in index]
        return namespace(kept[0]).stack(kept)

    def _images(self, index: np.ndarray) -> np.ndarray:
        return np.asarray(self.particles.images[index])

    def _read(self, index: np.ndarray) -> Array:
        return self._transformed(index, self._images(index))

    def _transformed(self, index: np.ndarray, images: np.ndarray) -> Array:
        """Transforms of images that were read."""
        if not np.isfinite(images).all():
            bad = int(index[~np.isfinite(images).all((1, 2))][0])
            raise DataError("particles", f"image {bad + 1}", "finite numbers", "NaN or infinite values")
        on = self.view.device(np.ascontiguousarray(images, self.view.dtype))
        if self.view.diameter is not None:
            pixel = self.particles.pixel
            outer = min(self.view.diameter / pixel / 2 + MASK_EDGE / 2, self.box / 2)
            on = masked(on, outer, MASK_EDGE)
        return transforms(on)

    def background_spectrum(self, index: np.ndarray, sample: int = 1000) -> np.ndarray:
        """(groups, shells) E|F|^2 of the noise, as the corners of images show it: white, until residuals say more."""
        chosen = index[:: max(1, len(index) // sample)]
        outside = np.flatnonzero(radius(self.box) > self.box / 2 - 1)
        group = self.particles.group[chosen]
        parts = (chosen[i : i + SOME] for i in range(0, len(chosen), SOME))
        corners = (self.particles.images[part].reshape(len(part), -1)[:, outside] for part in parts)
        variance = np.concatenate([pixels.var(1, dtype=np.float64) for pixels in corners])
        shells = self.box // 2 + 1
        made = np.ones((len(self.particles.optics), shells))
        for g in range(len(made)):
            if (group == g).any():
                made[g] = variance[group == g].mean() * self.box**2
        return np.maximum(made, np.finfo(np.float32).tiny)

    def power_spectrum(self, index: np.ndarray, sample: int = 1000) -> np.ndarray:
        """(groups, shells) mean |F|^2 of the images themselves."""
        chosen = index[:: max(1, len(index) // sample)]
        power: list[np.ndarray] = []
        for _, F in self.batches(self.mine(chosen)):
            power.append(to_numpy(shell_power(F)))
        found = self.joined(rows_of(power, self.box // 2 + 1))
        return by_group(found, self.particles.group[chosen], len(self.particles.optics))


def by_group(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """(count, ...) the mean of values (n, ...) in each group; groups without any take the mean of all."""
    everyone = values.mean(0)
    return np.stack([values[group == g].mean(0) if (group == g).any() else everyone for g in range(count)])


def rows_of(parts: list[np.ndarray], shells: int) -> np.ndarray:
    """The rows of all batches; none where there was no batch."""
    return np.concatenate(parts) if parts else np.zeros((0, shells))
