"""Light from the sky and from facing slopes: what of both reaches each element of a height field past its horizons."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, namespace, to_numpy
from tomodiff.core import LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import Linear
from tomodiff.projectors.harmonics import harmonics, sky_factors
from tomodiff.projectors.terrain.shadows import Penumbra, Ray, Shadows
from tomodiff.projectors.terrain.surface import SurfaceGeometry

DEGREE = 4
"""Of the spherical harmonics of a sky, at most."""
AXES = np.eye(3)
EAST, NORTH, UP = 0, 1, 3
"""Planes of the geometry under a sun in the east and a camera in the north: the normal's components."""


class SkyLight(Operator):
    """{"height" (ny, nx), "sky" (n,)} -> irradiance of the elements by the sky (ny, nx), 1 on level open ground under a
    sky of radiance 1 all over.

    sky: coefficients of real spherical harmonics (`sky_harmonics`), of degree 0, 1, 2, 3 or 4 (n = 1, 4, 9, 16 or 25),
    of the radiance in the axes east, north, up.  The sky ends at the horizon of the heights along each of `azimuths`
    directions, and at the level beyond the map (Dozier and Frew 1990, for any sky).  bounce: the operator has an input
    "radiosity" (ny, nx) as well, the light that each element sends: below the horizon of an azimuth it is that of what
    stands there.  Exact derivatives in all inputs: of normals, and of what blocks.
    """

    def __init__(
        self, shape: tuple[int, int], spacing: tuple[float, float] | float = 1.0, *, degree: int = 0,
        azimuths: int = 16, bounce: bool = False, body_radius: float | None = None, dtype: str = "float32",
    ) -> None:  # fmt: skip
        if not 0 <= degree <= DEGREE:
            raise ValueError(f"degree: expected 0 to {DEGREE}, got {degree}")
        if azimuths < 4:
            raise ValueError(f"azimuths: expected at least 4, got {azimuths}")
        # radius 0 has no penumbra; the horizons are what is wanted here
        self.shadows = Shadows(shape, spacing, radius=0.0, body_radius=body_radius, dtype=dtype)
        self.surface = SurfaceGeometry(self.shadows.shape, spacing, dtype=dtype)
        self.shape, self.dtype, self.bounce = self.shadows.shape, dtype, bounce
        self.azimuths = 2 * np.pi * (np.arange(azimuths) + 0.5) / azimuths
        self.waves = [_waves(phi, degree) for phi in self.azimuths]
        self.domain = {"height": Space(self.shape, dtype), "sky": Space(((degree + 1) ** 2,), "float64")}
        if bounce:
            self.domain["radiosity"] = Space(self.shape, dtype)
        self.range = Space(self.shape, dtype)

    def __call__(self, x: Element) -> Array:
        check_element(self.domain, x, "SkyLight: x")
        xp, normal = namespace(x["height"]), self.surface(self._geometry(x["height"]))
        total = xp.zeros(self.shape[0] * self.shape[1], self.dtype)
        for part in self._parts(x, xp):
            total += part.value(normal)
        return total.reshape(self.shape)

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        check_element(self.domain, x, "SkyLight: x")
        height, xp = x["height"], namespace(x["height"])
        normal, N = self.surface.linearize(self._geometry(height))
        size = self.shape[0] * self.shape[1]
        value, weights = xp.zeros(size, self.dtype), xp.zeros((3, size), "float64")
        of_sky = xp.zeros((size, len(self.waves[0].T)), "float64") if "sky" in names else None
        horizons, facing = _Taps(size, xp), _Taps(size, xp)
        for part in self._parts(x, xp):
            value += part.value(normal)
            up, level = part.weights()
            weights[0] += up
            weights[1] += level * part.level[0]
            weights[2] += level * part.level[1]
            if of_sky is not None:
                of_sky += part.of_sky(normal)
            blocked = part.penumbra()
            # of the horizon's zenith angle, by what stands there and by the element itself
            rate = part.rate(normal)[blocked.where] * -blocked.scale / blocked.away
            horizons.add(blocked.where, blocked.near, rate * (1 - blocked.part))
            horizons.add(blocked.where, blocked.far, rate * blocked.part)
            horizons.add(blocked.where, blocked.where, -rate)
            if self.bounce and "radiosity" in names:
                sent = part.of_facing(normal)[blocked.where]
                facing.add(blocked.where, blocked.near, sent * (1 - blocked.part))
                facing.add(blocked.where, blocked.far, sent * blocked.part)
        by_height, by_radiosity = horizons.matrix(), facing.matrix()
        still = {name: xp.zeros(3) for name in ("sun", "view")}
        planes = [UP, EAST, NORTH]

        def push(d: Element) -> Array:
            turned = N.forward({"height": d["height"], **still})[planes]
            total = (weights * turned).sum(0) + by_height @ d["height"].reshape(-1)
            if of_sky is not None:
                total += of_sky @ d["sky"]
            if self.bounce:
                total += by_radiosity @ d["radiosity"].reshape(-1)
            return total.astype(self.dtype).reshape(self.shape)

        def pull(g: Array) -> Element:
            own = g.reshape(-1).astype("float64")
            of_normal = xp.zeros((4, size), self.dtype)
            of_normal[planes] = weights * own
            moved = (by_height.T @ own).reshape(self.shape)
            made = {"height": N.adjoint(of_normal)["height"] + moved.astype(self.dtype)}
            made["sky"] = xp.zeros(self.domain["sky"].shape) if of_sky is None else of_sky.T @ own
            if self.bounce:
                made["radiosity"] = (by_radiosity.T @ own).astype(self.dtype).reshape(self.shape)
            return made

        return value.reshape(self.shape), Linear(self.domain, self.range, push, pull, "Jacobian of SkyLight")

    def _geometry(self, height: Array) -> dict[str, Array]:
        xp = namespace(height)
        return {"height": height, "sun": xp.asarray(AXES[0]), "view": xp.asarray(AXES[1])}

    def _parts(self, x: Element, xp: Any) -> Any:
        """What each azimuth contributes."""
        sky, sent = to_numpy(x["sky"]), x["radiosity"].reshape(-1) if self.bounce else None
        for phi, waves in zip(self.azimuths, self.waves, strict=True):
            sun = np.array([np.sin(phi), np.cos(phi), 1.0])
            ray = Ray.towards(sun, self.shadows.spacing)
            tangent, step = self.shadows.march(x["height"], ray, 0.0, xp)
            zenith = np.pi / 2 - xp.arctan(tangent.reshape(-1).astype("float64"))
            zenith = xp.where(step.reshape(-1) == 0, np.pi / 2, zenith)
            share = 2.0 / len(self.azimuths)
            heights = self.shadows, x["height"]
            yield _Azimuth(ray, step.reshape(-1), zenith, waves, waves @ sky, (sun[0], sun[1]), share, sent, heights)


