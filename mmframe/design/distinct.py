"""Distinct rows of tables of numbers, by hashing their columns: much faster than by sorting rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmframe.covariance.domain import Array

Ints = NDArray[np.intp]


def number_rows(columns: Iterable[Array], count: int) -> tuple[Ints, int]:
    """Numbers that tell distinct rows apart, from their columns (count,), and how many there are."""
    code, distinct = np.zeros(count, dtype=np.int64), 1
    for column in columns:
        if column[0] == column[-1] and np.all(column == column[0]):
            continue
        own, values = pd.factorize(column)
        code, found = pd.factorize(code * len(values) + own)
        distinct = len(found)
    return code.astype(np.intp), distinct


def leaders(code: Ints, distinct: int) -> Ints:
    """The first row of each number."""
    out = np.empty(distinct, dtype=np.intp)
    out[code[::-1]] = np.arange(code.size)[::-1]
    return out


def constant_within(values: Ints | Array, codes: Ints) -> bool:
    """Whether the rows of each level of `codes` (n,) have one of the `values` (n,)."""
    one = np.empty(int(codes.max(initial=-1)) + 1, dtype=values.dtype)
    one[codes] = values
    return bool(np.array_equal(one[codes], values))


def distinct_rows(table: Array) -> tuple[Array, Ints]:
    """The distinct rows of a table (n, d) in lexicographic order, and the number of each row among them."""
    code, count = number_rows(table.T, len(table))
    rows = table[leaders(code, count)]
    order = np.lexsort(rows.T[::-1])
    rank = np.empty(count, dtype=np.intp)
    rank[order] = np.arange(count)
    return rows[order], rank[code]


def rows_among(rows: Array, known: Array) -> Ints:
    """For each row (n, d) its number among the distinct rows `known` (m, d), −1 where it is none of them."""
    code, count = number_rows(np.vstack([known, rows]).T, len(known) + len(rows))
    place = np.full(count, -1, dtype=np.intp)
    place[code[: len(known)]] = np.arange(len(known))
    return np.asarray(place[code[len(known) :]])
