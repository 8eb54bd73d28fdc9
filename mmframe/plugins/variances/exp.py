"""A standard deviation that grows exponentially with a covariate."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Real, hookimpl
from mmframe.plugins.variances._covariate import VarianceFunction, one_covariate


@frozen
class Exp(VarianceFunction):
    """g = exp(delta · v).

    varExp of nlme (Pinheiro & Bates 2000, §5.2.1); LOCAL=EXP(v) of SAS PROC MIXED, whose coefficient is 2·delta. It
    starts at delta = 0, equal variances. Where v has one value there is no delta.
    """

    name = "exp"

    def params(self, points: Points) -> tuple[Param, ...]:
        return (Param("delta", Real(), start=0.0),) if one_covariate(points, self.name).size > 1 else ()

    def ratio(self, phi: Phi, value: Any) -> Any:
        return np.exp(phi.get("delta", 0.0) * value)

    def slopes(self, phi: Phi, value: Any) -> dict[str, Any]:
        return {"delta": (value * self.ratio(phi, value))[None]}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Exp]
