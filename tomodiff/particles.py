"""Cryo-EM particles: images, and what is known of how each was taken. Lengths in angstrom, angles in radians.

Conventions are those of RELION (see docs/conventions.md): a rotation A maps the frame of the volume to that of the
image, the third row of A is the direction of view; an image moved by +shift is centred on pixel n // 2; the contrast
transfer function is -sin(gamma), so protein is white.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tomodiff.errors import DataError


class Images(Protocol):
    """A stack of square images (n, row, column) that need not be in memory: what is indexed is read, as float32."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(n, row, column)."""

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        """Some of the images, in the order asked for, float32."""


@dataclass(frozen=True)
class Optics:
    """What the particles of one optics group share."""

    voltage: float
    """Acceleration voltage, kV."""
    cs: float
    """Spherical aberration, mm."""
    amplitude_contrast: float
    pixel: float
    """Size of an image's pixel, angstrom."""
    name: str = "opticsGroup1"
    beam_tilt: tuple[float, float] = (0.0, 0.0)
    """(x, y), mrad."""
    odd_zernike: tuple[float, ...] = ()
    """Coefficients of RELION's antisymmetric aberrations (trefoil and up), rad per angstrom^-n."""
    even_zernike: tuple[float, ...] = ()
    """Coefficients of RELION's symmetric aberrations, added to gamma."""
    magnification: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    """Anisotropic magnification M: a frequency k of the image is M k of the specimen."""
    premultiplied: bool = False
    """Whether the images were multiplied with their CTF already."""
    phase_flipped: bool = False
    """Whether the images' phases were flipped already, so that |CTF| applies."""


@dataclass(frozen=True, eq=False)
class Particles:
    """Particle images with poses and optics; every array has one entry per particle, in the order of the images.

    table: the file's own table (all columns as text), kept so that nothing is lost on the way out.
    Raises DataError where lengths or shapes do not agree.
    """

    images: Images
    optics: tuple[Optics, ...]
    group: np.ndarray
    """(n,) index into `optics`."""
    rotation: np.ndarray
    """(n, 3, 3) A, volume frame to image frame."""
    shift: np.ndarray
    """(n, 2) x, y in angstrom: what centres the image (RELION's origin)."""
    defocus: np.ndarray
    """(n, 3) U, V in angstrom (positive: underfocus), angle of U from x in radians."""
    phase_shift: np.ndarray
    """(n,) of a phase plate, radians."""
    b_factor: np.ndarray
    """(n,) angstrom^2: the envelope is exp(-b k^2 / 4)."""
    scale: np.ndarray
    """(n,) factor of the CTF."""
    half: np.ndarray
    """(n,) random half set 1 or 2; 0 where there is none."""
    dose: np.ndarray
    """(n,) electrons per square angstrom before the exposure; 0: no dose weighting."""
    klass: np.ndarray
    """(n,) class number, counted from 1; 0 where there is none."""
    has_ctf: bool = True
    """Whether the file told a CTF at all."""
    has_poses: bool = True
    table: Any = None
    meta: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = self.images.shape[0]
        wanted = {"rotation": (n, 3, 3), "shift": (n, 2), "defocus": (n, 3)}
        for name in (
            "rotation",
            "shift",
            "defocus",
            "group",
            "phase_shift",
            "b_factor",
            "scale",
            "half",
            "dose",
            "klass",
        ):
            shape = tuple(getattr(self, name).shape)
            if shape != wanted.get(name, (n,)):
                raise DataError("particles", name, f"shape {wanted.get(name, (n,))}", str(shape))
        if len(self.images.shape) != 3 or self.images.shape[1] != self.images.shape[2]:
            raise DataError("particles", "images", "square images (n, size, size)", str(self.images.shape))

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def box(self) -> int:
        """Pixels along a side of an image."""
        return int(self.images.shape[1])

    @property
    def pixel(self) -> float:
        """Angstrom; of the first optics group (readers bring all groups to one size, or refuse)."""
        return self.optics[0].pixel

    def replace(self, **changes: Any) -> Particles:
        """Particles that differ in the named fields and share the others."""
        return dataclasses.replace(self, **changes)

    def __getitem__(self, which: Any) -> Particles:
        """Some of the particles: a slice, an array of indices or a mask. Images are not read."""
        index = np.arange(len(self))[which]
        per_particle = (
            "group",
            "rotation",
            "shift",
            "defocus",
            "phase_shift",
            "b_factor",
            "scale",
            "half",
            "dose",
            "klass",
        )
        parts = {name: getattr(self, name)[index] for name in per_particle}
        table = self.table[index] if self.table is not None else None
        return dataclasses.replace(self, images=Chosen(self.images, index), table=table, **parts)


class Chosen:
    """Some images of a stack, by index; still not in memory."""

    def __init__(self, of: Images, index: np.ndarray) -> None:
        self.of, self.index = of, index

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.index), *self.of.shape[1:])

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        return self.of[self.index[which]]


def particles_of(
    images: np.ndarray | Images,
    rotation: np.ndarray,
    optics: Optics | tuple[Optics, ...],
    shift: np.ndarray | None = None,
    defocus: np.ndarray | None = None,
    **more: Any,
) -> Particles:
    """Particles from arrays, with zeros (ones for `scale`) for what is not given; no defocus means no CTF."""
    n = images.shape[0]
    groups = optics if isinstance(optics, tuple) else (optics,)
    values = {
        "group": np.zeros(n, np.int64),
        "shift": np.zeros((n, 2)) if shift is None else shift,
        "defocus": np.zeros((n, 3)) if defocus is None else defocus,
        "phase_shift": np.zeros(n),
        "b_factor": np.zeros(n),
        "scale": np.ones(n),
        "half": np.zeros(n, np.int64),
        "dose": np.zeros(n),
        "klass": np.zeros(n, np.int64),
        "has_ctf": defocus is not None,
    }
    return Particles(images=images, optics=groups, rotation=rotation, **(values | more))
