"""A correlation that falls linearly to zero at the range, along a line."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, hookimpl
from mmframe.plugins.structures._spatial import Spatial


@frozen
class SpatialLinear(Spatial):
    """Σ_ij = variance · (1 − u), u = d_ij / range < 1, and 0 from there on; in one dimension.

    With nugget=True times (1 − nugget) off the diagonal. The range begins at the smallest distance: below it all points
    are independent. The likelihood has a kink where the range equals a distance. corLin of nlme (Pinheiro & Bates 2000,
    §5.3.2); SP(LIN) of SAS PROC MIXED has 1/range. In a plane it is not positive definite.
    """

    name = "spatial_linear"
    aliases = ("sp_lin",)
    index_kind = POSITION  # one variable
    dimensions = 1
    compact = True

    def decay(self, ratio: Any) -> tuple[Any, Any]:
        inside = ratio < 1.0
        return np.where(inside, 1.0 - ratio, 0.0), np.where(inside, -ratio, 0.0)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [SpatialLinear]
