"""The bridge to SciPy's iterative solvers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tomodiff.array import Array
from tomodiff.core import LinearOperator, Space

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator as ScipyOperator


def as_scipy(A: LinearOperator) -> ScipyOperator:
    """`A` as a scipy.sparse.linalg.LinearOperator on flattened NumPy arrays, for lsqr, lsmr, svds and their kin.

    SciPy's solvers work in double precision whatever the operator's dtype: vectors are converted to the dtype of A on
    the way in. A must map one array to one array.
    """
    from scipy.sparse.linalg import LinearOperator as ScipyOperator

    for name, space in (("domain", A.domain), ("range", A.range)):
        if not isinstance(space, Space):
            raise TypeError(f"as_scipy: {type(A).__name__}: expected one array as {name}, got names {sorted(space)}")

    def flat(apply: Callable[[Array], Array], space: Space) -> Callable[[np.ndarray], np.ndarray]:
        return lambda x: apply(np.ascontiguousarray(x.reshape(space.shape), space.dtype)).reshape(-1)

    return ScipyOperator(
        shape=(A.range.size, A.domain.size),
        dtype=np.dtype(A.range.dtype),
        matvec=flat(A.forward, A.domain),
        rmatvec=flat(A.adjoint, A.range),
    )
