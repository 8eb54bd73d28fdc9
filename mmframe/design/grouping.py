"""Grouping factors: any hashable labels, in any row order, to codes and levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.design.relationship import Relationship
from mmframe.errors import DataError


@frozen(eq=False)
class Grouping:
    """A grouping factor: `codes` (n,) number the rows' levels 0 .. m−1; `levels` names them in that order.

    The levels of an interaction `a:b` are a MultiIndex. With a relationship they are all that it knows, in its order.
    """

    name: str
    codes: NDArray[np.intp]
    levels: pd.Index
    relationship: Relationship | None = None

    @property
    def size(self) -> int:
        return len(self.levels)


def factorize(column: pd.Series) -> tuple[NDArray[np.intp], pd.Index]:
    """Codes and levels of one column: categories in their order, other labels sorted where they can be."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kept = column.cat.remove_unused_categories()
        return np.asarray(kept.cat.codes, dtype=np.intp), pd.Index(kept.cat.categories, name=column.name)
    plain = isinstance(column.dtype, np.dtype) and column.dtype.kind != "O"
    if plain and column.dtype.kind in "iu" and len(column):
        values = column.to_numpy()
        if bool(np.all(values[1:] >= values[:-1])):
            # rows sorted by an integer label: levels are where it steps
            steps = np.concatenate([[True], values[1:] != values[:-1]])
            return np.cumsum(steps) - 1, pd.Index(values[steps], name=column.name)
    try:
        codes, levels = pd.factorize(column.to_numpy() if plain else column.array)
    except TypeError:
        raise DataError(
            f"grouping factor {column.name!r}: values such as {column.iloc[0]!r}"
            " · allowed: values that can be told apart (hashable)"
        ) from None
    labels = np.asarray(levels) if plain else np.asarray(levels, dtype=object)
    try:
        order = np.argsort(labels, kind="stable")
    except TypeError:  # labels of kinds that do not compare stay in the order in which they come
        return codes.astype(np.intp), pd.Index(levels, name=column.name, tupleize_cols=False)
    rank = np.empty(order.size, dtype=np.intp)
    rank[order] = np.arange(order.size)
    return rank[codes], pd.Index(labels[order], name=column.name, tupleize_cols=False)


def make_grouping(columns: tuple[str, ...], frame: pd.DataFrame) -> Grouping:
    """One grouping factor; that of several columns is their interaction, its levels a MultiIndex."""
    name = ":".join(columns)
    parts = [factorize(frame[c]) for c in columns]
    if len(parts) == 1:
        return Grouping(name, *parts[0])
    combined = np.zeros(len(frame), dtype=np.int64)
    for codes, levels in parts:
        combined = combined * max(len(levels), 1) + codes
    distinct, codes = np.unique(combined, return_inverse=True)
    arrays = []
    rest = distinct
    for _, levels in reversed(parts):
        arrays.append(levels.take(rest % max(len(levels), 1)))
        rest = rest // max(len(levels), 1)
    return Grouping(name, codes.astype(np.intp), pd.MultiIndex.from_arrays(arrays[::-1], names=list(columns)))
