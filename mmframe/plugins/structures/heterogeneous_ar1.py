"""First-order autoregression in whole steps, with a variance for each point."""

from __future__ import annotations

from attrs import field, frozen

from mmframe.api import POSITION, CovarianceStructure, hookimpl
from mmframe.plugins.structures.ar1 import AR1
from mmframe.plugins.structures.heterogeneous import Heterogeneous


@frozen
class HeterogeneousAR1(Heterogeneous):
    """Σ_ij = (variance_i · variance_j)^½ · rho^|t_i − t_j|, rho in (−1, 1): ARH(1) of SAS PROC MIXED."""

    name = "heterogeneous_ar1"
    aliases = ("ar1h",)
    index_kind = POSITION
    structure: CovarianceStructure = field(factory=AR1, init=False, repr=False)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [HeterogeneousAR1]
