"""Spaces: the shapes and dtypes of elements, and the arithmetic that operators and functionals share.

An element is an array or a flat dict of named arrays; its space is a `Space` or a dict of them under the same names.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tomodiff.array import Array, Element, plain, tmap


@dataclass(frozen=True)
class Space:
    """The shape and dtype of one array."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(operator.index(n) for n in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)

    @property
    def size(self) -> int:
        """The number of entries."""
        return int(np.prod(self.shape, dtype=np.int64))


Spaces = Space | dict[str, Space]


def space_of(x: Element) -> Spaces:
    """The space that an element lies in."""
    made: Spaces = tmap(lambda a: Space(a.shape, a.dtype.name), x)
    return made


def check_element(space: Spaces, x: Element, where: str, batched: bool = False) -> None:
    """Raise unless `x` lies in `space`: TypeError for a wrong kind or dtype, ValueError for a wrong shape or name.

    With `batched`, any leading axes before the shape of the space are allowed. `where` opens the message, for
    instance "XRay.forward: x".
    """
    if isinstance(space, Mapping):
        if not isinstance(x, Mapping):
            raise TypeError(f"{where}: expected a dict of arrays with names {sorted(space)}, got {type(x).__name__}")
        if set(x) != set(space):
            raise ValueError(f"{where}: expected the names {sorted(space)}, got {sorted(x)}")
        for name in space:
            check_element(space[name], x[name], f"{where}[{name!r}]", batched)
        return
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise TypeError(f"{where}: expected a {space.dtype} array of shape {space.shape}, got {type(x).__name__}")
    if x.dtype != space.dtype:
        raise TypeError(f"{where}: expected dtype {space.dtype}, got {x.dtype} (convert it with .astype)")
    shape = tuple(x.shape[max(0, x.ndim - len(space.shape)) :]) if batched else tuple(x.shape)
    if shape != space.shape:
        raise ValueError(f"{where}: expected shape {('...', *space.shape) if batched else space.shape}, got {x.shape}")


def zeros(space: Spaces, xp: ModuleType = np) -> Element:
    """The zero of a space."""
    return tmap(lambda s: xp.zeros(s.shape, s.dtype), space)


def random_element(space: Spaces, rng: np.random.Generator, xp: ModuleType = np, nonnegative: bool = False) -> Element:
    """Independent standard normal entries (their absolute values if `nonnegative`), complex where the space is."""

    def draw(s: Space) -> Array:
        x = rng.standard_normal(s.shape)
        if np.dtype(s.dtype).kind == "c":
            x = x + 1j * rng.standard_normal(s.shape)
        return xp.asarray((np.abs(x) if nonnegative else x).astype(s.dtype))

    return tmap(draw, space)


def weigh(x: Element, weights: Any) -> Element:
    """The product of an element with weights: None (the element itself), a number, or an element."""
    if weights is None:
        return x
    if isinstance(weights, Mapping):
        return tmap(operator.mul, x, weights)
    factor = plain(weights)
    return tmap(lambda a: a * factor, x)
