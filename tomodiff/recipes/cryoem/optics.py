"""CTF refinement: each particle's defocus, and what an optics group shares (beam tilt, aberrations, magnification)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.optimize import minimize

from tomodiff.array import Array, namespace, to_numpy
from tomodiff.geometry.units import ANGSTROM_PER_MM
from tomodiff.projectors.records import Records, wavelength
from tomodiff.recipes.cryoem.align import likelihood_weights
from tomodiff.recipes.cryoem.data import ParticleData
from tomodiff.recipes.cryoem.halves import on_device
from tomodiff.solvers.levenberg import Levenberg, Parameters

Values = dict[str, np.ndarray]
LARGEST_STEP = 2000.0
"""Angstrom of defocus in one step."""

GROUP_PARAMETERS: Mapping[str, tuple[str, np.ndarray]] = MappingProxyType(
    {
        "beam_tilt": ("beam_tilt", np.eye(2)),
        "trefoil": ("odd_zernike", np.eye(12)[[2, 5]]),
        "fourth_order": ("even_zernike", np.eye(16)[[4, 5, 6, 7, 8]]),
        "magnification": ("magnification", np.eye(4)),
        "cs": ("cs", np.eye(1)),
    }
)
"""What can be refined for a group: the parameter of the records, and the directions in it that are free."""


# ---- defocus, particle by particle


def split_defocus(defocus: np.ndarray) -> np.ndarray:
    """(n, 3) mean and both components of astigmatism, in angstrom: (U + V) / 2 and (U - V) / 2 (cos, sin) 2 angle."""
    mean, half = defocus[:, :2].mean(1), (defocus[:, 0] - defocus[:, 1]) / 2
    return np.stack([mean, half * np.cos(2 * defocus[:, 2]), half * np.sin(2 * defocus[:, 2])], 1)


def joined_defocus(parts: np.ndarray) -> np.ndarray:
    """The way back: (n, 3) U >= V in angstrom, angle in radians."""
    half = np.hypot(parts[:, 1], parts[:, 2])
    return np.stack([parts[:, 0] + half, parts[:, 0] - half, np.arctan2(parts[:, 2], parts[:, 1]) / 2], 1)


def quadratic_coefficients(records: Records) -> np.ndarray:
    """(n, 3, 3) derivative of the phase's quadratic coefficients (turns) in the parts of the defocus."""
    table = -np.array([[1.0, 1, 0], [0, 0, 2], [1, -1, 0]])
    return (np.pi * wavelength(records.voltage) * records.unit(2))[:, None, None] * table


