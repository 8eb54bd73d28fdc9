"""The names of statsmodels' mixed model: `from mmframe.compat.statsmodels import MixedLM, MixedLMParams, VCSpec, mixedlm`."""

from mmframe.compat.components import VCSpec
from mmframe.compat.contrasts import ContrastResults
from mmframe.compat.mixedlm import MixedLM
from mmframe.compat.notices import ConvergenceWarning, ModelWarning, SingularMatrixWarning
from mmframe.compat.params import MixedLMParams
from mmframe.compat.penalties import L2, PSD, CovariancePenalty, Penalty, PseudoHuber
from mmframe.compat.results import MixedLMResults
from mmframe.compat.summary import Summary

mixedlm = MixedLM.from_formula

__all__ = [
    "L2",
    "PSD",
    "ContrastResults",
    "ConvergenceWarning",
    "CovariancePenalty",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "ModelWarning",
    "Penalty",
    "PseudoHuber",
    "SingularMatrixWarning",
    "Summary",
    "VCSpec",
    "mixedlm",
]
