"""Hypotheses about fixed effects: single contrasts with t tests, and several at once with an F test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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

_SINGULAR = 1e-10  # eigenvalues of a covariance below this share of the largest, in units of the model's own


@frozen(eq=False)
class Hypothesis:
    """Lβ = value. L (r, p), value (r,), and what each row is called.   about: the places of the coefficients that it is about,
    where its rows involve others as well."""

    L: Array
    value: Array
    labels: tuple[str, ...]
    about: Array | None = None


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
        try:
            L = given.set_axis(given_names, axis=1).reindex(columns=list(names), fill_value=0.0).to_numpy(dtype=float)
        except (TypeError, ValueError):
            raise SpecError(Issue(where, repr(given.iloc[0].to_dict()), f"numbers {allowed}")) from None
        return Hypothesis(L, np.zeros(len(L)), tuple(map(str, given.index)))
    if isinstance(given, (Mapping, pd.Series)):
        return read(pd.DataFrame([dict(given)], index=["contrast"]), names)
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
    # a plain word for each name, whatever signs it holds; the longest first, as one may hold another
    words = {name: f"coefficient_{j}_" for j, name in enumerate(names)}
    every = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    plain = re.sub(rf"`({every})`|(?<!\w)({every})(?!\w)", lambda m: words[m[1] or m[2]], text) if names else text
    try:
        found = LinearConstraints.from_spec(plain, variable_names=list(words.values()))
    except (FormulaicError, ValueError, RuntimeError, KeyError, TypeError) as problem:
        reason = str(problem).splitlines()[0]
        for name, word in words.items():
            reason = reason.replace(word, name)
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
    about = hypothesis.about if hypothesis.about is not None else np.flatnonzero(np.any(hypothesis.L != 0.0, axis=0))
    below, factor = law.joint(L, about) if rank else (np.nan, np.nan)
    statistic = factor * _square(gap, L @ law.phi @ L.T, L @ fit.estimates.beta_cov @ L.T) / max(rank, 1)
    p_value = chi2.sf(statistic * rank, rank) if np.isinf(below) else f.sf(statistic, rank, below)
    columns = ["num_df", "den_df", "statistic", "p_value"]
    return pd.DataFrame([[rank, below, statistic, float(p_value)]], columns=columns, index=[label])


def _square(gap: Array, covariance: Array, plain: Array) -> float:
    """gap' covariance⁻¹ gap; NaN where that has no inverse, such as a robust covariance of as few clusters as rows."""
    root = np.linalg.cholesky(plain) if len(gap) else plain
    inner = np.linalg.solve(root, np.linalg.solve(root, covariance).T) if len(gap) else plain
    values = np.linalg.eigvalsh(inner) if len(gap) else np.ones(1)
    if not values[0] > _SINGULAR * max(float(values[-1]), 0.0):
        return np.nan
    return float(gap @ np.linalg.solve(covariance, gap))


def independent_rows(hypothesis: Hypothesis, beta: Array, phi: Array) -> tuple[Array, Array]:
    """(L, Lβ − value) of as many combinations of the rows as are independent, uncorrelated under Φ."""
    if not len(hypothesis.L):
        return hypothesis.L, hypothesis.value
    values, vectors = np.linalg.eigh(hypothesis.L @ phi @ hypothesis.L.T)
    good = values > 1e-9 * max(float(values[-1]), 0.0)
    kept, rest = vectors[:, good].T, vectors[:, ~good].T
    if np.any(np.abs(rest @ hypothesis.value) > 1e-8 * max(float(np.max(np.abs(hypothesis.value))), 1e-300)):
        raise SpecError(Issue("contrast", "rows that contradict one another", "values that can hold together"))
    return kept @ hypothesis.L, kept @ (hypothesis.L @ beta - hypothesis.value)
