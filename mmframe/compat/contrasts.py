"""Tests of linear hypotheses on parameters: z, t, chi-square and F, one row at a time or jointly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import frozen
from scipy import stats

from mmframe.compat.names import patsy_name
from mmframe.compat.tables import text_table
from mmframe.covariance.domain import Array
from mmframe.design.kept import Encoding
from mmframe.errors import Issue, SpecError
from mmframe.results.contrast import linear_equations
from mmframe.spec.sides import columns_of

if TYPE_CHECKING:
    from mmframe.compat.results import MixedLMResults


class ContrastResults:
    """The outcome of a test. distribution: "norm", "t", "chi2" or "F".   statistic, pvalue.   For single rows effect, sd, tvalue and
    `conf_int`.   df_num, df_denom: degrees of freedom (df_denom is the number of constraints for chi2, as in statsmodels).
    """

    def __init__(
        self, distribution: str, statistic: Any, df: tuple[float, ...], effect: Any = None, sd: Any = None
    ) -> None:
        self.distribution, self.statistic, self.effect, self.sd = distribution, statistic, effect, sd
        self.dist, self.dist_args = getattr(stats, distribution.lower()), df
        if distribution == "F":
            self.fvalue, self.df_num, self.df_denom = statistic, *df
        else:
            self.tvalue, self.df_denom = statistic, df[0] if df else np.inf
        sided = 2.0 if effect is not None else 1.0
        self.pvalue = np.squeeze(sided * self.dist.sf(np.abs(statistic), *df))
        self.c_names = None if effect is None else [f"c{j}" for j in range(len(effect))]

    def conf_int(self, alpha: float = 0.05) -> Array:
        """(rows, 2). Raises NotImplementedError for joint tests."""
        if self.effect is None:
            raise NotImplementedError("intervals are of single rows: use t_test")
        half = self.dist.ppf(1.0 - alpha / 2.0, *self.dist_args) * self.sd
        return np.column_stack([self.effect - half, self.effect + half])

    def summary_frame(self, xname: Sequence[str] | None = None, alpha: float = 0.05) -> pd.DataFrame:
        """coef, std err, the statistic, its p-value, and the interval. Raises NotImplementedError for joint tests."""
        lower, upper = self.conf_int(alpha).T
        letter = "t" if self.distribution == "t" else "z"
        columns = {
            "coef": self.effect, "std err": self.sd, letter: self.statistic, f"P>|{letter}|": np.atleast_1d(self.pvalue),
            "Conf. Int. Low": lower, "Conf. Int. Upp.": upper,
        }  # fmt: skip
        return pd.DataFrame(columns, index=list(self.c_names or []) if xname is None else list(xname))

    def summary(self, xname: Sequence[str] | None = None, alpha: float = 0.05, title: str | None = None) -> str:
        """Text: the table of single rows, or one line."""
        if self.effect is None:
            numbers = ", ".join(f"{d:.3g}" for d in self.dist_args)
            return (
                f"<{'F' if self.distribution == 'F' else 'Wald'} test ({self.distribution}): statistic={self.statistic},"
                f" p-value={self.pvalue}, df={numbers}>"
            )
        frame = self.summary_frame(xname, alpha)
        frame = frame.set_axis([*frame.columns[:4], f"[{alpha / 2:g}", f"{1 - alpha / 2:g}]"], axis=1)
        return text_table(frame.map(lambda v: f"{v:.4f}"), "Test for Constraints" if title is None else title)

    def __str__(self) -> str:
        return self.summary()

    __repr__ = __str__


def constraints(given: Any, names: list[str], widths: tuple[int, ...]) -> tuple[Array, Array]:
    """(R, q) of Rβ = q.

    given: R as an array with one of the allowed numbers of columns, a pair (R, q), or text such as `Time = 7, x = z`, over names.
    Raises ValueError for other shapes, SpecError for text that cannot be read.
    """
    if isinstance(given, str):
        R, q = linear_equations(given, names)
    elif isinstance(given, tuple) and len(given) == 2:
        R = np.atleast_2d(np.asarray(given[0], dtype=float))
        q = np.broadcast_to(np.asarray(given[1], dtype=float).ravel(), (len(R),))
    else:
        R = np.atleast_2d(np.asarray(given, dtype=float))
        q = np.zeros(len(R))
    if R.ndim != 2 or R.shape[1] not in widths:
        allowed = " or ".join(map(str, widths))
        raise ValueError(f"r_matrix of shape {R.shape} should have {allowed} columns")
    return R, np.asarray(q, dtype=float)


def single(results: MixedLMResults, R: Array, q: Array, cov: Array, use_t: bool) -> ContrastResults:
    """Each row by itself."""
    effect = R @ results.fe_values[: R.shape[1]]
    sd = np.sqrt(np.einsum("rk,kl,rl->r", R, cov, R))
    with np.errstate(all="ignore"):
        statistic = (effect - q) / sd
    return ContrastResults("t" if use_t else "norm", statistic, (results.df_resid,) if use_t else (), effect, sd)


def joint(
    values: Array, R: Array, q: Array, cov: Array, df_resid: float | None, df: float | None = None, inverse: Any = None
) -> ContrastResults:
    """All rows at once: chi-square, or F where df_resid is given. Raises ValueError where a parameter has no variance."""
    gap = R @ values - q
    spread = R @ cov @ R.T
    if not np.all(np.isfinite(spread)):
        raise ValueError("r_matrix: a parameter at the boundary, or held, has no sampling variance · leave it out")
    number = float(np.linalg.matrix_rank(spread)) if df is None else float(df)
    statistic = float(gap @ (np.linalg.pinv(spread) if inverse is None else np.asarray(inverse)) @ gap)
    if df_resid is None:
        return ContrastResults("chi2", statistic, (number,))
    return ContrastResults("F", statistic / number, (number, df_resid))


@frozen(eq=False)
class WaldTestResults:
    """Tests of terms. table: statistic, pvalue, df_constraint by term."""

    table: pd.DataFrame

    def summary_frame(self) -> pd.DataFrame:
        return self.table.set_axis(["chi2", "P>chi2", "df constraint"], axis=1)

    def __str__(self) -> str:
        return self.summary_frame().to_string()

    __repr__ = __str__


def terms_of(results: MixedLMResults) -> list[tuple[str, list[int]]]:
    """Each term of the fixed effects with the places of its slopes; each slope by itself where there is no formula."""
    data = results.model.data
    encoding = results.mmframe.source.encoding
    if results.formula is None or not isinstance(encoding, Encoding):
        return [(name, [j]) for j, name in enumerate(data.xnames)]
    place = {name: j for j, name in enumerate(data.xnames)}
    return [
        ("Intercept" if term == "1" else term, [place[patsy_name(c, results.formula)] for c in columns])
        for term, columns in encoding.fixed.terms
        if columns
    ]


def coding(results: MixedLMResults, term: str, encoding: Encoding) -> Array:
    """The slopes' part in each level of a factor: (levels, k_fe)."""
    fixed, table = encoding.fixed, results.model.layout.table
    levels, column = fixed.levels[term], next(iter(columns_of(term, frozenset(encoding.transforms))))
    rows = table.iloc[np.zeros(len(levels), dtype=int)].assign(**{column: levels})
    made = fixed.apply(rows, encoding.transforms)
    out = np.zeros((len(levels), results.k_fe))
    for name, at in terms_of(results):
        if name == term:
            out[:, at] = made[:, [fixed.columns.index(c) for c in dict(fixed.terms)[term]]]
    return out


