"""Autoregression and moving average, each of the first order, in whole steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Phi, Points, Positive, hookimpl
from mmframe.plugins.structures._positions import powers, usual_gap, whole_lags, whole_positions

# Where phi = −theta there is no correlation at all, and a ridge: the start is to one side of it.
_START_PHI, _START_THETA = 0.5, 0.2
_TINY = 1e-14


@frozen
class ARMA11(CovarianceStructure):
    """Σ_ij = variance · rho_k at lag k = |t_i − t_j|, for positions a whole number apart:

    rho_1 = (1 + phi·theta)(phi + theta) / (1 + theta² + 2·phi·theta),   rho_k = phi · rho_{k−1},   both in (−1, 1).

    Two points have one lag, and phi alone (theta = 0). Box, Jenkins & Reinsel (1994), Time Series Analysis, §3.4;
    corARMA(p=1, q=1) of nlme (Pinheiro & Bates 2000, §5.3.1).   SAS PROC MIXED calls rho_1 gamma, and phi rho.
    """

    name = "arma11"
    aliases = ("arma",)
    index_kind = POSITION

    def params(self, points: Points) -> tuple[Param, ...]:
        whole_positions(points, self.name)
        out = [Param("variance", Positive(), scale_power=2)]
        if points.size > 1:
            out.append(Param("phi", Interval(-1.0, 1.0), start=_START_PHI ** (1.0 / usual_gap(points))))
        if points.size > 2:  # three positions have two lags or more
            out.append(Param("theta", Interval(-1.0, 1.0), start=_START_THETA))
        return tuple(out)

    def covariance(self, phi: Phi, index: Any) -> Any:
        lag, a, b = whole_lags(index), phi.get("phi", 0.0), phi.get("theta", 0.0)
        return phi.variance * np.where(lag == 0, 1.0, _first(a, b)[0] * powers(a, np.maximum(lag - 1, 0)))

    def jacobian(self, phi: Phi, index: Any) -> Any:
        lag, a, b = whole_lags(index), phi.get("phi", 0.0), phi.get("theta", 0.0)
        rho, by_phi, by_theta = _first(a, b)
        apart = (lag > 0).astype(float)
        beyond = np.maximum(lag - 1, 0)
        damping = apart * powers(a, beyond)
        bend = beyond * powers(a, np.maximum(lag - 2, 0))
        return {
            "variance": (1.0 - apart + rho * damping)[None],
            "phi": (phi.variance * (by_phi * damping + rho * bend))[None],
            "theta": (phi.variance * by_theta * damping)[None],
        }


def _first(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """rho_1, ∂rho_1/∂phi, ∂rho_1/∂theta."""
    power = 1.0 + b * b + 2.0 * a * b  # > 0 unless phi = −theta = ±1
    if power < _TINY:
        return 0.0 * a, 1.0, 1.0
    rho = (1.0 + a * b) * (a + b) / power
    by_phi = (1.0 + 2.0 * a * b + b * b - 2.0 * b * rho) / power
    by_theta = (1.0 + 2.0 * a * b + a * a - 2.0 * (a + b) * rho) / power
    return rho, by_phi, by_theta


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [ARMA11]