def refine_defocus(
    data: ParticleData, reference: np.ndarray, values: Values, index: np.ndarray, noise: np.ndarray,
    astigmatism: bool = False, sigma: float = 1000.0, advance: Callable[[int], None] | None = None,
) -> Values:  # fmt: skip
    """The defocus of particles `index` against one map, poses held: its mean, or with `astigmatism` all three numbers.

    sigma: standard deviation, angstrom, of a normal belief about each number, centred on what it was.
    """
    if (values["magnification"] != np.eye(2)).any():
        raise ValueError("refine_defocus: expected particles without anisotropic magnification, found some with it")
    spectrum = data.operator.spectrum.forward(on_device(reference, data))
    xp = namespace(spectrum)
    table = xp.asarray(likelihood_weights(noise, data.view.dtype))
    free = slice(0, 3 if astigmatism else 1)
    defocus, everyone, index = values["defocus"].copy(), index, data.mine(index)
    for part, F in data.batches(index, advance):
        own = {name: v[part] for name, v in values.items()}
        model, groups = data.operator.records[part], data.particles.group[part].astype(np.int32)
        J = quadratic_coefficients(model)[:, :, free]
        begin = split_defocus(own["defocus"])

        def evaluate(
            x: Parameters, which: np.ndarray, own: Values = own, model: Records = model, groups: np.ndarray = groups,
            J: np.ndarray = J, begin: np.ndarray = begin, F: Array = F,
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
            now = {name: v[which] for name, v in own.items()} | {"defocus": joined_defocus(x["parts"])}
            records = xp.asarray(np.ascontiguousarray(model[which](now), data.view.dtype))
            image = xp.asarray(which.astype(np.int32))
            found = data.slicer.normal(spectrum, F, records, table, xp.asarray(groups[which]), image, ctf=True)
            value, g, H = (np.array(to_numpy(a)) for a in found)
            away = (x["parts"] - begin[which])[:, free]
            j = J[which]
            gradient = np.einsum("nqp,nq->np", j, g[:, :3]) + away / sigma**2
            matrix = np.einsum("nqp,nqr,nrs->nps", j, H[:, :3, :3], j) + np.eye(away.shape[1]) / sigma**2
            return value + 0.5 * (away**2).sum(1) / sigma**2, gradient, matrix

        def move(x: Parameters, step: np.ndarray) -> Parameters:
            parts = x["parts"].copy()
            parts[:, free] += step
            return {"parts": parts}

        solver = Levenberg(15, largest=(LARGEST_STEP,) * (free.stop - free.start))
        defocus[part] = joined_defocus(solver(evaluate, move, {"parts": begin})[0]["parts"])
    defocus[everyone] = data.joined(defocus[index])
    return values | {"defocus": defocus}


# ---- what a group shares


def refine_groups(
    data: ParticleData, references: tuple[np.ndarray, np.ndarray], values: Values, half: np.ndarray, noise: np.ndarray,
    names: tuple[str, ...], steps: int = 20,
) -> Values:  # fmt: skip
    """Parameters that each optics group shares, by L-BFGS over all its particles, each half against its own map.

    names: of GROUP_PARAMETERS.  Steps are scaled so that a unit turns the phase by one radian at the largest frequency.
    """
    unknown = set(names) - set(GROUP_PARAMETERS)
    if unknown:
        raise ValueError(f"refine_groups: expected some of {', '.join(GROUP_PARAMETERS)}, found {sorted(unknown)}")
    spectra = [data.operator.spectrum.forward(on_device(r, data)) for r in references]
    weights = data.view.device(likelihood_weights(noise, data.view.dtype))
    made = dict(values)
    for g in range(len(data.particles.optics)):
        members = np.flatnonzero(data.particles.group == g)
        if members.size:
            made = _refine_group(data, spectra, made, half, weights, names, members, steps)
    return made


def _refine_group(
    data: ParticleData, spectra: list[Array], values: Values, half: np.ndarray, weights: Array, names: tuple[str, ...],
    members: np.ndarray, steps: int,
) -> Values:  # fmt: skip
    scales = [_scale(name, data, members) for name in names]
    sizes = [len(GROUP_PARAMETERS[name][1]) for name in names]
    ends = np.cumsum([0, *sizes])
    xp = namespace(spectra[0])

    def moved(x: np.ndarray) -> Values:
        now = dict(values)
        for name, scale, a, b in zip(names, scales, ends, ends[1:], strict=False):
            key, directions = GROUP_PARAMETERS[name]
            step = (x[a:b] * scale) @ directions
            now[key] = now[key].copy()
            now[key][members] += step.reshape(values[key].shape[1:])
        return now

    def misfit(x: np.ndarray) -> tuple[float, np.ndarray]:
        now, total, gradient = moved(x), 0.0, np.zeros(len(x))
        for h, spectrum in zip((1, 2), spectra, strict=True):
            for part, F in data.batches(data.mine(members[half[members] == h])):
                groups = xp.asarray(data.particles.group[part].astype(np.int32))
                value, g = data.slicer.residual(spectrum, F, data.records(now, part), weights, groups)
                total += float(value.sum())
                keys = tuple({GROUP_PARAMETERS[name][0] for name in names})
                back = data.operator.records[part].pull({k: v[part] for k, v in now.items()}, to_numpy(g), keys)
                for name, scale, a, b in zip(names, scales, ends, ends[1:], strict=False):
                    key, directions = GROUP_PARAMETERS[name]
                    gradient[a:b] += scale * (directions @ back[key].reshape(len(part), -1).sum(0))
        gradient, (total,) = data.comm.sum(gradient, (total,))
        return total, gradient

    found = minimize(misfit, np.zeros(ends[-1]), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return moved(found.x)


def _scale(name: str, data: ParticleData, members: np.ndarray) -> float:
    """The change of a parameter that turns the phase by about a radian at the largest frequency."""
    first = members[0]
    k = data.slicer.r_max / (data.box * data.operator.records.pixel[first])
    lam = float(wavelength(data.operator.records.voltage[first]))
    optics = data.particles.optics[int(data.particles.group[first])]
    if name == "beam_tilt":
        return 1 / (2 * np.pi * 1e-3 * max(optics.cs, 0.01) * ANGSTROM_PER_MM * lam**2 * k**3)
    if name == "trefoil":
        return 1 / k**3
    if name == "fourth_order":
        return 1 / k**4
    if name == "cs":
        return 1 / (np.pi / 2 * ANGSTROM_PER_MM * lam**3 * k**4)
    return 1 / (np.pi * data.slicer.r_max)  # a shift of half a pixel at the rim of the box
