"""What variance functions share: a ratio of standard deviations that depends on a covariate."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import COORDINATES, CovarianceStructure, Phi, Points


@frozen
class VarianceFunction(CovarianceStructure):
    """Σ = diag(g²): g is the standard deviation of a row in units of the structure that it multiplies.

    covariate: the column that the index holds. Rows with the same value are different rows.
    """

    unit = True
    index_kind = COORDINATES
    covariate: str

    @abstractmethod
    def ratio(self, phi: Phi, value: Any) -> Any:
        """g of each row: (..., m) -> (..., m)."""

    @abstractmethod
    def slopes(self, phi: Phi, value: Any) -> dict[str, Any]:
        """∂g/∂φ of each row, for each parameter: (count, ..., m)."""

    def covariance(self, phi: Phi, index: Any) -> Any:
        with np.errstate(over="ignore"):  # a shape far off: an infinite variance, whose likelihood is zero
            return _diagonal(self.ratio(phi, index[..., 0]) ** 2)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        value = index[..., 0]
        with np.errstate(over="ignore", invalid="ignore"):
            g = self.ratio(phi, value)
            return {name: _diagonal(2.0 * g * slope) for name, slope in self.slopes(phi, value).items()}

    def markov(self, points: Points) -> bool:
        return True


def _diagonal(entries: Any) -> Any:
    m = entries.shape[-1]
    out = np.zeros((*entries.shape, m), dtype=entries.dtype)
    out[..., np.arange(m), np.arange(m)] = entries
    return out


def one_covariate(points: Points, who: str) -> Any:
    """The distinct values of the covariate, absolute values left to the caller."""
    if points.index.shape[1] != 1:
        raise ValueError(f"{who} takes one covariate, and the index has {points.index.shape[1]} columns")
    return np.unique(points.index[:, 0])


def distinct_sizes(points: Points, who: str) -> Any:
    """The distinct |v|. Raises ValueError where one of them is 0, of which no power can be taken."""
    sizes = np.unique(np.abs(one_covariate(points, who)))
    if sizes[0] == 0.0:
        raise ValueError(
            f"{who} takes powers of its covariate, which is 0 in some rows. Use exp, or shift the covariate away from 0"
        )
    return sizes
