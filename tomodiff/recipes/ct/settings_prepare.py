"""The settings of the corrections that turn counts into line integrals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tomodiff.recipes import fields
from tomodiff.recipes.section import Section

if TYPE_CHECKING:
    from tomodiff.prepare.hardening import Hardening
    from tomodiff.prepare.phase import PhaseRetrieval

PHASE = ("delta_beta", "energy_kev", "propagation_mm")
"""What phase retrieval is told."""

TUBE = ("hardening_density", "tube_kv", "tube_filters")
"""What the curve of a material is told."""


class Prepare(Section):
    """From counts to line integrals."""

    flat_model: Literal["auto", "mean", "interpolated", "eigen"] = Field(
        default="auto",
        description="how the beam changes: mean (not at all), interpolated (between the times of flats), eigen (by the "
        "modes of flats) or auto (interpolated where the file has flats of several times)",
    )
    flux: fields.Flux = Field(
        default="auto", description="rescale each view by the air it sees: auto, off or columns a:b"
    )
    dead_pixels: fields.Flag = Field(default="auto", description="repair defective pixels: auto or off")
    lag: fields.Pairs | None = Field(
        default=None, description="detector lag: pairs share:views of its exponentials, such as 0.02:5,0.01:60"
    )
    zingers: fields.Flag = Field(default="off", description="remove single pixels that are far too bright: auto or off")
    scatter: fields.Kernel | None = Field(
        default=None, description="scatter kernel: amplitude:width_mm, such as 0.05:40"
    )
    phase: Literal["off", "paganin", "generalised"] = Field(
        default="off", description="phase retrieval of one material: off, paganin or generalised"
    )
    delta_beta: fields.Positive | None = Field(default=None, description="delta / beta of the material (phase)")
    energy_kev: fields.Positive | None = Field(
        default=None, description="photon energy in keV (phase; default: as the file says)"
    )
    propagation_mm: fields.Length | None = Field(
        default=None, description="distance from sample to detector in mm (phase; default: as the file says)"
    )
    rings: Literal["off", "light", "normal", "strong", "vo", "wavelet", "titarenko"] = Field(
        default="normal", description="ring filter: off; light, normal or strong; vo, wavelet or titarenko (algotom)"
    )
    ring_drift: fields.Switch = Field(default=False, description="rings may change through the scan")
    hardening: fields.Numbers | None = Field(
        default=None, description="beam hardening: coefficients a,b,... of p -> a p + b p^2 + ..."
    )
    hardening_material: fields.Text | None = Field(
        default=None, description="beam hardening by the curve of this material, such as Al (with tube_kv)"
    )
    hardening_density: fields.Positive | None = Field(
        default=None, description="density of that material in g/cm^3 (default: from tables)"
    )
    tube_kv: fields.Positive | None = Field(default=None, description="tube voltage in kV")
    tube_filters: fields.Filters | None = Field(default=None, description="filters in mm, such as Al:2,Cu:0.1")
    center: fields.Center = Field(
        default="auto", description="detector column of the rotation axis: auto, a number, or keep (as the file says)"
    )
    center_search: fields.Columns | None = Field(default=None, description="columns a:b in which to look for the axis")

    @classmethod
    def conflicts(cls, given: dict[str, Any]) -> Iterator[tuple[str, str]]:
        center = given.get("center", "auto")
        if given.get("center_search") is not None and center != "auto":
            yield "center_search", f"there is nothing to search if center is {center}; remove it or set it to null"
        rings = given.get("rings", "normal")
        if given.get("ring_drift") is True and rings not in ("light", "normal", "strong"):
            why = "there are no rings to follow" if rings == "off" else "none can be followed"
            yield "ring_drift", f"{why} if rings is {rings}"
        if given.get("phase", "off") == "off":
            for name in PHASE:
                if given.get(name) is not None:
                    yield name, "there is no phase to retrieve if phase is off; remove it or set it to null"
        elif given.get("delta_beta") is None:
            yield "delta_beta", "phase retrieval needs the ratio delta / beta of the material"
        material = given.get("hardening_material")
        if material is not None and given.get("hardening") is not None:
            yield "hardening_material", "hardening is undone by a polynomial or by a material's curve, not by both"
        elif material is not None and given.get("tube_kv") is None:
            yield "tube_kv", "the curve of a material needs the tube's voltage"
        elif material is None:
            for name in TUBE:
                if given.get(name) is not None:
                    yield name, "only hardening_material has use for it; remove it or set it to null"

    def options(self) -> dict[str, Any]:
        """The arguments of `prepare.prepare`."""
        return {
            "defects": self.dead_pixels == "auto",
            "flat_model": self.flat_model,
            "flux": self.flux != "off",
            "air": self.flux if isinstance(self.flux, tuple) else None,
            "lag": self.lag or (),
            "zingers": self.zingers == "auto",
            "scatter": self.scatter,
            "phase": self.phase_retrieval(),
            "rings": self.rings,
            "ring_drift": self.ring_drift,
            "hardening": self.curve(),
            "center": None if self.center == "keep" else self.center,
            "search": self.center_search,
        }

    def phase_retrieval(self) -> PhaseRetrieval | None:
        """What the settings ask of phase retrieval."""
        from tomodiff.prepare.phase import PhaseRetrieval

        if self.phase == "off" or self.delta_beta is None:
            return None
        return PhaseRetrieval(self.delta_beta, self.energy_kev, self.propagation_mm, self.phase == "generalised")

    def curve(self) -> Hardening | None:
        """How line integrals are made linear."""
        from tomodiff.prepare.hardening import of_material, polynomial

        if self.hardening is not None:
            return polynomial(self.hardening)
        if self.hardening_material is None or self.tube_kv is None:
            return None
        return of_material(self.hardening_material, self.tube_kv, self.tube_filters, self.hardening_density)
