"""Second derivatives of the criterion from an engine's `Curvature`: observed, expected and average information.

For V = σ²V₁ with tangents V_j of V₁ at fixed σ², P₁ the projected inverse of V₁, and e the residual:

    ∂²(−2 log L)/∂j∂l = −tr(P₁V_jP₁V_l) + 2 e'V₁⁻¹V_jP₁V_lV₁⁻¹e/σ²      (REML; ML has V₁⁻¹ for P₁ in the trace)
    ∂²/∂j∂σ² = e'V₁⁻¹V_jV₁⁻¹e/σ⁴,      ∂²/∂σ²² = −ν/σ⁴ + 2 rss/σ⁶,

plus, for the observed information, the terms in second derivatives of V, which the covariance model adds.
Expected information is tr(P₁V_jP₁V_l); average information e'V₁⁻¹V_jP₁V_lV₁⁻¹e/σ² (Johnson & Thompson 1995).
All are on the scale of −2 log L, that is twice the usual information.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from attrs import evolve, frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood.criterion import Solution
from mmframe.likelihood.evaluation import Curvature

Kind = Literal["observed", "expected", "average"]


@frozen(eq=False)
class Sums:
    """The scalars that second derivatives are made of; the last tangent is V₁ itself.

    traces (k+1, k+1): tr(P₁V_jP₁V_l), or with V₁⁻¹ for ML.   quadratics (k+1, k+1): e'V₁⁻¹V_jP₁V_lV₁⁻¹e.
    linear (k+1,): e'V₁⁻¹V_jV₁⁻¹e.   bend (k, k): see `Curvature`.   Average information does without the traces.
    """

    traces: Array | None
    quadratics: Array
    linear: Array
    bend: Array | float = 0.0

    def still(self, k: int) -> Sums:
        """With k directions that do not move V/σ² before the tangent that is V itself."""
        widths = ((k, 0), (k, 0))
        traces = None if self.traces is None else np.pad(self.traces, widths)
        return Sums(traces, np.pad(self.quadratics, widths), np.pad(self.linear, (k, 0)), self.bend)


def sums(curvature: Curvature, *, reml: bool) -> Sums:
    """Contract P, Q and T with γ and (X'V⁻¹X)⁻¹."""
    p, solution = curvature.cross.shape[0] - 1, curvature.solution
    gamma, inverse = solution.gamma, solution.xvx_inverse
    traces = curvature.T
    if p and reml:
        weighted = inverse @ curvature.P[:, :p, :p]  # (k+1, p, p)
        k = len(weighted)
        once = curvature.Q[:, :, :p, :p].reshape(k, k, p * p) @ inverse.ravel()
        twice = weighted.reshape(k, -1) @ weighted.transpose(0, 2, 1).reshape(k, -1).T
        traces = traces - 2 * once + twice
    found = contracted(curvature.P @ gamma, (curvature.Q @ gamma) @ gamma, solution, traces)
    return evolve(found, bend=curvature.bend)


def contracted(along: Array, inner: Array, solution: Solution, traces: Array | None = None) -> Sums:
    """Sums from along (k+1, p+1) = Y'V⁻¹V_jV⁻¹e and inner (k+1, k+1) = e'V⁻¹V_jV⁻¹V_lV⁻¹e."""
    into_x = along[:, :-1]
    quadratics = inner - into_x @ solution.xvx_inverse @ into_x.T
    return Sums(traces, 0.5 * (quadratics + quadratics.T), along @ solution.gamma)


def moment_estimates(
    found: Sums, G: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[tuple[Array, ...], float] | None:
    """(G_k, σ²) in data units that solve the MIVQUE equations at V(G); None where σ² is not positive."""
    assert found.traces is not None
    # unknowns: entries of G beyond the current shape, and the multiple of V itself (the last tangent)
    solution = np.linalg.lstsq(found.traces, found.linear, rcond=1e-10)[0]
    sigma2 = float(solution[-1])
    if not (np.all(np.isfinite(solution)) and sigma2 > 0):
        return None
    return tuple(sigma2 * g + np.tensordot(solution[:-1], t, axes=1) for g, t in zip(G, tangents, strict=True)), sigma2


def second_derivatives(
    found: Sums, solution: Solution, dsigma2: Array, *, profiled: bool, kind: Kind = "observed"
) -> Array:
    """Second derivatives along k directions (V_j, dsigma2_j), without the curvature of the coordinates, nor of R: (k, k).

    profiled: σ² is at its optimum for each point and is eliminated (Schur complement).
    """
    s2, nu, rss = np.float64(solution.sigma2), solution.nu, np.float64(solution.rss)
    quadratics, linear = found.quadratics[:-1, :-1], found.linear[:-1]
    if kind != "average":
        assert found.traces is not None, "these information matrices need traces"
        traces = found.traces[:-1, :-1]
    if kind == "observed":
        inner = -traces + 2 * quadratics / s2
        mixed, pure = linear / s2**2, -nu / s2**2 + 2 * rss / s2**3
    elif kind == "expected":
        inner = traces
        assert found.traces is not None
        mixed, pure = found.traces[:-1, -1] / s2, nu / s2**2
    else:
        inner = quadratics / s2
        mixed, pure = found.quadratics[:-1, -1] / s2**2, found.quadratics[-1, -1] / s2**3
    if profiled:
        return np.asarray(inner - np.outer(mixed, mixed) / pure)
    cross = np.outer(mixed, dsigma2)
    return np.asarray(inner + cross + cross.T + pure * np.outer(dsigma2, dsigma2))


def joint_second_derivatives(curvature: Curvature, *, reml: bool) -> Array:
    """Second derivatives in (β, θ, σ²) with none of them profiled, where V is linear in θ: (p + k + 1, p + k + 1).

    β is that of the data's columns, and stands where the curvature was taken; so does σ². With e = y − Xβ:
    ∂²/∂β² = 2 X'V⁻¹X/σ²,  ∂²/∂β∂j = 2 X'V⁻¹V_jV⁻¹e/σ²,  ∂²/∂β∂σ² = 2 X'V⁻¹e/σ⁴, and in θ the observed information with V⁻¹
    in place of the inner P₁, since β does not follow (Lindstrom & Bates 1988, JASA 83, section 3).
    """
    solution, p = curvature.solution, curvature.cross.shape[0] - 1
    s2, nu, rss = solution.sigma2, solution.nu, solution.rss
    gamma, columns = solution.gamma, curvature.basis[:p, :p]
    found = sums(curvature, reml=reml)
    assert found.traces is not None
    k = len(curvature.trace) - 1
    out = np.zeros((p + k + 1, p + k + 1))
    out[:p, :p] = 2.0 * columns.T @ curvature.cross[:p, :p] @ columns / s2
    out[:p, p : p + k] = 2.0 * columns.T @ (curvature.P[:k] @ gamma)[:, :p].T / s2
    out[:p, -1] = 2.0 * columns.T @ (curvature.cross @ gamma)[:p] / s2**2
    inner = (curvature.Q[:k, :k] @ gamma) @ gamma
    out[p : p + k, p : p + k] = -found.traces[:k, :k] + (inner + inner.T) / s2 + found.bend
    out[p : p + k, -1] = found.linear[:k] / s2**2
    out[-1, -1] = -nu / s2**2 + 2.0 * rss / s2**3
    return np.asarray(np.triu(out) + np.triu(out, 1).T)


def eliminate(matrix: Array, gone: Array) -> Array:
    """Second derivatives of what is left when the coordinates `gone` stand at their optimum (Schur complement)."""
    stay = np.setdiff1d(np.arange(len(matrix)), gone)
    if not len(gone):
        return matrix
    across = matrix[np.ix_(stay, gone)]
    return np.asarray(matrix[np.ix_(stay, stay)] - across @ np.linalg.solve(matrix[np.ix_(gone, gone)], across.T))
