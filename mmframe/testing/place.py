"""A structure at the points at which the kit looks at it."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from mmframe.covariance.combine import Piece, Product
from mmframe.covariance.derivative import make_phi
from mmframe.covariance.domain import Array
from mmframe.covariance.structure import CovarianceStructure, Param, Points
from mmframe.testing.designs import covariate_points, points_for
from mmframe.testing.oracle import ONE


@frozen(eq=False)
class Place:
    """A structure at some points: a variance function as a product with a variance that carries the scale."""

    structure: CovarianceStructure
    points: Points
    params: tuple[Param, ...]

    @classmethod
    def of(cls, structure: CovarianceStructure, size: int) -> Place:
        if not structure.unit:
            return cls.at(structure, points_for(structure, size))
        points = covariate_points(structure, size)
        numbers = np.arange(float(size))[:, None]
        variance = Piece(ONE, Points(points.labels, numbers), slice(0, 1))
        whole = Product((variance, Piece(structure, points, slice(1, 1 + points.index.shape[1]), "variance")))
        return cls.at(whole, Points(points.labels, np.hstack([numbers, points.index])))

    @classmethod
    def at(cls, structure: CovarianceStructure, points: Points) -> Place:
        return cls(structure, points, tuple(structure.params(points)))

    def sigma(self, flat: Array, index: Array | None = None) -> Array:
        index = self.points.index if index is None else index
        return np.asarray(self.structure.covariance(make_phi(self.params, flat), index))

    def who(self, flat: Array | None = None) -> str:
        phi = "" if flat is None else f", φ = {dict(make_phi(self.params, np.round(flat, 6)))}"
        return f"{self.structure.name} at {self.points.size} points{phi}"
