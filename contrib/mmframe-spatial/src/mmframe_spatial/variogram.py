"""The empirical semivariogram: half the mean squared difference of pairs, by their distance.

Classical: Matheron (1962), Traité de géostatistique appliquée. Robust: Cressie & Hawkins (1980), Math. Geology 12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmframe_spatial.rows import Array, labels_of, model_covariance, places_of, values_of
from mmframe_spatial.sphere import EARTH, great_circle

ESTIMATORS = ("classical", "robust")
COLLAPSE = ("width", "quantiles")
METRICS = ("euclidean", "great_circle")
# gstat's: the longest distance is a third of the diagonal of the box around all places.
_SHARE = 1.0 / 3.0
_ROWS = 500  # rows whose pairs with all later rows are held at a time


def variogram(
    residuals: Any,
    coordinates: Any,
    *,
    data: pd.DataFrame | None = None,
    bins: int | Sequence[float] = 15,
    collapse: str = "width",
    cutoff: float | None = None,
    estimator: str = "classical",
    directions: Sequence[float] | None = None,
    tolerance: float | None = None,
    groups: Any = None,
    metric: str = "euclidean",
    model: Any = None,
) -> pd.DataFrame:
    """Semivariances of pairs of rows, by distance and direction.

    residuals: n numbers, or a fit, whose response residuals are taken.
    coordinates: (n, d) numbers, a DataFrame, or the names of columns of `data`. Where residuals carry an index (those of a fit
        do), rows of a DataFrame are found by it.
    bins: how many, or the edges of the bins, ascending. A pair is in the bin whose upper edge it does not exceed.
    collapse: "width", bins of equal width up to the cutoff; "quantiles", bins of about equally many pairs.
    cutoff: the longest distance; without it a third of the diagonal of the box around all places for "width" (half of the
        longest distance with metric="great_circle"), and none for "quantiles".
    estimator: "classical", ½ mean (r_i − r_j)²; "robust", ½ (mean |r_i − r_j|^½)⁴ / (0.457 + 0.494/pairs).
    directions: angles in degrees anticlockwise from the first coordinate, over two coordinates; a pair is in a direction
        where it is at most `tolerance` off it, without sign. The tolerance is half of the angle between equally spaced ones.
    groups: n labels, or a column of `data`: only pairs within a group count (a field, a day).
    metric: "euclidean", or "great_circle" for longitude and latitude in degrees, with distances in kilometres.
    model: a fit whose residual is spatial, or an (n, n) covariance matrix by row: the table gets the mean semivariance
        that it gives to the same pairs.

    Returns a DataFrame with bin (1, 2, ...), distance (the mean of the bin's pairs), semivariance, pairs, and where asked for
    direction and model. Bins without pairs are left out. Raises ValueError for what it cannot use, in words.
    """
    _one_of("estimator", estimator, ESTIMATORS)
    _one_of("collapse", collapse, COLLAPSE)
    _one_of("metric", metric, METRICS)
    value = values_of(residuals)
    place = places_of(coordinates, data, value.index)
    labels = None if groups is None else labels_of(groups, data, value.index)
    r = value.to_numpy()
    covariance = None if model is None else model_covariance(model, place)
    if r.size < 2:
        raise ValueError("a variogram needs two rows or more")
    if directions is not None and place.shape[1] != 2:
        raise ValueError(f"directions need two coordinates, and these places have {place.shape[1]}")
    edges = _edges(place, labels, bins, collapse, cutoff, metric)
    sectors = _sectors(directions, tolerance)
    sums = np.zeros((4, len(sectors), edges.size - 1))
    for i, j in _pairs(place, labels):
        distance = _distance(place, i, j, metric)
        at = np.searchsorted(edges, distance, side="left") - 1
        at[distance == edges[0]] = 0
        inside = (at >= 0) & (at < edges.size - 1)
        i, j, distance, at = i[inside], j[inside], distance[inside], at[inside]
        gap = np.abs(r[i] - r[j])
        expected = None if covariance is None else _expected(covariance, i, j)
        for k, (towards, width) in enumerate(sectors):
            mine = slice(None) if towards is None else _within(place, i, j, towards, width)
            kept = (np.ones_like(gap), distance, gap**2 if estimator == "classical" else np.sqrt(gap), expected)
            for total, what in zip(sums[:, k], kept, strict=True):
                if what is not None:
                    total += np.bincount(at[mine], weights=what[mine], minlength=edges.size - 1)
    if not np.any(sums[0]):
        raise ValueError(
            f"no pair of rows is within {edges[-1]:g} of each other; give a longer cutoff=, or other bins="
        )
    return _table(sums, [s[0] for s in sectors], estimator, covariance is not None)


def _table(sums: Array, directions: list[float | None], estimator: str, with_model: bool) -> pd.DataFrame:
    rows = []
    for k, direction in enumerate(directions):
        pairs, distance, gap, expected = sums[:, k]
        full = np.flatnonzero(pairs)
        n, mean = pairs[full], gap[full] / pairs[full]
        semivariance = 0.5 * mean if estimator == "classical" else 0.5 * mean**4 / (0.457 + 0.494 / n)
        table = pd.DataFrame(
            {"bin": full + 1, "distance": distance[full] / n, "semivariance": semivariance, "pairs": n.astype(int)}
        )
        if direction is not None:
            table.insert(0, "direction", float(direction))
        if with_model:
            table["model"] = expected[full] / n
        rows.append(table)
    return pd.concat(rows, ignore_index=True)


def _pairs(place: Array, labels: Array | None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """All pairs i < j, a few hundred rows i at a time."""
    n = len(place)
    for first in range(0, n - 1, _ROWS):
        rows = np.arange(first, min(first + _ROWS, n - 1))
        i = np.repeat(rows, n - 1 - rows)
        j = np.concatenate([np.arange(k + 1, n) for k in rows])
        if labels is not None:
            same = labels[i] == labels[j]
            i, j = i[same], j[same]
        yield i, j


def _distance(place: Array, i: NDArray[np.intp], j: NDArray[np.intp], metric: str) -> Array:
    if metric == "euclidean":
        return np.asarray(np.sqrt(np.sum((place[i] - place[j]) ** 2, axis=1)))
    both = np.stack([place[i], place[j]], axis=1)
    return great_circle(both, EARTH)[:, 0, 1]


def _edges(
    place: Array, labels: Array | None, bins: int | Sequence[float], collapse: str, cutoff: float | None, metric: str
) -> Array:
    if not isinstance(bins, int | np.integer):
        edges = np.asarray(bins, dtype=float)
        if edges.ndim != 1 or edges.size < 2 or np.any(np.diff(edges) <= 0.0):
            raise ValueError(f"bins={list(bins)}; allowed: how many, or two or more edges in ascending order")
        return edges
    if bins < 1:
        raise ValueError(f"bins={bins}; allowed: 1 or more, or their edges")
    if cutoff is not None and not cutoff > 0.0:
        raise ValueError(f"cutoff={cutoff}; allowed: above 0, in the unit of the distances")
    if collapse == "width" and (cutoff is not None or metric == "euclidean"):
        box = _SHARE * float(np.sqrt(np.sum(np.ptp(place, axis=0) ** 2)))
        longest = box if cutoff is None else cutoff
    else:
        every = np.concatenate([_distance(place, i, j, metric) for i, j in _pairs(place, labels)])
        every = every if cutoff is None else every[every <= cutoff]
        if every.size and collapse == "quantiles":
            edges = np.unique(np.quantile(every, np.linspace(0.0, 1.0, bins + 1)))
            return edges if edges.size > 1 else np.array([0.0, edges[0]])
        longest = 0.5 * float(np.max(every, initial=0.0))
    if longest <= 0.0:
        raise ValueError("no pair of rows is apart, within a group where there are groups; a variogram needs distances")
    return np.linspace(0.0, longest, bins + 1)


def _sectors(directions: Sequence[float] | None, tolerance: float | None) -> list[tuple[float | None, float]]:
    if directions is None:
        return [(None, 90.0)]
    if not len(directions):
        raise ValueError("directions is empty; give angles in degrees, or leave it out")
    width = 90.0 / len(directions) if tolerance is None else tolerance
    if not 0.0 < width <= 90.0:
        raise ValueError(f"tolerance={tolerance}; allowed: above 0, up to 90 degrees")
    return [(float(d), width) for d in directions]


def _within(place: Array, i: NDArray[np.intp], j: NDArray[np.intp], towards: float, width: float) -> NDArray[np.bool_]:
    """Pairs at most `width` degrees off a direction, either way along it. Places that coincide have none."""
    gap = place[j] - place[i]
    off = np.abs((np.rad2deg(np.arctan2(gap[:, 1], gap[:, 0])) - towards + 90.0) % 180.0 - 90.0)
    return np.asarray((off <= width) & np.any(gap != 0.0, axis=1))


def _expected(covariance: Array, i: NDArray[np.intp], j: NDArray[np.intp]) -> Array:
    own = np.diag(covariance)
    return np.asarray(0.5 * (own[i] + own[j]) - covariance[i, j])


def _one_of(what: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise ValueError(f"{what}={given!r}; allowed: {', '.join(map(repr, allowed))}")
