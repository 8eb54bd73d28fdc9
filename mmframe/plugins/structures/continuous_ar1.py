"""First-order autoregression in continuous time: one variance, and a correlation that falls with the time between."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Phi, Points, Positive, hookimpl, lags
from mmframe.plugins.structures._positions import usual_gap

# A shape in units of time: the start has this correlation between neighbours.
_START = 0.5
# At rho = 0 a lag below 1 has an infinite slope.
_TINY = 1e-300


@frozen
class ContinuousAR1(CovarianceStructure):
    """Σ_ij = variance · rho^|t_i − t_j|, rho in (0, 1), the correlation one unit of time apart, for any positions.

    Jones (1993), Longitudinal Data with Serial Correlation; corCAR1 of nlme, SP(POW) of SAS PROC MIXED.
    """

    name = "continuous_ar1"
    aliases = ("car1",)
    index_kind = POSITION

    def params(self, points: Points) -> tuple[Param, ...]:
        variance = Param("variance", Positive(), scale_power=2)
        if points.size == 1:
            return (variance,)
        return variance, Param("rho", Interval(0.0, 1.0), start=_START ** (1.0 / usual_gap(points)))

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * phi.get("rho", 0.0) ** lags(index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        lag, rho = lags(index), max(phi.get("rho", 0.0), _TINY)
        slope = lag * rho ** np.where(lag > 0, lag - 1.0, 0.0)
        return {"variance": (rho**lag)[None], "rho": (phi.variance * slope)[None]}

    def markov(self, points: Points) -> bool:
        return True


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [ContinuousAR1]
