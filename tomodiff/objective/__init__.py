"""Likelihoods and priors: one number of an element, with a gradient or a prox."""

from tomodiff.objective.likelihood import Gaussian, Huber, PoissonTransmission
from tomodiff.objective.prior import L1, L2, Box, NonNegative
from tomodiff.objective.tv import HuberTotalVariation, TotalVariation

__all__ = [
    "L1",
    "L2",
    "Box",
    "Gaussian",
    "Huber",
    "HuberTotalVariation",
    "NonNegative",
    "PoissonTransmission",
    "TotalVariation",
]
