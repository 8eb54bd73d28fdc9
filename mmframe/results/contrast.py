"""Hypotheses about fixed effects: single contrasts with t tests, and several at once with an F test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import frozen
from formulaic.errors import FormulaicError
from formulaic.utils.constraints import LinearConstraints
from scipy.stats import chi2, f, t

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.results.law import Law
from mmframe.results.predict import check_confidence

if TYPE_CHECKING:
    from mmframe.results.result import FitResult


@frozen(eq=False)
class Hypothesis:
    """Lβ = value. L (r, p), value (r,), and what each row is called."""

    L: Array
    value: Array
    labels: tuple[str, ...]


def read(given: Any, names: Sequence[str]) -> Hypothesis:
    """A hypothesis: a matrix (r, p) or a vector (p,); a DataFrame whose columns are names of coefficients; a pair (L, value);
    a mapping {name: weight}; or text such as `"Days = 10"`, `"x - z"`, `"x = 0, z = 0"`.

    Raises SpecError for what does not fit the coefficients.
    """
    where, allowed = "contrast", f"over the coefficients {', '.join(names)}"
    if isinstance(given, Hypothesis):
        return given
    if isinstance(given, str):
        equations = linear_equations(given, names)
        parts = [part.strip() for part in given.split(",")]
        rows = len(equations[0])
        return Hypothesis(*equations, tuple(parts if len(parts) == rows else numbered(rows)))
    if isinstance(given, pd.DataFrame):
        given_names = [str(c) for c in given.columns]
        unknown = [c for c in given_names if c not in names]
        if unknown:
            raise SpecError(Issue(where, f"the column {unknown[0]!r}", allowed))
        L = given.set_axis(given_names, axis=1).reindex(columns=list(names), fill_value=0.0).to_numpy(dtype=float)
        return Hypothesis(L, np.zeros(len(L)), tuple(map(str, given.index)))
    if isinstance(given, dict):
        return read(pd.DataFrame([given], index=["contrast"]), names)
    value: Any = 0.0
    if isinstance(given, tuple) and len(given) == 2:
        given, value = given
    try:
        L = np.atleast_2d(np.asarray(given, dtype=float))
        values = np.broadcast_to(np.asarray(value, dtype=float).ravel(), (len(L),))
    except (TypeError, ValueError):
        raise SpecError(Issue(where, repr(given), f"a matrix, text, or a mapping {allowed}")) from None
    if L.ndim != 2 or L.shape[1] != len(names):
        raise SpecError(Issue(where, f"a matrix of shape {L.shape}", f"{len(names)} columns, {allowed}"))
    return Hypothesis(L, np.array(values), numbered(len(L)))


def numbered(rows: int) -> tuple[str, ...]:
    return tuple(f"row {j + 1}" for j in range(rows))


def linear_equations(text: str, names: Sequence[str]) -> tuple[Array, Array]:
    """(L, value) of equations in names, one or several with commas between. Raises SpecError."""
    quoted = text
    for name in sorted((n for n in names if not n.isidentifier()), key=len, reverse=True):
        quoted = re.sub(rf"(?<!`){re.escape(name)}(?!`)", f"`{name}`", quoted)
    try:
        found = LinearConstraints.from_spec(quoted, variable_names=list(names))
    except (FormulaicError, ValueError, RuntimeError, KeyError, TypeError) as problem:
        reason = str(problem).splitlines()[0]
        allowed = f"linear equations in {', '.join(names)}"
        raise SpecError(Issue("constraint", f"{text!r}: {reason}", allowed, "such as 'x = 0, z = 1'")) from None
    return np.asarray(found.constraint_matrix, dtype=float), np.asarray(found.constraint_values, dtype=float)


def table(fit: FitResult, hypothesis: Hypothesis, law: Law, confidence: float) -> pd.DataFrame:
    """estimate, std_error, df, statistic, p_value, lower, upper of each row; the test is of its value. Raises SpecError."""
    check_confidence(confidence)
    L = hypothesis.L
    estimate = L @ fit.estimates.beta
    variance = np.einsum("rp,pq,rq->r", L, law.phi, L)
    # Kenward and Roger's may not be positive, where the covariance parameters are hardly known
    error = np.sqrt(np.where(variance >= 0, variance, np.nan))
    degrees = law.degrees(L)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (estimate - hypothesis.value) / error
    half = t.ppf(0.5 + confidence / 2, degrees) * error
    columns = {
        "estimate": estimate, "std_error": error, "df": degrees, "statistic": statistic,
        "p_value": 2 * t.sf(np.abs(statistic), degrees), "lower": estimate - half, "upper": estimate + half,
    }  # fmt: skip
    return pd.DataFrame(columns, index=list(hypothesis.labels))


def joint(fit: FitResult, hypothesis: Hypothesis, law: Law, label: str = "joint") -> pd.DataFrame:
    """num_df, den_df, statistic (F), p_value of all rows at once: a table of one row. Raises SpecError."""
    L, gap = independent_rows(hypothesis, fit.estimates.beta, fit.estimates.beta_cov)
    rank = len(L)
    below, factor = law.joint(L) if rank else (np.nan, np.nan)
    statistic = factor * float(gap @ np.linalg.solve(L @ law.phi @ L.T, gap)) / max(rank, 1)
    p_value = chi2.sf(statistic * rank, rank) if np.isinf(below) else f.sf(statistic, rank, below)
    columns = ["num_df", "den_df", "statistic", "p_value"]
    return pd.DataFrame([[rank, below, statistic, float(p_value)]], columns=columns, index=[label])


def independent_rows(hypothesis: Hypothesis, beta: Array, phi: Array) -> tuple[Array, Array]:
    """(L, Lβ − value) of as many combinations of the rows as are independent, uncorrelated under Φ."""
    values, vectors = np.linalg.eigh(hypothesis.L @ phi @ hypothesis.L.T)
    kept = vectors[:, values > 1e-9 * max(float(values[-1]), 0.0)].T
    return kept @ hypothesis.L, kept @ (hypothesis.L @ beta - hypothesis.value)
