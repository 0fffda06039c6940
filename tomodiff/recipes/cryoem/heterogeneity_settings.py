"""The settings of jobs that tell particles in different states apart: classification and variability."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.cryoem.setting_kinds import Angle, Angstrom, Files, Pixels
from tomodiff.recipes.cryoem.settings import CryoemJob, Model
from tomodiff.recipes.section import TrialJob

Several = Annotated[int, Field(ge=2), fields.expected("a whole number above 1")]
Frames = Annotated[int, Field(ge=2), fields.expected("a whole number above 1")]


class States(Model):
    """How particles with poses are modelled, and where their maps may differ."""

    mask: fields.Text = Field(default="auto", description="where maps may differ: auto (the molecule), none or a map")


class Classification(States):
    """How particles are divided into classes."""

    classes: Several | None = Field(default=None, description="number of maps (default 2)")
    start: Literal["components", "random"] = Field(
        default="components", description="first classes: by their main components of variability, or at random"
    )
    references: Files | None = Field(default=None, description="maps to start from, one per class, separated by commas")
    initial_low_pass_a: Angstrom = Field(default=30.0, description="detail of references that is used, angstrom")
    align: Literal["none", "local"] = Field(
        default="none", description="poses: none (kept) or local (refined in every class)"
    )
    local_sigma_deg: Angle = Field(default=5.0, description="how far poses may be off, degrees (align local)")
    local_sigma_px: Pixels = Field(default=3.0, description="how far shifts may be off, pixels (align local)")
    iterations: fields.Count | None = Field(default=None, description="at most (default 25; it ends when settled)")

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        references, classes = given.get("references"), given.get("classes")
        if references is None:
            return
        count = len(references.split(",")) if isinstance(references, str) else len(references)
        if count < 2:
            yield "references", "expected two maps or more"
        if classes is not None and str(classes) != str(count):
            yield "classes", f"{count} references are given; remove it"
        if given.get("start") == "random":
            yield "start", "references are given; remove it"

    @property
    def count(self) -> int:
        """The number of classes."""
        return len(self.references) if self.references else self.classes or 2

    @property
    def maps(self) -> int:
        return 2 * self.count


class Variability(States):
    """How the components of variability are found."""

    components: fields.Count = Field(default=3, description="number of components")
    contrast: fields.Switch = Field(default=False, description="each particle has a contrast of its own")
    iterations: fields.Count | None = Field(default=None, description="default 20")
    frames: Frames = Field(default=7, description="maps along each component")

    @property
    def maps(self) -> int:
        return (self.components + 1) * (self.components + 4) // 2


class ClassifySettings(CryoemJob, TrialJob):
    """Particles with poses to several maps."""

    TRIAL = MappingProxyType({"reconstruction.iterations": 5})

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (*CryoemJob.PATHS, ("reconstruction", "mask"))
    PATH_LISTS: ClassVar[tuple[tuple[str, str], ...]] = (*CryoemJob.PATH_LISTS, ("reconstruction", "references"))

    job: Literal["cryoem-classify"] = Field(default="cryoem-classify", description="the kind of job")
    reconstruction: Classification = Field(default_factory=Classification)


class VariabilitySettings(CryoemJob, TrialJob):
    """Particles with poses to a map and the components along which it varies."""

    TRIAL = MappingProxyType({"reconstruction.iterations": 4})

    PATHS: ClassVar[tuple[tuple[str, str], ...]] = (*CryoemJob.PATHS, ("reconstruction", "mask"))

    job: Literal["cryoem-variability"] = Field(default="cryoem-variability", description="the kind of job")
    reconstruction: Variability = Field(default_factory=Variability)
