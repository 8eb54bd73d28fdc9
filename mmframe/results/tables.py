"""Tables: coefficients, and broom's tidy, glance and augment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from mmframe.errors import Issue, SpecError
from mmframe.results.predict import check_confidence

if TYPE_CHECKING:
    from mmframe.results.result import FitResult

DF = ("normal", "residual")


def coefficients(fit: FitResult, df: str, confidence: float) -> pd.DataFrame:
    """estimate, std_error, df, statistic, p_value, lower, upper for each fixed effect (Wald)."""
    if df not in DF:
        raise SpecError(
            Issue("df", repr(df), ", ".join(repr(d) for d in DF), "other degrees of freedom are not in this version")
        )
    check_confidence(confidence)
    estimate, error = fit.fixed_effects.to_numpy(), fit.standard_errors.to_numpy()
    degrees = np.inf if df == "normal" else float(fit.nobs - len(estimate))
    statistic = estimate / error
    law = norm if df == "normal" else t(degrees)
    half = law.ppf(0.5 + confidence / 2) * error
    return pd.DataFrame(
        {
            "estimate": estimate,
            "std_error": error,
            "df": degrees,
            "statistic": statistic,
            "p_value": 2 * law.sf(np.abs(statistic)),
            "lower": estimate - half,
            "upper": estimate + half,
        },
        index=fit.fixed_effects.index,
    )


def tidy(fit: FitResult, confidence: float) -> pd.DataFrame:
    """Fixed effects and covariance parameters in one table: effect, group, term, then estimates."""
    fixed = fit.coefficients(confidence=confidence).reset_index(names="term").drop(columns="df")
    fixed.insert(0, "effect", "fixed")
    fixed.insert(1, "group", "")
    random = fit.parameters_at(confidence).rename(columns={"name": "term"})
    random = random[["group", "term", "estimate", "std_error", "lower", "upper"]]
    random.insert(0, "effect", "covariance")
    return pd.concat([fixed, random], ignore_index=True)


def glance(fit: FitResult) -> pd.DataFrame:
    """One row: nobs, sigma, log-likelihood, AIC, BIC, deviance, and how the fit ended."""
    return pd.DataFrame(
        [
            {
                "nobs": fit.nobs,
                "sigma": fit.sigma,
                "loglike": fit.loglike,
                "aic": fit.aic,
                "bic": fit.bic,
                "deviance": fit.deviance,
                "reml": fit.reml,
                "converged": fit.converged,
                "singular": fit.singular,
            }
        ]
    )


def augment(fit: FitResult) -> pd.DataFrame:
    """A row an observation: response, fitted (conditional), fixed part, residuals."""
    fitted = fit.fitted
    residual = fit.residuals()
    return pd.DataFrame(
        {
            "response": fitted + residual,
            "fitted": fitted,
            "population": pd.Series(fit.source.population, fit.source.index),
            "residual": residual,
            "pearson": fit.residuals("pearson"),
        }
    )
