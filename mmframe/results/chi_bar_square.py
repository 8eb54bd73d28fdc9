"""The chi-bar-square law of a likelihood ratio, where variances are tested at zero, on the boundary.

T is distributed as a mixture of chi-square laws: with weight w_k, that of d + k degrees of freedom, where d parameters are tested
inside their domain and k of q variances are positive in the projection of a normal vector with the covariance C of the (unconstrained)
estimates of the variances onto the orthant (Self & Liang 1987, JASA 82:605-610; Shapiro 1988, Int. Stat. Rev. 56:49-62).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls
from scipy.special import ndtri
from scipy.stats import chi2, qmc

from mmframe.covariance.domain import Array

_DRAWS = 13  # as a power of two, where weights have no closed form
# A difference of deviances below this is the error of the two optima.
NOTHING = 1e-6


def weights(covariance: Array) -> Array:
    """w_0, ..., w_q of q variances with the covariance C (q, q), of which only the correlations count.

    In closed form up to two; beyond by projecting quasi-random normal vectors, always the same ones, to about 1e-3.
    """
    q = len(covariance)
    if q == 1:
        return np.array([0.5, 0.5])
    error = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(error, error)
    if q == 2:
        inside = float(np.arccos(np.clip(-correlation[0, 1], -1.0, 1.0))) / (2 * np.pi)
        return np.array([0.5 - inside, 0.5, inside])
    root = np.linalg.cholesky(correlation)
    whiten = np.linalg.inv(root)
    normal = ndtri(np.clip(qmc.Sobol(q, seed=0).random_base2(_DRAWS), 1e-12, 1 - 1e-12))
    positive = [int(np.sum(nnls(whiten, z)[0] > 0.0)) for z in normal]
    return np.bincount(positive, minlength=q + 1) / len(positive)


def tail(statistic: float, share: Array, inside: int) -> float:
    """P(T >= t): share (q + 1,) the weights, inside the number of parameters tested inside their domain. The law of none is 0."""
    t = statistic if statistic > NOTHING else 0.0
    df = inside + np.arange(share.size)
    return float(share @ np.where(df > 0, chi2.sf(t, np.maximum(df, 1)), float(t == 0.0)))
