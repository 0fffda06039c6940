"""The albedo of a body's surface as one picture, from photographs with known cameras and, where it is known, the
sun."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tomodiff.files.body_mesh import Body, Hits
from tomodiff.geometry.cameras.photograph import Photograph
from tomodiff.objective.differences import Differences
from tomodiff.projectors.terrain.photometry import Photometry
from tomodiff.projectors.texture import Texture
from tomodiff.solvers.conjugate import NormalCg

ITERATIONS = 15
"""Of conjugate gradients, in a round of the texture, the exposures and what does not fit."""
GRAZING = 0.15
"""Cosine of emission below which a pixel is not used."""
DARK = 0.05
"""Reflectance below which a pixel tells nothing of albedo."""
OFTEN = 0.25
"""Weight of a texture's pixel from which it counts as seen."""
WIDTH, LEAST = 3.0, 0.02
"""Residuals beyond so many deviations, and so much of what is bright, count less (Geman and McClure)."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A photograph (row, column, channel) of brightness, its camera, and a unit vector towards the sun, or None."""

    picture: np.ndarray
    camera: Photograph
    sun: np.ndarray | None = None


@dataclass(frozen=True)
class TexturePlan:
    """shape (rows, columns) of the texture; uv: by the mesh's own coordinates, else longitude and latitude; model:
    how a surface of albedo 1 shines under the sun; exposures: sought, their mean is one; smooth: weight of
    differences."""

    shape: tuple[int, int] = (256, 512)
    uv: bool = False
    model: str = "lambert"
    exposures: bool = False
    smooth: float = 0.05

    @property
    def rounds(self) -> int:
        """How often texture and the rest are found in turn; exposures take long to settle."""
        return 50 if self.exposures else 8


@dataclass(frozen=True, eq=False)
class Textured:
    """texture (row, column, channel), north up; seen (row, column) how much of it was seen; exposures (photograph,);
    rms of what fits."""

    texture: np.ndarray
    seen: np.ndarray
    exposures: np.ndarray
    rms: float

    @property
    def known(self) -> np.ndarray:
        """(row, column) what was seen often enough."""
        return self.seen > OFTEN


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Of one photograph: places on the texture, reflectance and weight (n,), values (n, channel), pixels' numbers."""

    places: np.ndarray
    shade: np.ndarray
    weight: np.ndarray
    values: np.ndarray
    ray: np.ndarray


def textured(
    body: Body, shots: Sequence[Shot], plan: TexturePlan, advance: Callable[[], object] = lambda: None
) -> Textured:
    """The texture that photographs show.  ValueError where none shows the body, or it has no coordinates of its own."""
    parts = []
    for shot in shots:
        parts.append(_pixels(body, shot, plan))
        advance()
    if not sum(len(part.ray) for part in parts):
        raise ValueError("no photograph shows a lit part of the mesh: cameras and mesh do not belong together")
    places, shade, weight, values = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("places", "shade", "weight", "values")
    )
    of = np.repeat(np.arange(len(parts)), [len(part.ray) for part in parts])
    A = Texture(plan.shape, places, values.shape[1], around=not plan.uv)
    B = Differences(A.domain.shape, axes=(0, 1))
    exposures, robust = np.ones(len(parts)), np.ones(len(weight))
    texture = np.full(A.domain.shape, np.median(values / shade[:, None]), np.float32)
    least = LEAST * max(float(np.percentile(values, 95)), 1e-12)
    for _ in range(plan.rounds):
        factor = exposures[of] * shade
        weights = (weight * robust * factor**2).astype(np.float32)[:, None]
        texture = _smoothed(A, B, weights, (values / factor[:, None]).astype(np.float32), texture, plan.smooth)
        shown = np.asarray(A.forward(texture), np.float64) * shade[:, None]
        if plan.exposures:
            top, below = (
                np.bincount(of, (weight * robust) * (a * shown).sum(axis=1), len(parts)) for a in (values, shown)
            )
            exposures = np.where(below > 0, top / np.maximum(below, 1e-30), 1.0)
            exposures /= exposures.mean()
        residual = np.sqrt(((values - exposures[of][:, None] * shown) ** 2).mean(axis=1))
        scale = max(WIDTH * 1.4826 * float(np.median(residual)), least)
        robust = (scale**2 / (scale**2 + residual**2)) ** 2
        advance()
    rms = float(np.sqrt((robust * residual**2).sum() / robust.sum()))
    return Textured(np.asarray(texture), A.weight, exposures, rms)


