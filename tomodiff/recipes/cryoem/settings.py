"""The settings of cryo-EM jobs, as they stand in a YAML file and on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.cryoem.setting_kinds import (
    Aberration,
    Angle,
    Angstrom,
    Files,
    Fraction,
    Kilovolts,
    Order,
    Padding,
    Pixels,
    Share,
    Sharpening,
    Symmetry,
)
from tomodiff.recipes.section import Job, Section, TrialJob

MAP_SUFFIXES = (".mrc", ".map")


class ParticleInput(Section):
    """The particles, and what their file does not say."""

    path: fields.File = Field(description="particles: .star of RELION 3 to 5, .cs of cryoSPARC, .par of FREALIGN")
    root: fields.File | None = Field(default=None, description="folder that the paths of stacks start from")
    class_number: fields.Count | None = Field(default=None, description="only the particles of this class")
    half: Annotated[Literal[1, 2], fields.expected("1 or 2")] | None = Field(
        default=None, description="only the particles of this half set, 1 or 2"
    )
    passthrough: Files | None = Field(default=None, description=".cs files that complete a .cs, separated by commas")
    stack: fields.File | None = Field(default=None, description="the images (a .par needs it)")
    pixel_a: Angstrom | None = Field(default=None, description="pixel of the images in angstrom (a .par needs it)")
    voltage_kv: Kilovolts | None = Field(default=None, description="acceleration voltage (a .par needs it)")
    cs_mm: Aberration | None = Field(default=None, description="spherical aberration (a .par needs it)")
    amplitude_contrast: Share | None = Field(default=None, description="0 to 1 (a .par needs it)")
    tilt_images: fields.Switch = Field(
        default=False, description="particles are tilt images of subtomograms, by rlnGroupName (Warp, M)"
    )
    invert_eulers: fields.Switch = Field(default=False, description="the angles of a .par turn the other way round")

    def reading(self) -> dict[str, Any]:
        """What `read_particles` is told beyond the path."""
        return {
            "root": self.root,
            "passthrough": self.passthrough or (),
            "stack": self.stack,
            "pixel": self.pixel_a,
            "voltage": self.voltage_kv,
            "cs": self.cs_mm,
            "amplitude_contrast": self.amplitude_contrast,
            "invert_eulers": self.invert_eulers,
        }


class MapOutput(Section):
    """Where results go."""

    path: fields.File = Field(
        default=Path("map.mrc"), description="map file, or (without suffix) the folder of the whole run"
    )
    format: Literal["mrc"] | None = Field(default=None, description="mrc")
    checkpoint_every: fields.Count | None = Field(default=None, description="iterations between checkpoints")
    checkpoint_seconds: fields.Duration | None = Field(default=60.0, description="seconds between checkpoints")
    overwrite: fields.Switch = Field(default=False, description="replace an earlier run at the same place")
    report: fields.Switch = Field(default=True, description="write report.html")

    name: ClassVar[str] = "map"
    default_format: ClassVar[str] = "mrc"
    """Of a map in the folder of its run."""

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        path = given.get("path", "")
        suffix = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
        if suffix and suffix not in MAP_SUFFIXES:
            yield "path", f"expected a name that ends in {' or '.join(MAP_SUFFIXES)}, or a folder, got {path}"

    @property
    def is_file(self) -> bool:
        """Whether `path` names the map's file, and not the folder of the run."""
        return self.path.suffix.lower() in MAP_SUFFIXES


class Model(Section):
    """How particles are modelled."""

    symmetry: Symmetry = Field(default="C1", description="point group in RELION's setting: C1, C4, D2, T, O, I, I1 ...")
    particle_diameter_a: Angstrom | None = Field(default=None, description="angstrom; images are masked beyond")
    max_resolution_a: Angstrom | None = Field(default=None, description="ignore finer detail than this, angstrom")
    interpolation: Literal["linear", "kaiser-bessel"] = Field(
        default="linear", description="of the map's transform: linear or kaiser-bessel"
    )
    padding: Padding = Field(default=2.0, description="of the map's transform, 1 to 4; less takes less memory")
    ctf: Literal["on", "off"] = Field(default="on", description="whether the file's CTF applies: on or off")
    ewald: Literal["off", "+", "-"] = Field(default="off", description="curvature of the Ewald sphere: off, + or -")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="precision of the computation")
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu, or cuda for an NVIDIA GPU")

    @property
    def maps(self) -> int:
        """How many maps are kept at a time, which counts for the memory it takes."""
        return 1


class Finish(Model):
    """How particles are modelled, and how a map is validated and sharpened."""

    mask: fields.Text = Field(default="auto", description="solvent mask for the FSC: auto, none or a map file")
    sharpen: Sharpening = Field(default="auto", description="B factor of the sharpened map: auto, off or angstrom^2")


