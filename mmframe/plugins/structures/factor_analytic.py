"""A few common factors, and a variance of its own for each point."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Positive, hookimpl
from mmframe.plugins.structures._loadings import loading_matrix, loading_param, loading_slopes

# At loadings of zero all slopes are zero: the start shares the variance about evenly, λ² and ψ.
_START = 0.7


@frozen
class FactorAnalytic(CovarianceStructure):
    """Σ = ΛΛ' + diag(psi): loadings Λ (m, factors), lower-trapezoidal (factor k begins at point k), and psi ≥ 0.

    Each factor may change its sign: Σ does not know it. Where m points are too few for a psi each — their m(m+1)/2
    covariances are fewer than the parameters — psi is common to all points, and there are at most m − 1 factors: with 2
    points and 1 factor, or 3 and 2; 1 point has psi alone. `communality` is the share of a variance that the factors
    explain. Lawley & Maxwell (1971), Factor Analysis as a Statistical Method; FA(q) and FA1(q) of SAS PROC MIXED.
    """

    name = "factor_analytic"
    aliases = ("fa",)
    factors: int = field(default=1)

    @factors.validator
    def _counts(self, _: object, value: int) -> None:
        if value < 1:
            raise ValueError(f"factors={value}; allowed: 1, 2, ...")

    def params(self, points: Points) -> tuple[Param, ...]:
        m = points.size
        if m == 1:
            return (Param("psi", Positive(), scale_power=2),)
        loading = loading_param(points, min(self.factors, m - 1), _START)
        if loading.domain.count + m > m * (m + 1) // 2:
            return loading, Param("psi", Positive(), scale_power=2, start=_START**2)
        return loading, Param("psi", Positive(m), scale_power=2, labels=points.labels, start=_START**2)

    def covariance(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        loadings = self._loadings(phi)[place]
        psi = np.broadcast_to(phi.psi, place.shape) if np.ndim(phi.psi) == 0 else phi.psi[place]
        own = np.where(place[..., :, None] == place[..., None, :], psi[..., None], 0.0)
        return loadings @ np.swapaxes(loadings, -1, -2) + own

    def jacobian(self, phi: Phi, index: Any) -> Any:
        place = index[..., 0].astype(int)
        rows, cols = place[..., :, None], place[..., None, :]
        same = (rows == cols).astype(float)
        each = np.arange(np.size(phi.psi)).reshape(-1, *([1] * rows.ndim))
        own = same * (rows == each) if np.ndim(phi.psi) else same[None]
        return {"loading": loading_slopes(self._loadings(phi))[:, rows, cols], "psi": own}

    def report(self, phi: Phi, points: Points) -> Any:
        if "loading" not in phi:
            return {}
        common = np.sum(self._loadings(phi) ** 2, axis=1)
        return {f"communality[{label}]": c for label, c in zip(points.labels, common / (common + phi.psi), strict=True)}

    def _loadings(self, phi: Phi) -> Any:
        return loading_matrix(phi.get("loading", np.zeros(0)), self.factors, spare=1)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [FactorAnalytic]
