"""Images of a mixture of Gaussians (atoms, blobs), differentiable in everything; and its transforms in closed form.

The closed forms are NumPy and use no interpolation and no kernel: they are what other projectors are measured against.
Lengths in angstrom; poses and shifts as in `tomodiff.particles`.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.kernels import host_threads, kernel, lanes

REACH = 6.0
"""Sigmas from its middle at which a Gaussian ends."""
MOST_IMAGES = 65535
"""In one launch: what the third axis of a CUDA grid holds."""
MOST_SPOTS = 1 << 22
"""Gaussians times images whose gradients are in memory at a time."""
BLOCK = 64


class GaussianProjection(Operator):
    """Gaussians and poses -> images (views, box, box), real.

    Inputs, a dict: "position" (n, 3) angstrom x, y, z from the centre; "amplitude" (n,), the integral; "sigma" (n,)
    angstrom, above 0; "rotation" (views, 3, 3), A; "shift" (views, 2) angstrom.  Those of particles are float64
    whatever the dtype of the others.  Linear in the amplitude.

    A pixel holds the line integral at its centre times its area, so an image sums up to the amplitudes.  Along each
    axis a Gaussian ends `reach` sigmas from its middle, where exp(-t^2/2) less its value and slope there is zero: the
    image has a continuous first derivative in every input, and differs from the Gaussians' by at most
    (2 + reach^2) exp(-reach^2 / 2) of a peak (6e-7 for 6, 8e-13 for 8), its sum by 2e-6 or 4e-12.  Pixels of more
    than about a sigma alias: use `slices_of_gaussians`.  TypeError or ValueError for arrays of another dtype or shape.
    """

    linear_in = frozenset({"amplitude"})

    def __init__(
        self, n: int, views: int, box: int, pixel: float, *, reach: float = REACH, dtype: str = "float32"
    ) -> None:
        for name, value in (("n", n), ("views", views), ("box", box)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        for name, length in (("pixel", pixel), ("reach", reach)):
            if not length > 0:
                raise ValueError(f"{name}: expected a number above 0, got {length}")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype: expected float32 or float64, got {dtype!r}")
        self.n, self.views, self.box, self.dtype = n, views, box, dtype
        self.pixel, self.reach = float(pixel), float(reach)
        self.domain = {
            "position": Space((n, 3), dtype),
            "amplitude": Space((n,), dtype),
            "sigma": Space((n,), dtype),
            "rotation": Space((views, 3, 3), "float64"),
            "shift": Space((views, 2), "float64"),
        }
        self.range = Space((views, box, box), dtype)

    def __call__(self, x: Element) -> Array:
        self._check(x)
        return self._images("gaussians_forward", self._atoms(x), self._poses(x))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        self._check(x)
        atoms, poses = self._atoms(x), self._poses(x)

        def push(d: Element) -> Array:
            return self._images("gaussians_push", atoms, poses, self._atoms(d), self._poses(d, 0.0))

        def pull(g: Array) -> Element:
            return self._pulled(x, atoms, poses, namespace(g).ascontiguousarray(g))

        value = self._images("gaussians_forward", atoms, poses)
        return value, Linear(self.domain, self.range, push, pull, "Jacobian of GaussianProjection")

    def __getitem__(self, views: slice | np.ndarray) -> GaussianProjection:
        """The operator of some views."""
        count = len(np.arange(self.views)[views])
        return GaussianProjection(self.n, count, self.box, self.pixel, reach=self.reach, dtype=self.dtype)

    def _check(self, x: Element) -> None:
        check_element(self.domain, x, "GaussianProjection: x")
        if not bool((x["sigma"] > 0).all()):
            raise ValueError("GaussianProjection: x['sigma']: expected widths above 0 angstrom")

    def _atoms(self, x: Element) -> Array:
        """(n, 5) as the kernels read them: position, amplitude, sigma in pixels; linear in x."""
        xp = namespace(x)
        columns = [x["position"], x["amplitude"][:, None], x["sigma"][:, None] * (1 / self.pixel)]
        return xp.ascontiguousarray(xp.concatenate(columns, axis=1), dtype=self.dtype)

    def _poses(self, x: Element, origin: float | None = None) -> Array:
        """(views, 8): the image's axes over the pixel and the pixel of the volume's centre; affine in x."""
        xp = namespace(x)
        middle = self.box // 2 if origin is None else origin
        axes, centre = x["rotation"][:, :2] / self.pixel, middle - x["shift"] / self.pixel
        return xp.ascontiguousarray(xp.concatenate([axes, centre[:, :, None]], axis=2).reshape(-1, 8), dtype=self.dtype)

    def _edge(self) -> float:
        return float(np.exp(-0.5 * self.reach**2))

    def _images(self, name: str, atoms: Array, poses: Array, *tangents: Array) -> Array:
        """Launch a kernel that makes images, `MOST_IMAGES` at a time."""
        xp = namespace(atoms)
        images = xp.empty(self.range.shape, self.dtype)
        launch = kernel(name, xp, self.dtype)
        for start in range(0, self.views, MOST_IMAGES):
            part = slice(start, min(start + MOST_IMAGES, self.views))
            count = part.stop - start
            rows = self._rows(xp, count)
            threads = (-(-self.box // lanes(xp)), -(-self.box // rows), count)
            block = (1, 1, 1) if xp is np else (32, 4, 1)
            grid = tuple(-(-t // b) for t, b in zip(threads, block, strict=True))
            changes = (tangents[0], tangents[1][part]) if tangents else ()
            sizes = (self.n, count, self.box, rows, self.reach, self._edge())
            launch(grid, block, (atoms, poses[part], *changes, images[part], *sizes))
        return images

    def _rows(self, xp: ModuleType, count: int) -> int:
        """Rows that a thread owns: a whole image on a CPU, less where there are fewer images than threads keep busy."""
        if xp is not np:
            return 1
        bands = -(-4 * host_threads() // count) if host_threads() > 1 else 1
        return -(-self.box // min(bands, self.box))

    def _pulled(self, x: Element, atoms: Array, poses: Array, g: Array) -> dict[str, Array]:
        """Gradients in every input: of each Gaussian in each image by the kernel, then summed over the other."""
        xp = namespace(g)
        launch = kernel("gaussians_pull", xp, self.dtype)
        made = {name: xp.zeros(space.shape, "float64") for name, space in self.domain.items()}
        position, rotation = x["position"], x["rotation"]
        most = max(1, min(MOST_IMAGES, MOST_SPOTS // self.n))
        for start in range(0, self.views, most):
            part = slice(start, min(start + most, self.views))
            count = part.stop - start
            spots = xp.empty((4, count, self.n), self.dtype)
            sizes = (self.n, count, self.box, self.reach, self._edge())
            launch((-(-self.n // BLOCK), count), (BLOCK, 1), (atoms, poses[part], g[part], spots, *sizes))
            made["amplitude"] += spots[0].sum(0, dtype="float64")
            made["sigma"] += spots[3].sum(0, dtype="float64") / self.pixel
            for axis in range(2):
                moved = spots[1 + axis] / self.pixel
                made["shift"][part, axis] = -moved.sum(1, dtype="float64")
                for c in range(3):
                    made["position"][:, c] += (moved * rotation[part, axis, c, None]).sum(0)
                    made["rotation"][part, axis, c] = (moved * position[:, c]).sum(1, dtype="float64")
        return {name: made[name].astype(space.dtype) for name, space in self.domain.items()}


def slices_of_gaussians(
    position: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    rotation: np.ndarray,
    box: int,
    pixel: float,
    magnification: np.ndarray | None = None,
) -> np.ndarray:
    """(views, box, box // 2 + 1) complex128: the continuous Fourier transforms of projections, exact, at an image's
    frequencies.

    Origin in the centre: fftshift(irfft2(slice)) is the image, centre pixel box // 2, whose sum is that of the
    amplitudes.  What an image's pixels alias is not in it.  magnification (2, 2): at M k in place of k.
    """
    position, amplitude, sigma = (np.asarray(a, np.float64) for a in (position, amplitude, sigma))
    _check_gaussians(position, amplitude, sigma)
    rotation = np.asarray(rotation, np.float64)
    M = np.eye(2) if magnification is None else np.asarray(magnification, np.float64)
    form = 2 * np.pi**2 * (M.T @ M)
    u, v = np.fft.rfftfreq(box, pixel), np.fft.fftfreq(box, pixel)
    square = sigma[:, None] ** 2
    along_u = amplitude[:, None] * np.exp(-form[0, 0] * square * u**2)
    along_v = np.exp(-form[1, 1] * square * v**2)
    # M' A[:2] are the axes of the image's frequencies in the volume.
    axes = np.einsum("ji,pjc->pic", M, rotation[:, :2])
    made = np.empty((len(rotation), box, box // 2 + 1), np.complex128)
    groups = [slice(None)] if form[0, 1] == 0 else [sigma == s for s in np.unique(sigma)]
    for image, axis in zip(made, axes, strict=True):
        x, y = axis @ position.T
        right = along_u * _phases(x, u)
        up = along_v * _phases(y, v)
        image[...] = 0
        for which in groups:
            part = up[which].T @ right[which]
            if form[0, 1]:
                part *= np.exp(-2 * form[0, 1] * sigma[which][0] ** 2 * u * v[:, None])
            image += part
    return made


def volume_of_gaussians(
    position: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray, box: int, pixel: float, band_limited: bool = False
) -> np.ndarray:
    """(box, box, box) float64 (z, y, x), centre at voxel box // 2: density at the voxels' centres times their volume,
    so that a projection is the plain sum along the beam.

    band_limited: the periodic function whose Fourier coefficients are those of the Gaussians up to the Nyquist
    frequency along each axis, without aliasing: its slices are those of `slices_of_gaussians`.
    """
    position, amplitude, sigma = (np.asarray(a, np.float64) for a in (position, amplitude, sigma))
    _check_gaussians(position, amplitude, sigma)
    x, y, z = position.T
    if not band_limited:
        place = (np.arange(box) - box // 2) * pixel
        norm = pixel / (np.sqrt(2 * np.pi) * sigma[:, None])
        lines = [norm * np.exp(-0.5 * ((place - c[:, None]) / sigma[:, None]) ** 2) for c in (x, y, z)]
        return _outer_sum(amplitude, *lines).transpose(2, 1, 0)
    half, full = np.fft.rfftfreq(box, pixel), np.fft.fftfreq(box, pixel)
    lines = [
        np.exp(-2 * np.pi**2 * (sigma[:, None] * k) ** 2) * _phases(c, k) for c, k in ((x, half), (y, full), (z, full))
    ]
    spectrum = _outer_sum(amplitude, *lines).transpose(2, 1, 0)
    return np.fft.fftshift(np.fft.irfftn(spectrum, (box, box, box), axes=(0, 1, 2)))


def _outer_sum(amplitude: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(nx, ny, nz) sum over Gaussians of amplitude x y z, a plane of x at a time."""
    made = np.empty((x.shape[1], y.shape[1], z.shape[1]), np.result_type(x, y))
    for i in range(x.shape[1]):
        made[i] = ((amplitude * x[:, i])[:, None] * y).T @ z
    return made


def _phases(place: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """(n, frequencies) exp(-2 pi i k x)."""
    return np.exp(-2j * np.pi * np.outer(place, frequency))


def _check_gaussians(position: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray) -> None:
    n = len(amplitude)
    for name, array, shape in (("position", position, (n, 3)), ("amplitude", amplitude, (n,)), ("sigma", sigma, (n,))):
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
    if not (sigma > 0).all():
        raise ValueError("sigma: expected widths above 0 angstrom")
