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
        parts.append(effects[factors[0]][:, : layout.k_re][:, np.argsort(layout.effects_order)])
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
    """Var(b | y) of each group at fixed slopes, in data units: (groups, k_re + Σ q, k_re + Σ q).

    From the joint covariance of all effects where that is at hand; else from the model with all components as terms of the
    groups.
    """
    groups = len(layout.components[0].counts) if any(layout.nested) else 0
    joint = fit.source.effects.joint if groups else None
    if not groups:
        found = fit.source.effects.cov[0]
    elif joint is not None:
        at, known = _places(fit, layout, groups)
        found = np.where(known[:, :, None] & known[:, None, :], joint[at[:, :, None], at[:, None, :]], 0.0)
    else:
        whole = layout.together()
        beta = layout.inward(params.fe_params)
        found = whole.model.engine.effects(whole.model.design, whole.matrices(params), beta).cov[0]
    turn = np.arange(found.shape[1])
    turn[: layout.k_re] = np.argsort(layout.effects_order)
    return np.asarray(fit.sigma2 * found[:, turn][:, :, turn])


def _places(fit: FitResult, layout: Layout, groups: int) -> tuple[Array, Array]:
    """(groups, k_re + Σ q): where each effect stands among all, factor by factor and level by level; and whether it does."""
    factors, levels, b = [t.grouping for t in fit.estimates.terms], fit.estimates.grouping_levels, fit.source.effects.b
    starts = np.concatenate([[0], np.cumsum([x.size for x in b])])
    every = np.arange(groups)[:, None]
    at, known, own = [], [], 0

    def of_groups(width: int, factor: int) -> None:
        nonlocal own
        at.append(starts[factor] + every * b[factor].shape[1] + own + np.arange(width))
        known.append(np.ones((groups, width), dtype=bool))
        own += width

    if layout.k_re:
        of_groups(layout.k_re, factors[0])
    for component, alone, factor in zip(layout.components, layout.nested, factors[len(at) :], strict=True):
        if not alone:
            of_groups(component.width, factor)
            continue
        wanted = every * component.width + np.arange(component.width)
        place = np.searchsorted(levels[factor].to_numpy(), wanted)
        place = np.minimum(place, len(levels[factor]) - 1)
        known.append(levels[factor].to_numpy()[place] == wanted)
        at.append(starts[factor] + place)
    return np.hstack(at), np.hstack(known)


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
