"""Any positive definite matrix: correlated intercept and slope, `(x | g)`."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import (
    CovarianceStructure,
    Param,
    Phi,
    Points,
    PositiveDefinite,
    Psd,
    hookimpl,
    vech_basis,
)


@frozen
class Unstructured(CovarianceStructure):
    """Σ = any positive definite matrix, by its variances and correlations."""

    name = "unstructured"
    aliases = ("us",)

    def params(self, points: Points) -> tuple[Param, ...]:
        return (Param("covariance", PositiveDefinite(points.size), scale_power=2),)

    def covariance(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        return phi.covariance.matrix[place[..., :, None], place[..., None, :]]

    def jacobian(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        basis = vech_basis(phi.covariance.matrix.shape[0])
        return {"covariance": basis[:, place[..., :, None], place[..., None, :]]}

    def project(self, target: Any, index: Any) -> Any:
        place = index[:, 0].astype(int)
        matrix = np.empty_like(target)
        matrix[np.ix_(place, place)] = target
        return {"covariance": Psd(matrix)}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Unstructured]
