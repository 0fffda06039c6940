"""Solvers: frozen hyper-parameters with `start(f, x) -> State` and `step(f, state) -> State`.

Which for what: Cgls, Lsmr, Sirt, OsSart for linear least squares; Osem for counts; OsMomentum for penalised
least squares in a dozen passes; Gradient, Lbfgs, LbfgsB,
NonlinearCg, GaussNewton for smooth functionals; Fista (Nesterov's method without a prior), Saga, Svrg with one prior
that has a prox; Pdhg, Admm, HalfQuadratic with priors of any kind; Adam where gradients are drawn; Alternate for
unknowns that differ in kind; Langevin, DiffPir for draws of the posterior, and Posterior for its deviations.
"""

from tomodiff.solvers.adam import Adam
from tomodiff.solvers.alternate import Alternate
from tomodiff.solvers.gauss_newton import GaussNewton
from tomodiff.solvers.gradient import Gradient, Lbfgs
from tomodiff.solvers.iterate import Solver, check_convergence, iterate, solve
from tomodiff.solvers.lbfgsb import LbfgsB
from tomodiff.solvers.levels import Level, descend, halvings, resampled
from tomodiff.solvers.linear import Cgls, Sirt
from tomodiff.solvers.lsmr import Lsmr
from tomodiff.solvers.measures import curvature
from tomodiff.solvers.momentum import OsMomentum
from tomodiff.solvers.nonlinear_conjugate import NonlinearCg
from tomodiff.solvers.posterior import LowRank, Posterior
from tomodiff.solvers.primal_dual import Pdhg
from tomodiff.solvers.proximal import Fista
from tomodiff.solvers.sampling import DiffPir, Langevin
from tomodiff.solvers.splitting import Admm, HalfQuadratic
from tomodiff.solvers.state import State, load, save
from tomodiff.solvers.stochastic import Saga, Svrg
from tomodiff.solvers.stopping import (
    Discrepancy,
    GradientNorm,
    MaxIterations,
    Plateau,
    RelativeChange,
    Stop,
)
from tomodiff.solvers.subsets import Osem, OsSart

__all__ = [
    "Adam",
    "Admm",
    "Alternate",
    "Cgls",
    "DiffPir",
    "Discrepancy",
    "Fista",
    "GaussNewton",
    "Gradient",
    "GradientNorm",
    "HalfQuadratic",
    "Langevin",
    "Lbfgs",
    "LbfgsB",
    "Level",
    "LowRank",
    "Lsmr",
    "MaxIterations",
    "NonlinearCg",
    "OsMomentum",
    "OsSart",
    "Osem",
    "Pdhg",
    "Plateau",
    "Posterior",
    "RelativeChange",
    "Saga",
    "Sirt",
    "Solver",
    "State",
    "Stop",
    "Svrg",
    "check_convergence",
    "curvature",
    "descend",
    "halvings",
    "iterate",
    "load",
    "resampled",
    "save",
    "solve",
]
