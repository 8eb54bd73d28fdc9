"""A variance for each point, independent: uncorrelated intercept and slope, `(x || g)`."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Positive, hookimpl


@frozen
class Diagonal(CovarianceStructure):
    """Σ = diag(variance_1, ..., variance_m)."""

    name = "diagonal"
    aliases = ("diag",)

    def params(self, points: Points) -> tuple[Param, ...]:
        return (Param("variance", Positive(points.size), scale_power=2),)

    def covariance(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        same = place[..., :, None] == place[..., None, :]
        return np.where(same, phi.variance[place][..., None], 0.0)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        which = np.arange(len(phi.variance)).reshape(-1, *([1] * place.ndim))
        member = (place == which).astype(float)
        return {"variance": member[..., :, None] * member[..., None, :]}

    def project(self, target: Any, index: Any) -> Any:
        variance = np.empty(target.shape[0])
        variance[index[:, 0].astype(int)] = np.diag(target)
        return {"variance": variance}

    def markov(self, points: Points) -> bool:
        return True


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Diagonal]
