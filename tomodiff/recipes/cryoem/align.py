"""Poses and shifts of particles against a map by Levenberg-Marquardt from where they are, with exact Jacobians."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomodiff.array import Array, namespace, to_numpy
from tomodiff.geometry import poses
from tomodiff.projectors.slicer import Slicer
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import on_device
from tomodiff.solvers.levenberg import Levenberg, Parameters

LARGEST_TURN = np.deg2rad(10.0)
"""Of one step."""
LARGEST_SHIFT = 4.0
"""Pixels of one step."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """Poses (m, 3, 3), shifts (m, 2) in angstrom, misfit (m,) in nats, and the matrix (m, 5, 5) of turns in radians and
    shifts in angstrom, whose inverse bounds the covariance of any unbiased estimate (Cramer and Rao)."""

    rotation: np.ndarray
    shift: np.ndarray
    value: np.ndarray
    information: np.ndarray


@dataclass(frozen=True, eq=False)
class Prior:
    """A normal belief about poses: rotation (n, 3, 3) and shift (n, 2) of all particles, and how far off they are."""

    rotation: np.ndarray
    shift: np.ndarray
    turn: float
    """Standard deviation about each axis, radians."""
    move: float
    """Standard deviation along each axis, angstrom."""

    def add(
        self, x: Parameters, particle: np.ndarray, value: np.ndarray, gradient: np.ndarray, matrix: np.ndarray
    ) -> None:
        """Add its part of minus the log-posterior, with the derivative of the logarithm of a turn taken as one."""
        away = np.concatenate(
            [
                poses.log(np.swapaxes(x["rotation"], -1, -2) @ self.rotation[particle]),
                x["shift"] - self.shift[particle],
            ],
            1,
        )
        strength = np.array([self.turn**-2] * 3 + [self.move**-2] * 2)
        value += 0.5 * (away**2 * strength).sum(1)
        gradient += away * strength
        matrix += np.diag(strength)


def likelihood_weights(noise: np.ndarray, dtype: str = "float32") -> np.ndarray:
    """The slicer's weights for E|F|^2 = noise (groups, shells): its misfit is then minus the log-likelihood.  The mean
    of an image, shell 0, says nothing about poses."""
    made = 2 / noise
    made[:, 0] = 0
    return made.astype(dtype)


def align(
    slicer: Slicer, spectrum: Array, data: ParticleData, F: Array, index: np.ndarray, values: dict[str, np.ndarray],
    weights: np.ndarray, solver: Levenberg, image_of: np.ndarray | None = None, prior: Prior | None = None,
) -> Aligned:  # fmt: skip
    """Minimise the misfit of particles `index`, whose transforms are F, over rotation and shift.

    values: parameters of the records (len(index) of each), the start; with image_of (m,) several candidates may share
    an image: entry i of `values` belongs to F[image_of[i]] and to particle index[image_of[i]].
    """
    xp = namespace(F)
    image = np.arange(len(index)) if image_of is None else image_of
    particle = index[image]
    pixel = data.operator.records.pixel[particle]
    group = data.particles.group[particle]
    table = xp.asarray(weights)
    unit = np.ones((len(particle), 5))
    unit[:, 3:] = 1 / (2 * pixel[:, None])
    records = data.operator.records[particle]

    def evaluate(x: Parameters, which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        now = {name: v[which] for name, v in values.items()} | x
        made = xp.asarray(np.ascontiguousarray(records[which](now), slicer.dtype))
        found = slicer.normal(
            spectrum,
            F,
            made,
            table,
            xp.asarray(group[which].astype(np.int32)),
            xp.asarray(image[which].astype(np.int32)),
        )
        value, gradient, matrix = (to_numpy(a) for a in found)
        u = unit[which]
        value, gradient, matrix = np.array(value), gradient * u, matrix * u[:, :, None] * u[:, None]
        if prior is not None:
            prior.add(x, particle[which], value, gradient, matrix)
        return value, gradient, matrix

    def move(x: Parameters, step: np.ndarray) -> Parameters:
        turned = x["rotation"] @ np.swapaxes(poses.exp(step[:, :3]), -1, -2)
        return {"rotation": turned, "shift": x["shift"] + step[:, 3:]}

    limited = Levenberg(
        solver.steps, solver.tolerance, solver.damping,
        (*[LARGEST_TURN] * 3, *[LARGEST_SHIFT * float(pixel.max(initial=1.0))] * 2),
    )  # fmt: skip
    x, value, information = limited(evaluate, move, {"rotation": values["rotation"], "shift": values["shift"]})
    return Aligned(x["rotation"], x["shift"], value, information)


def refine_poses(
    data: ParticleData, reference: np.ndarray, values: dict[str, np.ndarray], index: np.ndarray, noise: np.ndarray,
    rings: tuple[float, ...], advance: Callable[[int], None] | None = None, steps: int = 12, prior: Prior | None = None,
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:  # fmt: skip
    """Poses and shifts of particles `index` against one map (n, n, n), from coarse to fine.

    rings: the largest frequencies, in steps of the images' transforms, of one pass after another.  Returns all values
    with these particles' replaced, and (of these particles) misfits and information matrices of the last pass.
    """
    spectrum = data.operator.spectrum.forward(data.view.device(np.ascontiguousarray(reference, data.view.dtype)))
    weights = likelihood_weights(noise, data.view.dtype)
    rotation, shift = values["rotation"].copy(), values["shift"].copy()
    own_index = data.mine(index)
    misfit, information = np.zeros(len(own_index)), np.zeros((len(own_index), 5, 5))
    at = 0
    for part, F in data.batches(own_index, advance):
        own = {name: v[part] for name, v in values.items()}
        for ring in rings:
            slicer = Slicer(data.operator.spectrum, data.box, ring, data.operator.ctf, data.slicer.ewald, unique=True)
            found = align(slicer, spectrum, data, F, part, own, weights, Levenberg(steps), prior=prior)
            own = own | {"rotation": found.rotation, "shift": found.shift}
        rotation[part], shift[part] = own["rotation"], own["shift"]
        misfit[at : at + len(part)], information[at : at + len(part)] = found.value, found.information
        at += len(part)
    rotation[index], shift[index] = data.joined(rotation[own_index]), data.joined(shift[own_index])
    return values | {"rotation": rotation, "shift": shift}, data.joined(misfit), data.joined(information)


def misfits(
    data: ParticleData, slicer: Slicer, reference: np.ndarray, values: dict[str, np.ndarray], index: np.ndarray,
    noise: np.ndarray, advance: Callable[[int], None] | None = None,
) -> np.ndarray:  # fmt: skip
    """(m,) minus the log-likelihood of each of the particles `index` where it is, against a map; each rank looks at its
    own, all get all."""
    spectrum = slicer.spectrum.forward(on_device(reference, data))
    xp, found = namespace(spectrum), [np.zeros(0)]
    weights = xp.asarray(likelihood_weights(noise, data.view.dtype))
    for part, F in data.batches(data.mine(index), advance):
        groups = xp.asarray(data.particles.group[part].astype(np.int32))
        value, _ = slicer.residual(spectrum, F, data.records(values, part), weights, groups, params=False)
        found.append(to_numpy(value))
    return data.joined(np.concatenate(found))
