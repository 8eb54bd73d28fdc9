"""The numbers of a fit, as plain values: all that a saved fit needs to speak, without data, engine or plugins."""

from __future__ import annotations

from typing import Any

import pandas as pd
from attrs import field, frozen

from mmframe.covariance.domain import Array


@frozen(eq=False)
class TermEstimate:
    """One random-effects term: its label, place of its grouping, columns, structure, and G in data units (q, q)."""

    label: str
    grouping: int
    columns: tuple[str, ...]
    structure: str
    G: Array


@frozen(eq=False)
class Estimates:
    """Estimates and diagnostics.

    loglike: log-likelihood, ML or REML, all constants included.   beta (p,), beta_cov (p, p): generalised least squares.
    sigma2: residual variance.   n_parameters: fixed effects, free covariance parameters and σ².
    groupings: name, levels and columns of each grouping factor.   phases: seconds by phase; their sum is `seconds`.
    """

    loglike: float
    reml: bool
    nobs: int
    n_missing: int
    n_parameters: int
    columns: tuple[str, ...]
    dropped: tuple[str, ...]
    beta: Array
    beta_cov: Array
    sigma2: float
    terms: tuple[TermEstimate, ...]
    grouping_names: tuple[str, ...]
    grouping_columns: tuple[tuple[str, ...], ...]
    grouping_levels: tuple[pd.Index, ...]
    converged: bool
    singular: bool
    stop_reason: str
    gradient_norm: float
    smallest_curvature: float
    evaluations: dict[str, int]
    seconds: float
    engine: str
    weighted: bool
    trace: tuple[dict[str, Any], ...]
    versions: dict[str, str]
    phases: dict[str, float] = field(factory=dict)
