"""Dimensions and poses of parts from photographs with known cameras: solids in a tree of joints under an unknown light.

Silhouettes say where a part ends, and shading how it is turned; shadows and gloss are not modelled, but count little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares

from tomodiff.array import block_mean
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.projectors.solids import WAVES, SolidRays
from tomodiff.recipes.parts import GROUPS, Part, deviations, get, limits, placed, replaced, scale_of, unknowns

SOUGHT = ("half", "place", "turn", "colour")
LEVELS = ((4, 1, 0.3), (2, 2, 0.15), (1, 3, 0.04))
"""Pixels that are averaged along each side, rays along each side of such a pixel that shows an edge, and the softness
of surfaces in it."""
EDGE = 0.02
"""How much brightness or opacity differs between neighbours where one of them may show an edge."""
MOST = 300_000
"""Pixels of all photographs together that are compared all over; where there are more they are averaged at first."""
MOST_RAYS = 1_500_000
"""Rays of all photographs together: finer levels than that, where only edges and some pixels between are compared, are
not gone to."""
BETWEEN = 4
"""Of the pixels that show no edge, every so-manieth along rows and columns is compared at finer levels."""
ROBUST = 0.05
"""Residuals beyond this, of brightness from 0 to 1, count less."""
STEP = 1e-6
"""Of an unknown, in its unit: central differences of lengths and frames, which are products of rotations, are exact to
ten digits with it; what is seen of them is differentiated by the operator."""
UNIT = (4 * np.pi) ** 0.5
"""The first harmonic of a light whose mean is one."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A photograph of brightness (row, column, 3), times its opacity (row, column) before nothing, or None for one that
    is opaque, whose background is plain."""

    colours: np.ndarray
    opacity: np.ndarray | None
    camera: Photograph


@dataclass(frozen=True, eq=False)
class SeenParts:
    """The parts, one standard deviation of each unknown, the light's nine harmonics, root mean square of what is left,
    and of each photograph what it and the fit show (row, column, band) at the last level."""

    parts: list[Part]
    deviations: dict[str, float]
    light: np.ndarray
    rms: float
    pictures: list[tuple[np.ndarray, np.ndarray]]


def fit_shown(
    shots: Sequence[Shown], parts: Sequence[Part], silhouettes: bool = False, steps: int = 20,
    advance: Callable[[], Any] = lambda: None,
) -> SeenParts:  # fmt: skip
    """Fit parts to photographs, from coarse pixels and soft surfaces to fine and sharp ones.

    silhouettes: by the photographs' opacity alone.  ValueError for parts that cannot be, nothing that is free, or
    photographs that show none of them.
    """
    sought = SOUGHT[:3] if silhouettes else SOUGHT
    parts = [_shown(part, sought) for part in parts]
    names = unknowns(parts, sought)
    if silhouettes and any(shot.opacity is None for shot in shots):
        raise ValueError("silhouettes: expected photographs with opacity (alpha), found opaque ones")
    pixels = sum(shot.colours[..., 0].size for shot in shots)
    least = 2 ** max(0, int(np.ceil(np.log2(pixels / MOST) / 2)))
    levels = [(least * bin, sub, softness) for bin, sub, softness in LEVELS]
    levels += [(2**k, *LEVELS[-1][1:]) for k in reversed(range(int(np.log2(least))))]
    x = np.array([*(get(parts, name) for name in names), *np.zeros(0 if silhouettes else WAVES - 1)])
    scale = np.array([*(scale_of(parts, name) for name in names), *np.ones(len(x) - len(names))])
    low, high = limits([*names, *["light"] * (len(x) - len(names))], scale)
    found: Any = None
    model: Any = None
    for bin, sub, softness in levels:
        subs = None if bin >= least else model.finer(x, shots, bin, sub)
        if subs is not None and sum(int((s**2).sum()) for s in subs) > MOST_RAYS:
            break
        model = _Model(shots, parts, names, silhouettes, bin, sub, softness, x, subs)

        def misfit(u: np.ndarray, model: _Model = model) -> np.ndarray:
            advance()
            return model.residual(u * scale)

        def slopes(u: np.ndarray, model: _Model = model) -> np.ndarray:
            return model.slopes(u * scale) * scale

        found = least_squares(
            misfit, np.clip(x / scale, low, high), slopes, bounds=(low, high), x_scale="jac", loss="soft_l1",
            f_scale=ROBUST, max_nfev=steps, xtol=1e-6, ftol=1e-7,
        )  # fmt: skip
        x = found.x * scale
    rms = float(np.sqrt(np.mean(found.fun**2)))
    told = deviations([*names, *(f"light.{k}" for k in range(1, 1 + len(x) - len(names)))], scale, found.jac, rms)
    kept = {name: told[name] for name in names}
    whole = _Model(shots, parts, names, silhouettes, *levels[2], x)
    return SeenParts(replaced(parts, names, x[: len(names)]), kept, whole.light(x), rms, whole.pictures(x))


def _shown(part: Part, sought: Sequence[str]) -> Part:
    """A part of which what photographs do not show, its density or its colour in silhouettes, is not sought."""
    hidden = set(GROUPS) - set(sought)
    return replace(part, free=tuple(word for word in part.free if word.partition("_")[0] not in hidden))


class _Model:
    """What photographs show of parts, at one size of pixels, and its slopes in the unknowns and eight harmonics.

    subs: of each photograph how many rays (row, column) there are along each side of a pixel, 0 for those that are not
    compared; None for all that are near the parts, with more where a picture of the first x has edges.
    """

    def __init__(
        self, shots: Sequence[Shown], parts: Sequence[Part], names: Sequence[str], silhouettes: bool, bin: int,
        sub: int, softness: float, x: np.ndarray, subs: Sequence[np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self.whole = subs is None
        self.parts, self.names, self.silhouettes = replaced(parts, names, x[: len(names)]), list(names), silhouettes
        self.cameras = [shot.camera.smaller(bin) for shot in shots]
        alpha = [shot.opacity is not None for shot in shots]
        if any(alpha) != all(alpha):
            raise ValueError("photographs: expected all of them with opacity (alpha) or none, found both")
        self.bands = 1 if silhouettes else 4 if all(alpha) else 3
        self.seen = [self._layers(shot, bin) for shot in shots]
        self.plain = [_border(seen) if not all(alpha) else np.zeros(self.bands) for seen in self.seen]
        solids = placed(self.parts)
        middle = np.mean([solid.pose[:, 3] for solid in solids], axis=0)
        pixel = np.median([np.linalg.norm(c.place - middle) / max(c.focal) for c in self.cameras])
        if subs is None:
            self.subs = [1 * _near(camera, solids, 4 * bin) for camera in self.cameras]
        else:
            self.subs = list(subs)
        self.chosen = [s > 0 for s in self.subs]
        if not sum(map(np.count_nonzero, self.chosen)):
            raise ValueError("photographs: expected some that show the parts: are cameras and parts in one world?")
        self.data = np.concatenate([s[c] for s, c in zip(self.seen, self.chosen, strict=True)])
        self.width = softness * float(pixel)
        self._place()
        if sub > 1 and subs is None:
            self.subs = [c * np.where(e, sub, 1) for c, e in zip(self.chosen, self._edges(x), strict=True)]
            self._place()

    def finer(self, x: np.ndarray, shots: Sequence[Shown], bin: int, sub: int) -> list[np.ndarray]:
        """`subs` for pixels half as large: as many as `sub` about edges, one for some of the others."""
        solids, made = placed(replaced(self.parts, self.names, x[: len(self.names)])), []
        for edges, shot in zip(self._edges(x), shots, strict=True):
            camera = shot.camera.smaller(bin)
            rows, columns = (n - 2 * m for n, m in zip(camera.shape, edges.shape, strict=True))
            about = np.pad(edges.repeat(2, axis=0).repeat(2, axis=1), ((0, rows), (0, columns)))
            between = np.zeros(camera.shape, bool)
            between[::BETWEEN, ::BETWEEN] = True
            made.append(np.where(about, sub, between & _near(camera, solids, 4 * bin)))
        return made

    def _edges(self, x: np.ndarray) -> list[np.ndarray]:
        """Which pixels of each photograph (row, column) differ from a neighbour, or are beside such; of pixels whose
        neighbours are not all compared, none."""
        made = []
        for (_, shown), subs in zip(self.pictures(x), self.subs, strict=True):
            spread = (ndimage.maximum_filter(shown, (3, 3, 1)) - ndimage.minimum_filter(shown, (3, 3, 1))).max(axis=2)
            known = np.ones(subs.shape, bool) if self.whole else ndimage.binary_erosion(subs > 1, np.ones((3, 3)))
            made.append(ndimage.binary_dilation((spread > EDGE) & known))
        return made

    def _place(self) -> None:
        """The rays of all photographs."""
        rays = [_rays(camera, sub) for camera, sub in zip(self.cameras, self.subs, strict=True)]
        self.origins, self.directions = (np.concatenate([r[i] for r in rays]).astype(np.float32) for i in (0, 1))
        shares = [np.repeat(plain[:, None], len(r[0]), axis=1) for plain, r in zip(self.plain, rays, strict=True)]
        self.background = np.concatenate(shares, axis=1).astype(np.float32)
        self.counts = np.concatenate([sub[sub > 0] ** 2 for sub in self.subs])
        kinds, cut = [s.kind for s in placed(self.parts)], [p.density < 0 for p in self.parts]
        self.A = SolidRays(kinds, cut, len(self.origins), self.bands, self.width)

    def residual(self, x: np.ndarray) -> np.ndarray:
        return (self._values(x) - self.data).ravel()

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """(pixel and band, unknown)."""
        changes = []
        for i in range(len(x)):
            step = STEP * (scale_of(self.parts, self.names[i]) if i < len(self.names) else 1.0)
            up, down = (self._inputs(np.where(np.arange(len(x)) == i, x + s, x)) for s in (step, -step))
            changes.append({name: ((up[name] - down[name]) / (2 * step)).astype(np.float32) for name in up})
        columns = self.A.columns(self._given(x), changes)
        return np.stack([self._averaged(column).ravel() for column in columns], axis=1)

    def light(self, x: np.ndarray) -> np.ndarray:
        """(9,): the mean of it is one."""
        return np.array([UNIT, *(np.zeros(WAVES - 1) if self.silhouettes else x[len(self.names) :])])

    def pictures(self, x: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each photograph what it shows, and what the fit does."""
        values, first, made = self._values(x), 0, []
        for seen, chosen, plain in zip(self.seen, self.chosen, self.plain, strict=True):
            n, shown = int(chosen.sum()), np.broadcast_to(plain, seen.shape).copy()
            shown[chosen] = values[first : first + n]
            first += n
            made.append((seen, shown))
        return made

    def _values(self, x: np.ndarray) -> np.ndarray:
        """(pixel, band)."""
        return self._averaged(self.A(self._given(x)))

    def _given(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The operator's inputs."""
        given = {name: a.astype(np.float32) for name, a in self._inputs(x).items()}
        return {**given, "origins": self.origins, "directions": self.directions, "background": self.background}

    def _inputs(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """What of the operator's inputs depends on the unknowns, in float64."""
        parts = replaced(self.parts, self.names, x[: len(self.names)])
        solids = placed(parts)
        turns = np.array([solid.pose[:, :3].T for solid in solids])
        places = np.array([solid.pose[:, 3] for solid in solids])
        colours, light = np.ones((len(parts), self.bands)), np.zeros((self.bands, WAVES))
        light[:] = self.light(x)
        if self.bands > 1:
            colours[:, :3] = [part.colour for part in parts]
        if self.bands == 4:
            light[3] = UNIT * (np.arange(WAVES) == 0)  # of the opacity
        frames = np.concatenate([turns, -np.einsum("nij,nj->ni", turns, places)[..., None]], axis=2)
        return {"half": np.array([s.half for s in solids]), "frames": frames, "colours": colours, "light": light}

    def _averaged(self, image: np.ndarray) -> np.ndarray:
        """(pixel, band) of an image of rays (band, ray)."""
        first = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        made: np.ndarray = (np.add.reduceat(image.astype(np.float64), first, axis=1) / self.counts).T
        return made

    def _layers(self, shot: Shown, bin: int) -> np.ndarray:
        """(row, column, band) averaged over pixels."""
        opacity = [] if shot.opacity is None else [shot.opacity[..., None]]
        layers = np.concatenate(opacity if self.silhouettes else [shot.colours, *opacity], axis=2)
        made: np.ndarray = block_mean(layers, bin, (0, 1), np.float64)
        return made


def _rays(camera: Photograph, sub: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions of sub x sub rays of each pixel (row, column), those of a pixel together, row by row."""
    row, column = np.nonzero(sub)
    sides = sub[row, column]
    counts = sides**2
    of = np.repeat(np.arange(len(row)), counts)
    number, side = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts), sides[of]
    down, right = number // side, number % side
    return camera.rays(row[of] + (down + 0.5) / side - 0.5, column[of] + (right + 0.5) / side - 0.5)


def _near(camera: Photograph, solids: Sequence[Any], margin: int) -> np.ndarray:
    """The pixels (row, column) that show a ball around one of the solids, or are nearly as near."""
    rows, columns = camera.shape
    row, column = np.mgrid[:rows, :columns]
    made = np.zeros(camera.shape, bool)
    for solid in solids:
        away = np.linalg.norm(solid.pose[:, 3] - camera.place)
        reach = np.linalg.norm(solid.half) + (solid.half[0] if solid.kind == "capsule" else 0)
        at = camera.image_of(solid.pose[None, :, 3])[0]
        if not np.isfinite(at).all() or away <= reach:
            continue
        wide = 1.2 * reach / np.sqrt(away**2 - reach**2) * max(camera.focal) + margin
        made |= (column + 0.5 - at[0]) ** 2 + (row + 0.5 - at[1]) ** 2 < wide**2
    return made


def _border(seen: np.ndarray) -> np.ndarray:
    """The median (band,) of a picture's outermost pixels."""
    edge = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    made: np.ndarray = np.median(edge, axis=0)
    return made
