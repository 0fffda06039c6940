"""Light that volumes give out and take in, along rays: flames, nebulae, fluorescence, emission tomography."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from tomodiff.array import Array, Element, namespace
from tomodiff.core import Linear, LinearOperator, Operator, Space, check_element
from tomodiff.core.operators import into
from tomodiff.geometry import Grid
from tomodiff.kernels import preferred
from tomodiff.projectors.march import COPIES, gathered, in_voxels, in_world, launch, step_of


class EmissionRays(Operator):
    """{"emission" (band, z, y, x), "absorption" (z, y, x), "origins" (ray, 3), "directions" (ray, 3), "background"
    (band, ray)} -> image (band, ray): dI/ds = emission - absorption * I along each ray, from the background towards the
    origin, where the eye is.

    emission: radiance per length of the grid's unit (mm), absorption: 1 / that length, both trilinear between voxels
    and zero beyond them; origins and directions (x, y, z) in the grid's world, directions of length one.  What lies
    behind the origin is not seen.  absorbing=False: no such input; the image is then linear in the emission.
    step: of the samples, None for half of the smallest spacing; they lie at (i + 1/2) step from the origin.
    extinction (band,): what each band's absorption is, over "absorption"; None for ones.

    Differentiable in all inputs, with kinks where a sample crosses a plane of voxels as the ray moves; linear in
    emission and background together.
    """

    linear_in = frozenset({"emission", "background"})

    def __init__(
        self,
        grid: Grid,
        rays: int,
        bands: int = 1,
        absorbing: bool = True,
        step: float | None = None,
        dtype: str = "float32",
        extinction: Sequence[float] | None = None,
    ) -> None:
        self.grid, self.absorbing, self.dtype = grid, absorbing, dtype
        self.extinction = (1.0,) * bands if extinction is None else tuple(float(e) for e in extinction)
        if len(self.extinction) != bands or not all(0 <= e < float("inf") for e in self.extinction):
            raise ValueError(f"EmissionRays: extinction: expected {bands} numbers of at least 0, got {extinction}")
        self.step = step_of(grid, step, "EmissionRays")
        self.domain = {
            "emission": Space((bands, *grid.shape), dtype),
            **({"absorption": Space(grid.shape, dtype)} if absorbing else {}),
            "origins": Space((rays, 3), dtype),
            "directions": Space((rays, 3), dtype),
            "background": Space((bands, rays), dtype),
        }
        self.range = Space((bands, rays), dtype)

    def __call__(self, x: Element) -> Array:
        x = self._checked(x)
        return self._rendered(x, self._rays(x))

    def linearize(self, x: Element) -> tuple[Array, LinearOperator]:
        return self.linearize_in(x, self.domain)

    def linearize_in(self, x: Element, names: Collection[str]) -> tuple[Array, LinearOperator]:
        x = self._checked(x)
        xp, rays = namespace(x["emission"]), self._rays(x)
        image = self._rendered(x, rays)

        def push(d: Element) -> Array:
            d = self._checked(d)
            made = xp.empty(self.range.shape, self.dtype)
            moved = in_voxels(self.grid, d["origins"], d["directions"], points=False)
            for band, out in enumerate(made):
                still = (x["emission"][band], self._absorption(x, band), *rays, x["background"][band])
                change = (d["emission"][band], self._absorption(d, band), *moved, d["background"][band])
                self._launch("emission_push", xp, *still, *change, out)
            return made

        def pull(g: Array) -> Element:
            return self._pulled(x, rays, image, g, moving=not {"origins", "directions"}.isdisjoint(names))

        return image, Linear(self.domain, self.range, push, pull, "Jacobian of EmissionRays")

    def ray_slopes(self, x: Element) -> tuple[Array, Array, Array]:
        """Image (ray, band), and how it changes with origins and directions (band, ray, 3): as of `RadianceField`."""
        x = self._checked(x)
        xp, rays = namespace(x["emission"]), self._rays(x)
        image = self._rendered(x, rays)
        name = preferred("emission_pull", xp)
        rows: list[tuple[Array, ...]] = []
        for band in range(self.range.shape[0]):
            own = [xp.empty(rays[0].shape, self.dtype) for _ in rays]
            one, unused = xp.ones(self.range.shape[1:], self.dtype), xp.empty(self.range.shape[1:], self.dtype)
            still = (x["emission"][band], self._absorption(x, band), *rays, image[band], one)
            self._launch(name, xp, *still, None, None, *own, unused)
            rows.append(tuple(in_world(self.grid, a) for a in own))
        return xp.ascontiguousarray(image.T), *(xp.stack(column) for column in zip(*rows, strict=True))

    def fix(self, **values: Array) -> Operator:
        left = set(self.domain) - set(values)
        if left == {"emission"} and set(values) < set(self.domain) and not bool((values["background"] != 0).any()):
            for name, value in values.items():
                check_element(self.domain[name], value, f"EmissionRays.fix: {name}")
            return EmissionProjection(self, values)
        return super().fix(**values)

    def _checked(self, x: Element) -> dict[str, Array]:
        check_element(self.domain, x, "EmissionRays: x")
        return {name: namespace(a).ascontiguousarray(a) for name, a in x.items()}

    def _rays(self, x: Element) -> tuple[Array, Array]:
        return in_voxels(self.grid, x["origins"], x["directions"])

    def _rendered(self, x: Element, rays: tuple[Array, Array]) -> Array:
        xp = namespace(x["emission"])
        image, left = xp.empty(self.range.shape, self.dtype), xp.empty(self.range.shape[1:], self.dtype)
        for band, out in enumerate(image):
            still = (x["emission"][band], self._absorption(x, band), *rays, x["background"][band])
            self._launch("emission_forward", xp, *still, out, left)
        return image

    def _pulled(self, x: Element, rays: tuple[Array, Array], image: Array, g: Array, moving: bool) -> dict[str, Array]:
        xp = namespace(g)
        made = {name: xp.zeros(space.shape, self.dtype) for name, space in self.domain.items()}
        name = preferred("emission_pull", xp)
        copies = COPIES if name.endswith("copies") else 1
        emitted = xp.zeros((copies, *self.grid.shape), self.dtype)
        absorbed = xp.zeros((copies, *self.grid.shape), self.dtype) if self.absorbing else None
        for band in range(self.range.shape[0]):
            absorption = self._absorption(x, band)
            own = [xp.empty(rays[0].shape, self.dtype) if moving else None for _ in rays]
            still = (x["emission"][band], absorption, *rays, image[band], xp.ascontiguousarray(g[band]))
            self._launch(name, xp, *still, emitted, absorbed, *own, made["background"][band])
            made["emission"][band] = gathered(emitted)
            if absorbed is not None:
                made["absorption"] += self.extinction[band] * gathered(absorbed)
            if moving:
                made["origins"] += in_world(self.grid, own[0])
                made["directions"] += in_world(self.grid, own[1])
        return made

    def _absorption(self, x: Element, band: int) -> Array | None:
        """Of a band; None where nothing absorbs."""
        found, factor = x.get("absorption"), self.extinction[band]
        return found if found is None or factor == 1 else factor * found

    def _launch(self, name: str, xp: Any, *arrays: Array | None) -> None:
        rays = self.range.shape[1]
        launch(name, xp, self.dtype, rays, *arrays, rays, *self.grid.shape, self.step)


class EmissionProjection(LinearOperator):
    """Emission (band, z, y, x) -> image (band, ray) through an absorption that is known, on a dark background: the
    attenuated ray transform of emission tomography; without absorption the ray transform."""

    def __init__(self, rays: EmissionRays, values: Element) -> None:
        self.rays, self.values = rays, dict(values)
        self.domain, self.range = rays.domain["emission"], rays.range

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "EmissionProjection.forward: x")
        return into(out, self.rays({**self.values, "emission": x}))

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "EmissionProjection.adjoint: y")
        x = self.rays._checked({**self.values, "emission": namespace(y).zeros(self.domain.shape, self.domain.dtype)})
        dark = namespace(y).zeros(self.range.shape, self.range.dtype)  # the gradient in the absorption is not looked at
        return into(out, self.rays._pulled(x, self.rays._rays(x), dark, y, moving=False)["emission"])
