"""Broom's tables: tidy, glance and augment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from mmframe.results.result import FitResult


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


def augment(fit: FitResult, influence: bool) -> pd.DataFrame:
    """A row an observation: response, fitted (conditional), fixed part, residuals; and leverage and Cook's distance."""
    fitted = fit.fitted
    residual = fit.residuals()
    table = pd.DataFrame(
        {
            "response": fitted + residual,
            "fitted": fitted,
            "population": pd.Series(fit.source.population, fit.source.index),
            "residual": residual,
            "pearson": fit.residuals("pearson"),
        }
    )
    return table.assign(leverage=fit.leverage(), cooks_distance=fit.cooks_distance()) if influence else table
