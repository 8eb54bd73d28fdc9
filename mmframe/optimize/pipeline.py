"""The pipeline: runs stages in sequence, keeps the best point, and checks the end.

After the stages the point is examined in *cover* coordinates (covariance/cover.py), which have no bounds and
reach every boundary at an ordinary point: the gradient and the Hessian there tell an optimum, singular or not, from
a false zero (a saddle at Λ = 0, from which the fit leaves along the direction of negative curvature). A finishing stage
that has stopped at the boundary of its own coordinates is continued in the cover. What a singular matrix can hide from any
coordinates is tested on the cone itself: its score must be positive semidefinite.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import evolve, field, frozen

from mmframe.covariance.derivative import parts
from mmframe.covariance.domain import Array, PositiveDefinite, unvech, vech
from mmframe.covariance.model import CovarianceModel
from mmframe.errors import DataError, Issue, PluginError, SpecError
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Evaluation
from mmframe.optimize.boundary import at_boundary, settled
from mmframe.optimize.clock import Clock
from mmframe.optimize.found import OPTIMAL, Check, Found, Point
from mmframe.optimize.problem import Counts, NoPointError, Problem
from mmframe.optimize.stage import (
    Budget,
    BudgetExhaustedError,
    Monitor,
    OptimizerStage,
    RunawayStage,
    StageOutcome,
    StopReason,
    TraceRow,
)

DEFAULT_BUDGET = 20_000
_ATTEMPTS = 8
_COVER = " (cover)"  # what a stage is called that continues in the cover
_EXACT = "no optimum: σ² runs to zero, the random effects fit the data exactly; use a simpler basis, or fix sigma"


@frozen(eq=False)
class Pipeline:
    """Stages, in order, with one budget of evaluations for all of them."""

    stages: tuple[OptimizerStage, ...]
    budget: int = DEFAULT_BUDGET
    on_step: Callable[[TraceRow], None] | None = None
    on_stage: Callable[[str, StageOutcome, float], None] | None = None

    def run(
        self,
        engine: Engine,
        model: CovarianceModel,
        reml: bool,
        start: tuple[tuple[Array, ...], float],
        clock: Clock | None = None,
    ) -> Found:
        """Minimise −2 log L from natural parameters in data units. `clock` holds the phases before this one."""
        return _Run(self, engine, model, reml, clock or Clock()).go(*start)


@frozen(eq=False)
class _Run:
    plan: Pipeline
    engine: Engine
    model: CovarianceModel
    reml: bool
    clock: Clock
    counts: Counts = field(factory=Counts)
    trace: list[TraceRow] = field(factory=list)
    problems: list[Problem] = field(factory=list)
    looked_at: list[tuple[Point, bool]] = field(factory=list)  # the last point whose boundary was looked at

    def go(self, flats: tuple[Array, ...], sigma2: float) -> Found:
        point = self._point(self.model, self.model.theta(flats, sigma2))
        self.trace.append(TraceRow("start", 0, self.counts.total, point.value, np.nan, 0.0))
        self.clock.lap("start")
        reasons: list[str] = []
        if self.model.size:
            for stage in self.plan.stages:
                point, outcome = self._stage(stage, self.model, point)
                self.clock.lap(stage.name)
                reasons.append(_sentence(stage.name, outcome))
                if outcome.reason is StopReason.BUDGET:
                    break
        else:
            reasons.append(StopReason.NOTHING_TO_DO.value)
        point, check, extra = self._finish(point)
        point, check = self._settle(point, check)
        cover = self._cover(point)
        theta = point.theta(cover)
        evaluation = self._problem(cover).evaluation(theta)
        if evaluation is None:
            raise DataError(
                "−2 log L is not finite at the last point · the random effects fit the data exactly, or nearly so"
            )
        singular = self._singular(point)
        exact = point.sigma2 * 1e12 < self.engine.residual_square / self.engine.n
        verdict = _EXACT if exact else _verdict(check, singular)
        reason = "; ".join([*reasons, *extra, verdict])
        self.clock.lap("check")
        return Found(
            point,
            cover,
            theta,
            evaluation,
            check,
            check.optimal and not exact,
            singular,
            reason,
            tuple(self.trace),
            self.counts,
            dict(self.clock.seconds),
        )

    def _problem(self, model: CovarianceModel) -> Problem:
        """The problem in these coordinates; one for each model, so that its last evaluations are found again."""
        for known in self.problems:
            if known.model is model:
                return known
        self.problems.append(Problem(self.engine, model, self.reml, self.counts))
        return self.problems[-1]

    def _cover(self, point: Point) -> CovarianceModel:
        return self.model.cover(point.flats, point.sigma2)

    def _point(self, model: CovarianceModel, theta: Array) -> Point:
        problem = self._problem(model)
        if model.size:
            problem.hessian(theta)  # wanted here in any case, and its pass gives the evaluation as well
        found = problem.evaluation(theta)
        if found is None:
            given = ", ".join(f"{v:.3g}" for v in theta)
            raise SpecError(Issue("start", f"−2 log L is not finite there ({given})", "values nearer to the data"))
        return self._at(model, theta, found)

    def _at(self, model: CovarianceModel, theta: Array, found: Evaluation) -> Point:
        flats = model.natural(theta, found.sigma2)
        sigma2 = model.residual_variance(flats) if model.residual else found.sigma2
        return Point(flats, sigma2, found.value, model, theta)

    def _stage(
        self, stage: OptimizerStage, model: CovarianceModel, point: Point, suffix: str = ""
    ) -> tuple[Point, StageOutcome]:
        """Run one stage in the given coordinates; the point never gets worse."""
        problem = self._problem(model)
        theta = point.theta(model)
        problem = problem.in_units(units_at(problem, theta))
        budget = Budget(self.plan.budget)
        monitor = Monitor(stage.name + suffix, lambda: self.counts.total, budget, self.plan.on_step)
        start = theta / problem.unit
        self.counts.budget = budget
        try:
            outcome = _outcome(stage, stage.run(problem, start.copy(), monitor), start)
        except BudgetExhaustedError:
            best = start if monitor.best_theta is None else monitor.best_theta
            outcome = StageOutcome(best, StopReason.BUDGET)
        except RunawayStage:
            said = "goes on after its budget of evaluations is used up · it must let BudgetExhaustedError pass"
            raise PluginError(f"the stage {stage.name!r} {said}") from None
        except NoPointError as none:
            raise PluginError(f"the stage {stage.name!r} {none}") from None
        finally:
            self.counts.budget = None
        self.trace.extend(monitor.rows)
        last = np.array(outcome.theta, dtype=float)  # a copy: the outcome is shown to observers
        if monitor.best_theta is not None and monitor.best_value < problem.value(last):
            last = monitor.best_theta
        found = problem.evaluation(last)
        if self.plan.on_stage is not None:
            self.plan.on_stage(stage.name, outcome, min(point.value, np.inf if found is None else found.value))
        if found is None or found.value > point.value:
            return point, outcome
        return self._at(model, last * problem.unit, found), outcome

    def _examine(self, point: Point) -> tuple[Check, CovarianceModel, Array]:
        model = self._cover(point)
        theta = point.theta(model)
        if not model.size:
            return Check(0.0, 0.0, np.inf, None), model, theta
        problem = self._problem(model)
        unit = units_at(problem, theta)
        problem = problem.in_units(unit)
        scaled = theta / unit
        hessian = problem.hessian(scaled)
        _, gradient = problem.gradient(scaled)
        if not np.all(np.isfinite(hessian)):
            return Check(np.inf, np.inf, np.nan, None), model, theta
        values, vectors = np.linalg.eigh(hessian)
        along = vectors.T @ gradient
        curved = values > 1e-7
        # flat directions count by their slope over a unit step
        remaining = float(
            0.5 * np.sum(along[curved] ** 2 / values[curved])
            + np.sum(np.abs(along[~curved]) * (np.abs(along[~curved]) > 1e-5))
        )
        escape = None
        if values[0] < -1e-4:
            escape = vectors[:, 0] * unit
            if gradient @ vectors[:, 0] > 0:
                escape = -escape
        return Check(remaining, float(np.max(np.abs(gradient))), float(values[0]), escape), model, theta

    def _finish(self, point: Point) -> tuple[Point, Check, list[str]]:
        """Continue the last finishing stage in the cover until the end is an optimum."""
        said: list[str] = []
        check, cover, theta = self._examine(point)
        finisher = next((s for s in reversed(self.plan.stages) if s.finishes), None)
        if finisher is None:
            return point, check, said
        for _ in range(_ATTEMPTS):
            if check.optimal:
                better = self._into_the_cone(point, theta, cover)
                if better is None:
                    break
                point = better
                check, cover, theta = self._examine(point)
            else:
                zeroed, zeroed_check = self._settle(point, check)
                if zeroed_check.optimal:
                    point = zeroed
                    check, cover, theta = self._examine(point)
                    continue
            if self.counts.total >= self.plan.budget:
                break
            before = point.value
            if check.escape is not None:
                better = self._into_the_cone(point, theta, cover)
                point = self._leave(point, cover, theta, check.escape) if better is None else better
                cover = self._cover(point)
            self.clock.lap("check")
            point, outcome = self._stage(finisher, cover, point, _COVER)
            self.clock.lap(finisher.name + _COVER)
            check, cover, theta = self._examine(point)
            if not said:
                said.append(f"continued in coordinates without bounds, {_sentence(finisher.name, outcome)}")
            if before - point.value < 1e-10 * max(1.0, abs(before)) * 1e-3:
                break
        return point, check, said

    def _leave(self, point: Point, cover: CovarianceModel, theta: Array, direction: Array) -> Point:
        """A step along negative curvature that lowers the criterion."""
        problem = self._problem(cover)
        size = 1.0
        best, best_theta = point.value, theta
        for _ in range(40):
            value = problem.value(theta + size * direction)
            if value < best:
                best, best_theta = value, theta + size * direction
            elif best < point.value:
                break
            size *= 0.5
        return point if best_theta is theta else self._point(cover, best_theta)

    def _into_the_cone(self, point: Point, theta: Array, cover: CovarianceModel) -> Point | None:
        """A better point M + t uu' where a singular matrix M is no optimum of the cone, or None.

        An optimum over positive semidefinite matrices has a score S that is positive semidefinite itself (and S M = 0).
        No coordinates can hide a direction u with u'S u < 0 from this test.
        """
        found = self._problem(cover).evaluation(theta)
        if found is None or not self._singular(point):
            return None
        relative = self.model.rescale(point.flats, 1.0 / np.sqrt(point.sigma2))
        # scores are for matrices relative to what the engine calls σ², which is 1 where R carries the scale
        scores = [point.sigma2 * S for S in found.score] if self.model.residual else found.score
        for k, (term, unit) in enumerate(zip(self.model.random, self.engine.unit_scales, strict=True)):
            if any(b.holds for b in term.bijections):
                continue  # some of its entries are held
            natural = term.natural_pull(term.natural_jacobians(relative[k]), (scores[k],))
            for param, part in parts(term.params):
                if not isinstance(param.domain, PositiveDefinite):
                    continue
                dim = param.domain.dim
                D = unit if unit.size == dim else np.ones(dim)
                score = unvech(natural[part]) * (0.5 + 0.5 * np.eye(dim)) / np.outer(D, D)
                values, vectors = np.linalg.eigh(score)
                if values[0] > -1e-5:
                    continue
                u = vectors[:, 0] / D
                for t in 4.0 ** -np.arange(12):
                    flats = [f.copy() for f in relative]
                    flats[k][part] += vech(np.outer(u, u)) * t
                    moved = self.model.rescale(tuple(flats), np.sqrt(point.sigma2))
                    model = self.model.cover(moved, point.sigma2)
                    value = self._problem(model).value(model.theta(moved, point.sigma2))
                    if value < point.value - OPTIMAL:
                        return self._point(model, model.theta(moved, point.sigma2))
        return None

    @property
    def _unit_scales(self) -> list[Array]:
        """The units of each term's scales: those of its basis, 1 for the residual."""
        return [*self.engine.unit_scales, *(np.ones(1) for _ in self.model.residual)]

    def _settle(self, point: Point, check: Check) -> tuple[Point, Check]:
        """Put values that are zero to within tolerance exactly on their boundary, where that costs nothing."""
        if not self._singular(point):
            return point, check
        flats, moved = [], False
        for term, flat, unit in zip(self.model.terms, point.flats, self._unit_scales, strict=True):
            new = settled(term.params, flat, point.sigma2, unit)
            moved = moved or not np.array_equal(new, flat)
            flats.append(new)
        if not moved:
            return point, check
        cover = self.model.cover(tuple(flats), point.sigma2)
        theta = cover.theta(tuple(flats), point.sigma2)
        if not np.isfinite(self._problem(cover).value(theta)):
            return point, check
        candidate = self._point(cover, theta)
        if candidate.value > point.value + 1e-8:
            return point, check
        # The numbers themselves, not their way through coordinates: an exact zero stays one.
        candidate = evolve(candidate, flats=self.model.rescale(tuple(flats), np.sqrt(candidate.sigma2 / point.sigma2)))
        again, _, _ = self._examine(candidate)
        return (candidate, again) if again.optimal else (point, check)

    def _singular(self, point: Point) -> bool:
        """Whether a parameter stands on the boundary of its domain."""
        if self.looked_at and self.looked_at[0][0] is point:
            return self.looked_at[0][1]
        found = any(
            at_boundary(term.params, flat, point.sigma2, unit)
            for term, flat, unit in zip(self.model.terms, point.flats, self._unit_scales, strict=True)
        )
        self.looked_at[:] = [(point, found)]
        return found


