"""How the covariance of β̂ moves with the covariance parameters, which is what degrees of freedom are made of.

With Φ = (X'Σ⁻¹X)⁻¹ and Σ_j the derivative of Σ along a coordinate, ∂Φ/∂j = Φ X'Σ⁻¹Σ_jΣ⁻¹X Φ. The engine's P holds X'V⁻¹V_jV⁻¹X
for V = Σ/σ², so that nothing of the size of the data is asked for (docs/howto/tests-of-fixed-effects.md).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import EngineRefusedError
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.information import second_derivatives, sums
from mmframe.optimize.found import Found
from mmframe.results.uncertainty import Uncertainty, inverse_information


@frozen(eq=False)
class Sensitivity:
    """gradient (k, p, p): ∂Φ/∂θ_j.   covariance (k, k): of θ̂ by the observed information; expected (k, k): by the expected one.
    excess, excess_expected (p, p): Φ Σ_jl W_jl (Q_jl − P_jΦP_l) Φ with either for W, Q_jl = X'Σ⁻¹Σ_jΣ⁻¹Σ_lΣ⁻¹X and
    P_j = X'Σ⁻¹Σ_jΣ⁻¹X.   within, within_expected (p, p): Φ Σ_jl W_jl Q_jl Φ.
    In coordinates of no meaning by themselves: only what does not depend on their choice is to be made of them.
    """

    gradient: Array
    covariance: Array
    expected: Array
    excess: Array
    excess_expected: Array
    within: Array
    within_expected: Array


def sensitivity(engine: Engine, found: Found, known: Uncertainty, *, reml: bool) -> Sensitivity:
    """At what the stages found. Raises EngineRefusedError where the exact curvature takes too long."""
    if not engine.exact_is_affordable:
        raise EngineRefusedError(
            f"degrees of freedom: the exact curvature of this design is out of reach (engine {engine.name})"
            " · allowed: df='normal' or 'residual'"
        )
    cover, theta = known.cover, known.theta
    phi = found.evaluation.beta_cov
    p, k = len(phi), theta.size
    if not k or not p:
        nothing = np.zeros((p, p))
        return Sensitivity(np.zeros((k, p, p)), known.covariance, known.covariance, *4 * (nothing,))
    G, R, sigma2 = cover.matrices(theta)
    tangents, R_tangents, dsigma2 = cover.tangents(theta)
    assert sigma2 is not None
    answer = engine.curvature(
        G, tangents, reml=reml, sigma2=sigma2, beta=found.evaluation.beta, R=R, R_tangents=R_tangents
    )
    assert answer is not None
    curvature = answer[0]
    columns, moves = curvature.basis[:p, :p], bool(tangents or R_tangents)
    inside = columns.T @ curvature.P[:k, :p, :p] @ columns / sigma2 if moves else np.zeros((k, p, p))
    # Σ_j = σ²V_j + (∂σ²/∂j) V, on either side of Σ⁻¹ = V⁻¹/σ²
    share = dsigma2 / sigma2
    still = columns.T @ curvature.cross[:p, :p] @ columns / sigma2  # X'Σ⁻¹X
    P = inside + share[:, None, None] * still
    second = sums(curvature, reml=reml)
    information = second_derivatives(
        second if moves else second.still(k), curvature.solution, dsigma2, profiled=False, kind="expected"
    )
    expected = inverse_information(information)[0]

    def sums_of(W: Array) -> tuple[Array, Array]:
        """Φ Σ W_jl (Q_jl − P_jΦP_l) Φ and Φ Σ W_jl Q_jl Φ."""
        middle = 2 * np.tensordot(W @ share, inside, axes=1) + (share @ W @ share) * still
        if moves:  # summed before anything else: Q is the largest array here
            Q = np.tensordot(W, curvature.Q[:k, :k, :p, :p], axes=([0, 1], [0, 1]))
            middle = middle + columns.T @ Q @ columns / sigma2
        less = np.einsum("jab,jbc->ac", np.tensordot(W, P @ phi, axes=1), P)
        return tuple(np.asarray(phi @ (m + m.T) @ phi / 2) for m in (middle - less, middle))  # type: ignore[return-value]

    (excess, within), (excess_expected, within_expected) = sums_of(known.covariance), sums_of(expected)
    return Sensitivity(phi @ P @ phi, known.covariance, expected, excess, excess_expected, within, within_expected)