def wald_test_terms(
    results: MixedLMResults, skip_single: bool, extra: Any, combine: Sequence[str] | None
) -> WaldTestResults:
    identity = np.eye(results.k_fe)
    found = terms_of(results)
    tests = [(name, identity[at]) for name, at in found if not (skip_single and len(at) == 1)]
    for part in combine or ():
        tests.append((part, identity[[j for name, at in found if part in name for j in at]]))
    tests += [(name, np.atleast_2d(R)) for name, R in extra or ()]
    done = [results.wald_test(R) for _, R in tests]
    rows = [(d.statistic, float(d.pvalue), int(d.df_denom)) for d in done]
    columns = ["statistic", "pvalue", "df_constraint"]
    return WaldTestResults(pd.DataFrame(rows, index=[name for name, _ in tests], columns=columns))


def adjusted(p: Array, method: str) -> Array:
    """p-values adjusted for their number: b (bonferroni), s (sidak), h (holm), hs (holm-sidak), fdr_bh, fdr_by. Raises ValueError."""
    names = {"bonferroni": "b", "sidak": "s", "holm": "h", "holm-sidak": "hs"}
    short = names.get(method, method)
    m, order = len(p), np.argsort(p)
    out = np.empty(m)
    left = m - np.arange(m)
    if short == "b":
        return np.asarray(np.minimum(p * m, 1.0))
    if short == "s":
        return np.asarray(-np.expm1(m * np.log1p(-p)))
    if short in ("h", "hs"):
        steps = p[order] * left if short == "h" else -np.expm1(left * np.log1p(-p[order]))
        out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
        return out
    if short in ("fdr_bh", "fdr_by"):
        return np.asarray(stats.false_discovery_control(p, method=short[-2:]))
    raise ValueError(f"method: {method!r} · allowed: {', '.join([*names, *names.values(), 'fdr_bh', 'fdr_by'])}")


@frozen(eq=False)
class Pairwise:
    """All pairs of levels of a term. result_frame: the table with adjusted p-values.   contrasts: their matrix over the slopes."""

    result_frame: pd.DataFrame
    contrasts: Array
    contrast_labels: list[str]
    method: str


def pairwise(results: MixedLMResults, term: str, method: Any, alpha: float, labels: Sequence[str] | None) -> Pairwise:
    encoding = results.mmframe.source.encoding
    assert isinstance(encoding, Encoding)
    fixed = encoding.fixed
    categorical = [f for f, kind in fixed.kinds.items() if kind == "categorical" and f in dict(fixed.terms)]
    if results.formula is None or term not in categorical:
        raise SpecError(
            Issue("term_name", repr(term), f"a factor of the formula: {', '.join(categorical) or '(none)'}")
        )
    levels = fixed.levels[term]
    coded = coding(results, term, encoding)
    pairs = [(i, j) for i in range(len(levels)) for j in range(i)]
    R = np.stack([coded[i] - coded[j] for i, j in pairs])
    shown = [str(v) for v in (levels if labels is None else labels)]
    called = [f"{shown[i]}-{shown[j]}" for i, j in pairs]
    test = results.t_test(R)
    frame = test.summary_frame(called, alpha)
    for name in [method] if isinstance(method, str) else method:
        p = adjusted(np.atleast_1d(test.pvalue), name)
        frame[f"pvalue-{name}"], frame[f"reject-{name}"] = p, p <= alpha
    return Pairwise(frame, R, called, method)