@dataclass(eq=False)
class _Azimuth:
    """One azimuth's part: the zenith angle (n,) at which the sky ends, and the step at which what ends it stands; waves
    (2 w + 1, n) of the harmonics and of this sky, coefficients of exp(i k zenith)."""

    ray: Ray
    step: Array
    zenith: Array
    waves: np.ndarray
    sky: np.ndarray
    level: tuple[float, float]
    share: float
    sent: Array | None
    heights: tuple[Shadows, Array]

    def value(self, normal: Array) -> Array:
        """The irradiance (n,) of surfaces with these normals."""
        up, level = self.weights()
        return (normal[UP] * up + self._level(normal) * level).astype(normal.dtype)

    def weights(self) -> tuple[Array, Array]:
        """What the vertical and the horizontal component of a normal count."""
        vertical, level = (part.real for part in self._integrals(self.sky))
        facing = self._facing()
        if facing is None:
            return vertical, level
        end_up, end_level = self._below()
        return vertical + facing * end_up, level + facing * end_level

    def of_sky(self, normal: Array) -> Array:
        """(n, harmonics) the irradiance by each harmonic."""
        made = []
        for one in np.eye(len(self.sky), dtype=np.complex128):
            vertical, level = self._integrals(one)
            made.append(normal[UP] * vertical + self._level(normal) * level)
        xp = namespace(normal)
        return (xp.stack(made, 1) @ xp.asarray(self.waves)).real

    def of_facing(self, normal: Array) -> Array:
        """(n,) the irradiance by what stands at the horizon, were its radiosity 1."""
        end_up, end_level = self._below()
        return normal[UP] * end_up + self._level(normal) * end_level

    def rate(self, normal: Array) -> Array:
        """How the irradiance changes with the zenith angle of the horizon."""
        xp = namespace(self.zenith)
        s, c = xp.sin(self.zenith), xp.cos(self.zenith)
        radiance = self._radiance()
        facing = self._facing()
        if facing is not None:
            radiance = radiance - facing
        return self.share * radiance * s * (normal[UP] * c + self._level(normal) * s)

    def penumbra(self) -> Penumbra:
        """What blocks, and how the horizon goes with it."""
        model, height = self.heights
        xp = namespace(height)
        where = xp.flatnonzero(self.step)
        return Penumbra.of(model, self.ray, height, where, self.step[where], xp)

    def _level(self, normal: Array) -> Array:
        return self.level[0] * normal[EAST] + self.level[1] * normal[NORTH]

    def _radiance(self) -> Array:
        """Of the sky at the horizon."""
        xp = namespace(self.zenith)
        w = len(self.sky) // 2
        return sum(
            complex(a) * xp.exp(1j * k * self.zenith) for k, a in zip(range(-w, w + 1), self.sky, strict=True)
        ).real

    def _integrals(self, sky: np.ndarray) -> tuple[Array, Array]:
        """Of complex radiance sin cos and radiance sin^2, from the zenith to the horizon."""
        made, xp = [], namespace(self.zenith)
        for kernel in (SIN_COS, SIN_SIN):
            wave = np.convolve(sky, kernel)
            w, total = len(wave) // 2, 0 * self.zenith
            for k, a in zip(range(-w, w + 1), wave, strict=True):
                if a == 0:
                    continue
                total = total + complex(a) * (self.zenith if k == 0 else (xp.exp(1j * k * self.zenith) - 1) / (1j * k))
            made.append(self.share * total)
        return made[0], made[1]

    def _below(self) -> tuple[Array, Array]:
        """The same of radiance 1 from the horizon down to the level."""
        xp = namespace(self.zenith)
        s, c = xp.sin(self.zenith), xp.cos(self.zenith)
        return self.share * (1 - s * s) / 2, self.share * ((np.pi / 2 - self.zenith) + s * c) / 2

    def _facing(self) -> Array | None:
        """The radiosity (n,) of what stands at the horizon; 0 where nothing does."""
        if self.sent is None:
            return None
        sent, blocked = self.sent, self.penumbra()
        made = namespace(sent).zeros(self.step.size, "float64")
        made[blocked.where] = sent[blocked.near] * (1 - blocked.part) + sent[blocked.far] * blocked.part
        return made


