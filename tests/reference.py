"""The kernels' models again in plain NumPy and SciPy, a short function for each family, independent of their tables.

Those of X-rays start from `scan.rays()`, `scan.project()` and `grid.index_from_world` alone, loop over rays, are slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.special import eval_jacobi

from tomodiff.geometry import Grid, Scan


def ray_lines(grid: Grid, scan: Scan, dv: float = 0.0, du: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions (view, v, u, 3) as voxel indices (k, j, i), of points beside the pixels' centres."""
    nv, nu = scan.detector_shape
    origins, directions = scan.rays(v=np.arange(nv) + dv, u=np.arange(nu) + du)
    affine = grid.index_from_world
    return (origins @ affine[:, :3].T + affine[:, 3])[..., ::-1], (directions @ affine[:, :3].T)[..., ::-1]


def major_axes(directions: np.ndarray) -> np.ndarray:
    """The axis (0: z, 1: y, 2: x) along which each ray advances most; x before y before z among equals."""
    return 2 - np.abs(directions)[..., ::-1].argmax(axis=-1)


def ties(grid: Grid, scan: Scan, margin: float = 1e-5) -> np.ndarray:
    """Rays (view, v, u) along which two axes advance equally: rounding decides which of them is the major one."""
    steps = np.sort(np.abs(ray_lines(grid, scan)[1]), axis=-1)
    tied: np.ndarray = steps[..., 1] > steps[..., 2] * (1 - margin)
    return tied


def joseph(x: np.ndarray, grid: Grid, scan: Scan, axes: np.ndarray | None = None) -> np.ndarray:
    """Interpolate on the planes of the major axis (or of `axes`), times the length between planes (Joseph 1982)."""
    origins, directions = ray_lines(grid, scan)
    axes = major_axes(directions) if axes is None else axes
    out = np.empty(axes.shape)
    for ray in np.ndindex(axes.shape):
        o, d, axis = origins[ray], directions[ray], axes[ray]
        t = (np.arange(x.shape[axis]) - o[axis]) / d[axis]
        t = t[t > 0] if scan.kind == "cone" else t
        length = np.linalg.norm(d / d[axis] * grid.spacing)
        out[ray] = map_coordinates(x, o[:, None] + d[:, None] * t, order=1, mode="grid-constant").sum() * length
    return out


def footprint(x: np.ndarray, grid: Grid, scan: Scan) -> np.ndarray:
    """The mean of each plane over the rectangle that a pixel covers there, times the length between planes."""
    corners = [ray_lines(grid, scan, dv, du) for dv, du in ((0, 0), (0, -0.5), (0, 0.5), (-0.5, 0), (0.5, 0))]
    out = np.zeros(corners[0][1].shape[:3])
    for ray in np.ndindex(out.shape):
        origin, step = corners[0][0][ray], corners[0][1][ray]
        axis = major_axes(step)
        planes = np.arange(x.shape[axis])
        planes = planes[(planes - origin[axis]) / step[axis] > 0] if scan.kind == "cone" else planes
        length = np.linalg.norm(step / step[axis] * grid.spacing)
        for k in planes:
            with np.errstate(divide="ignore", invalid="ignore"):  # an edge parallel to the planes: a share of nothing
                middle, *edges = (o[ray] + d[ray] * (k - o[ray][axis]) / d[ray][axis] for o, d in corners)
            half = (abs(edges[1] - edges[0]) + abs(edges[3] - edges[2])) / 2 + 1e-3
            if np.isfinite(half).all():
                shares = [overlap(m, h, n) for m, h, n in zip(middle, half, x.shape, strict=True)]
                shares[axis] = np.eye(x.shape[axis])[k]
                out[ray] += np.einsum("zyx,z,y,x", x, *shares) * length
    return out


def overlap(middle: float, half: float, n: int) -> np.ndarray:
    """The shares of the interval middle +- half that lie in each of n voxels of a line."""
    low, high = np.arange(n) - 0.5, np.arange(n) + 0.5
    return np.clip(np.minimum(middle + half, high) - np.maximum(middle - half, low), 0, None) / (2 * half)


def backproject(projections: np.ndarray, grid: Grid, scan: Scan) -> np.ndarray:
    """The interpolated projection where each voxel lands, by 1/depth^2, the depth being 1 at the origin of space."""
    points = np.stack(grid.coordinates(), axis=-1)
    out = np.zeros(grid.shape)
    for w, frame in enumerate(scan.frames().reshape(-1, 4, 3)):
        source, _, u, v = frame
        normal = np.cross(u, v)
        depth = (points - source) @ normal / (-source @ normal) if scan.kind == "cone" else np.ones(grid.shape)
        shadow = np.moveaxis(scan.project(points)[w], -1, 0)
        value = map_coordinates(projections[w], np.nan_to_num(shadow, nan=-9.0), order=1, mode="grid-constant")
        out += np.where(depth > 0, value / depth**2, 0.0)
    return out


