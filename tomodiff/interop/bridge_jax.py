"""The bridge to JAX: operators as functions of JAX arrays, under jit, grad and vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tomodiff.array import Element, tmap
from tomodiff.core import LinearOperator, Operator, check_element
from tomodiff.extras import library


def as_jax(A: Operator) -> Callable[..., Any]:
    """`A` as a function of a JAX array, or for named inputs and outputs of a dict of them, with jit, grad and vmap.

    Computed on the host by a callback (jax.pure_callback), whatever the device of the arrays; vmap takes the entries of
    a batch one by one.  The gradient is the adjoint of the Jacobian: of a linear operator any number of times, of
    another once, from a linearisation made again when it is asked for.  Arrays must have the dtype that A takes: double
    precision needs jax.config.update("jax_enable_x64", True).  Needs the extra `jax`.
    """
    jax = library("jax", "jax", "as_jax needs", "JAX")

    def callback(apply: Callable[..., Element], space: Any, *x: Any) -> Any:
        shapes = tmap(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), space)
        return jax.pure_callback(apply, shapes, *x, vmap_method="sequential")

    def value(x: Any) -> Any:
        check_element(A.domain, x, f"{type(A).__name__} of a JAX array")
        return callback(lambda e: A(_host(e)), A.range, x)

    function = jax.custom_vjp(value)
    if isinstance(A, LinearOperator):

        def backward(_: None, g: Any) -> tuple[Any]:
            return (_conj(as_jax(A.T)(_conj(g))),)

        function.defvjp(lambda x: (function(x), None), backward)  # differentiable again
    else:

        def pulled(x: Element, g: Element) -> Element:
            gradient = A.linearize(_host(x))[1].adjoint(_host(g))  # of conj(g), see _conj
            return tmap(lambda a, s: np.asarray(a, s.dtype), gradient, A.domain)

        function.defvjp(lambda x: (value(x), x), lambda x, g: (_conj(callback(pulled, A.domain, x, _conj(g))),))
    made: Callable[..., Any] = function
    return made


def _conj(x: Element) -> Element:
    """Between JAX's cotangents, which are transposed without conjugation, and ours, which are adjoint."""
    return tmap(lambda a: a.conj() if np.dtype(a.dtype).kind == "c" else a, x)


def _host(x: Element) -> Element:
    return tmap(lambda a: np.ascontiguousarray(np.asarray(a)), x)
