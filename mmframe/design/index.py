"""Points: how the values of a variable become positions or coordinates that a structure can use."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import Points
from mmframe.design.distinct import distinct_rows
from mmframe.errors import DataError


@frozen(eq=False)
class PointSet:
    """The distinct points of some columns: a categorical's are its ranks, numbers and times their values."""

    columns: tuple[str, ...]
    points: Points
    categories: tuple[tuple[object, ...] | None, ...]

    @classmethod
    def of(cls, columns: tuple[str, ...], frame: pd.DataFrame, *, plain: bool = False) -> PointSet:
        """plain: labels are the values alone, without the column's name."""
        categories = tuple(_categories(frame[c]) for c in columns)
        distinct, _ = distinct_rows(_positions(columns, categories, frame))
        parts = [
            _labels(frame[c], levels, distinct[:, d])
            for d, (c, levels) in enumerate(zip(columns, categories, strict=True))
        ]
        if len(columns) == 1:
            labels = tuple(parts[0] if plain else (f"{columns[0]}{part}" for part in parts[0]))
        else:
            joined = ("{}" if plain else "({})", ":" if plain else ", ")
            labels = tuple(joined[0].format(joined[1].join(row)) for row in zip(*parts, strict=True))
        return cls(columns, Points(labels, distinct), categories)

    def places(self, frame: pd.DataFrame) -> Array:
        """The positions or coordinates of rows: (n, d)."""
        return _positions(self.columns, self.categories, frame)


def _categories(column: pd.Series) -> tuple[object, ...] | None:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return tuple(column.cat.categories)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return None
    return tuple(sorted(pd.unique(column.dropna())))


def _labels(column: pd.Series, levels: tuple[object, ...] | None, values: Array) -> list[str]:
    if levels is not None:
        return [str(levels[int(v) - 1]) for v in values]
    if pd.api.types.is_datetime64_any_dtype(column):
        return [str(pd.Timestamp(int(v * 86_400_000_000_000))) for v in values]
    return [f"{v:g}" for v in values]


def _positions(
    columns: tuple[str, ...], categories: tuple[tuple[object, ...] | None, ...], frame: pd.DataFrame
) -> Array:
    """(n, d) numbers; times in days."""
    out = np.empty((len(frame), len(columns)))
    for d, (name, levels) in enumerate(zip(columns, categories, strict=True)):
        column = frame[name]
        if levels is not None:
            known = isinstance(column.dtype, pd.CategoricalDtype) and tuple(column.cat.categories) == levels
            codes = column.cat.codes if known else pd.Categorical(column.astype(object), categories=list(levels)).codes
            out[:, d] = np.where(codes >= 0, codes + 1.0, np.nan)  # ranks, from 1 on
        elif pd.api.types.is_datetime64_any_dtype(column):
            if isinstance(column.dtype, pd.DatetimeTZDtype):
                column = column.dt.tz_convert("UTC").dt.tz_localize(None)
            out[:, d] = column.astype("datetime64[ns]").astype("int64").to_numpy() / 86_400_000_000_000
        else:
            out[:, d] = column.to_numpy(dtype=float)
    if not np.all(np.isfinite(out)):
        raise DataError(f"the points of {', '.join(columns)} are not all finite numbers, or levels that were fitted")
    return out
