"""A covariance matrix of low rank: effects that are combinations of a few."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, hookimpl
from mmframe.plugins.structures._loadings import loading_matrix, loading_param, loading_slopes, trapezoid

_START = 1.0


@frozen
class ReducedRank(CovarianceStructure):
    """Σ = ΛΛ': loadings Λ (m, rank), lower-trapezoidal (factor k begins at point k). Σ is singular where rank < m.

    Each factor may change its sign: Σ does not know it. FA0(q) of SAS PROC MIXED; rr of glmmTMB (McGillycuddy et al. 2025,
    J. Statist. Software 112).
    """

    name = "reduced_rank"
    aliases = ("rr",)
    singular = True
    rank: int = field(default=1)

    @rank.validator
    def _counts(self, _: object, value: int) -> None:
        if value < 1:
            raise ValueError(f"rank={value}; allowed: 1, 2, ...")

    def params(self, points: Points) -> tuple[Param, ...]:
        return (loading_param(points, min(self.rank, points.size), _START),)

    def covariance(self, phi: Phi, index: Any) -> Any:
        loadings = self._loadings(phi)[index[..., 0].astype(int)]
        return loadings @ np.swapaxes(loadings, -1, -2)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        return {"loading": loading_slopes(self._loadings(phi))[:, place[..., :, None], place[..., None, :]]}

    def project(self, target: Any, index: Any) -> Any:
        """The largest principal components of the target: the limit of probabilistic components without noise
        (Tipping & Bishop 1999, J. R. Statist. Soc. B 61), turned into a lower trapezoid."""
        order = np.argsort(index[:, 0])
        values, vectors = np.linalg.eigh(target[np.ix_(order, order)])
        rank = min(self.rank, len(values))
        loadings = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0.0))
        turned = loadings @ np.linalg.qr(loadings[:rank].T)[0]
        return {"loading": turned[trapezoid(*turned.shape)]}

    def _loadings(self, phi: Phi) -> Any:
        return loading_matrix(phi.loading, self.rank, spare=0)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [ReducedRank]
