"""The reference grid: every combination of the levels of the factors, with covariates at their means or at values that are given.

Marginal means are averages of predictions on it (Searle, Speed & Milliken 1980, Am. Stat. 34:216-221; SAS's LS-means).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.fixed_summary import FixedSummary
from mmframe.design.frame import recode
from mmframe.design.kept import Encoding
from mmframe.errors import DataError, Issue, SpecError, UnknownNameError, unknown

WEIGHTS = ("equal", "proportional")
_LARGEST = 100_000
# A function of the coefficients that dropped columns would change by more than this share is not estimable.
_ESTIMABLE = 1e-7
_STEP = 1e-3  # of a slope, in standard deviations of its covariate


@frozen(eq=False)
class Grid:
    """values: of each factor of the grid, in order.   table: a row a point.   X (points, p): its rows of the design.
    gap (points, d): by how much the columns that were dropped differ from what the kept ones imply."""

    values: dict[str, list[Any]]
    table: pd.DataFrame
    X: Array
    gap: Array

    def averages(self, names: Sequence[str], summary: FixedSummary, weights: str) -> tuple[pd.DataFrame, Array]:
        """The combinations of the named factors (m rows), and the weights (m, points) that average over all others.

        Raises UnknownNameError for what is no factor of the grid.
        """
        issues = [
            unknown("emmeans: specs", "factor of the reference grid", n, self.values)
            for n in names
            if n not in self.values
        ]
        if issues:
            raise UnknownNameError(issues)
        if weights not in WEIGHTS:
            raise SpecError(Issue("emmeans: weights", repr(weights), ", ".join(repr(w) for w in WEIGHTS)))
        combinations = list(itertools.product(*(self.values[name] for name in names)))
        codes = _codes(self.table, self.values, names)
        share = np.ones(len(self.table))
        if weights == "proportional":
            share = _frequencies(self, summary, [n for n in self.values if n not in names])
        W = (codes[None, :] == np.arange(len(combinations))[:, None]) * share
        totals = W.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            W = W / totals
        return pd.DataFrame(combinations, columns=list(names)), W

    def estimable(self, W: Array) -> Array:
        """Which averages (rows of W) the data determine: (m,)."""
        if not self.gap.shape[1]:
            return np.ones(len(W), dtype=bool)
        return np.asarray(np.max(np.abs(W @ self.gap), axis=1) <= _ESTIMABLE * (1 + np.max(np.abs(W @ self.X), axis=1)))


def reference_grid(encoding: Encoding, summary: FixedSummary, at: Mapping[str, Any] | None, trend: str | None) -> Grid:
    """at: {covariate or factor: value or values}.   trend: a covariate whose slope is wanted in place of the mean.

    Raises UnknownNameError, SpecError, DataError.
    """
    values = _values(summary, at or {}, trend)
    size = math.prod(len(v) for v in values.values())
    if size > _LARGEST:
        given = f"{size:,} combinations of {', '.join(values)}"
        raise SpecError(Issue("emmeans", given, f"at most {_LARGEST:,}", "give fewer levels by at={factor: [levels]}"))
    points = list(itertools.product(*values.values()))
    table = pd.DataFrame(points, columns=list(values)) if values else pd.DataFrame(index=[0])
    if trend is None:
        X, gap = _rows(encoding, summary, table)
    else:
        step = _STEP * (summary.means[trend][1] or 1.0)
        up, down = (_rows(encoding, summary, table.assign(**{trend: table[trend] + h})) for h in (step, -step))
        X, gap = ((a - b) / (2 * step) for a, b in zip(up, down, strict=True))
    shown = {n: v for n, v in values.items() if n in summary.levels or len(v) > 1 or n in (at or {})}
    return Grid(shown, table, X, gap)


def _values(summary: FixedSummary, at: Mapping[str, Any], trend: str | None) -> dict[str, list[Any]]:
    known = [*summary.levels, *summary.means]
    issues = [unknown("emmeans: at", "column of the fixed effects", name, known) for name in at if name not in known]
    if trend is not None and trend not in summary.means:
        issues.append(unknown("emmeans: trend", "numeric column of the fixed effects", trend, summary.means))
    if issues:
        raise UnknownNameError(issues)
    out = {}
    for name, levels in summary.levels.items():
        out[name] = _chosen(name, at[name], levels) if name in at else list(levels)
    for name, (mean, _) in summary.means.items():
        given = _listed(at.get(name, mean))
        if not given or not all(isinstance(v, (int, float, np.number)) and np.isfinite(v) for v in given):
            raise SpecError(Issue(f"emmeans: at[{name!r}]", repr(at[name]), "a number, or a list of numbers"))
        out[name] = [float(v) for v in given]
    return out


def _listed(value: Any) -> list[Any]:
    """One value or several, each once."""
    several = isinstance(value, (Sequence, np.ndarray, pd.Series, pd.Index)) and not isinstance(value, str)
    return list(dict.fromkeys(value)) if several else [value]


def _chosen(name: str, given: Any, levels: list[Any]) -> list[Any]:
    """Some of a factor's levels, matched by value and then as text."""
    by_text = {str(level): level for level in levels}
    wrong = [v for v in _listed(given) if v not in levels and str(v) not in by_text]
    if wrong or not _listed(given):
        raise SpecError(Issue(f"emmeans: at[{name!r}]", repr(wrong[0] if wrong else given), f"levels among {levels}"))
    return [v if v in levels else by_text[str(v)] for v in _listed(given)]


def _rows(encoding: Encoding, summary: FixedSummary, table: pd.DataFrame) -> tuple[Array, Array]:
    frame = table.copy()
    for name, levels in encoding.categorical.items():
        if name in frame:
            frame[name] = recode(frame[name], list(levels))
    full = encoding.fixed.apply(frame, encoding.transforms)
    if not np.all(np.isfinite(full)):
        raise DataError(
            "emmeans: some columns are not finite on the reference grid · give covariates other values by at="
        )
    X = full[:, list(encoding.kept)]
    gone = np.setdiff1d(np.arange(full.shape[1]), encoding.kept)
    return X, full[:, gone] - X @ summary.aliased


def _codes(table: pd.DataFrame, values: Mapping[str, list[Any]], names: Sequence[str]) -> Array:
    """The number of each row's combination of the named factors."""
    out = np.zeros(len(table), dtype=int)
    for name in names:
        place = {value: k for k, value in enumerate(values[name])}
        out = out * len(values[name]) + table[name].map(place).to_numpy(dtype=int)
    return out


def _frequencies(grid: Grid, summary: FixedSummary, over: Sequence[str]) -> Array:
    """How often the data hold each point's combination of the categorical factors that are averaged over."""
    factors = [name for name in over if name in summary.levels]
    places = [list(summary.levels).index(name) for name in factors]
    found, back = np.unique(summary.cells[:, places], axis=0, return_inverse=True)
    counts = dict(zip(map(tuple, found), np.bincount(back.ravel(), weights=summary.counts), strict=True))
    codes = [grid.table[n].map({v: k for k, v in enumerate(summary.levels[n])}).to_numpy(dtype=float) for n in factors]
    rows = zip(*codes, strict=True) if codes else iter([()] * len(grid.table))
    return np.array([counts.get(tuple(row), 0.0) for row in rows])
