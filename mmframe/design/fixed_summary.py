"""What tests of terms and marginal means need to know of the data behind the fixed effects: small, and kept with a saved fit.

A term's own coefficients depend on the coding of its factors. The overparameterised design D has a column for every level of
every factor, without a base; as X spans what D spans, D = XK with one K, and Dγ = Xβ says what each coefficient stands for:
β = Kγ. Hypotheses about β are then compared in γ, where no coding is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.encoding import FormulaEncoding, Part
from mmframe.design.frame import recode
from mmframe.design.orthogonal import orthonormal
from mmframe.spec.sides import columns_of

CATEGORICAL = "categorical"


@frozen(eq=False)
class FixedSummary:
    """terms: their names in order, the intercept apart.   columns: for each the places of its coefficients among the p of X.
    containing: for each the places of the terms that contain it: the same numeric factors, and its categorical ones with more.
    moments (p, p): X'X.   meaning (p, r): K.   aliased (p, d): the columns that were dropped, by those that were kept.

    levels: those in the data of each categorical column that the fixed effects use.   means: of each numeric one, with its standard
    deviation.
    cells (c, factors): the distinct combinations of levels in the data, by their numbers; counts (c,) their rows.
    """

    terms: tuple[str, ...]
    columns: tuple[Array, ...]
    containing: tuple[tuple[int, ...], ...]
    moments: Array
    meaning: Array
    aliased: Array
    levels: dict[str, list[Any]]
    means: dict[str, tuple[float, float]]
    cells: Array
    counts: Array


def summarize(
    encoding: FormulaEncoding,
    kept: tuple[int, ...],
    X: Array,
    frame: pd.DataFrame,
    transforms: Mapping[str, Callable[..., Any]],
) -> FixedSummary:
    """encoding: of the fixed effects.   kept: which of its columns X (n, p) holds.   frame: their columns, by the rows of X."""
    Q, R = orthonormal(X)
    D, parts = encoding.overparameterized(frame, transforms)
    places = {name: j for j, name in enumerate(encoding.columns[j] for j in kept)}
    parts = tuple(part for part in parts if part.factors or part.name != "1")
    full = encoding.apply(frame, transforms) if len(kept) < len(encoding.columns) else X
    gone = np.setdiff1d(np.arange(full.shape[1]), kept) if full is not X else np.zeros(0, dtype=int)
    levels, means = _levels_and_means(encoding, frame)
    codes = [recode(frame[name], values).cat.codes for name, values in levels.items()]
    cells, counts = np.unique(
        np.column_stack(codes).astype(float) if codes else np.zeros((len(frame), 0)), axis=0, return_counts=True
    )
    own = dict(encoding.terms)
    return FixedSummary(
        tuple(part.name for part in parts),
        tuple(np.array([places[c] for c in own[part.name] if c in places], dtype=int) for part in parts),
        tuple(tuple(k for k, other in enumerate(parts) if contains(other, part)) for part in parts),
        X.T @ X,
        np.linalg.solve(R, Q.T @ D),
        np.linalg.solve(R, Q.T @ full[:, gone]),
        levels,
        means,
        cells,
        counts,
    )


def contains(larger: Part, smaller: Part) -> bool:
    """Whether one term contains another: SAS's definition, for marginality (types II and III)."""
    more = set(larger.factors) - set(smaller.factors)
    return (
        bool(more)
        and set(smaller.factors) < set(larger.factors)
        and all(larger.kinds[name] == CATEGORICAL for name in more)
    )


def _levels_and_means(
    encoding: FormulaEncoding, frame: pd.DataFrame
) -> tuple[dict[str, list[Any]], dict[str, tuple[float, float]]]:
    levels: dict[str, list[Any]] = {}
    for factor, kind in encoding.kinds.items():
        if kind != CATEGORICAL:
            continue
        for name in columns_of(factor, frozenset()) & set(frame.columns):
            known = encoding.levels.get(factor) if name == factor.strip("`") else None
            present = _distinct(frame[name])
            levels[name] = present if known is None else [level for level in known if level in set(present)]
    means: dict[str, tuple[float, float]] = {}
    for name in frame.columns:
        if name in levels:
            continue
        if pd.api.types.is_bool_dtype(frame[name].dtype) or not pd.api.types.is_numeric_dtype(frame[name]):
            levels[name] = _distinct(frame[name])
        else:
            values = frame[name].to_numpy(dtype=float)
            means[name] = (float(np.mean(values)), float(np.std(values)))
    return levels, means


def _distinct(column: pd.Series) -> list[Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.remove_unused_categories().cat.categories)
    values = column.unique().tolist()
    try:
        return sorted(values)
    except TypeError:  # of kinds that do not compare
        return values
