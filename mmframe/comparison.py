"""Comparison of fits: likelihood-ratio tests of nested models, and information criteria."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from mmframe.covariance.domain import Array
from mmframe.errors import DataError, Issue, SpecError
from mmframe.model import Model
from mmframe.refits.likelihood_ratio import share
from mmframe.refits.many import check_count
from mmframe.results.result import FitResult
from mmframe.results.source import FittedSource

# A difference of deviances below this is the error of the two optima.
_NOTHING = 1e-6


def compare(
    *fits: Any,
    bootstrap: int | None = None,
    seed: int | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """A row a fit, from the simplest to the richest: parameters, AIC, BIC, log-likelihood, deviance, and the likelihood-ratio
    test against the row before.

    fits: two or more FitResults, or results that hold one (as those of MixedLM). Where fixed effects differ, or some fits are by
    REML and some by ML, fits by REML are made again by ML (as lme4's `anova` does); with the same fixed effects REML fits are
    compared as they are. The column `refitted` says so. The index are the models' formulas.

    chisq is the difference of deviances, df that of the numbers of parameters, p_value the upper tail of the chi-square law. A
    variance that is tested at zero stands on the boundary, where this p-value is too large (Self & Liang 1987, JASA 82).
    p_boundary is then the tail of the law that holds there, where the richer model adds one random effect (its variance, and
    its correlations with those that the simpler one has) and any fixed effects: equal parts of the chi-square laws of df - 1
    and df degrees of freedom (Stram & Lee 1994, Biometrics 50:1171-1177, case 3). NaN where no variance is tested at zero, where
    several are (the parts then depend on the data), and where a variance of the simpler model is itself zero.

    bootstrap: so many responses are drawn from the simpler model of each pair, and both are fitted to each: p_bootstrap is the
    share of statistics as large as the observed one, itself counted among them (Davison & Hinkley 1997, section 4.2.3), whatever
    stands on a boundary.   seed, workers, progress: as `FitResult.bootstrap`.
    Raises SpecError (fewer than two fits), DataError (other data), StoreError (a saved fit that would have to be made again).
    """
    results = [getattr(fit, "mmframe", fit) for fit in fits]
    wrong = [r for r in results if not isinstance(r, FitResult)]
    if len(results) < 2 or wrong:
        given = f"a {type(wrong[0]).__name__}" if wrong else f"{len(results)} fit"
        raise SpecError(Issue("compare", given, "two or more fits"))
    _check_data(results)
    for r in results:
        if isinstance(r.source, FittedSource) and getattr(r.source.engine, "has_penalties", False):
            raise DataError("compare: a penalized fit has no likelihood ratio · allowed: fits without penalties")
    if len({_effects(r) for r in results}) > 1 or len({r.reml for r in results}) > 1:
        made = [Model.of(r).using(criterion="ml").fit() if r.reml else r for r in results]
    else:
        made = results
    again = [a is not b for a, b in zip(made, results, strict=True)]
    order = sorted(range(len(made)), key=lambda k: made[k].estimates.n_parameters)
    rows = [
        (made[k].estimates.n_parameters, made[k].aic, made[k].bic, made[k].loglike, made[k].deviance, again[k])
        for k in order
    ]
    table = pd.DataFrame(
        rows,
        columns=["n_parameters", "aic", "bic", "loglike", "deviance", "refitted"],
        index=[made[k].formula for k in order],
    )
    table["chisq"] = 0.0 - table["deviance"].diff()
    df = table["n_parameters"].diff()
    table["df"] = df
    table["p_value"] = np.where(df > 0, chi2.sf(np.maximum(table["chisq"], 0.0), np.where(df > 0, df, 1.0)), np.nan)
    nested = [False] + [adds_one_effect(made[a], made[b]) for a, b in pairwise(order)]
    table["p_boundary"] = np.where(nested, boundary_tail(table["chisq"].to_numpy(), df.to_numpy()), np.nan)
    columns = ["n_parameters", "aic", "bic", "loglike", "deviance", "chisq", "df", "p_value", "p_boundary"]
    if bootstrap is not None:
        n = check_count("compare: bootstrap", bootstrap)
        tested = (df > 0) & (table["chisq"] > -_NOTHING)  # others are not nested
        table["p_bootstrap"] = [
            share(made[a], made[b], n, seed, workers, progress) if test else np.nan
            for (a, b), test in zip([(0, 0), *pairwise(order)], tested, strict=True)
        ]
        columns.append("p_bootstrap")
    return table[[*columns, "refitted"]]


def adds_one_effect(simpler: FitResult, richer: FitResult) -> bool:
    """Whether the richer model is the simpler one with exactly one random effect more, and perhaps more fixed effects.

    Read from the parameters' names: all of the simpler's are among the richer's, and what is added is one standard deviation
    and correlations of its effect. No variance of the simpler model may be zero.
    """
    few, many = simpler.parameters, richer.parameters
    if not (set(few["name"]) <= set(many["name"]) and _effects(simpler) <= _effects(richer)):
        return False
    if simpler.singular:
        return False
    added = many[~many["name"].isin(few["name"])]
    new = added[(added["side"] == "random") & (added["kind"] == "sd")]
    if len(new) != 1:
        return False
    name, group = new[["row", "group"]].iloc[0]
    # a correlation within the new effects has no meaning where their variance is zero, and no law is known
    theirs = (added["kind"] == "corr") & ((added["row"] == name) | (added["column"] == name)) & (name != "")
    others = (added["group"] == group) & (theirs | (added.index == new.index[0]))
    # parameters that are held are not tested
    n_new = len(added) + len(_effects(richer) - _effects(simpler))
    return bool(others.all()) and n_new == richer.estimates.n_parameters - simpler.estimates.n_parameters


def boundary_tail(statistic: Array, df: Array) -> Array:
    """P(T >= t) for T of equal parts chi-square with df - 1 and df degrees of freedom; that of none is the constant 0."""
    t = np.where(statistic > _NOTHING, statistic, 0.0)
    below: Array = np.where(df > 1, chi2.sf(t, np.maximum(df - 1, 1)), (t == 0).astype(float))
    above: Array = chi2.sf(t, np.maximum(df, 1))
    return 0.5 * (below + above)


def _effects(fit: FitResult) -> frozenset[str]:
    return frozenset(fit.estimates.columns)


def _check_data(fits: list[FitResult]) -> None:
    first = fits[0].source.response
    for fit in fits[1:]:
        y = fit.source.response
        if y.size != first.size or not np.array_equal(y, first):
            raise DataError(
                f"compare: responses of {first.size} and {y.size} rows that differ · allowed: fits of the same response and rows"
                " · drop rows with missing values first, so that every model has the same"
            )
