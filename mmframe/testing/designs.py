"""Small generated designs on which plugins are fitted: unbalanced, with unequal bases, and with known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import UNORDERED, CovarianceStructure, IndexKind, Points
from mmframe.design.design import Design, DesignTerm
from mmframe.design.grouping import Grouping
from mmframe.design.points import Layout, Leaf, LeafSpec
from mmframe.design.residual import ResidualDesign, Stratum


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


def grid_for(structure: CovarianceStructure, size: int) -> Points:
    """Points at equal distances, where a family that is no covariance shows it first: in a row, or on a square grid."""
    points = points_for(structure, size)
    if structure.index_kind is UNORDERED:
        return points
    rows = round(size**0.5) if structure.index_kind is IndexKind.COORDINATES else 1
    numbers = np.arange(size)
    index = 1 + np.column_stack([numbers // rows, numbers % rows][: 2 if rows > 1 else 1]).astype(float)
    return Points(points.labels, np.column_stack([index, numbers]) if structure.numbered else index)


def covariate_points(structure: CovarianceStructure, size: int) -> Points:
    """Points of a variance function: numbers of levels, or positive values of a covariate."""
    labels = tuple(f"p{k + 1}" for k in range(size))
    rng = np.random.default_rng(size)
    index = np.arange(size, dtype=float) if structure.index_kind is UNORDERED else np.sort(rng.uniform(0.5, 3.0, size))
    return Points(labels, index[:, None])


def residual_design_for(
    points: Points, *, groups: int = 16, seed: int = 4, random: bool = False, weights: bool = False
) -> Design:
    """Subjects that see each some of the points, in any order of the rows; with a random intercept where asked."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(max(1, points.size - 2), points.size + 1, size=groups)
    subject = np.repeat(np.arange(groups), sizes)
    point = np.concatenate([rng.choice(points.size, size=size, replace=False) for size in sizes])
    order = rng.permutation(subject.size)
    subject, point = subject[order], point[order]
    n = subject.size
    X = np.asfortranarray(np.column_stack([np.ones(n), rng.normal(3.0, 1.0, size=n)]))
    y = X @ np.array([10.0, -1.0]) + rng.normal(size=groups)[subject] + rng.normal(size=n)
    index = points.index[point]
    leaf = Leaf(LeafSpec(("v",), UNORDERED), None, points)
    stratum = Stratum("", Layout((leaf,)), points)
    residual = ResidualDesign(
        "v | g", ("g",), None, subject, pd.RangeIndex(groups), (stratum,), np.zeros(n, dtype=np.intp), point, index,
        np.lexsort((*index.T[::-1], subject)),
    )  # fmt: skip
    term = DesignTerm("1 | g", 0, np.ones((n, 1), order="F"), ("Intercept",), Points.unordered(("Intercept",)))
    grouping = Grouping("g", subject, pd.RangeIndex(groups))
    w: Array | None = rng.uniform(0.5, 2.0, size=n) if weights else None
    return Design(
        X, y, ("Intercept", "x"), (), "y", (term,) if random else (), (grouping,) if random else (), w, None,
        pd.RangeIndex(n), np.arange(n), residual=residual,
    )  # fmt: skip


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
