"""How much each observation determines its own fitted value, and the fixed and random effects, at given covariance parameters.

The fitted values are ŷ = Hy with

    H = I − RP,   P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹,

and the errors of the fitted means, ŷ − (Xβ + Zb), have the covariance HR = R − RPR. So H = Var(ŷ − Xβ − Zb) R⁻¹, whose diagonal
is w/σ² times the variances of the fitted means where residuals are independent. Where they are correlated, entry i of the
diagonal is the covariance of the error of row i with the combination of its subject's rows that row i of R⁻¹ makes.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.likelihood.effects import Effects
from mmframe.results.estimates import Estimates
from mmframe.results.predict import Rows, conditional_spread
from mmframe.results.source import Source


def leverage(source: Source) -> Array:
    """∂ŷ_i/∂y_i of the conditional fitted values, β̂ and b̂ following y (lme4's hatvalues.merMod): (n,).

    Their sum is the effective number of parameters of the mean. Between 0 and 1 where residuals are independent; with correlated
    ones they may be outside, and are NaN for subjects whose residuals have a singular covariance.
    Raises StoreError for a saved fit, SpecError where random effects change within correlated rows.
    """
    rows, estimates, effects = source.rows, source.estimates, source.effects
    own = source.residual_variance
    if not _correlated(source):
        return _error_variance(rows, estimates, effects) / own
    if source.memory is not None and not source.memory.nested:
        given = "a level of a random effect changes between rows of a subject, whose residuals are correlated"
        raise SpecError(Issue("leverage", given, "subjects within the levels of each grouping factor"))
    Z = np.column_stack([rows.X, *rows.Z])
    ends = np.cumsum([part.shape[1] for part in (rows.X, *rows.Z)])[:-1]
    # in units of the row's own variance, so that both combinations are of one size
    X, *others = np.split(own[:, None] * source.precision(Z), ends, axis=1)
    # 4 Cov(u, v) = Var(u + v) − Var(u − v): the rows of a subject have the same levels
    more, less = (
        evolve(rows, X=rows.X + sign * X, Z=tuple(a + sign * b for a, b in zip(rows.Z, others, strict=True)))
        for sign in (1.0, -1.0)
    )
    difference = _error_variance(more, estimates, effects) - _error_variance(less, estimates, effects)
    return np.asarray(difference / (4.0 * own))


def cooks_distance(source: Source, h: Array) -> Array:
    """r²h/(p(1 − h)²), with r the Pearson residuals, h the leverages (n,), p the columns of X (lme4's cooks.distance.merMod): (n,).

    NaN where the leverage is 1, or there are no fixed effects. Raises SpecError where residuals are correlated.
    """
    if _correlated(source):
        given = "a residual structure in which subjects have several rows"
        remedy = "leverage() is defined; for the influence of a subject, fit again without it"
        raise SpecError(
            Issue("cooks_distance", given, "independent residuals, with weights or variance functions", remedy)
        )
    p = np.count_nonzero(np.diag(source.estimates.beta_cov))  # those that are held move nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (source.pearson / (1.0 - h)) ** 2 * h / p
    return np.asarray(np.where(np.isfinite(found), found, np.nan))


def _correlated(source: Source) -> bool:
    """Whether some subject of a structured residual has several rows."""
    return source.memory is not None and source.memory.residual.m < source.estimates.nobs


def _error_variance(rows: Rows, estimates: Estimates, effects: Effects) -> Array:
    """Var(x'β̂ + z'b̂ − x'β − z'b) of rows with levels that were seen: (n,)."""
    X, spread = conditional_spread(rows, estimates, effects)
    return np.asarray(np.einsum("np,pq,nq->n", X, estimates.beta_cov, X) + spread)
