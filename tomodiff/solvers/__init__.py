"""Solvers: frozen hyper-parameters with `start(f, x) -> State` and `step(f, state) -> State`."""

from tomodiff.solvers.gauss_newton import GaussNewton
from tomodiff.solvers.gradient import Gradient, Lbfgs
from tomodiff.solvers.iterate import Solver, check_convergence, iterate, solve
from tomodiff.solvers.lbfgsb import LbfgsB
from tomodiff.solvers.linear import Cgls, Sirt
from tomodiff.solvers.measures import curvature
from tomodiff.solvers.proximal import Fista
from tomodiff.solvers.state import State, load, save
from tomodiff.solvers.stopping import (
    Discrepancy,
    GradientNorm,
    MaxIterations,
    Plateau,
    RelativeChange,
    Stop,
)

__all__ = [
    "Cgls",
    "Discrepancy",
    "Fista",
    "GaussNewton",
    "Gradient",
    "GradientNorm",
    "Lbfgs",
    "LbfgsB",
    "MaxIterations",
    "Plateau",
    "RelativeChange",
    "Sirt",
    "Solver",
    "State",
    "Stop",
    "check_convergence",
    "curvature",
    "iterate",
    "load",
    "save",
    "solve",
]
