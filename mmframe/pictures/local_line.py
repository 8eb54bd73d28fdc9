"""A smooth line through points: at each place a straight line fitted to the points near it (Cleveland 1979, JASA 74)."""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array

SPAN = 2.0 / 3.0
PLACES = 60


def local_line(x: Array, y: Array) -> tuple[Array, Array]:
    """The places (k,), at most PLACES quantiles of x in order, and the fit there, from points x (n,), y (n,).

    The nearest two thirds of the points count, by the tricube of their distance over that of the farthest of them.
    """
    places = np.unique(np.quantile(x, np.linspace(0.0, 1.0, PLACES), method="nearest"))
    near = max(int(np.ceil(SPAN * len(x))), 1)
    least = 1e-9 * (np.ptp(x) or 1.0)  # where most points share one x, the line is their mean
    fitted = np.empty(len(places))
    for k, place in enumerate(places):
        away = np.abs(x - place)
        reach = max(np.partition(away, near - 1)[near - 1], least)
        weight = (1.0 - np.minimum(away / reach, 1.0) ** 3) ** 3
        total = weight.sum()
        centre, mean = weight @ x / total, weight @ y / total
        spread = max(weight @ (x - centre) ** 2, total * least**2)
        slope = weight @ ((x - centre) * (y - mean)) / spread
        fitted[k] = mean + slope * (place - centre)
    return places, fitted
