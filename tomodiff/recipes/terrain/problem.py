"""The objective of a fit on one grid: images of a terrain against those taken, and what is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import radians
from typing import Any

import numpy as np

from tomodiff.array import Array, Element
from tomodiff.core import Functional, LinearOperator
from tomodiff.errors import ConfigError
from tomodiff.objective import Cauchy, Gaussian
from tomodiff.objective.differences import Differences
from tomodiff.objective.of import Of
from tomodiff.objective.terrain import Curvatures
from tomodiff.projectors.terrain.atmosphere import KINDS
from tomodiff.projectors.terrain.images import TerrainImages
from tomodiff.projectors.terrain.photometry import model_named
from tomodiff.projectors.terrain.sightings import SeenTerrain, Sightings
from tomodiff.projectors.terrain.sky_light import SkyLight
from tomodiff.projectors.terrain.sun_angles import OfSunAngles, angles_of
from tomodiff.projectors.terrain.under_air import UnderAir
from tomodiff.projectors.terrain.under_sky import UnderSky
from tomodiff.recipes.terrain.scene import Scene
from tomodiff.recipes.terrain.settings import TerrainFitSettings

EXPOSURE_SIGMA = 0.1
"""How far exposures may be off, relative, where the albedo is sought as well: else only their product were known."""
LOWEST_EXPOSURE = 1e-12
AFFINE = {"shift": 1e12, "affine": 1.0}
"""How much more what grows over an image is held than its shift."""


@dataclass(frozen=True)
class Precisions:
    """1 / variance of what is known beforehand, for each element of the finest grid: curvatures of the heights less the
    DEM's (m^2), their slopes, distances from the DEM (1/m^2), slopes of the albedo (m^2), distances from the first."""

    curvature: float
    slope: float
    dem: float
    albedo_slope: float
    albedo: float


