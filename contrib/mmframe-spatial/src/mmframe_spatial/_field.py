"""What the structures of this package share: one variance, correlations that fall with a distance, and a nugget."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.api import COORDINATES, CovarianceStructure, Interval, Param, Phi, Points, Positive

Array = NDArray[Any]

# Distances are looked at among this many points: enough for starts, and for what points can tell apart.
_ENOUGH = 300
_START_NUGGET = 0.2
# A range may reach zero, where correlations vanish.
TINY = 1e-100


@frozen
class Field(CovarianceStructure):
    """Σ_ij = variance · (1 − nugget) · rho_ij off the diagonal, variance on it.

    A subclass says what the correlations are. Rows of the same place are different rows: the nugget tells them apart.
    """

    index_kind = COORDINATES
    nugget: bool = False

    @abstractmethod
    def shapes(self, points: Points, between: Array) -> tuple[Param, ...]:
        """The parameters of the correlations; `between` are distances of two or more of these points, as `apart` has them."""

    @abstractmethod
    def apart(self, index: Array) -> Array:
        """Distances without any parameter: (..., m, d) -> (..., m, m)."""

    @abstractmethod
    def correlation(self, phi: Phi, index: Array) -> tuple[Array, Mapping[str, Array]]:
        """rho (..., m, m), and its derivative in each shape that is in `phi`."""

    def check(self, points: Points) -> None:
        """Raises ValueError, in words, for points that the structure cannot take."""

    def params(self, points: Points) -> tuple[Param, ...]:
        self.check(points)
        variance = Param("variance", Positive(), scale_power=2)
        if points.size == 1:
            return (variance,)
        between = self._between(points)
        shapes = self.shapes(points, between)
        # k distances are k correlations, which tell at most k numbers apart.
        if self.nugget and np.unique(np.round(between, 9)).size > len(shapes):
            shapes = (*shapes, Param("nugget", Interval(0.0, 1.0), start=_START_NUGGET))
        return (variance, *shapes)

    def covariance(self, phi: Phi, index: Array) -> Array:
        return np.asarray(phi.variance * self._with_nugget(phi, self.correlation(phi, index)[0]))

    def jacobian(self, phi: Phi, index: Array) -> dict[str, Array]:
        rho, slopes = self.correlation(phi, index)
        scale = phi.variance * (1.0 - phi.get("nugget", 0.0))
        out = {"variance": self._with_nugget(phi, rho)[None]}
        out.update({name: (scale * slope)[None] for name, slope in slopes.items()})
        if "nugget" in phi:
            out["nugget"] = (phi.variance * (np.eye(rho.shape[-1]) - rho))[None]
        return out

    def customary(self, phi: Phi, points: Points) -> Any:
        """With a nugget: the variances of what is spatial and of what is not, with the shapes between them."""
        if "nugget" not in phi:
            return NotImplemented
        shapes = [phi[name] for name in phi if name not in ("variance", "nugget")]
        return [phi.variance * (1.0 - phi.nugget), *shapes, phi.variance * phi.nugget]

    def _between(self, points: Points) -> Array:
        spread = np.linspace(0, points.size - 1, min(points.size, _ENOUGH)).astype(int)
        return np.asarray(self.apart(points.index[spread])[np.triu_indices(spread.size, 1)])

    @staticmethod
    def _with_nugget(phi: Phi, rho: Array) -> Array:
        nugget = phi.get("nugget", 0.0)
        return np.asarray((1.0 - nugget) * rho + nugget * np.eye(rho.shape[-1]))


def half_median(between: Array) -> float:
    """Half of the median distance: where a range starts. Places that coincide do not count."""
    apart = between[between > 0.0]
    return 0.5 * float(np.median(apart)) if apart.size else 1.0


def nearest(between: Array) -> float:
    """The smallest distance that is not zero: a range below it is independence, where a correlation ends at the range."""
    apart = between[between > 0.0]
    return float(np.min(apart)) if apart.size else 0.0
