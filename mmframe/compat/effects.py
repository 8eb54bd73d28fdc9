"""Random effects group by group: the random coefficients first, then those of the variance components."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmframe.compat.components import Component
from mmframe.compat.layout import Layout
from mmframe.compat.params import MixedLMParams
from mmframe.covariance.domain import Array
from mmframe.results.result import FitResult


def present(layout: Layout, groups: int) -> NDArray[np.bool_]:
    """Which of all columns each group has: (groups, k_re + Σ q)."""
    parts = [np.ones((groups, layout.k_re), dtype=bool)]
    parts += [np.arange(c.width) < c.counts[:, None] for c in layout.components]
    return np.hstack(parts)


def labels_of(names: list[str], components: tuple[Component, ...], group: int) -> list[str]:
    """What the effects of a group are called."""
    return [*names, *(f"{c.name}[{label}]" for c in components for label in c.of_group(group))]


def conditional_means(fit: FitResult, layout: Layout, groups: int) -> Array:
    """(groups, k_re + Σ q); a column that a group has not holds nothing of meaning."""
    effects, factors = fit.source.effects.b, [t.grouping for t in fit.estimates.terms]
    levels = fit.estimates.grouping_levels
    parts, start = [], 0  # terms of the groups share one table, in their order
    if layout.k_re:
        parts.append(effects[factors[0]][:, : layout.k_re])
        start = layout.k_re
    own = factors[len(parts) :]
    for component, alone, factor in zip(layout.components, layout.nested, own, strict=True):
        if not alone:
            parts.append(effects[factor][:, start : start + component.width])
            start += component.width
            continue
        level, matrix = levels[factor].to_numpy(), np.zeros((groups, component.width))
        matrix[level // component.width, level % component.width] = effects[factor][:, 0]
        parts.append(matrix)
    return np.hstack(parts)


def conditional_covariances(fit: FitResult, layout: Layout, params: MixedLMParams) -> Array:
    """Var(b | y) of each group at fixed slopes, in data units: (groups, k_re + Σ q, k_re + Σ q)."""
    if not any(layout.nested):
        return np.asarray(fit.sigma2 * fit.source.effects.cov[0])
    whole = layout.together()
    beta = layout.inward(params.fe_params)
    found = whole.model.engine.effects(whole.model.design, whole.matrices(params), beta)
    return np.asarray(fit.sigma2 * found.cov[0])


def by_group(
    fit: FitResult, layout: Layout, names: list[str], groups: list[Any], params: MixedLMParams | None = None
) -> dict[Any, Any]:
    """{label: Series of conditional means}; with params {label: DataFrame of conditional covariances}."""
    has = present(layout, len(groups))
    if params is None:
        means = conditional_means(fit, layout, len(groups))
    else:
        means = conditional_covariances(fit, layout, params)
    out: dict[Any, Any] = {}
    for i, label in enumerate(groups):
        mine, called = has[i], labels_of(names, layout.components, i)
        if params is None:
            out[label] = pd.Series(means[i][mine], index=called)
        else:
            out[label] = pd.DataFrame(means[i][np.ix_(mine, mine)], index=called, columns=called)
    return out
