"""A correlation that falls as a Gaussian curve of the distance: very smooth."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, hookimpl
from mmframe.plugins.structures._spatial import Spatial


@frozen
class SpatialGaussian(Spatial):
    """Σ_ij = variance · exp(−(d_ij / range)²), with nugget=True times (1 − nugget) off the diagonal.

    Without a nugget Σ is all but singular where the range is some times the distance between neighbours.
    SP(GAU) of SAS PROC MIXED; corGaus of nlme (Pinheiro & Bates 2000, §5.3.2).
    """

    name = "spatial_gaussian"
    aliases = ("sp_gau",)

    def decay(self, ratio: Any) -> tuple[Any, Any]:
        square = ratio * ratio
        rho = np.exp(-square)
        return rho, -2.0 * square * rho


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [SpatialGaussian]
