"""A matrix that is known up to one factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Positive, hookimpl

_ROUNDING = 1e-10


def _as_array(matrix: Any) -> Any:
    out = np.array(matrix, dtype=float)
    out.setflags(write=False)
    return out


@frozen(eq=False)  # by identity: the matrix may be large, and the structure is remembered by its hash
class Known(CovarianceStructure):
    """Σ = variance · K, for a symmetric positive semidefinite matrix K.

    matrix: K, its rows in the order of the points: the columns of the basis, or the values of a variable in order.
    TYPE=LIN(1) and GDATA= of SAS PROC MIXED. A relationship between the *groups*, a pedigree, is not this: it is given
    with the grouping factor.
    """

    name = "known"
    matrix: Any = field(converter=_as_array)

    @matrix.validator
    def _is_a_covariance(self, _: object, value: Any) -> None:
        if value.ndim != 2 or value.shape[0] != value.shape[1] or not value.size:
            raise ValueError(f"matrix has the shape {value.shape}; allowed: a square one")
        if not np.all(np.isfinite(value)):
            raise ValueError("matrix has entries that are not finite")
        size = float(np.max(np.abs(value)))
        if not np.allclose(value, value.T, rtol=0.0, atol=_ROUNDING * size):
            raise ValueError("matrix is not symmetric")
        smallest = float(np.linalg.eigvalsh(value)[0])
        if size == 0.0 or smallest < -_ROUNDING * size * len(value):
            raise ValueError(f"matrix has the eigenvalue {smallest:g}; allowed: a positive semidefinite one, not zero")

    def params(self, points: Points) -> tuple[Param, ...]:
        if points.size != len(self.matrix):
            raise ValueError(f"matrix has {len(self.matrix)} rows, and there are {points.size} points")
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * self._part(index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        return {"variance": self._part(index)[None]}

    def project(self, target: Any, index: Any) -> Any:
        """The mean square in units of K, over the directions in which K has any."""
        values, vectors = np.linalg.eigh(self._part(index))
        some = values > _ROUNDING * values[-1] * len(values)
        moments = np.einsum("ia,ij,ja->a", vectors[:, some], target, vectors[:, some])
        return {"variance": float(np.mean(moments / values[some]))}

    def _part(self, index: Any) -> Any:
        place = index[..., 0].astype(int)
        return self.matrix[place[..., :, None], place[..., None, :]]


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Known]
