"""Covariance parameters with standard errors: the exact Hessian and the delta method.

The Hessian of −2 log L is taken on the absolute scale, in coordinates without bounds; its inverse, doubled, is the
asymptotic covariance of the coordinates (observed information), and the derivatives of the reported quantities carry it
over; for very large crossed designs average information stands in for the observed one. Directions without curvature
(a null direction of a singular G) carry no information and are left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from mmframe.covariance import report
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import Array, OutsideDomainError
from mmframe.likelihood.engine import Engine
from mmframe.optimize.found import Found
from mmframe.results.predict import check_confidence
from mmframe.results.uncertainty import Uncertainty

COLUMNS = ["name", "side", "group", "kind", "row", "column", "estimate", "std_error"]
# Reported quantities this near to a bound, relative to its size, are at it, and have no standard error.
_AT_BOUND = 1e-4
# Errors of differences where there is nothing to differ, relative to the estimate.
_NO_ERROR = 1e-9
# A reported quantity that moves by more than this share of itself along a direction without information is not determined.
_UNTOLD = 1e-3


def parameter_table(
    engine: Engine, rows: tuple[report.Reported, ...], found: Found, known: Uncertainty
) -> tuple[pd.DataFrame, Array]:
    """(one row a reported parameter, σ last: estimate and standard error; their covariance, (rows, rows)); errors are NaN at a bound
    and where a parameter is held.

    The one variance of a structured residual is σ itself; with several, σ is that of the first point.
    """
    terms = found.cover.terms
    flats, sigma2 = found.point.flats, found.point.sigma2
    estimates = np.append(report.values(rows, terms, flats), np.sqrt(sigma2))
    covariance, lost, jacobian = _covariance_and_jacobian(rows, known)
    spread = jacobian @ covariance @ jacobian.T
    variances = np.diag(spread)
    # what moves along a direction that carries no information has no error that could be told
    untold = np.linalg.norm(jacobian @ lost, axis=1) > _UNTOLD * np.maximum(np.abs(estimates), 1e-300)
    variances = np.where(untold, np.nan, variances)
    errors = np.sqrt(np.where(variances > 0, variances, np.nan))
    units = (*engine.unit_scales, *(np.ones(1) for _ in found.cover.residual))
    errors = np.where(errors <= _NO_ERROR * np.abs(estimates), np.nan, errors)  # held
    for n, row in enumerate(rows):
        if _at_bound(row, estimates[n], np.sqrt(sigma2), units):
            errors[n] = np.nan
    sides = ["random" if r.term < found.cover.n_random else "residual" for r in rows]
    table = [
        (r.name, side, r.group, r.kind, r.row, r.column, e, s)
        for r, side, e, s in zip(rows, sides, estimates[:-1], errors[:-1], strict=True)
    ]
    if not any(r.name == report.SIGMA for r in rows):
        kind = "derived" if found.cover.residual else "sd"
        table.append((report.SIGMA, "residual", "", kind, "", "", estimates[-1], errors[-1]))
    order = sorted(range(len(table)), key=lambda n: table[n][0] == report.SIGMA)
    unknown = np.isnan(errors)
    spread = np.where(unknown[:, None] | unknown, np.nan, spread)
    return pd.DataFrame([table[n] for n in order], columns=COLUMNS), spread[np.ix_(order, order)]


def _at_bound(row: report.Reported, estimate: float, sigma: float, units: tuple[Array, ...]) -> bool:
    if not np.isfinite(estimate):
        return True
    if row.kind == "sd":
        unit = units[row.term]
        size = unit[row.entry] if row.entry < unit.size else float(np.mean(unit))
        return bool(estimate * size <= _AT_BOUND * sigma)
    if np.isfinite(row.low) and np.isfinite(row.high):
        edge = _AT_BOUND**2 * (row.high - row.low)
        return bool(estimate - row.low <= edge or row.high - estimate <= edge)
    return False


def _covariance_and_jacobian(rows: tuple[report.Reported, ...], known: Uncertainty) -> tuple[Array, Array, Array]:
    """The covariance of the coordinates, the directions without information (as columns, of the size at which the
    criterion would have to change), and the derivatives of what is reported."""
    cover, theta, covariance, lost = known.cover, known.theta, known.covariance, known.lost
    # steps in proportion to the standard errors of the coordinates, whatever the units of the response
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))

    def read(point: Array) -> Array:
        try:
            return reading(point)
        except OutsideDomainError:  # a step off the domain, from its edge: no derivative there
            return np.full(len(rows) + 1, np.nan)

    def reading(point: Array) -> Array:
        if cover.residual:
            natural = cover.natural(point, 1.0)
            s2 = cover.residual_variance(natural)
        else:
            found_s2 = cover.matrices(point)[2]
            assert found_s2 is not None
            natural, s2 = cover.natural(point, found_s2), found_s2
        return np.append(report.values(rows, cover.terms, natural), np.sqrt(s2))

    jacobian = central_differences(read, theta, _steps(theta, errors)).T if theta.size else np.zeros((len(rows) + 1, 0))
    # A correlation of a variance that is zero has no value, and no derivative.
    return covariance, lost, np.where(np.isfinite(jacobian), jacobian, 0.0)


def _steps(theta: Array, errors: Array) -> Array:
    usable = np.isfinite(errors) & (errors > 0)
    return np.where(
        usable,
        np.maximum(np.abs(theta), np.where(usable, errors, 0.0)),
        np.maximum(np.abs(theta), 1e-3 * np.max(np.abs(theta))),
    )


def with_intervals(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Adds lower and upper: Wald on the log scale for standard deviations, atanh for correlations; NaN at a bound."""
    check_confidence(confidence)
    z = norm.ppf(0.5 + confidence / 2)
    estimate = table["estimate"].to_numpy(dtype=float)
    error = table["std_error"].to_numpy(dtype=float)
    kind = table["kind"].to_numpy()
    lower, upper = estimate - z * error, estimate + z * error
    with np.errstate(all="ignore"):
        half = z * error / estimate
        sd = kind == "sd"
        lower, upper = np.where(sd, estimate * np.exp(-half), lower), np.where(sd, estimate * np.exp(half), upper)
        middle, width = np.arctanh(estimate), z * error / (1 - estimate**2)
        corr = kind == "corr"
        lower, upper = np.where(corr, np.tanh(middle - width), lower), np.where(corr, np.tanh(middle + width), upper)
    return table.assign(lower=lower, upper=upper)