class Problem:
    """The fit on one grid, `factor` times as coarse as the finest.

    values: what x leaves out, as TerrainImages takes it; x: {"height" (m, less `base`), "albedo", and of "exposure",
    "haze", "parameters", "angles" what is sought}.  noise (m,): standard deviations of the images on the finest grid.
    """

    def __init__(
        self, scene: Scene, settings: TerrainFitSettings, factor: int, noise: np.ndarray, precisions: Precisions,
        *, shadows: str, sun_radius_deg: float, values: dict[str, np.ndarray],
    ) -> None:  # fmt: skip
        light = settings.light
        self.scene, self.settings, self.factor, self.precisions = scene, settings, factor, precisions
        self.noise, self.dtype, self.sought = noise, light.dtype, sought(settings)
        blur = [light.psf_px / factor] * len(scene.names) if light.psf_px / factor > 0.2 else None
        self.spacing = scene.grid.spacing
        self.base = float(scene.height.mean())
        operator: Any = TerrainImages(
            scene.shape, scene.view, light.reflectance_type, self.spacing, shadows=shadows,
            sun_radius=radians(sun_radius_deg), body_radius=scene.grid.body_radius,
            frames=None if scene.frames is None else scene.frames.astype(self.dtype), blur=blur, dtype=self.dtype,
        )  # fmt: skip
        self.data = scene.images.astype(self.dtype)
        if light.atmosphere != "none":
            operator = UnderAir(operator, light.atmosphere, scene.sun, scene.single_view, values["parameters"])
        if light.ambient > 0 or settings.fit.float_ambient:
            sky = SkyLight(scene.shape, self.spacing, body_radius=scene.grid.body_radius, dtype=self.dtype)
            operator = UnderSky(operator, sky)
        if scene.views:
            self.sightings = self._sightings()
            operator = SeenTerrain(operator, self.sightings, light.shading)
            self.data = np.zeros_like(self.data)
        if "angles" in self.sought:
            operator = OfSunAngles(operator)
        self.operator = operator
        self.known = self.typed({name: values[name] for name in operator.domain if name not in self.sought})
        self.images = operator.fix(**self.known) if self.known else operator
        self.lone = self.sought[0] if len(self.sought) == 1 else None

    def typed(self, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The values in the operator's precision, heights less their mean."""
        made = {n: np.ascontiguousarray(a - self.base if n == "height" else a) for n, a in x.items()}
        return {n: a.astype(self.operator.domain[n].dtype) for n, a in made.items()}

    def start(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """x at these values."""
        return self.typed({name: values[name] for name in self.sought})

    def values(self, x: Element, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The values with those of x in their place, float64."""
        found = {n: np.asarray(a, np.float64) + (self.base if n == "height" else 0.0) for n, a in x.items()}
        return values | found

    def _sightings(self) -> Sightings:
        pairs = zip(self.scene.views, self.scene.images, strict=True)
        made = [image if view is None else view.sighting(self.base, self.dtype) for view, image in pairs]
        return Sightings(self.scene.shape, made, self.dtype)

    def residual(self, x: Element) -> Array:
        """The images (m, ny, nx) that x makes, less those taken."""
        return self.images(x if self.lone is None else x[self.lone]) - self.data

    def measured(self, x: Element) -> Array:
        """The images (m, ny, nx) as taken: as cameras saw the ground, were it that of x."""
        if not self.scene.views:
            return self.data
        camera = x["camera"] if "camera" in x else self.known["camera"]
        height = x["height"] if "height" in x else self.known["height"]
        return self.sightings({"height": height, "camera": camera})

    def objective(self, valid: np.ndarray, threshold: float = 0.0) -> Functional:
        """The misfit to the images and the priors."""
        total = self.misfit(valid, threshold)
        for prior in self.priors():
            total = total + prior
        return total

    def misfit(self, valid: np.ndarray, threshold: float = 0.0) -> Functional:
        """Misfit to the images where they are valid, Cauchy's from `threshold` deviations on (0: squares)."""
        weights = self.weights(valid)
        misfit = Cauchy(self.data, threshold, weights) if threshold else Gaussian(self.data, weights)
        made: Functional = misfit @ self.images
        return made if self.lone is None else Of(self.lone, made)

    def weights(self, valid: np.ndarray) -> np.ndarray:
        """1 / variance (m, ny, nx) of the images, 0 where they do not count."""
        own = np.broadcast_to(self.scene.weights, self.noise.shape) * (self.factor / self.noise) ** 2
        return np.asarray((valid * own[:, None, None]).astype(self.dtype))

    def priors(self) -> list[Functional]:
        """What is known beforehand of what is sought."""
        made: list[Functional] = []
        for name, A, centre, precision in self.prior_terms():
            apart = Gaussian(centre, precision)
            made.append(Of(name, apart if A is None else apart @ A))
        return made

    def prior_terms(self) -> list[tuple[str, LinearOperator | None, Array, Any]]:
        """(name, A, centre, precision) of 1/2 precision |A x[name] - centre|^2; A is None for the identity."""
        p, area = self.precisions, float(self.factor**2)
        made: list[tuple[str, LinearOperator | None, Array, Any]] = []
        like = (self.scene.shape, self.spacing, self.dtype)
        curvatures, slopes = Curvatures(*like), Differences(self.scene.shape, self.spacing, dtype=self.dtype)
        level = {A: np.zeros(A.range.shape, A.range.dtype) for A in (curvatures, slopes)}
        if "height" in self.sought:
            first = (self.scene.height - self.base).astype(self.dtype)
            made += [("height", curvatures, curvatures.forward(first), p.curvature * area)]
            made += [("height", slopes, level[slopes], p.slope * area)]
            known = self.scene.known if self.scene.known.any() else np.ones(self.scene.shape, bool)
            trusted = (p.dem * area * known).astype(self.dtype)
            made += [("height", None, first, trusted)]
        if "albedo" in self.sought:
            made += [("albedo", slopes, level[slopes], p.albedo_slope * area)]
            made += [("albedo", None, self.scene.albedo.astype(self.dtype), p.albedo * area)]
        if {"albedo", "exposure"} <= set(self.sought):
            exposure = self.scene.exposure
            assert exposure is not None
            made += [("exposure", None, exposure, (EXPOSURE_SIGMA * exposure) ** -2.0)]
        if "angles" in self.sought:
            made += [("angles", None, angles_of(self.scene.sun), radians(self.settings.fit.sun_sigma_deg) ** -2.0)]
        if "tau" in self.sought:
            depths = _of_air(self.settings.light, "tau", len(self.scene.names))
            made += [("tau", None, depths, self.settings.fit.tau_sigma**-2.0)]
        if "camera" in self.sought:
            fit = self.settings.fit
            held = [1.0, AFFINE[fit.float_cameras], AFFINE[fit.float_cameras]] * 2
            trusted = np.array([held] * len(self.scene.names)) / fit.camera_sigma_px**2
            made += [("camera", None, np.zeros_like(trusted), trusted)]
        return [term for term in made if not isinstance(term[3], float) or term[3] > 0]

    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """Lowest and highest values of what is sought."""
        low, high = self.settings.fit.albedo_bounds or (0.0, None)
        own: dict[str, tuple[float | None, float | None]] = {
            "albedo": (low, high), "exposure": (LOWEST_EXPOSURE, None), "haze": (0.0, None), "tau": (0.0, None),
            "ambient": (0.0, None),
        }  # fmt: skip
        return {name: bound for name, bound in own.items() if name in self.sought}


def sought(settings: TerrainFitSettings) -> tuple[str, ...]:
    """The names of what is sought."""
    fit = settings.fit
    wanted = {
        "height": not fit.fix_dem, "albedo": fit.float_albedo, "exposure": fit.float_exposure, "haze": fit.float_haze,
        "parameters": fit.float_reflectance_model, "angles": fit.float_sun, "camera": fit.float_cameras != "no",
        "ambient": fit.float_ambient, "tau": fit.float_tau and settings.light.atmosphere != "none",
    }  # fmt: skip
    return tuple(name for name, is_so in wanted.items() if is_so)


def first_values(scene: Scene, settings: TerrainFitSettings) -> tuple[Scene, dict[str, np.ndarray]]:
    """The values to start from, and the scene with exposures and a first albedo that make the images as bright as they
    are: of the two, what is not given is found from the means."""
    light = settings.light
    given = settings.light.model_coeffs
    parameters = model_named(light.reflectance_type).vector() if given is None else _coefficients(light)
    m = len(scene.names)
    A: Any = TerrainImages(
        scene.shape, scene.view, light.reflectance_type, scene.grid.spacing, shadows="none", frames=scene.frames,
        dtype="float64",
    )  # fmt: skip
    values = {
        "height": scene.height, "albedo": scene.albedo, "parameters": parameters, "sun": scene.sun,
        "exposure": np.ones(m), "haze": scene.haze,
    }  # fmt: skip
    if light.atmosphere != "none":
        if scene.exposure is None:
            raise ConfigError(
                "input.image_exposures: expected numbers (1 for images in I/F), as there is an atmosphere"
            )
        A = UnderAir(A, light.atmosphere, scene.sun, scene.single_view, parameters)
        values |= _air(light, m) | {"exposure": scene.exposure}
    at = {name: values[name] for name in A.domain} | {"haze": np.zeros(m)}
    dark = A(at | {"albedo": np.zeros(scene.shape)})  # what the air alone sends
    shaded = A(at) - dark
    bright = np.array([
        (image - haze - air)[counts & (made > 0)].sum() / max(made[counts & (made > 0)].sum(), 1e-30)
        for image, counts, made, haze, air in zip(scene.images, scene.valid, shaded, scene.haze, dark, strict=True)
    ])  # fmt: skip
    bright = np.maximum(bright, LOWEST_EXPOSURE)
    if scene.exposure is None:
        scene = replace(scene, exposure=bright)
    elif not scene.albedo_given:
        over = 1.0 if light.atmosphere != "none" else scene.exposure  # which such images hold already
        scene = replace(scene, albedo=scene.albedo * float(np.mean(bright / over)))
    assert scene.exposure is not None
    values |= {"albedo": scene.albedo, "exposure": scene.exposure, "angles": angles_of(scene.sun)}
    values |= {"camera": np.zeros((m, 6)), "ambient": np.full(m, light.ambient)}
    return scene, values


def _air(light: Any, images: int) -> dict[str, np.ndarray]:
    """The inputs of the atmosphere, one for each image; none where there is no air."""
    return (
        {} if light.atmosphere == "none" else {name: _of_air(light, name, images) for name in KINDS[light.atmosphere]}
    )


def _of_air(light: Any, name: str, images: int) -> np.ndarray:
    given = np.array(getattr(light, name), np.float64)
    if given.size not in (1, images):
        raise ConfigError(f"light.{name}: expected one number, or one for each of {images} images, got {given.size}")
    low, high = {"tau": (0.0, np.inf), "wha": (1e-6, 1 - 1e-6), "bha": (1e-6, 1.0), "hga": (-0.999, 0.999)}[name]
    if not ((given >= low) & (given <= high)).all():
        raise ConfigError(f"light.{name}: expected numbers from {low:g} to {high:g}, got {', '.join(map(str, given))}")
    return np.broadcast_to(given, (images,)).copy()


def _coefficients(light: Any) -> np.ndarray:
    model, given = model_named(light.reflectance_type), light.model_coeffs
    if len(given) != len(model.parameters):
        names = ", ".join(p.name for p in model.parameters) or "none"
        raise ConfigError(
            f"light.model_coeffs: expected {len(model.parameters)} numbers for {model.name} ({names}), got {len(given)}"
        )
    return np.array(given, np.float64)
