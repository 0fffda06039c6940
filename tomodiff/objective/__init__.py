"""Likelihoods and priors: one number of an element, with a gradient or a prox."""

from tomodiff.objective.constraint import Box, NonNegative, Simplex
from tomodiff.objective.counts import Poisson, PoissonGaussian, PoissonTransmission
from tomodiff.objective.denoised import PlugAndPlay, Red, ScoreDistillation
from tomodiff.objective.denoiser import BySlices, Denoiser, Exemplars, Wiener
from tomodiff.objective.differences import Differences, Strains
from tomodiff.objective.gaussian import Correlated, Gaussian
from tomodiff.objective.of import Centred, Of, Tilted, piccs
from tomodiff.objective.penalty import L1, L2, GroupL1, NuclearNorm
from tomodiff.objective.robust import Cauchy, Huber, student_t
from tomodiff.objective.tgv import TotalGeneralizedVariation
from tomodiff.objective.tv import HuberTotalVariation, TotalVariation
from tomodiff.objective.wavelet import Wavelet

__all__ = [
    "L1",
    "L2",
    "Box",
    "BySlices",
    "Cauchy",
    "Centred",
    "Correlated",
    "Denoiser",
    "Differences",
    "Exemplars",
    "Gaussian",
    "GroupL1",
    "Huber",
    "HuberTotalVariation",
    "NonNegative",
    "NuclearNorm",
    "Of",
    "PlugAndPlay",
    "Poisson",
    "PoissonGaussian",
    "PoissonTransmission",
    "Red",
    "ScoreDistillation",
    "Simplex",
    "Strains",
    "Tilted",
    "TotalGeneralizedVariation",
    "TotalVariation",
    "Wavelet",
    "Wiener",
    "piccs",
    "student_t",
]
