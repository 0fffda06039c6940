"""What is known of a terrain before its images: how rough it is."""

from __future__ import annotations

from tomodiff.array import Array, namespace
from tomodiff.core import LinearOperator, Space, check_element


class Curvatures(LinearOperator):
    """u (ny, nx) -> u_xx, sqrt(2) u_xy, u_yy (3, ny, nx) by differences, zero on the border.

    The squares sum to those of the four that Ames Stereo Pipeline's smoothness term has.
    """

    def __init__(self, shape: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0), dtype: str = "float32"):
        (ny, nx), (dy, dx) = shape, spacing
        self.domain, self.range = Space((ny, nx), dtype), Space((3, ny, nx), dtype)
        self.scale = (1 / dx**2, 2**0.5 / (4 * dx * dy), 1 / dy**2)

    def forward(self, x: Array, out: Array | None = None) -> Array:
        check_element(self.domain, x, "Curvatures.forward: x")
        made = namespace(x).zeros(self.range.shape, x.dtype) if out is None else out
        made[...] = 0
        across, mixed, down = self.scale
        middle = x[1:-1, 1:-1] * 2
        made[0, 1:-1, 1:-1] = across * (x[1:-1, :-2] + x[1:-1, 2:] - middle)
        made[1, 1:-1, 1:-1] = mixed * (x[2:, 2:] + x[:-2, :-2] - x[2:, :-2] - x[:-2, 2:])
        made[2, 1:-1, 1:-1] = down * (x[:-2, 1:-1] + x[2:, 1:-1] - middle)
        return made

    def adjoint(self, y: Array, out: Array | None = None) -> Array:
        check_element(self.range, y, "Curvatures.adjoint: y")
        made = namespace(y).zeros(self.domain.shape, y.dtype) if out is None else out
        made[...] = 0
        across, mixed, down = (factor * part[1:-1, 1:-1] for factor, part in zip(self.scale, y, strict=True))
        made[1:-1, 1:-1] -= 2 * (across + down)
        made[1:-1, :-2] += across
        made[1:-1, 2:] += across
        made[:-2, 1:-1] += down
        made[2:, 1:-1] += down
        made[2:, 2:] += mixed
        made[:-2, :-2] += mixed
        made[2:, :-2] -= mixed
        made[:-2, 2:] -= mixed
        return made
