"""Kenward and Roger's inference for fixed effects: a larger covariance of β̂ and F tests whose law is matched by two moments.

Φ = (X'Σ⁻¹X)⁻¹ takes the covariance parameters as known. The adjusted one is Φ_A = Φ + 2 Φ Σ_jl W_jl (Q_jl − P_jΦP_l) Φ, W being the
covariance of the covariance parameters (Kenward & Roger 1997, Biometrics 53:983-997, without its term in the second
derivatives of Σ: SAS's FIRSTORDER, mmrm's linear; Kenward & Roger 2009, CSDA 53:2583-2595). Without that term it depends on no
choice of coordinates, and where Σ is linear in its parameters (variance components, unstructured matrices) the term is zero.
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array

# Below this share of one, a denominator or a second moment is the error of its sums.
_NOTHING = 1e-10
# As near to two degrees of freedom, the scale of F would be a ratio of errors.
_LIMIT = 1e-5


def adjusted(phi: Array, excess: Array) -> Array:
    """Φ_A (p, p)."""
    return phi + 2.0 * excess


def joint_degrees(L: Array, phi: Array, gradient: Array, W: Array) -> tuple[float, float]:
    """(ν, λ) for rows L (r, p) of full rank: λ (Lβ̂)'(LΦ_A L')⁻¹(Lβ̂)/r has about the F law with r and ν degrees of freedom.

    ν is infinite, and λ one, where nothing is estimated.
    """
    r = len(L)
    inner = np.linalg.inv(L @ phi @ L.T)
    moved = inner @ (L @ gradient @ L.T)  # (k, r, r): (LΦL')⁻¹ L ∂Φ L'
    traces = np.trace(moved, axis1=1, axis2=2)
    a1 = float(traces @ W @ traces)
    a2 = float(np.einsum("jab,jl,lba->", moved, W, moved))
    if a2 <= _NOTHING**2:
        return np.inf, 1.0
    b = (a1 + 6 * a2) / (2 * r)
    g = ((r + 1) * a1 - (r + 4) * a2) / ((r + 2) * a2)
    below = 3 * r + 2 * (1 - g)
    c1, c2, c3 = g / below, (r - g) / below, (r + 2 - g) / below
    first, second, third = 1 + c1 * b, 1 - c2 * b, 1 - c3 * b
    # where both vanish, as in some exact F tests, pbkrtest takes one
    ratio = 1.0 if abs(second) < _NOTHING and abs(1 - a2 / r) < _NOTHING else (1 - a2 / r) / second
    rho = ratio**2 * first / third / r
    nu = 4 + (r + 2) / (r * rho - 1)
    if abs(nu - 2) < _LIMIT and abs(1 - a2 / r) < _LIMIT:  # 0/0, whose limit in exact F tests is one
        return float(nu), 1.0
    return float(nu), float(nu * (1 - a2 / r) / (nu - 2))
