"""What spatial structures share: one variance, a correlation that falls with the distance over a range, and a nugget."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from attrs import frozen
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from mmframe.api import COORDINATES, Box, CovarianceStructure, Interval, Param, Phi, Points, Positive, distances

# The median distance is taken among this many points.
_ENOUGH = 300
# A range may reach zero, where correlations vanish.
_TINY = 1e-100
_START_NUGGET = 0.2


@frozen
class Spatial(CovarianceStructure):
    """Σ_ij = variance · (1 − nugget) · rho(d_ij / range) off the diagonal, variance on it.

    A subclass says what rho is. Rows of the same place are different rows: the nugget tells them apart.
    """

    index_kind = COORDINATES
    dimensions: ClassVar[int | None] = None  # in how many rho is positive definite; None, in any
    compact: ClassVar[bool] = False  # whether rho is zero beyond the range
    nugget: bool = False

    @abstractmethod
    def decay(self, ratio: Any) -> tuple[Any, Any]:
        """rho(u) and u · rho'(u), at u = distance / range."""

    def params(self, points: Points) -> tuple[Param, ...]:
        wide = points.index.shape[1]
        if self.dimensions is not None and wide > self.dimensions:
            raise ValueError(
                f"{self.name} is a correlation in {self.dimensions} dimension{'s' * (self.dimensions > 1)} at most, and"
                f" these points have {wide}. Use spatial_exponential, which takes any number"
            )
        variance = Param("variance", Positive(), scale_power=2)
        if points.size == 1:
            return (variance,)
        spread = np.linspace(0, points.size - 1, min(points.size, _ENOUGH)).astype(int)
        between = pdist(points.index[spread])
        half = 0.5 * float(np.median(between))
        if self.compact:  # a range below all distances is independence, whatever it is
            nearest = float(np.min(cKDTree(points.index).query(points.index, k=2)[0][:, 1]))
            reach = Param("range", Box(nearest, np.inf), start=nearest + half)
        else:
            reach = Param("range", Positive(), start=half)
        # One distance has one correlation, which the range alone can give.
        if self.nugget and np.ptp(between) > 1e-9 * half:
            return variance, reach, Param("nugget", Interval(0.0, 1.0), start=_START_NUGGET)
        return variance, reach

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * self._correlation(phi, index)[0]

    def jacobian(self, phi: Phi, index: Any) -> Any:
        correlation, slope, rho = self._correlation(phi, index)
        return {
            "variance": correlation[None],
            "range": (-phi.variance * slope / _reach(phi))[None],
            "nugget": (phi.variance * (np.eye(rho.shape[-1]) - rho))[None],
        }

    def customary(self, phi: Phi, points: Points) -> Any:
        """With a nugget: the variances of what is spatial and of what is not, with the range between them."""
        if "nugget" not in phi:
            return NotImplemented
        return [phi.variance * (1.0 - phi.nugget), phi.range, phi.variance * phi.nugget]

    def _correlation(self, phi: Phi, index: Any) -> tuple[Any, Any, Any]:
        """The correlations, u times their slope in u, and rho without the nugget."""
        rho, slope = self.decay(distances(index) / _reach(phi))
        nugget = phi.get("nugget", 0.0)
        return (1.0 - nugget) * rho + nugget * np.eye(rho.shape[-1]), (1.0 - nugget) * slope, rho


def _reach(phi: Phi) -> float:
    return max(float(phi.get("range", 1.0)), _TINY)
