"""Comparison of fits: likelihood-ratio tests of nested models, and information criteria."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from mmframe.covariance.domain import Array
from mmframe.covariance.hold import put
from mmframe.errors import DataError, Issue, SpecError
from mmframe.identifiable import expected_information, natural_names
from mmframe.model import Model
from mmframe.refits.likelihood_ratio import share
from mmframe.refits.many import check_count
from mmframe.results.chi_bar_square import NOTHING, tail, weights
from mmframe.results.result import FitResult
from mmframe.results.source import FittedSource


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
    p_boundary is then the tail of the law that holds there, a mixture of chi-square laws, where the richer model adds random effects
    and any fixed effects: one effect with its correlations with those that the simpler one has (equal parts of df - 1 and df
    degrees of freedom, Stram & Lee 1994, Biometrics 50:1171-1177, case 3), or several variances without correlations (parts that
    depend on the data: Self & Liang 1987). NaN where no variance is tested at zero, where new effects are correlated with each
    other, and where a variance of the simpler model is itself zero.

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
    laws = [None, *(boundary_law(made[a], made[b]) for a, b in pairwise(order))]
    table["p_boundary"] = [
        np.nan if law is None else tail(statistic, *law) for law, statistic in zip(laws, table["chisq"], strict=True)
    ]
    columns = ["n_parameters", "aic", "bic", "loglike", "deviance", "chisq", "df", "p_value", "p_boundary"]
    if bootstrap is not None:
        n = check_count("compare: bootstrap", bootstrap)
        tested = (df > 0) & (table["chisq"] > -NOTHING)  # others are not nested
        table["p_bootstrap"] = [
            share(made[a], made[b], n, seed, workers, progress) if test else np.nan
            for (a, b), test in zip([(0, 0), *pairwise(order)], tested, strict=True)
        ]
        columns.append("p_bootstrap")
    return table[[*columns, "refitted"]]


def boundary_law(simpler: FitResult, richer: FitResult) -> tuple[Array, int] | None:
    """The weights of the chi-bar-square law of their likelihood ratio, and how many parameters it tests inside their domain.

    None unless the richer model is the simpler one with one random effect more and its correlations, or with several that have
    variances alone; and perhaps more fixed effects. Read from the parameters' names. No variance of the simpler model may be zero.
    """
    few, many = simpler.parameters, richer.parameters
    if not (set(few["name"]) <= set(many["name"]) and _effects(simpler) <= _effects(richer)) or simpler.singular:
        return None
    added = many[~many["name"].isin(few["name"])]
    new = added[(added["side"] == "random") & (added["kind"] == "sd")]
    # parameters that are held are not tested
    count = len(added) + len(_effects(richer) - _effects(simpler))
    if not len(new) or count != richer.estimates.n_parameters - simpler.estimates.n_parameters:
        return None
    if len(new) == 1:
        name, group = new[["row", "group"]].iloc[0]
        # a correlation within the new effects has no meaning where their variance is zero, and no law is known
        theirs = (added["kind"] == "corr") & ((added["row"] == name) | (added["column"] == name)) & (name != "")
        others = (added["group"] == group) & (theirs | (added.index == new.index[0]))
        # the effect and its correlations vanish together: half the time as one
        return (np.array([0.5, 0.5]), count - 1) if others.all() else None
    if len(new) < len(added):
        return None
    covariance = _of_variances(simpler, richer, list(new["name"]))
    return None if covariance is None else (weights(covariance), count - len(new))


def _of_variances(simpler: FitResult, richer: FitResult, names: list[str]) -> Array | None:
    """The covariance, but for a factor, of unconstrained estimates of some variances of the richer model, by the expected
    information where they are zero and all else is as in the simpler model. None where it has no inverse, or no data."""
    source = richer.source
    if not isinstance(source, FittedSource) or source.spec.fix or source.spec.tie:
        return None
    covariance, reported = source.covariance, source.reported
    start = (source.found.point.flats, source.found.point.sigma2)
    values = {**simpler.starting_values(), **dict.fromkeys(names, 0.0)}
    flats, sigma2 = put(covariance.terms, reported, start, values)
    read = natural_names(covariance, reported)
    places = [read.index(name) for name in names if name in read]
    relative = flats if covariance.residual else covariance.rescale(flats, 1.0 / np.sqrt(sigma2))
    information = expected_information(source.engine, covariance, relative)
    if information is None or len(places) < len(names):
        return None
    scale = np.sqrt(np.diag(information))
    unit = information / np.outer(scale, scale)
    if not np.linalg.eigvalsh(unit)[0] > 1e-10:
        return None
    return np.asarray(np.linalg.inv(unit)[np.ix_(places, places)])


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
