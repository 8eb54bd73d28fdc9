"""What an engine gives back."""

from __future__ import annotations

from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood.criterion import Solution


@frozen(eq=False)
class Evaluation:
    """The criterion at one point, with everything that was profiled out of it.

    value: −2 log L (ML or REML), all constants included.   beta: (p,).   sigma2: residual variance.
    beta_cov: σ²(X'V⁻¹X)⁻¹, (p, p).   score: for each term ∂value/∂G_k at fixed σ², (q_k, q_k), symmetric, for
    G_k relative to σ².   residual_score: likewise ∂value/∂R for each stack of patterns,
    (..., m, m).   sigma2_score: ∂value/∂σ² at fixed G_k, zero where σ² is profiled.
    beta_score: ∂value/∂β, (p,), zero where β is profiled.
    """

    value: float
    beta: Array
    sigma2: float
    beta_cov: Array
    score: tuple[Array, ...]
    sigma2_score: float
    beta_score: Array
    residual_score: tuple[Array, ...] = ()


@frozen(eq=False)
class Curvature:
    """Second-order sums at one point, for k tangents V_j of V/σ² and, as the last one, V/σ² itself.

    With V relative to σ² and Y = [X y] in the engine's basis (`basis` T: data columns [X, y − Xβ₀] = Y T):
    P (k+1, p+1, p+1) = Y'V⁻¹V_jV⁻¹Y;  Q (k+1, k+1, p+1, p+1) = Y'V⁻¹V_jV⁻¹V_lV⁻¹Y;
    T (k+1, k+1) = tr V⁻¹V_jV⁻¹V_l;  trace (k+1,) = tr V⁻¹V_j;  cross (p+1, p+1) = Y'V⁻¹Y;  n rows.
    solution: the generalised least squares solution in that basis.   bend (k, k): what an engine that knows R by a part of
    its entries only adds to second derivatives, because the other entries follow from these in a curve.
    """

    P: Array
    Q: Array
    T: Array
    trace: Array
    cross: Array
    basis: Array
    n: int
    solution: Solution
    bend: Array | float = 0.0
