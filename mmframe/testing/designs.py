"""Small generated designs on which plugins are fitted: unbalanced, with unequal bases, and with known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import UNORDERED, CovarianceStructure, IndexKind, Points
from mmframe.design.design import Design, DesignTerm
from mmframe.design.grouping import Grouping


def points_for(structure: CovarianceStructure, size: int, kind: IndexKind | None = None) -> Points:
    """Points of the kind that the structure takes: numbers, uneven positions, or coordinates in the plane."""
    kind = kind or structure.index_kind
    labels = tuple(f"p{k + 1}" for k in range(size))
    rng = np.random.default_rng(size)
    numbers = np.arange(size, dtype=float)[:, None]
    if kind is UNORDERED:
        index = numbers
    elif kind is IndexKind.POSITION:
        index = np.cumsum(rng.integers(1, 3, size=size)).astype(float)[:, None]
    else:
        index = rng.uniform(0.0, 3.0, size=(size, 2))
    return Points(labels, np.hstack([index, numbers]) if structure.numbered else index)


def design_for(
    points: Points, *, groups: int = 24, seed: int = 3, signal: float = 1.0, weights: bool = False
) -> Design:
    """One grouping factor and a basis of `points.size` columns; each group sees some of the points, some more than once."""
    rng = np.random.default_rng(seed)
    q = points.size
    sizes = rng.integers(max(2, q), 2 * q + 4, size=groups)
    n = int(sizes.sum())
    codes = np.repeat(np.arange(groups), sizes)
    at = rng.integers(0, q, size=n)
    Z = np.zeros((n, q), order="F")
    Z[np.arange(n), at] = 1.0
    if q > 1:
        Z += 0.3 * rng.normal(size=(n, q)) * (np.arange(q) == 0)
    X = np.asfortranarray(np.column_stack([np.ones(n), rng.normal(3.0, 1.0, size=n)]))
    b = signal * rng.normal(size=(groups, q)) @ (np.eye(q) + 0.2)
    y = X @ np.array([10.0, -1.0]) + np.einsum("nq,nq->n", Z, b[codes]) + rng.normal(size=n)
    order = rng.permutation(n)
    term = DesignTerm("basis | g", 0, np.asfortranarray(Z[order]), points.labels, points)
    grouping = Grouping("g", codes[order].astype(np.intp), pd.RangeIndex(groups))
    w: Array | None = rng.uniform(0.5, 2.0, size=n) if weights else None
    return Design(
        np.asfortranarray(X[order]), y[order], ("Intercept", "x"), (), "y", (term,), (grouping,), w, None,
        pd.RangeIndex(n), np.arange(n),
    )  # fmt: skip
