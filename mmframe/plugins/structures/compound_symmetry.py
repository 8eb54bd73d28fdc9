"""One variance and one correlation for all pairs of points."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Interval, Param, Phi, Points, Positive, hookimpl, same_point


@frozen
class CompoundSymmetry(CovarianceStructure):
    """Σ_ij = variance · (1 if i = j else rho), rho in [−1/(m−1), 1]: positive semidefinite over its whole domain."""

    name = "compound_symmetry"
    aliases = ("cs",)

    def params(self, points: Points) -> tuple[Param, ...]:
        variance = Param("variance", Positive(), scale_power=2)
        if points.size == 1:  # no pair, no correlation
            return (variance,)
        return variance, Param("rho", Interval(-1.0 / (points.size - 1), 1.0))

    def covariance(self, phi: Phi, index: Any) -> Any:
        same = same_point(index)
        return phi.variance * (same + phi.get("rho", 0.0) * (1.0 - same))

    def jacobian(self, phi: Phi, index: Any) -> Any:
        same = same_point(index)
        rho = phi.get("rho", 0.0)
        return {"variance": (same + rho * (1.0 - same))[None], "rho": (phi.variance * (1.0 - same))[None]}

    def customary(self, phi: Phi, points: Points) -> Any:
        """The variance and the covariance."""
        return [phi.variance, *([phi.variance * phi.rho] if "rho" in phi else [])]

    def project(self, target: Any, index: Any) -> Any:
        m = target.shape[0]
        variance = float(np.trace(target)) / m
        if m == 1:
            return {"variance": variance}
        covariance = (float(np.sum(target)) - m * variance) / (m * (m - 1))
        return {"variance": variance, "rho": float(np.clip(covariance / variance, -1.0 / (m - 1), 1.0))}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [CompoundSymmetry]
