"""From settings to how particles are modelled."""

from __future__ import annotations

from typing import Any

from tomodiff.particles import Particles
from tomodiff.recipes.cryoem.data import View
from tomodiff.recipes.device import device_named

EWALD = {"off": 0, "+": 1, "-": -1}


def view_of(chosen: Any, particles: Particles) -> View:
    """The model that a section of settings describes; a section without a field takes the default of `View`."""

    def setting(name: str, default: Any) -> Any:
        return getattr(chosen, name, default)

    r_max = None
    limit = setting("max_resolution_a", None)
    if limit is not None:
        r_max = float(min(particles.box * particles.pixel / limit, particles.box / 2 - 1))
    return View(
        kernel=setting("interpolation", "linear"),
        padding=setting("padding", 2.0),
        ewald=EWALD[setting("ewald", "off")],
        r_max=r_max,
        diameter=setting("particle_diameter_a", None),
        ctf=setting("ctf", "on") != "off",
        dtype=setting("dtype", "float32"),
        device=device_named(setting("device", "cpu")),
    )