def _outcome(stage: OptimizerStage, given: object, start: Array) -> StageOutcome:
    """What a stage returned. Raises PluginError where it is no outcome."""
    if not isinstance(given, StageOutcome):
        raise PluginError(f"the stage {stage.name!r} returned {given!r}; allowed: a StageOutcome(theta, reason)")
    if not isinstance(given.reason, StopReason):
        raise PluginError(f"the stage {stage.name!r} returned the reason {given.reason!r}; allowed: a StopReason")
    try:
        theta = np.asarray(given.theta, dtype=float)
    except (TypeError, ValueError):
        theta = np.empty(0)
    if theta.shape != start.shape:
        said = f"θ {given.theta!r} of shape {theta.shape}; allowed: numbers {start.shape}"
        raise PluginError(f"the stage {stage.name!r} returned {said}")
    return given


def units_at(problem: Problem, theta: Array) -> Array:
    """One over the root of the curvature along each coordinate; the size of θ where that is not positive."""
    diagonal = np.diag(problem.hessian(theta))
    if not np.all(np.isfinite(diagonal)):
        return problem.unit
    largest = float(np.max(np.abs(diagonal), initial=0.0))
    if largest == 0.0:
        return problem.unit
    size = float(np.max(np.abs(theta), initial=0.0))
    plain = np.maximum(np.abs(theta), size if size > 0 else 1e-3)
    usable = np.abs(diagonal) * plain**2 > 1e-12
    unit = np.where(usable, 1.0 / np.sqrt(np.where(usable, np.abs(diagonal), 1.0)), plain)
    # powers of two: dividing and multiplying by them loses no digit, so a point keeps its evaluation
    return np.asarray(2.0 ** np.round(np.log2(unit)))


def _sentence(name: str, outcome: StageOutcome) -> str:
    return f"{name}: {outcome.message or outcome.reason.value}"


def _verdict(check: Check, singular: bool) -> str:
    if check.optimal:
        where = (
            "a singular optimum (on the boundary: a zero variance or a correlation of ±1)" if singular else "an optimum"
        )
        return f"{where}: gradient and curvature checked, {check.remaining:.1e} left to gain"
    if check.escape is not None:
        return "not an optimum: the curvature is negative along a direction"
    return f"not an optimum: about {check.remaining:.1e} of −2 log L is left to gain"
