"""Likelihoods and priors: one number of an element, with a gradient or a prox."""

from tomodiff.objective.likelihood import Cauchy, Gaussian, Huber, PoissonTransmission
from tomodiff.objective.prior import L1, L2, Box, NonNegative
from tomodiff.objective.tv import HuberTotalVariation, TotalVariation

__all__ = [
    "L1",
    "L2",
    "Box",
    "Cauchy",
    "Gaussian",
    "Huber",
    "HuberTotalVariation",
    "NonNegative",
    "PoissonTransmission",
    "TotalVariation",
]
