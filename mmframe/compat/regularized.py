"""The lasso: slopes that minimise the generalised residual sum of squares and Σ alpha |β|, at given covariances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from mmframe.compat.building import at_slopes
from mmframe.covariance.domain import Array
from mmframe.likelihood.penalty import Penalty

if TYPE_CHECKING:
    from mmframe.compat.mixedlm import MixedLM
    from mmframe.compat.results import MixedLMResults


@frozen(eq=False)
class L1:
    """½ Σ weight |β|, beside ½ of −2 log L."""

    weights: Array

    def value(self, beta: Array) -> float:
        return 0.5 * float(self.weights @ np.abs(beta))

    def gradient(self, beta: Array) -> Array:
        return np.asarray(0.5 * self.weights * np.sign(beta))


def lasso(gram: Array, along: Array, alpha: Array, start: Array, ptol: float, maxit: int) -> Array:
    """min β'gram β − 2 along'β + Σ alpha |β| by cyclic coordinate descent (Friedman, Hastie & Tibshirani 2010, JSS 33(1))."""
    beta = start.copy()
    size = np.diag(gram)
    for _ in range(maxit):
        before = beta.copy()
        for j in range(beta.size):
            rest = along[j] - gram[j] @ beta + size[j] * beta[j]
            beta[j] = np.sign(rest) * max(abs(rest) - 0.5 * alpha[j], 0.0) / size[j]
        if np.max(np.abs(beta - before), initial=0.0) < ptol:
            break
    return beta


def fit_l1(
    model: MixedLM, unpenalized: MixedLMResults, alpha: Any, ceps: float, ptol: float, maxit: int
) -> MixedLMResults:
    """The lasso at the covariances of a fit; scale follows the slopes. Raises ValueError for weights that do not fit."""
    weights = np.asarray(alpha, dtype=float)
    if weights.ndim > 1 or (weights.ndim == 1 and weights.size != model.k_fe) or not np.all(weights >= 0):
        raise ValueError(f"alpha: {alpha!r} · allowed: a number ≥ 0, or one for each of the {model.k_fe} slopes")
    layout = model.layout
    evaluation = layout.model.engine.evaluate(
        layout.matrices(unpenalized.params_object), reml=unpenalized.reml, score=False
    )
    assert evaluation is not None
    gram = np.linalg.inv(evaluation.beta_cov)  # X'V⁻¹X, with V in the units of the data
    best = evaluation.beta
    every = layout.inward(np.broadcast_to(weights, (model.k_fe,)))
    slopes = layout.outward(lasso(gram, gram @ best, every, best, ptol, maxit))
    slopes[np.abs(slopes) < ceps] = 0.0
    lasso_penalty = L1(every)
    penalty = Penalty(lasso_penalty.value, lasso_penalty.gradient)
    return at_slopes(model, unpenalized, slopes, slopes != 0.0, penalty)
