"""What users give by row: residuals, places, and the covariance that a fit gives to these rows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[Any]
# Labels of points hold numbers as they are printed.
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def values_of(residuals: Any) -> pd.Series[float]:
    """Residuals as a Series; a fit gives its own. Raises ValueError where some are missing."""
    given = residuals.residuals() if hasattr(residuals, "residuals") else residuals
    series = given if isinstance(given, pd.Series) else pd.Series(np.asarray(given, dtype=float).ravel())
    bad = int(np.sum(~np.isfinite(series.to_numpy(dtype=float))))
    if bad:
        raise ValueError(f"{bad} residuals are not finite; leave their rows out, with their places")
    return series.astype(float)


def places_of(coordinates: Any, data: pd.DataFrame | None, index: pd.Index[Any]) -> Array:
    """(n, d) coordinates in the order of the residuals. Raises ValueError."""
    names = [coordinates] if isinstance(coordinates, str) else coordinates
    if isinstance(names, list | tuple) and names and all(isinstance(c, str) for c in names):
        coordinates = _columns(list(names), data)
    place = np.asarray(_by_row(coordinates, index), dtype=float)
    place = place[:, None] if place.ndim == 1 else place
    if not np.all(np.isfinite(place)):
        raise ValueError("coordinates hold missing or infinite values; leave these rows out")
    _as_many("places", len(place), len(index))
    return place


def labels_of(groups: Any, data: pd.DataFrame | None, index: pd.Index[Any]) -> Array:
    """(n,) the numbers of the groups of the residuals. Raises ValueError."""
    given = _columns([groups], data)[groups] if isinstance(groups, str) else groups
    labels = pd.factorize(pd.Series(np.asarray(_by_row(given, index)).ravel()))[0]
    _as_many("labels of groups", labels.size, len(index))
    return np.asarray(labels)


def model_covariance(model: Any, place: Array) -> Array:
    """Cov of the residuals of these rows, (n, n): a matrix as it is, or that of a fit's residual.

    A fit tells R by point, with labels, for up to 400 points. Raises ValueError where these are not the places.
    """
    if not hasattr(model, "residual_covariance"):
        matrix = np.asarray(model, dtype=float)
        if matrix.shape != (len(place), len(place)):
            raise ValueError(f"model has the shape {matrix.shape}; allowed: a fit, or ({len(place)}, {len(place)})")
        return matrix
    table = model.residual_covariance()
    distinct, at = np.unique(place, axis=0, return_inverse=True)
    said = [set(_NUMBER.findall(str(label))) for label in table.index]
    # Points come in the order of their coordinates; labels have six digits, and a number that repeats only once.
    if said != [{f"{value:g}" for value in row} for row in distinct]:
        raise ValueError(
            f"the {len(said)} points of the fit's residual, {table.index[0]!r} first, are not the {len(distinct)} places,"
            f" {', '.join(f'{v:g}' for v in distinct[0])} first; give the coordinates of its formula, in their order,"
            " or the covariance matrix of the rows as model="
        )
    at = at.ravel()
    return np.asarray(table.to_numpy(dtype=float)[np.ix_(at, at)])


def _columns(names: list[str], data: pd.DataFrame | None) -> pd.DataFrame:
    if data is None:
        raise ValueError(f"columns are named, {', '.join(names)}; give their table by data=")
    missing = [name for name in names if name not in data.columns]
    if missing:
        there = ", ".join(map(str, data.columns))
        raise ValueError(f"no column {', '.join(map(repr, missing))} in the data; there are {there}")
    return data[names]


def _by_row(given: Any, index: pd.Index[Any]) -> Any:
    """A table whose rows are more than the residuals, by their index: rows with a missing response have no residual."""
    if isinstance(given, pd.DataFrame | pd.Series) and len(given) > len(index) and index.isin(given.index).all():
        return given.loc[index]
    return given


def _as_many(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"{wanted} residuals and {found} {what}; give one a residual")
