"""First-order autoregression in continuous time: one variance, and a correlation that falls with the time between."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, Param, Phi, Points, Positive, Reading, hookimpl, lags
from mmframe.plugins.structures._positions import usual_gap

# The start has this correlation between neighbours.
_START = 0.5
_TINY, _LONG = 1e-300, 1e12  # ranges at which the correlation one unit apart is 0 and 1


def _rho(length: Any) -> Any:
    return np.exp(-1.0 / np.maximum(length, _TINY))


def _range(rho: Any) -> Any:
    with np.errstate(divide="ignore"):
        return 1.0 / np.maximum(-np.log(np.clip(rho, 0.0, 1.0)), 1.0 / _LONG)


# In rho itself a lag below 1 has an infinite slope at rho = 0, where series without correlation end: its range is smooth there.
_READ = Reading("rho", _rho, _range, 0.0, 1.0)


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
        return variance, Param("range", Positive(), start=-usual_gap(points) / np.log(_START), reading=_READ)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * self._correlation(phi, index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        rho = self._correlation(phi, index)
        return {"variance": rho[None], "range": (phi.variance * rho * lags(index) / _length(phi) ** 2)[None]}

    def markov(self, points: Points) -> bool:
        return True

    def _correlation(self, phi: Phi, index: Any) -> Any:
        return np.exp(-lags(index) / _length(phi))


def _length(phi: Phi) -> Any:
    return max(phi.get("range", 1.0), _TINY**0.25)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [ContinuousAR1]
