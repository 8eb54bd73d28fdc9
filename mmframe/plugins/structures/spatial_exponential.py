"""A correlation that falls exponentially with the distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Points, hookimpl
from mmframe.plugins.structures._spatial import Spatial


@frozen
class SpatialExponential(Spatial):
    """Σ_ij = variance · exp(−d_ij / range), with nugget=True times (1 − nugget) off the diagonal.

    Cressie (1993), Statistics for Spatial Data, §2.3; SP(EXP) of SAS PROC MIXED, corExp of nlme.
    """

    name = "spatial_exponential"
    aliases = ("sp_exp",)

    def decay(self, ratio: Any) -> tuple[Any, Any]:
        rho = np.exp(-ratio)
        return rho, -ratio * rho

    def markov(self, points: Points) -> bool:
        return points.index.shape[1] == 1 and not self.nugget


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [SpatialExponential]
