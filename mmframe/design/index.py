"""Points: how the values of a variable become positions or coordinates that a structure can use."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import Points
from mmframe.errors import DataError


@frozen(eq=False)
class PointSet:
    """The distinct points of some columns: a categorical's are its ranks, numbers and times their values."""

    columns: tuple[str, ...]
    points: Points
    categories: tuple[tuple[object, ...] | None, ...]

    @classmethod
    def of(cls, columns: tuple[str, ...], frame: pd.DataFrame) -> PointSet:
        categories = tuple(_categories(frame[c]) for c in columns)
        places = _positions(columns, categories, frame)
        distinct = np.unique(places, axis=0)
        labels = []
        for row in distinct:
            parts = [
                str(levels[int(v)]) if levels is not None else _label(frame[c], v)
                for v, levels, c in zip(row, categories, columns, strict=True)
            ]
            labels.append(f"{columns[0]}{parts[0]}" if len(parts) == 1 else "(" + ", ".join(parts) + ")")
        return cls(columns, Points(tuple(labels), distinct), categories)

    def locate(self, frame: pd.DataFrame) -> NDArray[np.intp]:
        """The number of the point of each row; −1 where it is a new one."""
        places = _positions(self.columns, self.categories, frame)
        known = {tuple(row): k for k, row in enumerate(self.points.index)}
        distinct, inverse = np.unique(places, axis=0, return_inverse=True)
        numbers = np.array([known.get(tuple(row), -1) for row in distinct], dtype=np.intp)
        return np.asarray(numbers[inverse.reshape(-1)])

    def indicators(self, frame: pd.DataFrame) -> Array:
        """Z (n, points): one column a point; a row at a new point is zero."""
        where = self.locate(frame)
        Z = np.zeros((len(frame), self.points.size), order="F")
        seen = where >= 0
        Z[np.flatnonzero(seen), where[seen]] = 1.0
        return Z


def _categories(column: pd.Series) -> tuple[object, ...] | None:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(column.cat.categories)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return None
    return tuple(sorted(pd.unique(column.dropna())))


def _label(column: pd.Series, value: float) -> str:
    if pd.api.types.is_datetime64_any_dtype(column):
        return str(pd.Timestamp(int(value * 86_400_000_000_000)))
    return f"{value:g}"


def _positions(
    columns: tuple[str, ...], categories: tuple[tuple[object, ...] | None, ...], frame: pd.DataFrame
) -> Array:
    """(n, d) numbers; times in days."""
    out = np.empty((len(frame), len(columns)))
    for d, (name, levels) in enumerate(zip(columns, categories, strict=True)):
        column = frame[name]
        if levels is not None:
            out[:, d] = pd.Categorical(column.astype(object), categories=list(levels)).codes
        elif pd.api.types.is_datetime64_any_dtype(column):
            if isinstance(column.dtype, pd.DatetimeTZDtype):
                column = column.dt.tz_convert("UTC").dt.tz_localize(None)
            out[:, d] = column.astype("datetime64[ns]").astype("int64").to_numpy() / 86_400_000_000_000
        else:
            out[:, d] = column.to_numpy(dtype=float)
    if not np.all(np.isfinite(out)):
        raise DataError(f"the points of {', '.join(columns)} are not all finite numbers")
    return out
