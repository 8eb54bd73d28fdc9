"""The Matérn correlation with its smoothness as a parameter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Interval, Param, Phi, Points, Positive, distances, hookimpl
from mmframe_spatial._bessel import matern, matern_in_order
from mmframe_spatial._field import TINY, Array, Field, half_median

# Rougher than the first is white noise to any data, and smoother than the last is the Gaussian correlation.
_ROUGHEST, _SMOOTHEST = 0.1, 10.0


@frozen
class MaternNu(Field):
    """Σ_ij = variance · 2^(1−ν)/Γ(ν) · z^ν K_ν(z), z = √(2ν) · d_ij / range, with ν, the smoothness, estimated too.

    It is mmframe's `matern`, whose smoothness is an option, in any number of dimensions; with nugget=True times
    (1 − nugget) off the diagonal. With √(2ν) in z the range says how far correlation reaches whatever ν is, so the two
    are less correlated than with z = d / range (Handcock & Stein 1993, Technometrics 35, who have 2√ν; this is Rasmussen &
    Williams 2006, eq. 4.14). ν in [0.1, 10].
    """

    name = "matern_nu"

    def shapes(self, points: Points, between: Array) -> tuple[Param, ...]:
        reach = Param("range", Positive(), start=half_median(between))
        if (
            np.unique(np.round(between, 9)).size == 1
        ):  # one distance has one correlation, which the range alone can give
            return (reach,)
        return reach, Param("smoothness", Interval(_ROUGHEST, _SMOOTHEST), start=1.0)

    def apart(self, index: Array) -> Array:
        return distances(index)

    def correlation(self, phi: Phi, index: Array) -> tuple[Array, Mapping[str, Array]]:
        reach, nu = max(phi.get("range", 1.0), TINY), float(phi.get("smoothness", 0.5))
        with np.errstate(over="ignore"):
            z = np.sqrt(2.0 * nu) * self.apart(index) / reach
        rho, slope = matern(nu, z)
        slopes = {}
        if "range" in phi:
            slopes["range"] = -slope / reach
        if "smoothness" in phi:  # at a fixed z, and through z = √(2ν) u
            slopes["smoothness"] = matern_in_order(nu, z) + slope / (2.0 * nu)
        return rho, slopes


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [MaternNu]