def _smoothed(
    A: Texture, B: Differences, weights: np.ndarray, values: np.ndarray, start: np.ndarray, smooth: float
) -> np.ndarray:
    """The minimum of weights |A x - values|^2 + smooth times the mean weight of a pixel |B x|^2."""
    each = A.adjoint(np.broadcast_to(weights, values.shape).copy())
    level = smooth * float(each[each > 0].mean())
    solver = NormalCg(
        lambda x: A.adjoint(weights * A.forward(x)) + level * B.adjoint(B.forward(x)), lambda r: r / (each + 4 * level)
    )
    state = solver.start(A.adjoint(weights * values), start)
    for _ in range(ITERATIONS):
        state = solver.step(state)
    return state.x


def seen_with(body: Body, shot: Shot, texture: np.ndarray, plan: TexturePlan) -> tuple[np.ndarray, np.ndarray]:
    """A body with a texture as a camera sees it (row, column, channel), and which pixels show a lit part of it."""
    part = _pixels(body, shot, plan, all_of_it=True)
    A = Texture(plan.shape, part.places, texture.shape[2], around=not plan.uv)
    rows, columns = shot.camera.shape
    made, inside = np.zeros((rows * columns, texture.shape[2])), np.zeros(rows * columns, bool)
    made[part.ray] = A.forward(texture.astype(np.float32)) * part.shade[:, None]
    inside[part.ray] = part.shade > DARK
    return made.reshape(rows, columns, -1), inside.reshape(rows, columns)


def _pixels(body: Body, shot: Shot, plan: TexturePlan, all_of_it: bool = False) -> _Pixels:
    """What of a photograph shows the body well enough, or at all."""
    origins, directions = shot.camera.rays()
    hits = body.met(origins, directions)
    emission = -(hits.normals * directions[hits.ray]).sum(axis=1)
    shade = (
        np.ones(len(hits.ray)) if shot.sun is None else _shade(body, hits, -directions[hits.ray], shot.sun, plan.model)
    )
    keep = np.ones(len(shade), bool) if all_of_it else (emission > GRAZING) & (shade > DARK)
    values = shot.picture.reshape(-1, shot.picture.shape[-1])[hits.ray[keep]]
    return _Pixels(_places(body, hits, plan)[keep], shade[keep], emission[keep], values, hits.ray[keep])


def _shade(body: Body, hits: Hits, view: np.ndarray, sun: np.ndarray, model: str) -> np.ndarray:
    """Reflectance (n,) under the sun, zero in shadows."""
    n = hits.normals
    across = np.cross(sun, view)
    rows = (n @ sun, (n * view).sum(axis=1), view @ sun, (n * across).sum(axis=1))
    A = Photometry(model, len(n))
    made = np.asarray(A({"geometry": np.stack(rows), "parameters": A.model.vector()}))
    lit = made > 0
    made[lit] *= ~body.hidden(hits.places[lit], n[lit], sun)
    return made


def _places(body: Body, hits: Hits, plan: TexturePlan) -> np.ndarray:
    """Rows and columns (n, 2) of the texture, from 0 to 1: north, or v = 1, is up; the first column begins at 180
    degrees west."""
    if plan.uv:
        if hits.uv is None:
            raise ValueError(
                "the mesh has no texture coordinates (vt of OBJ): leave out --uv for longitude and latitude"
            )
        return np.stack([1 - hits.uv[:, 1], hits.uv[:, 0]], axis=1)
    x, y, z = hits.places.T
    latitude = np.arctan2(z, np.hypot(x, y))
    return np.stack([0.5 - latitude / np.pi, np.arctan2(y, x) / (2 * np.pi) + 0.5], axis=1)
