"""A standard deviation that grows as a power of a covariate."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Real, hookimpl
from mmframe.plugins.variances._covariate import VarianceFunction, distinct_sizes


@frozen
class Power(VarianceFunction):
    """g = |v|^delta, for a covariate v that is never 0.

    varPower of nlme (Pinheiro & Bates 2000, §5.2.1). It starts at delta = 0, equal variances. Where |v| has one value
    there is no delta.
    """

    name = "power"

    def params(self, points: Points) -> tuple[Param, ...]:
        return (Param("delta", Real(), start=0.0),) if distinct_sizes(points, self.name).size > 1 else ()

    def ratio(self, phi: Phi, value: Any) -> Any:
        return np.abs(value) ** phi.get("delta", 0.0)

    def slopes(self, phi: Phi, value: Any) -> dict[str, Any]:
        return {"delta": (self.ratio(phi, value) * np.log(np.abs(value)))[None]}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Power]
