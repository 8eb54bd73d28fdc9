"""A correlation that falls as a rational function of the distance: with a long tail."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mmframe.api import CovarianceStructure, hookimpl
from mmframe.plugins.structures._spatial import Spatial


@frozen
class SpatialRational(Spatial):
    """Σ_ij = variance / (1 + (d_ij / range)²), with nugget=True times (1 − nugget) off the diagonal.

    Cressie (1993), Statistics for Spatial Data, §2.3; corRatio of nlme (Pinheiro & Bates 2000, §5.3.2).
    """

    name = "spatial_rational"
    aliases = ("sp_ratio",)

    def decay(self, ratio: Any) -> tuple[Any, Any]:
        square = ratio * ratio
        rho = 1.0 / (1.0 + square)
        return rho, -2.0 * (rho * square) * rho


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [SpatialRational]