def columns(x: np.ndarray, stacked: bool, pad: int, width: int) -> np.ndarray:
    """A volume as (y, x, z), or with `stacked` projections as (view, u, v): `pad` zeros below, then up to `width`."""
    ordered = x.transpose(0, 2, 1) if stacked else x.transpose(1, 2, 0)
    return np.pad(ordered, ((0, 0), (0, 0), (pad, width - pad - ordered.shape[2])))


def particle_slice(
    transform: Callable[[np.ndarray], np.ndarray], x: Mapping[str, np.ndarray], box: int, pixel: float, voltage: float,
    dose: float = 0.0, ctf: str = "ctf", ewald: int = 0,
) -> np.ndarray:  # fmt: skip
    """One particle's (box, box // 2 + 1) by RELION's formulas; `transform`: a volume's at k (..., 3), 1/angstrom."""
    image = np.stack(np.meshgrid(np.fft.rfftfreq(box, pixel), np.fft.fftfreq(box, pixel)), -1)
    k = image @ x["magnification"].T
    rho, phi, Cs = np.hypot(*np.moveaxis(k, -1, 0)), np.arctan2(k[..., 1], k[..., 0]), 1e7 * x["cs"]
    lam = 12.2643247 / np.sqrt(1e3 * voltage * (1 + 0.978466e-6 * 1e3 * voltage))
    U, V, axis = x["defocus"]
    gamma = -np.pi * lam * rho**2 * ((U + V) / 2 + (U - V) / 2 * np.cos(2 * (phi - axis)))
    gamma += np.pi / 2 * Cs * lam**3 * rho**4 - x["phase_shift"] - np.arcsin(x["amplitude_contrast"])
    gamma += sum(c * zernike("even", i, rho, phi) for i, c in enumerate(x["even_zernike"]))
    phase = sum(c * zernike("odd", i, rho, phi) for i, c in enumerate(x["odd_zernike"]))
    phase += 2 * np.pi * (image @ x["shift"] - 1e-3 * Cs * lam**2 * rho**2 * (k @ x["beam_tilt"]))
    size = np.hypot(*np.moveaxis(image, -1, 0))  # of what the microscope and its detector see
    exposure = 0.245 * np.maximum(size, 1e-6) ** -1.665 + 2.81
    f = x["scale"] * np.exp(1j * phase - x["b_factor"] * rho**2 / 4 - dose / (2 * exposure))
    flat, up = k @ x["rotation"][:2], ewald * lam / 2 * size[..., None] ** 2 * x["rotation"][2]
    if ewald:
        return f * 0.5j * (np.exp(1j * gamma) * transform(flat + up) - np.exp(-1j * gamma) * transform(flat - up))
    return f * transform(flat) * {"ctf": -np.sin(gamma), "phase-flipped": abs(np.sin(gamma)), "none": 1.0}[ctf]


def zernike(parity: str, i: int, rho: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """RELION's i-th polynomial of a parity: pairs (n, m) in turn, radius as it is, in 1/angstrom (Zernike.cpp)."""
    n, at = (0, 0) if parity == "even" else (1, 0)
    while at + n < i:
        n, at = n + 2, at + n + 1
    m = 2 * (i - at) - n
    radial = rho ** abs(m) * (-1) ** ((n - abs(m)) // 2) * eval_jacobi((n - abs(m)) // 2, abs(m), 0, 1 - 2 * rho**2)
    return radial * (np.cos(m * phi) if m >= 0 else np.sin(-m * phi))


def dft(volume: np.ndarray, voxel: float) -> Callable[[np.ndarray], np.ndarray]:
    """The Fourier transform of voxels (z, y, x), origin at voxel n // 2, at any k (..., 3), by the sum that it is."""
    place = (np.arange(len(volume)) - len(volume) // 2) * voxel

    def transform(k: np.ndarray) -> np.ndarray:
        x, y, z = (np.exp(-2j * np.pi * np.multiply.outer(k[..., c].ravel(), place)) for c in range(3))
        rows = np.tensordot(volume, x.T, 1)  # z, y, k
        return np.einsum("zyk,ky,kz->k", rows, y, z, optimize=True).reshape(k.shape[:-1])

    return transform
