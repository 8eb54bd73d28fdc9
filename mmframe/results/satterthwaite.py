"""Satterthwaite's degrees of freedom, of one contrast and of several at once.

The variance v = l'Φl of a contrast is an estimate; a scaled chi-square variable with the same mean and variance has
ν = 2v²/Var(v) degrees of freedom, and Var(v) = g'A g with g = ∂v/∂θ and A the covariance of the covariance parameters
(Giesbrecht & Burns 1985, Biometrics 41). Several contrasts go by the eigenvectors of LΦL' (Fai & Cornelius 1996, J. Stat. Comput.
Simul. 54), as SAS and lmerTest have it.
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array


def degrees(L: Array, phi: Array, gradient: Array, covariance: Array) -> Array:
    """Of each row of L (r, p): (r,); infinite where nothing of its variance is estimated. gradient (k, p, p) of Φ, covariance (k, k)
    of the coordinates."""
    variance = np.einsum("rp,pq,rq->r", L, phi, L)
    slopes = np.einsum("rp,kpq,rq->rk", L, gradient, L)
    spread = np.einsum("rk,kl,rl->r", slopes, covariance, slopes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 2.0 * variance**2 / spread, np.inf)


def joint_degrees(L: Array, phi: Array, gradient: Array, covariance: Array) -> float:
    """The denominator's degrees of freedom of the F test of Lβ = 0, the rows being uncorrelated under Φ: the ν for which F has the
    mean of the average of squared t variables: E = Σ ν_m/(ν_m − 2), ν = 2E/(E − rows)."""
    each = degrees(L, phi, gradient, covariance)
    if np.all(np.isinf(each)) or np.ptp(each) <= 1e-8 * np.max(each):
        return float(each[0])
    if np.any(each <= 2.0):  # a mean that does not exist; SAS and lmerTest take two
        return 2.0
    expected = float(np.sum(np.where(np.isinf(each), 1.0, each / (each - 2.0))))
    return 2.0 * expected / (expected - len(L))