class Reconstruction(Finish):
    """How the map is found."""

    method: Literal["wiener", "cg"] = Field(
        default="wiener", description="wiener (weighted back-projection) or cg (conjugate gradients)"
    )
    regularise: Literal["fsc", "none"] = Field(default="fsc", description="by the FSC of half sets, or none")
    tau2_fudge: Fraction = Field(default=1.0, description="trust in the signal relative to what the FSC says")
    iterations: fields.Count | None = Field(default=None, description="of conjugate gradients (default 20)")
    local_resolution: fields.Switch = Field(default=False, description="a map of local resolution, too")

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if given.get("iterations") is not None and given.get("method", "wiener") == "wiener":
            yield "iterations", "method wiener has none; remove it or set it to null"


class Refinement(Finish):
    """How poses are refined."""

    mode: Literal["local", "global"] = Field(
        default="local", description="local (from the poses in the file) or global (from a map, everywhere)"
    )
    reference: fields.File | None = Field(default=None, description="map to start from (global)")
    initial_low_pass_a: Angstrom = Field(default=40.0, description="filter of that map, angstrom (global)")
    healpix_order: Order = Field(default=3, description="finest grid of orientations, HEALPix order 1 to 4 (global)")
    shift_range_px: Pixels = Field(default=5.0, description="shifts that are searched, pixels (global)")
    shift_step_px: Pixels = Field(default=1.0, description="steps of that search, pixels (global)")
    local_sigma_deg: Angle = Field(
        default=5.0, description="how far poses may be off, standard deviation about each axis"
    )
    local_sigma_px: Pixels = Field(default=3.0, description="how far shifts may be off, standard deviation, pixels")
    iterations: fields.Count | None = Field(default=None, description="local rounds (default 6; after a search 3)")
    refine_defocus: fields.Switch = Field(default=False, description="refine the defocus of every particle")
    refine_astigmatism: fields.Switch = Field(default=False, description="with the defocus, refine astigmatism, too")
    refine_beam_tilt: fields.Switch = Field(default=False, description="refine the beam tilt of every optics group")
    refine_trefoil: fields.Switch = Field(default=False, description="refine the trefoil of every optics group")
    refine_fourth_order: fields.Switch = Field(default=False, description="refine the fourth-order aberrations")
    refine_magnification: fields.Switch = Field(default=False, description="refine anisotropic magnification")
    refine_cs: fields.Switch = Field(default=False, description="refine the spherical aberration")

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        if given.get("mode", "local") == "global" and given.get("reference") is None:
            yield "reference", "a global search needs a map to start from, such as that of: tomodiff cryoem abinitio"
        if given.get("mode", "local") == "local" and given.get("reference") is not None:
            yield "reference", "local refinement starts from the poses in the file; remove it, or set mode to global"
        if given.get("refine_astigmatism") and not given.get("refine_defocus"):
            yield "refine_astigmatism", "goes with refine_defocus, which is off"


class Emergence(Model):
    """How maps are found without any poses."""

    classes: fields.Count = Field(default=1, description="number of maps")
    iterations: fields.Count | None = Field(default=None, description="default 60")
    batch: fields.Count | None = Field(default=None, description="particles of each iteration (default 200 per map)")

    @property
    def maps(self) -> int:
        return self.classes


class CryoemJob(Job):
    """Particles in, maps out."""

    INPUTS = MappingProxyType({"path": "particles", "stack": "images"})
    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("input", "path"), ("input", "root"), ("input", "stack"), ("output", "path"),
    )  # fmt: skip
    PATH_LISTS: ClassVar[tuple[tuple[str, str], ...]] = (("input", "passthrough"),)
    NO_PATHS = ("auto", "none")

    input: ParticleInput
    output: MapOutput = Field(default_factory=MapOutput)


class ReconstructSettings(CryoemJob):
    """Particles with poses to a map."""

    PATHS = (*CryoemJob.PATHS, ("reconstruction", "mask"))

    job: Literal["cryoem-reconstruct"] = Field(default="cryoem-reconstruct", description="the kind of job")
    reconstruction: Reconstruction = Field(default_factory=Reconstruction)


class RefineSettings(CryoemJob, TrialJob):
    """Particles to better poses and a better map."""

    TRIAL = MappingProxyType({"refinement.iterations": 1})

    PATHS = (*CryoemJob.PATHS, ("refinement", "reference"), ("refinement", "mask"))

    job: Literal["cryoem-refine"] = Field(default="cryoem-refine", description="the kind of job")
    refinement: Refinement = Field(default_factory=Refinement)


class AbinitioSettings(CryoemJob, TrialJob):
    """Particles without poses to maps."""

    TRIAL = MappingProxyType({"reconstruction.iterations": 15})

    job: Literal["cryoem-abinitio"] = Field(default="cryoem-abinitio", description="the kind of job")
    reconstruction: Emergence = Field(default_factory=Emergence)
