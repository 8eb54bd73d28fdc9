"""Penalties: an engine around another, whose criterion has penalties on β and on the G_k, and β minimises the whole.

    −2 log L(β, G, σ²) + 2 a(β) + 2 Σ_k c_k(G_k),   with β at its minimum for each (G, σ²).

By the envelope theorem the scores are those of the inner engine at that β, with the penalties' own. Whoever asks an
engine (stages, standard errors, random effects) asks this one in the same words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from scipy.optimize import minimize

from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.effects import Effects
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Curvature, Evaluation
from mmframe.likelihood.information import eliminate, joint_second_derivatives

_STEP = 1e-4  # of differences of a penalty's gradient, in units of standard errors of β or of the size of G


@frozen(eq=False)
class Penalty:
    """What is taken off the log-likelihood. value: of β (p,), or of G (q, q) relative to σ².   gradient: (p,); or ∂/∂G,
    (q, q) and symmetric, so that a change dG adds tr(gradient dG)."""

    value: Callable[[Array], float]
    gradient: Callable[[Array], Array]


@frozen(eq=False)
class PenalizedEngine(Engine):
    """`base` with penalties. effects: that on β, or None.   covariances: one for each term, or None.
    held (p,): values at which entries of β stand; NaN where they are free.
    """

    name: ClassVar[str] = "penalized"

    base: Engine
    effects_penalty: Penalty | None = None
    covariances: tuple[Penalty | None, ...] = ()
    held: Array | None = field(default=None)

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        return "it stands around another engine"

    @classmethod
    def reduce(cls, design: Design) -> Engine:
        raise TypeError("a penalized engine is made from another engine")

    def of(self, design: Design) -> Engine:
        return evolve(self, base=self.base.of(design))

    def _stay(self, p: int) -> NDArray[np.bool_]:
        """Which entries of β are held: (p,)."""
        return np.zeros(p, dtype=bool) if self.held is None else np.isfinite(self.held)

    @property
    def held_effects(self) -> int:
        return 0 if self.held is None else int(np.sum(np.isfinite(self.held)))

    @property
    def has_penalties(self) -> bool:
        return self.effects_penalty is not None or any(p is not None for p in self.covariances)

    def _nu(self, beta: Array, reml: bool) -> int:
        return self.n - (beta.size if reml else 0)

    def _best(self, free: Evaluation, reml: bool, sigma2: float | None) -> Array:
        """The β that minimises the penalised criterion, from the unpenalised solution."""
        beta = free.beta.copy()
        precision = free.sigma2 * np.linalg.inv(free.beta_cov) if beta.size else free.beta_cov
        nu = self._nu(beta, reml)
        rss = free.sigma2 * nu  # of generalised least squares, where σ² is profiled
        stay = self._stay(beta.size)
        if self.held is not None and stay.any():
            inner, across = precision[np.ix_(~stay, ~stay)], precision[np.ix_(~stay, stay)]
            shift = self.held[stay] - beta[stay]
            follow = np.linalg.solve(inner, across) if inner.size else across
            rss += float(shift @ (precision[np.ix_(stay, stay)] - across.T @ follow) @ shift)
            beta[~stay] -= follow @ shift
            beta[stay] = self.held[stay]
            precision = inner
        penalty = self.effects_penalty
        if penalty is None or not precision.size:
            return beta
        # In units in which the unpenalised criterion is the square of the distance from its minimum.
        scale = rss / nu if sigma2 is None else sigma2
        unit = np.linalg.inv(np.linalg.cholesky(precision)).T * np.sqrt(scale)

        def at(u: Array) -> Array:
            moved = beta.copy()
            moved[~stay] += unit @ u
            return moved

        def criterion(u: Array) -> tuple[float, Array]:
            square = float(u @ u)
            value, slope = (nu * np.log1p(square / nu), 1.0 / (1.0 + square / nu)) if sigma2 is None else (square, 1.0)
            there = at(u)
            return (
                value + 2.0 * float(penalty.value(there)),
                2.0 * slope * u + 2.0 * unit.T @ np.asarray(penalty.gradient(there), dtype=float)[~stay],
            )

        def second(u: Array) -> Array:
            found = central_differences(lambda v: criterion(v)[1], u, np.full(u.size, _STEP / 1e-5))
            return np.asarray(0.5 * (found + found.T))

        start = np.zeros(len(precision))
        found = minimize(criterion, start, jac=True, hess=second, method="trust-exact", options={"gtol": 1e-9})
        return at(found.x)

    def _penalized(self, found: Evaluation, G: tuple[Array, ...], score: bool, profiled: bool) -> Evaluation | None:
        """An evaluation of the inner engine with the penalties added."""
        value, scores, beta_score = found.value, list(found.score), found.beta_score
        if self.effects_penalty is not None:
            value += 2.0 * float(self.effects_penalty.value(found.beta))
            beta_score = beta_score + 2.0 * np.asarray(self.effects_penalty.gradient(found.beta), dtype=float)
        for k, penalty in enumerate(self.covariances):
            if penalty is None:
                continue
            value += 2.0 * float(penalty.value(G[k]))
            if score:
                scores[k] = scores[k] + 2.0 * np.asarray(penalty.gradient(G[k]), dtype=float)
        if not np.isfinite(value):
            return None
        beta_score = np.zeros_like(beta_score) if profiled else beta_score
        return evolve(
            found, value=value, score=tuple(scores), beta_score=beta_score, beta_cov=self._given_held(found.beta_cov)
        )

    def _given_held(self, beta_cov: Array) -> Array:
        """The covariance of β where some entries stand: zero for those, and less for the others."""
        stay = self._stay(len(beta_cov))
        if not stay.any():
            return beta_cov
        out = np.zeros_like(beta_cov)
        loose = np.ix_(~stay, ~stay)
        out[loose] = eliminate(beta_cov, np.flatnonzero(stay))
        return out

    def evaluate(
        self,
        G: tuple[Array, ...],
        *,
        reml: bool,
        score: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
        R: tuple[Array, ...] = (),
    ) -> Evaluation | None:
        profiled = beta is None
        if beta is None:
            free = self.base.evaluate(G, reml=reml, score=False, sigma2=sigma2, R=R)
            if free is None:
                return None
            beta = self._best(free, reml, sigma2)
        found = self.base.evaluate(G, reml=reml, score=score, sigma2=sigma2, beta=beta, R=R)
        return None if found is None else self._penalized(found, G, score, profiled)

    def hessian(
        self,
        G: tuple[Array, ...],
        tangents: tuple[Array, ...],
        dsigma2: Array,
        *,
        reml: bool,
        sigma2: float | None = None,
        R: tuple[Array, ...] = (),
        R_tangents: tuple[Array, ...] = (),
        average: bool = False,
    ) -> tuple[Array, Evaluation] | None:
        """Exact, whether the average was asked for or not: from the joint second derivatives in (β, θ, σ²)."""
        free = self.base.evaluate(G, reml=reml, score=False, sigma2=sigma2, R=R)
        if free is None:
            return None
        beta = self._best(free, reml, sigma2)
        answer = self.base.curvature(G, tangents, reml=reml, sigma2=sigma2, beta=beta, R=R, R_tangents=R_tangents)
        found = None if answer is None else self._penalized(answer[1], G, True, True)
        if answer is None or found is None:
            return None
        p, k = beta.size, dsigma2.size
        joint = joint_second_derivatives(answer[0], reml=reml)
        if self.effects_penalty is not None and p:
            sizes = np.sqrt(np.diag(free.beta_cov)) * _STEP / 1e-5
            bent = central_differences(lambda b: np.asarray(self.effects_penalty.gradient(b)), beta, sizes)  # type: ignore[union-attr]
            joint[:p, :p] += bent + bent.T
        inside = slice(p, p + k)
        for g, directions, penalty in zip(G, tangents, self.covariances, strict=False):
            if penalty is not None:
                joint[inside, inside] += 2.0 * _along(penalty, g, directions)
        if sigma2 is None:
            joint = eliminate(joint, np.array([p + k]))
        else:
            spread = np.eye(p + k, p + k + 1)
            spread[p:, -1] = dsigma2
            joint = spread @ joint @ spread.T
        stay = self._stay(p)
        gone = np.flatnonzero(~stay)
        return eliminate(joint, gone)[int(stay.sum()) :, int(stay.sum()) :], found

    def curvature(
        self,
        G: tuple[Array, ...],
        tangents: tuple[Array, ...],
        *,
        reml: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
        R: tuple[Array, ...] = (),
        R_tangents: tuple[Array, ...] = (),
    ) -> tuple[Curvature, Evaluation] | None:
        """The inner engine's: penalties have no part in P, Q and T."""
        return self.base.curvature(G, tangents, reml=reml, sigma2=sigma2, beta=beta, R=R, R_tangents=R_tangents)

    def moments(
        self, G: tuple[Array, ...], tangents: tuple[Array, ...], *, reml: bool, R: tuple[Array, ...] = ()
    ) -> tuple[tuple[Array, ...], float] | None:
        return self.base.moments(G, tangents, reml=reml, R=R)

    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        return self.base.effects(design, G, beta, R)

    def describe(self) -> str:
        return f"{self.base.describe()}, with penalties"

    @property
    def n(self) -> int:
        return self.base.n

    @property
    def residual_square(self) -> float:
        return self.base.residual_square

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return self.base.levels_per_term

    @property
    def unit_scales(self) -> tuple[Array, ...]:
        return self.base.unit_scales

    @property
    def residual_index(self) -> tuple[tuple[Array, ...], ...]:
        return self.base.residual_index


def _along(penalty: Penalty, G: Array, directions: Array) -> Array:
    """Second derivatives of a penalty on G along directions (k, q, q), by differences of its gradient: (k, k)."""
    size = _STEP * float(np.linalg.norm(G))
    out = np.zeros((len(directions), len(directions)))
    for j, direction in enumerate(directions):
        length = float(np.linalg.norm(direction))
        if length == 0.0 or size == 0.0:
            continue
        h = size / length
        moved = np.asarray(penalty.gradient(G + h * direction)) - np.asarray(penalty.gradient(G - h * direction))
        out[j] = np.einsum("kab,ab->k", directions, moved) / (2 * h)
    return np.asarray(0.5 * (out + out.T))
