"""How the covariance of β̂ moves with the covariance parameters, which is what degrees of freedom are made of.

With Φ = (X'Σ⁻¹X)⁻¹ and Σ_j the derivative of Σ along a coordinate, ∂Φ/∂j = Φ X'Σ⁻¹Σ_jΣ⁻¹X Φ. The engine's P holds X'V⁻¹V_jV⁻¹X
for V = Σ/σ², so that nothing of the size of the data is asked for (docs/theory/satterthwaite.md).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import EngineRefusedError
from mmframe.likelihood.engine import Engine
from mmframe.optimize.found import Found
from mmframe.results.uncertainty import uncertainty


@frozen(eq=False)
class Sensitivity:
    """gradient (k, p, p): ∂Φ/∂θ_j.   covariance (k, k): of θ̂. In coordinates of no meaning by themselves: only what does not
    depend on their choice is to be made of them."""

    gradient: Array
    covariance: Array


def sensitivity(engine: Engine, found: Found, *, reml: bool) -> Sensitivity:
    """At what the stages found. Raises EngineRefusedError where the exact curvature takes too long."""
    if not engine.exact_is_affordable:
        raise EngineRefusedError(
            f"degrees of freedom: the exact curvature of this design is out of reach (engine {engine.name})"
            " · allowed: df='normal' or 'residual'"
        )
    known = uncertainty(engine, found, reml=reml)
    cover, theta = known.cover, known.theta
    phi = found.evaluation.beta_cov
    p, k = len(phi), theta.size
    if not k or not p:
        return Sensitivity(np.zeros((k, p, p)), known.covariance)
    G, R, sigma2 = cover.matrices(theta)
    tangents, R_tangents, dsigma2 = cover.tangents(theta)
    assert sigma2 is not None
    inside = np.zeros((k, p, p))
    if tangents or R_tangents:
        answer = engine.curvature(
            G, tangents, reml=reml, sigma2=sigma2, beta=found.evaluation.beta, R=R, R_tangents=R_tangents
        )
        assert answer is not None
        columns = answer[0].basis[:p, :p]
        inside = columns.T @ answer[0].P[:k, :p, :p] @ columns
    gradient = phi @ inside @ phi / sigma2 + (dsigma2 / sigma2)[:, None, None] * phi
    return Sensitivity(gradient, known.covariance)
