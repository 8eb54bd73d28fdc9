"""The problem: all that a stage may know. It translates θ into matrices and scores back into gradients."""

from __future__ import annotations

from typing import final

import numpy as np
from attrs import define, field

from mmframe.covariance.domain import Array, OutsideDomainError, Psd
from mmframe.covariance.model import CovarianceModel
from mmframe.errors import PluginError
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Evaluation
from mmframe.optimize.stage import Budget


class NoPointError(PluginError):
    """A stage asked at what is no θ."""


@define
class Counts:
    """How often the engine was asked for values, for values with scores, and for curvature.

    budget: that of a stage, while it runs.
    """

    values: int = 0
    gradients: int = 0
    hessians: int = 0
    budget: Budget | None = None

    def check(self) -> None:
        """Raises BudgetExhaustedError, so that a stage that never ends is ended."""
        if self.budget is not None:
            self.budget.check(self.total)

    @property
    def total(self) -> int:
        return self.values + self.gradients + self.hessians


@define
class _Memory:
    key: bytes | None = None
    evaluation: Evaluation | None = None
    hessian_key: bytes | None = None
    hessian: Array | None = None


@final
@define(eq=False)
class Problem:
    """Minimise −2 log L over θ (size,).

    names (size,): the coordinates in words.   lower, upper (size,): bounds, ±inf where free.
    The coordinates are divided by `unit` (size,), so that each has about unit curvature.
    """

    engine: Engine
    model: CovarianceModel
    reml: bool
    counts: Counts = field(factory=Counts)
    unit: Array = field()
    _memory: _Memory = field(factory=_Memory)
    average: bool = field()

    @unit.default
    def _plain_units(self) -> Array:
        return np.ones(self.model.size)

    @average.default
    def _as_the_engine_prefers(self) -> bool:
        return self.engine.prefers_average

    @property
    def size(self) -> int:
        return self.model.size

    @property
    def names(self) -> tuple[str, ...]:
        return self.model.names

    @property
    def lower(self) -> Array:
        return np.asarray(self.model.lower / self.unit)

    @property
    def upper(self) -> Array:
        return np.asarray(self.model.upper / self.unit)

    def in_units(self, unit: Array) -> Problem:
        """The same problem with other units; what was evaluated last is shared."""
        return Problem(self.engine, self.model, self.reml, self.counts, unit, self._memory, self.average)

    def _inner(self, theta: Array) -> Array:
        """θ in the model's own units. Raises NoPointError where a stage asks at what is no point."""
        try:
            point = np.asarray(theta)
        except ValueError:  # ragged
            point = np.empty(0, dtype=object)
        if point.shape != (self.size,) or point.dtype.kind not in "fiu":
            given = f"an array {point.shape} of {point.dtype}"
            raise NoPointError(f"asked for −2 log L at {given}; allowed: θ ({self.size},), real numbers")
        return np.asarray(point * self.unit, dtype=float)

    def _evaluate(self, theta: Array, score: bool) -> Evaluation | None:
        """None where −2 log L is not finite."""
        inner = self._inner(theta)
        key = inner.tobytes()
        memory = self._memory
        self.counts.check()
        if memory.key == key and (not score or memory.evaluation is None or memory.evaluation.score):
            return memory.evaluation
        if score:
            self.counts.gradients += 1
        else:
            self.counts.values += 1
        found: Evaluation | None = None
        if np.all(np.isfinite(inner)):
            try:
                with np.errstate(all="ignore"):
                    G, R, sigma2 = self.model.matrices(inner)
                    found = self.engine.evaluate(G, reml=self.reml, score=score, sigma2=sigma2, R=R)
            except (OutsideDomainError, np.linalg.LinAlgError):
                found = None
        if found is not None and not np.isfinite(found.value):
            found = None
        memory.key, memory.evaluation = key, found
        return found

    def evaluation(self, theta: Array) -> Evaluation | None:
        """The engine's evaluation with scores; None off the domain."""
        return self._evaluate(theta, True)

    def value(self, theta: Array) -> float:
        """−2 log L; +inf off the domain. Never raises for a numerical reason."""
        found = self._evaluate(theta, False)
        return np.inf if found is None else found.value

    def gradient(self, theta: Array) -> tuple[float, Array]:
        """(−2 log L, its gradient (size,)); (+inf, zeros) off the domain."""
        found = self._evaluate(theta, True)
        if found is None:
            return np.inf, np.zeros(self.size)
        inner = self._inner(theta)
        gradient = self.model.gradient(inner, found.score, found.sigma2_score, found.residual_score)
        return found.value, gradient * self.unit

    def hessian(self, theta: Array) -> Array:
        """The second derivatives of −2 log L, (size, size); NaN off the domain.

        Observed; where the engine prefers it (large crossed designs) with average information in place of the part that
        needs traces (`average`).
        """
        inner = self._inner(theta)
        key = inner.tobytes()
        if self._memory.hessian_key != key or self._memory.hessian is None:
            self._memory.hessian = self._hessian(inner)
            self._memory.hessian_key = key
        return np.asarray(self._memory.hessian * np.outer(self.unit, self.unit))

    def _hessian(self, inner: Array) -> Array:
        """By one pass of the engine, which gives the evaluation as well."""
        memory = self._memory
        self.counts.check()
        found: Evaluation | None = None
        hessian = np.full((self.size, self.size), np.nan)
        self.counts.hessians += 1
        if np.all(np.isfinite(inner)):
            try:
                with np.errstate(all="ignore"):
                    G, R, sigma2 = self.model.matrices(inner)
                    tangents, R_tangents, dsigma2 = self.model.tangents(inner)
                    answer = self.engine.hessian(
                        G,
                        tangents,
                        dsigma2,
                        reml=self.reml,
                        sigma2=sigma2,
                        R=R,
                        R_tangents=R_tangents,
                        average=self.average,
                    )
                if answer is not None and np.isfinite(answer[1].value):
                    found = answer[1]
                    curved = self.model.second(inner, found.score, found.sigma2_score, found.residual_score)
                    hessian = answer[0] + curved
            except (OutsideDomainError, np.linalg.LinAlgError):
                return hessian  # no second derivatives of the coordinates here; a value there may be
        memory.key, memory.evaluation = inner.tobytes(), found
        return hessian

    def em_update(self, theta: Array) -> Array:
        """One step of EM (ECME: σ² at its optimum for the relative G): G ← G − G S G / m, projected, back to θ; then, for
        the parameters of a structured residual, a step of Newton's method that lowers −2 log L.

        It needs no inverse of G, lowers −2 log L for ML and REML, and returns theta itself off the domain.
        Laird, Lange & Stram (1987), JASA 82; Liu & Rubin (1994), Biometrika 81.
        """
        inner = self._inner(theta)
        self.counts.check()
        model = self.model
        try:
            G, R, sigma2 = model.matrices(inner)
        except OutsideDomainError:
            return np.asarray(theta)
        if model.residual and not model.n_random:
            return self._residual_step(np.asarray(theta))
        held = bool(model.residual) or (model.has_sigma2 and not model.free[-1])
        found = self.engine.evaluate(G, reml=self.reml, score=True, sigma2=sigma2 if held else None, R=R)
        self.counts.gradients += 1
        if found is None:
            return np.asarray(theta)
        flats, relative = [], []
        for term, g, S, m in zip(model.random, G, found.score, self.engine.levels_per_term, strict=True):
            target = g - g @ S @ g / m
            target = 0.5 * (target + target.T)
            root = Psd(target)
            try:
                _ = root.factor
            except OutsideDomainError:
                return np.asarray(theta)
            floor = 1e-12 * max(float(np.trace(target)), 1e-300)
            flat = term.project(target + floor * np.eye(len(target)))
            relative.append(term.covariance_of(flat))
            flats.append(flat)
        if model.residual:
            moved = model.theta((*flats, *model.natural(inner, 1.0)[model.n_random :]), 1.0) / self.unit
            return self._residual_step(moved)
        if held:
            s2 = found.sigma2
        else:
            self.counts.values += 1
            after = self.engine.evaluate(tuple(relative), reml=self.reml, score=False)
            if after is None:
                return np.asarray(theta)
            s2 = after.sigma2
        return model.theta(model.rescale(tuple(flats), np.sqrt(s2)), s2) / self.unit

    def _residual_step(self, theta: Array) -> Array:
        """A step in the coordinates of the residual that lowers −2 log L, or theta itself."""
        mine = self.model.of_residual
        value, gradient = self.gradient(theta)
        hessian = self.hessian(theta)[np.ix_(mine, mine)]
        if not np.any(mine) or not np.all(np.isfinite(hessian)):
            return theta
        values, vectors = np.linalg.eigh(hessian)
        size = np.maximum(np.abs(values), 1e-8 * max(float(np.max(np.abs(values))), 1e-300))
        step = np.zeros(theta.size)
        step[mine] = -vectors @ ((vectors.T @ gradient[mine]) / size)
        for _ in range(30):
            if self.value(theta + step) <= value:
                return np.asarray(theta + step)
            step *= 0.5
        return theta
