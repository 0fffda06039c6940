"""A simulated set of particles as files: images, STAR file, the true poses, the true maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.files.cryoem import (
    read_map,
    stack_of,
    star_table,
    write_map,
    write_particles,
    write_stack,
    write_star_file,
)
from tomodiff.files.cryoem.mrc import read_header
from tomodiff.files.cryoem.relion_writer import particles_to_star
from tomodiff.geometry.symmetry import point_group
from tomodiff.particles import Optics, Particles
from tomodiff.simulate.atoms import check_box, gaussians_of_atoms, read_atoms
from tomodiff.simulate.blobs import macromolecule
from tomodiff.simulate.density import DensityMap
from tomodiff.simulate.particles import LARGER, Imaging, Sources, perturbed, simulate_particles

MODELS = (".pdb", ".ent", ".cif", ".mmcif")
MAPS = (".mrc", ".map", ".ccp4")
FILL = 0.62
"""Of a phantom's radius, in half boxes."""
FINEST = 2.5
"""Finest detail of a phantom, in pixels."""
BEND = np.deg2rad(60.0)
"""Between two conformations, and over a whole motion."""
ENDS = (0.0, 0.5, 1.0)
"""Of a motion: what is written as a map."""


@dataclass(frozen=True)
class ParticleSet:
    """What is simulated: `write_set` makes the files.

    structure: a map (.mrc), an atomic model (.pdb, .cif), or None for a phantom.  particles, box (even), pixel
    (angstrom).  voltage (kV), cs (mm), amplitude_contrast, beam_tilt (mrad): one optics group.  conformations: 1, or 2
    of the phantom (its head turned by 60 degrees).  motion: the phantom's head turns by up to 60 degrees instead, as a
    latent variable from 0 to 1 says.  symmetry: of the phantom.  resolution: angstrom to which atoms are blurred.
    pose_error (degrees) and shift_error (angstrom): by how much the poses that the STAR file tells are off.  half:
    store the images in 16 bits.
    """

    structure: Path | None = None
    particles: int = 1000
    box: int = 64
    pixel: float = 3.0
    voltage: float = 300.0
    cs: float = 2.7
    amplitude_contrast: float = 0.1
    beam_tilt: tuple[float, float] = (0.0, 0.0)
    imaging: Imaging = field(default_factory=Imaging)
    conformations: int = 1
    motion: bool = False
    symmetry: str = "C1"
    resolution: float = 0.0
    pose_error: float = 0.0
    shift_error: float = 0.0
    half: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        rules = {
            "particles": (self.particles >= 1, "at least 1"),
            "box": (self.box >= 8 and self.box % 2 == 0, "an even number of pixels, at least 8"),
            "pixel": (0 < self.pixel < np.inf, "a size above 0 angstrom"),
            "voltage": (0 < self.voltage < np.inf, "kilovolts above 0"),
            "cs": (np.isfinite(self.cs), "a number of millimetres"),
            "beam_tilt": (np.isfinite(self.beam_tilt).all(), "two numbers of milliradians"),
            "amplitude_contrast": (0 <= self.amplitude_contrast <= 1, "a fraction from 0 to 1"),
            "conformations": (self.conformations in (1, 2), "1 or 2"),
            "resolution": (0 <= self.resolution < np.inf, "a number of angstrom not below 0"),
            "pose_error": (0 <= self.pose_error <= 180, "degrees from 0 to 180"),
            "shift_error": (0 <= self.shift_error < np.inf, "a number of angstrom not below 0"),
            "seed": (self.seed >= 0, "a whole number not below 0"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise ConfigError(f"{name}: expected {expected}, found {getattr(self, name)}")
        if self.motion and self.conformations > 1:
            raise ConfigError("motion: expected one of motion and two conformations, found both")
        point_group(self.symmetry)
        if self.structure is not None:
            moving = self.motion or self.conformations > 1 or self.symmetry.upper() != "C1"
            if moving:
                raise ConfigError(
                    "structure: conformations, motion and symmetry are the phantom's; expected none of them with a file"
                )
            if _suffix(self.structure) not in (*MODELS, *MAPS):
                known = ", ".join((*MAPS, *MODELS))
                raise ConfigError(f"{self.structure}: expected a map or an atomic model ({known})")


def simulated_set(what: ParticleSet) -> tuple[Particles, Particles, dict[str, Any], list[np.ndarray]]:
    """The particles as the STAR file tells them, with their true poses, the rest of the truth, and the true maps."""
    rng = np.random.default_rng([what.seed, 1])
    optics = Optics(what.voltage, what.cs, what.amplitude_contrast, what.pixel, beam_tilt=what.beam_tilt)
    try:
        source, volumes = _source(what)
        true, truth = simulate_particles(
            source, what.particles, what.box, what.pixel, rng, optics=optics, imaging=what.imaging
        )
    except ValueError as error:
        raise ConfigError(f"{what.structure or 'phantom'}: {error}") from error
    told = true
    if what.pose_error or what.shift_error:
        told = perturbed(true, what.pose_error, what.shift_error, rng)
    return told, true, truth, [volume() for volume in volumes]


def write_set(path: Path | str, what: ParticleSet) -> list[Path]:
    """Simulate a set and write it: NAME.star and NAME.mrcs, NAME_truth.star (true poses, class and latent variable),
    NAME_truth.mrc (or _truth1, _truth2, ...: the conformations, or the ends and the middle of the motion).

    Gives the files, in this order.  ConfigError for what cannot be simulated and for a name that does not end
    in .star; errors of the files otherwise.
    """
    path = Path(path)
    if path.suffix.lower() != ".star":
        raise ConfigError(f"{path}: expected a name that ends in .star, found {path.suffix or 'no suffix'}")
    told, true, truth, volumes = simulated_set(what)
    stack = path.with_suffix(".mrcs")
    kind = np.float16 if what.half else np.float32
    write_stack(stack, [np.asarray(told.images[:])], len(told), what.box, what.pixel, kind)
    images = stack_of(stack)
    told, true = told.replace(images=images), true.replace(images=images)
    write_particles(path, told.replace(klass=np.zeros(len(told), np.int64)))
    known = path.with_name(f"{path.stem}_truth.star")
    _write_truth(known, true, truth)
    files = [path, stack, known]
    for number, volume in enumerate(volumes, 1):
        name = f"{path.stem}_truth{number if len(volumes) > 1 else ''}.mrc"
        write_map(path.with_name(name), volume, what.pixel, label="truth of a simulation")
        files.append(path.with_name(name))
    return files


def _write_truth(path: Path, true: Particles, truth: dict[str, Any]) -> None:
    names = true.images.names(path.parent).tolist()  # type: ignore[attr-defined]
    star = particles_to_star(true, names)
    if np.any(truth["latent"]):
        number = len(star.tables) - 1
        column = star_table("", {"tomodiffLatent": truth["latent"]})["tomodiffLatent"]
        star = star.with_table(number, star.tables[number].replaced({"tomodiffLatent": column}))
    write_star_file(path, star)


def _source(what: ParticleSet) -> tuple[Sources, list[Callable[[], np.ndarray]]]:
    """What is imaged, and how to make its maps."""
    if what.structure is None:
        return _phantom(what)
    if _suffix(what.structure) in MODELS:
        mixture = gaussians_of_atoms(read_atoms(what.structure), resolution=what.resolution)
        check_box(mixture, what.box, what.pixel)
        return mixture, [lambda: mixture.volume(what.box, what.pixel)]
    told = any(read_header(what.structure).voxel)
    volume, voxel, _ = read_map(what.structure, None if told else what.pixel, cube=True)
    if abs(voxel - what.pixel) > 1e-3 * voxel:
        raise ConfigError(f"pixel: expected {voxel:g} angstrom as {what.structure} has, found {what.pixel:g}")
    if len(volume) > LARGER * what.box:
        least = -(-len(volume) // (2 * LARGER)) * 2
        raise ConfigError(f"box: expected at least {least} for the map's {len(volume)} voxels, found {what.box}")
    density = DensityMap(volume, what.pixel)
    return density, [lambda: density.volume(what.box, what.pixel)]


def _phantom(what: ParticleSet) -> tuple[Sources, list[Callable[[], np.ndarray]]]:
    radius, detail = FILL * what.box * what.pixel / 2, FINEST * what.pixel

    def bent(t: float) -> Any:
        return macromolecule(what.seed, radius, detail, symmetry=what.symmetry, bend=BEND * t)

    def volume(t: float) -> Callable[[], np.ndarray]:
        return lambda: bent(t).volume(what.box, what.pixel)

    if what.motion:
        return bent, [volume(t) for t in ENDS]
    if what.conformations == 2:
        return [bent(0.0), bent(1.0)], [volume(0.0), volume(1.0)]
    return bent(0.0), [volume(0.0)]


def _suffix(path: Path) -> str:
    """Of a file that may be compressed."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.suffix.lower()
