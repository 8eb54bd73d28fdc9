"""A correlation for each lag in whole steps, with a variance for each point."""

from __future__ import annotations

from attrs import Factory, field, frozen

from mmframe.api import POSITION, CovarianceStructure, hookimpl
from mmframe.plugins.structures.heterogeneous import Heterogeneous
from mmframe.plugins.structures.toeplitz import Toeplitz


@frozen
class HeterogeneousToeplitz(Heterogeneous):
    """Σ_ij = (variance_i · variance_j)^½ · rho_k at lag k = |t_i − t_j|: TOEPH, and TOEPH(b), of SAS PROC MIXED.

    bands: as in `toeplitz`.
    """

    name = "heterogeneous_toeplitz"
    aliases = ("toeph",)
    index_kind = POSITION
    bands: int = 0
    structure: CovarianceStructure = field(
        default=Factory(lambda self: Toeplitz(bands=self.bands), takes_self=True), init=False, repr=False
    )


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [HeterogeneousToeplitz]
