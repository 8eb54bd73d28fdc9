"""First-order ante-dependence: a correlation of its own between each point and the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Phi, Points, Positive, hookimpl


@frozen
class AnteDependence(CovarianceStructure):
    """Σ_ab = variance · rho_a · rho_{a+1} ··· rho_{b−1} for the points a < b in order, each rho in (−1, 1).

    Only the order of the points counts, not how far they are apart. Gabriel (1962), Ann. Math. Statist. 33; Zimmerman &
    Núñez-Antón (2009), Antedependence Models for Longitudinal Data. ANTE(1) of SAS PROC MIXED is `adh`, which has
    a variance for each point.
    """

    name = "ante_dependence"
    aliases = ("ad",)
    index_kind = POSITION
    numbered = True

    def params(self, points: Points) -> tuple[Param, ...]:
        variance = Param("variance", Positive(), scale_power=2)
        if points.size == 1:
            return (variance,)
        pairs = tuple(f"{a}, {b}" for a, b in zip(points.labels[:-1], points.labels[1:], strict=True))
        return variance, Param("rho", Interval(-1.0, 1.0, points.size - 1), labels=pairs)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * _products(phi)[_pairs(index)]

    def jacobian(self, phi: Phi, index: Any) -> Any:
        products, pairs = _products(phi), _pairs(index)
        number = np.arange(len(products))
        # The product over a..b−1 without rho_k is that over a..k−1 times that over k+1..b−1.
        before = np.where(number[:, None] <= number[:-1], products[:, :-1], 0.0)
        after = np.where(number[1:, None] <= number, products[1:, :], 0.0)
        slope = before.T[:, :, None] * after[:, None, :]
        slope = slope + slope.transpose(0, 2, 1)
        return {"variance": products[pairs][None], "rho": phi.variance * slope[:, *pairs]}

    def markov(self, points: Points) -> bool:
        return bool(np.all(np.diff(points.index[:, 0]) > 0))  # the numbers follow the positions


def _products(phi: Phi) -> Any:
    """The correlations of all points: entry (a, b) is the product of rho_a ... rho_{b−1}, by running products."""
    rho = phi.get("rho", np.ones(0))
    size = len(rho) + 1
    factors = np.ones((size, size), dtype=rho.dtype)
    factors[:, 1:] = np.where(np.arange(size)[:, None] < np.arange(1, size), rho, 1.0)
    upper = np.triu(np.cumprod(factors, axis=1))
    return upper + np.triu(upper, 1).T


def _pairs(index: Any) -> tuple[Any, Any]:
    place = index[..., -1].astype(int)
    return place[..., :, None], place[..., None, :]


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [AnteDependence]
