"""Variances that are known up to one factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, hookimpl
from mmframe.plugins.variances._covariate import VarianceFunction, one_covariate


@frozen
class Fixed(VarianceFunction):
    """g = √v: the variance is proportional to a covariate v > 0. There is no parameter.

    varFixed of nlme (Pinheiro & Bates 2000, §5.2.1).
    """

    name = "fixed"

    def params(self, points: Points) -> tuple[Param, ...]:
        smallest = one_covariate(points, self.name)[0]
        if not smallest > 0.0:
            raise ValueError(f"fixed takes variances, which are above 0, and {self.covariate} has {smallest:g}")
        return ()

    def ratio(self, phi: Phi, value: Any) -> Any:
        return np.sqrt(value)

    def slopes(self, phi: Phi, value: Any) -> dict[str, Any]:
        return {}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Fixed]
