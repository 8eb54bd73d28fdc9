"""A standard deviation of its own for each level of a categorical."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import UNORDERED, CovarianceStructure, Param, Phi, Points, Positive, hookimpl
from mmframe.plugins.variances._covariate import VarianceFunction


@frozen
class Ident(VarianceFunction):
    """g = ratio of the level of the covariate, the standard deviation relative to that of the first level.

    varIdent of nlme (Pinheiro & Bates 2000, §5.2.1); REPEATED / GROUP= of SAS PROC MIXED.
    """

    name = "ident"
    index_kind = UNORDERED

    def params(self, points: Points) -> tuple[Param, ...]:
        if points.size == 1:
            return ()
        return (Param("ratio", Positive(points.size - 1), labels=points.labels[1:], start=1.0),)

    def ratio(self, phi: Phi, value: Any) -> Any:
        return np.concatenate([[1.0], phi.get("ratio", [])])[value.astype(int)]

    def slopes(self, phi: Phi, value: Any) -> dict[str, Any]:
        level = 1 + np.arange(len(phi.get("ratio", ())))
        return {"ratio": (value == level.reshape(-1, *([1] * value.ndim))).astype(float)}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Ident]
