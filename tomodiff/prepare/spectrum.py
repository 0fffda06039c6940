"""Spectra of X-ray tubes and attenuation of materials, by spekpy and xraylib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tomodiff.errors import ConfigError
from tomodiff.extras import library


def tube_spectrum(
    kv: float, filters_mm: Mapping[str, float] | None = None, anode_deg: float = 12.0, step_kev: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (n,) in keV and photons (n,), at any scale, of a tungsten tube at a voltage behind filters.

    filters_mm: {"Al": 2.0, "Cu": 0.1}, names as spekpy has them.  Needs the extra `spectral`.
    """
    spekpy = library("spekpy", "spectral", "spectra need")
    if not 10 <= kv <= 500:
        raise ConfigError(f"tube_spectrum: kv: expected 10 to 500 kV, got {kv}")
    tube = spekpy.Spek(kvp=kv, th=anode_deg, dk=step_kev)
    for name, thickness in (filters_mm or {}).items():
        tube.filter(name, thickness)
    energies, photons = tube.get_spectrum(edges=False)
    return np.asarray(energies, np.float64), np.asarray(photons, np.float64)


def attenuation(material: str, energies_kev: Any, density: float | None = None) -> np.ndarray:
    """Linear attenuation (n,) in 1/mm at the energies.

    material: a formula ("H2O", "CaCO3", "Ti") or a name of NIST's list ("Bone, Cortical (ICRP)"); density in g/cm^3,
    for elements and names from the tables.  Total cross sections of xraylib (Schoonjans et al. 2011).  Needs
    `spectral`.
    """
    xraylib = library("xraylib", "spectral", "spectra need")
    try:
        known = density if density is not None else _density(xraylib, material)
        return np.array([0.1 * known * xraylib.CS_Total_CP(material, float(e)) for e in np.atleast_1d(energies_kev)])
    except ValueError as error:
        raise ConfigError(f"attenuation: {material}: {error}") from error


def _density(xraylib: Any, material: str) -> float:
    """g/cm^3 of an element or of a name of NIST's list."""
    if material in xraylib.GetCompoundDataNISTList():
        return float(xraylib.GetCompoundDataNISTByName(material)["density"])
    parsed = xraylib.CompoundParser(material)
    if parsed["nElements"] == 1:
        return float(xraylib.ElementDensity(parsed["Elements"][0]))
    raise ConfigError(f"attenuation: {material}: expected its density in g/cm^3, which no table has")
