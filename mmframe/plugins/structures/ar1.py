"""First-order autoregression in whole steps: one variance, and a correlation that falls with the lag."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Phi, Points, Positive, hookimpl
from mmframe.plugins.structures._positions import powers, usual_gap, whole_lags, whole_positions

# rho = 0 would be stationary where all lags are even; the start has this correlation between neighbours.
_START = 0.3


@frozen
class AR1(CovarianceStructure):
    """Σ_ij = variance · rho^|t_i − t_j|, rho in (−1, 1), for positions a whole number apart.

    Box, Jenkins & Reinsel (1994), Time Series Analysis, §3.2; AR(1) of SAS PROC MIXED, corAR1 of nlme.
    """

    name = "ar1"
    index_kind = POSITION

    def params(self, points: Points) -> tuple[Param, ...]:
        whole_positions(points, self.name)
        variance = Param("variance", Positive(), scale_power=2)
        if points.size == 1:
            return (variance,)
        return variance, Param("rho", Interval(-1.0, 1.0), start=_START ** (1.0 / usual_gap(points)))

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * powers(phi.get("rho", 0.0), whole_lags(index))

    def jacobian(self, phi: Phi, index: Any) -> Any:
        lag, rho = whole_lags(index), phi.get("rho", 0.0)
        slope = lag * powers(rho, np.maximum(lag - 1, 0))  # the diagonal has lag 0, and no rho
        return {"variance": powers(rho, lag)[None], "rho": (phi.variance * slope)[None]}

    def markov(self, points: Points) -> bool:
        return True


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [AR1]
