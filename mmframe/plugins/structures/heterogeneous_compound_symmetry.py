"""A variance for each point, and one correlation for all pairs."""

from __future__ import annotations

from attrs import field, frozen

from mmframe.api import UNORDERED, CovarianceStructure, hookimpl
from mmframe.plugins.structures.compound_symmetry import CompoundSymmetry
from mmframe.plugins.structures.heterogeneous import Heterogeneous


@frozen
class HeterogeneousCompoundSymmetry(Heterogeneous):
    """Σ_ij = (variance_i · variance_j)^½ · rho, Σ_ii = variance_i, rho in [−1/(m−1), 1]: CSH of SAS PROC MIXED."""

    name = "heterogeneous_compound_symmetry"
    aliases = ("csh",)
    index_kind = UNORDERED
    structure: CovarianceStructure = field(factory=CompoundSymmetry, init=False, repr=False)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [HeterogeneousCompoundSymmetry]
