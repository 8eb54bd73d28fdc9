"""F tests of the terms of the fixed effects: types I, II and III, as SAS defines them and lmerTest has them.

Type I: each term after those before it.   II: after all terms that do not contain it.   III: functions of the coefficients that
involve only the term and those that contain it, orthogonal to those of the containing terms: with all cells filled, equal
weights to all levels, whatever coding the factors have (SAS/STAT, "The four types of estimable functions").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.linalg import solve_triangular

from mmframe.covariance.domain import Array
from mmframe.design.fixed_summary import FixedSummary
from mmframe.errors import Issue, SpecError
from mmframe.results.contrast import Hypothesis, joint
from mmframe.results.law import Law

if TYPE_CHECKING:
    from mmframe.results.result import FitResult

TYPES = {1: 1, 2: 2, 3: 3, "I": 1, "II": 2, "III": 3}


def anova(fit: FitResult, type: int | str, law: Law) -> pd.DataFrame:
    """num_df, den_df, statistic (F), p_value of each term, the intercept apart. Raises SpecError."""
    if not isinstance(type, (int, str)) or type not in TYPES:
        raise SpecError(Issue("anova: type", repr(type), "1, 2, 3, or 'I', 'II', 'III'"))
    summary = fit.source.fixed_summary
    rows = [
        joint(fit, Hypothesis(L, np.zeros(len(L)), (), own), law, name)
        for name, own, L in zip(summary.terms, summary.columns, hypotheses(summary, TYPES[type]), strict=True)
    ]
    columns = ["num_df", "den_df", "statistic", "p_value"]
    return pd.concat(rows) if rows else pd.DataFrame(columns=columns, dtype=float)


def hypotheses(summary: FixedSummary, type: int) -> tuple[Array, ...]:
    """For each term the rows L (m, p) of its hypothesis Lβ = 0."""
    p, count = len(summary.moments), len(summary.terms)
    if type == 3 and count > 1:  # with one term all types are one hypothesis, and its rows had better be the same too
        return _orthogonal(summary)
    every = np.concatenate([np.zeros(0, dtype=int), *summary.columns])
    intercept = np.setdiff1d(np.arange(p), every)
    out = []
    for k, own in enumerate(summary.columns):
        first = range(k) if type == 1 else [j for j in range(count) if j != k and j not in summary.containing[k]]
        before = np.concatenate([intercept, *(summary.columns[j] for j in first)])
        out.append(_after(summary.moments, own, before))
    return tuple(out)


def _after(moments: Array, own: Array, before: Array) -> Array:
    """The rows of X_own'(I − P_before)X, what least squares of the term's columns after others leaves to be tested, in the form
    that elimination gives them: unit upper triangular. Fai and Cornelius's degrees of freedom depend on it; it is lmerTest's."""
    across = moments[np.ix_(own, before)]
    rows = moments[own] - across @ np.linalg.solve(moments[np.ix_(before, before)], moments[before])
    factor = np.linalg.cholesky(rows[:, own])
    return np.asarray(solve_triangular(factor / np.diag(factor), rows, lower=True) / (np.diag(factor) ** 2)[:, None])


def _orthogonal(summary: FixedSummary) -> tuple[Array, ...]:
    """Type III: what each coefficient of a term means without coding, less its part along the terms that contain it."""
    meaning = summary.meaning
    back = np.linalg.pinv(meaning)  # from functions of γ that can be estimated to functions of β
    out = []
    for own, larger in zip(summary.columns, summary.containing, strict=True):
        rows = meaning[own]
        if larger and len(own):
            span = np.linalg.qr(meaning[np.concatenate([summary.columns[k] for k in larger])].T)[0]
            rows = rows - (rows @ span) @ span.T
        out.append(rows @ back)
    return tuple(out)
