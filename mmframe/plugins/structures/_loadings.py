"""Factor loadings: a lower trapezoid, so that no rotation of the factors gives the same Σ."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mmframe.api import Param, Points, Real


@lru_cache(maxsize=64)
def trapezoid(size: int, factors: int) -> tuple[Any, Any]:
    """Rows and columns of the loadings that are free: factor k begins at point k."""
    rows, cols = np.nonzero(np.tri(size, factors))
    return rows, cols


def loading_param(points: Points, factors: int, start: float) -> Param:
    rows, cols = trapezoid(points.size, factors)
    names = tuple(points.labels[i] + (f", {k + 1}" if factors > 1 else "") for i, k in zip(rows, cols, strict=True))
    return Param("loading", Real(rows.size), scale_power=1, labels=names, start=start)


def loading_matrix(flat: Any, factors: int, spare: int) -> Any:
    """Λ (m, k) of its free entries, with as many of the factors as leave `spare` of the m points: k ≤ m − spare."""
    size, kept = _shape(len(flat), factors, spare)
    out = np.zeros((size, kept), dtype=flat.dtype)
    out[trapezoid(size, kept)] = flat
    return out


@lru_cache(maxsize=64)
def _shape(count: int, factors: int, spare: int) -> tuple[int, int]:
    """(m, k) from the number of free loadings, m·k − k(k−1)/2, which grows with m."""
    size = max(spare, 1)
    while True:
        kept = min(factors, size - spare)
        if size * kept - kept * (kept - 1) // 2 >= count:
            return size, kept
        size += 1


def loading_slopes(loadings: Any) -> Any:
    """∂ΛΛ'/∂λ for each free loading: (count, m, m)."""
    rows, cols = trapezoid(*loadings.shape)
    half = np.zeros((rows.size, len(loadings), len(loadings)))
    half[np.arange(rows.size), rows] = loadings[:, cols].T
    return half + half.transpose(0, 2, 1)
