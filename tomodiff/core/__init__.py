"""Spaces, operators, functionals and the checks of them: what is true of every model."""

from tomodiff.core.batched import Batched
from tomodiff.core.checks import check_adjoint, check_gradient, operator_norm
from tomodiff.core.functional import Functional
from tomodiff.core.operators import Linear, LinearOperator, Operator, Stack
from tomodiff.core.plugged import Plugged
from tomodiff.core.space import Space, Spaces, check_element, random_element, weigh, zeros

__all__ = [
    "Batched",
    "Functional",
    "Linear",
    "LinearOperator",
    "Operator",
    "Plugged",
    "Space",
    "Spaces",
    "Stack",
    "check_adjoint",
    "check_element",
    "check_gradient",
    "operator_norm",
    "random_element",
    "weigh",
    "zeros",
]