class _Taps:
    """A sparse matrix (n, n), put together from its entries."""

    def __init__(self, size: int, xp: Any) -> None:
        self.size, self.xp = size, xp
        self.rows: list[Array] = []
        self.columns: list[Array] = []
        self.values: list[Array] = []

    def add(self, rows: Array, columns: Array, values: Array) -> None:
        """Entries, of which those at one place add up."""
        self.rows.append(rows.astype("int32"))
        self.columns.append(columns.astype("int32"))
        self.values.append(values)

    def matrix(self) -> Any:
        """Compressed rows."""
        if self.xp is np:
            from scipy.sparse import coo_matrix
        else:
            from cupyx.scipy.sparse import coo_matrix
        joined = self.xp.concatenate
        if not self.values:
            return coo_matrix((self.size, self.size)).tocsr()
        places = joined(self.rows), joined(self.columns)
        return coo_matrix((joined(self.values), places), shape=(self.size, self.size)).tocsr()


def _kernel(values: dict[int, complex]) -> np.ndarray:
    return np.array([values.get(k, 0) for k in range(-2, 3)], np.complex128)


SIN_COS = _kernel({-2: 0.25j, 2: -0.25j})
SIN_SIN = _kernel({-2: -0.25, 0: 0.5, 2: -0.25})


def sky_harmonics(directions: np.ndarray, degree: int) -> np.ndarray:
    """Real spherical harmonics (n, (degree + 1)^2) of unit vectors (n, 3), l rising and m from -l to l, orthonormal
    times sqrt(4 pi), so that the first is 1, without the signs of Condon and Shortley."""
    made: np.ndarray = np.array(sky_factors(degree)) * harmonics(directions, degree)
    return made


def _waves(phi: float, degree: int) -> np.ndarray:
    """(2 degree + 1, (degree + 1)^2) coefficients of exp(i k zenith) of each harmonic along an azimuth."""
    n = 4 * degree + 4
    zenith = 2 * np.pi * np.arange(n) / n  # around the whole circle, through the nadir
    directions = np.stack([np.sin(phi) * np.sin(zenith), np.cos(phi) * np.sin(zenith), np.cos(zenith)], axis=1)
    found = np.fft.fft(sky_harmonics(directions, degree).T, axis=1) / n
    return np.stack([found[:, k % n] for k in range(-degree, degree + 1)])
