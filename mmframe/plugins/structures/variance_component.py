"""One variance for all points, independent: the random intercept, and variance components."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Positive, hookimpl, same_point


@frozen
class VarianceComponent(CovarianceStructure):
    """Σ = variance · I. One column: a random intercept or slope; several: effects that share one variance."""

    name = "variance_component"
    aliases = ("vc", "identity")

    def params(self, points: Points) -> tuple[Param, ...]:
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * same_point(index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        return {"variance": same_point(index)[None]}

    def project(self, target: Any, index: Any) -> Any:
        return {"variance": float(np.trace(target)) / target.shape[0]}

    def markov(self, points: Points) -> bool:
        return True


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [VarianceComponent]
