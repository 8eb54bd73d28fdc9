"""ML and REML as −2 log L: the one place where the formulas stand.

Every engine reduces a point (G, R) to log|V| and the cross-product M = Y'V⁻¹Y, with V relative to σ² and Y = [X y] in
the engine's own basis. From these come β, σ², the criterion and the matrix D with which scores are weighted:

    −2 log L = ν log 2π + ν log σ² + log|V| + rss/σ² [+ log|X'V⁻¹X|],   ν = n for ML, n − p for REML,
    ∂(−2 log L)/∂G = Z'V⁻¹Z − Z'V⁻¹Y D Y'V⁻¹Z,   D = γγ'/σ² [+ (X'V⁻¹X)⁻¹ in the X block],   γ = (−β, 1).

Pinheiro & Bates (2000), Mixed-Effects Models in S and S-PLUS, section 2.2; Bates et al. (2015), JSS 67(1), section 3.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from scipy.linalg import lapack

from mmframe.covariance.domain import Array

_LOG_2PI = math.log(2 * math.pi)


@frozen(eq=False)
class Solution:
    """The generalised least squares solution at one point, in the engine's basis."""

    value: float
    beta: Array
    sigma2: float
    rss: float
    nu: int
    gamma: Array
    xvx_inverse: Array
    weight: Array
    sigma2_score: float
    beta_score: Array


def solve(
    cross: Array,
    logdet: float,
    n: int,
    *,
    reml: bool,
    logdet_basis: float,
    sigma2: float | None = None,
    beta: Array | None = None,
) -> Solution | None:
    """Profile β and σ² (or hold them) and evaluate the criterion; None where it is not finite.

    cross: (p+1, p+1) = Y'V⁻¹Y.   logdet: log|V|.   logdet_basis: log|T_X'T_X|, which turns log|X'V⁻¹X| of the
    basis into that of the data's columns (REML depends on their scale).
    """
    p = cross.shape[0] - 1
    nu = n - p if reml else n
    if not math.isfinite(logdet + float(cross.sum())):
        return None
    xvx, xvy = cross[:p, :p], cross[:p, p]
    if p:
        root, failed = lapack.dpotrf(xvx, lower=1, clean=1)
        if failed:
            return None
        root_inverse = lapack.dtrtri(root, lower=1)[0]
        inverse = root_inverse.T @ root_inverse
        logdet_xvx = 2.0 * float(np.log(root.diagonal()).sum())
        best = inverse @ xvy
        rss_best = float(cross[p, p] - xvy @ best)
    else:
        inverse, logdet_xvx, best, rss_best = np.zeros((0, 0)), 0.0, np.zeros(0), float(cross[p, p])
    if beta is None:
        used, rss, beta_score = best, rss_best, np.zeros(p)
    else:
        used = np.asarray(beta, dtype=float)
        gap = used - best
        rss = rss_best + float(gap @ xvx @ gap)
        beta_score = 2.0 * (xvx @ gap)
    if not rss > 0.0:
        return None
    s2 = rss / nu if sigma2 is None else float(sigma2)
    if not s2 > 0.0:
        return None
    value = nu * (_LOG_2PI + math.log(s2)) + logdet + rss / s2
    gamma = np.ones(p + 1)
    gamma[:p] = -used
    weight = gamma[:, None] * (gamma / s2)
    if reml:
        value += logdet_xvx + logdet_basis
        weight[:p, :p] += inverse
    slope = 0.0 if sigma2 is None else nu / s2 - rss / s2**2
    return Solution(value, used, s2, rss, nu, gamma, inverse, weight, slope, beta_score / s2)
