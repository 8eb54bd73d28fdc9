"""A correlation that reaches zero at the range, smoothly: the part that two balls share."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, hookimpl
from mmframe.plugins.structures._spatial import Spatial


@frozen
class SpatialSpherical(Spatial):
    """Σ_ij = variance · (1 − 1.5 u + 0.5 u³), u = d_ij / range < 1, and 0 from there on; up to three dimensions.

    With nugget=True times (1 − nugget) off the diagonal. The range begins at the smallest distance: below it all points
    are independent. Cressie (1993), Statistics for Spatial Data, §2.3; SP(SPH) of SAS PROC MIXED, corSpher of nlme.
    """

    name = "spatial_spherical"
    aliases = ("sp_sph",)
    dimensions = 3
    compact = True

    def decay(self, ratio: Any) -> tuple[Any, Any]:
        u = np.minimum(ratio, 1.0)  # both are zero at 1, and stay so
        return 1.0 - 1.5 * u + 0.5 * u**3, -1.5 * u * (1.0 - u * u)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [SpatialSpherical]
