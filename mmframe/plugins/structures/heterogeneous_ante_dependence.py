"""First-order ante-dependence: a variance for each point, and a correlation between each point and the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import POSITION, CovarianceStructure, hookimpl
from mmframe.plugins.structures.ante_dependence import AnteDependence
from mmframe.plugins.structures.heterogeneous import Heterogeneous


@frozen
class HeterogeneousAnteDependence(Heterogeneous):
    """Σ_ab = (variance_a · variance_b)^½ · rho_a ··· rho_{b−1} for the points a < b in order: ANTE(1) of SAS PROC MIXED."""

    name = "heterogeneous_ante_dependence"
    aliases = ("adh",)
    index_kind = POSITION
    structure: CovarianceStructure = field(factory=AnteDependence, init=False, repr=False)

    def project(self, target: Any, index: Any) -> Any:
        """The variances of the target, and its correlations next to the diagonal (Dempster 1972, Biometrics 28)."""
        order = np.argsort(index[:, -1])
        matrix = target[np.ix_(order, order)]
        variance = np.diag(matrix)
        if variance.size == 1:
            return {"variance": variance}
        return {"variance": variance, "rho": np.diag(matrix, 1) / np.sqrt(variance[:-1] * variance[1:])}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [HeterogeneousAnteDependence]
