"""The rules of optimizer stages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
from attrs import define, field, frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.model import SIGMA2, CovarianceModel
from mmframe.covariance.parameterization import Parameterization, resolve_bijection
from mmframe.covariance.structure import UNORDERED, CovarianceStructure
from mmframe.covariance.term import BoundTerm
from mmframe.design.design import Design
from mmframe.likelihood.pooled import PooledEngine
from mmframe.optimize.found import Found
from mmframe.optimize.pipeline import Pipeline, units_at
from mmframe.optimize.problem import Problem
from mmframe.optimize.stage import (
    Budget,
    BudgetExhaustedError,
    Monitor,
    OptimizerStage,
    RunawayStage,
    StageOutcome,
    StopReason,
)
from mmframe.optimize.start import starting_point
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, default_registry
from mmframe.testing.case import Case, Rule, check_all, chosen
from mmframe.testing.designs import design_for, points_for
from mmframe.testing.registered import built_in, registrable

# How near to the optimum, in −2 log L, a finishing stage must come.
REACHES = 1e-5
_BUDGET = 20_000
# Stages of which every iteration lowers −2 log L, by their definition.
_MONOTONE = ("em", "gradient", "newton")


def check_stage(stage: OptimizerStage, rules: Iterable[str] | None = None) -> list[str]:
    """All rules of a stage; the sentences of those that hold.

    It is run by itself and in a pipeline, on every structure and parameterization of mmframe, ML and REML, on designs with a
    regular and with a singular optimum. rules: only these. Raises ConformanceError at the first that is broken, SpecError for
    one that there is not.
    """
    return check_all(chosen(stage_cases(stage), rules))


def stage_cases(stage: OptimizerStage) -> list[Case]:
    """The cases of a stage, one a rule."""
    return [Case(stage, rule, partial(run, stage)) for rule, run in RULES.items()]


@define(eq=False)
class _Watched:
    """A problem as a stage sees it, which remembers where it was asked."""

    problem: Problem
    asked: list[Array] = field(factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.problem, name)

    def _ask(self, method: str, theta: Any) -> Any:
        self.asked.append(np.array(theta, dtype=float))
        return getattr(self.problem, method)(theta)

    def value(self, theta: Any) -> float:
        return float(self._ask("value", theta))

    def gradient(self, theta: Any) -> Any:
        return self._ask("gradient", theta)

    def hessian(self, theta: Any) -> Any:
        return self._ask("hessian", theta)

    def em_update(self, theta: Any) -> Any:
        return self._ask("em_update", theta)


@define(eq=False)
class _Listening(Monitor):
    """A monitor that remembers what it was told."""

    told: list[tuple[Array, float]] = field(factory=list)

    def step(self, theta: Array, value: float, gradient_norm: float = np.nan) -> None:
        self.told.append((np.array(theta, dtype=float), float(value)))
        Monitor.step(self, theta, value, gradient_norm)


@frozen(eq=False)
class _Run:
    """One run of a stage by itself, without the pipeline's care."""

    who: str
    parameterization: str
    structure: str
    problem: Problem
    watched: _Watched
    monitor: _Listening
    start: Array
    given: Array
    outcome: Any
    allowed: Budget


def _alone(
    stage: OptimizerStage, parameterization: str, structure: str = "unstructured", budget: int = _BUDGET
) -> _Run:
    chosen_one = default_registry().find(PARAMETERIZATION, f"mmframe/{parameterization}", "kit").cls()
    kind = default_registry().find(STRUCTURE, f"mmframe/{structure}", "kit").cls()
    design = design_for(points_for(kind, 2), groups=15)
    engine, model = _bound(design, (kind,), chosen_one)
    problem = Problem(engine, model, True)
    theta = model.theta(*starting_point(engine, model, design, reml=True))
    unit = units_at(problem, theta)
    problem, start = problem.in_units(unit), theta / unit
    watched = _Watched(problem)
    allowed = Budget(problem.counts.total + budget)
    monitor = _Listening(stage.name, lambda: problem.counts.total, allowed)
    problem.counts.budget = allowed
    given = start.copy()
    try:
        outcome: Any = stage.run(watched, given, monitor)  # type: ignore[arg-type]
    except (BudgetExhaustedError, RunawayStage):
        outcome = BudgetExhaustedError
    problem.counts.budget = None
    who = f"{stage.name} on {structure} in {parameterization}"
    return _Run(who, parameterization, structure, problem, watched, monitor, start, given, outcome, allowed)


def _runs(stage: OptimizerStage) -> Iterator[_Run]:
    for parameterization in ("cholesky", "natural"):
        for structure in ("variance_component", "unstructured"):
            yield _alone(stage, parameterization, structure)


def _flags(stage: OptimizerStage) -> None:
    registrable(STAGE, stage)


def _outcome(stage: OptimizerStage) -> None:
    for run in _runs(stage):
        if run.outcome is BudgetExhaustedError:
            continue
        assert isinstance(run.outcome, StageOutcome), f"{run.who}: run() returned {run.outcome!r}"
        shape = np.shape(run.outcome.theta)
        assert shape == run.start.shape, f"{run.who}: the θ of its outcome has the shape {shape}, not {run.start.shape}"
        assert isinstance(run.outcome.reason, StopReason), f"{run.who}: its reason is {run.outcome.reason!r}"


def _pure(stage: OptimizerStage) -> None:
    for run in _runs(stage):
        assert np.array_equal(run.given, run.start), f"{run.who}: it changed the θ that it was given"


def _last(run: _Run) -> float:
    return np.inf if run.outcome is BudgetExhaustedError else run.problem.value(run.outcome.theta)


def _never_worse(stage: OptimizerStage) -> None:
    for run in _runs(stage):
        before, after = run.problem.value(run.start), _last(run)
        if run.outcome is not BudgetExhaustedError:
            assert after <= before + 1e-9 * abs(before), f"{run.who}: −2 log L rose from {before:.8g} to {after:.8g}"


def _monitor(stage: OptimizerStage) -> None:
    for run in _runs(stage):
        moved = len({point.tobytes() for point in run.watched.asked}) > 2
        assert run.monitor.told or not moved, f"{run.who}: it asked at many points, and told the monitor of none"
        for theta, value in run.monitor.told:
            true = run.problem.value(theta)
            assert value == true or abs(value - true) <= 1e-9 * abs(true), (
                f"{run.who}: it told the monitor {value:.10g} at a point where −2 log L is {true:.10g}"
            )


def _bounds(stage: OptimizerStage) -> None:
    if not stage.bounded:
        return
    for run in _runs(stage):
        lower, upper = run.problem.lower, run.problem.upper
        for theta in run.watched.asked:
            room = 1e-9 * np.maximum(1.0, np.abs(theta))
            inside = np.all(theta >= lower - room) and np.all(theta <= upper + room)
            assert inside, f"{run.who}: bounded = True, and it asked at {theta}, outside {lower} to {upper}"


def _budget(stage: OptimizerStage) -> None:
    for budget in (2, 7):
        run = _alone(stage, "cholesky", budget=budget)
        more = run.allowed.ended - 1
        assert more <= 1, f"{run.who}: after a budget of {budget} evaluations it asked {more} times more, at least"


def _finishes(stage: OptimizerStage) -> None:
    if not stage.finishes:
        return
    for run in _runs(stage):
        newton = default_registry().find(STAGE, "mmframe/newton", "kit").cls()
        gap = _last(run) - _last(_alone(newton, run.parameterization, run.structure))
        assert gap <= REACHES, f"{run.who}: finishes = True, and it stopped {gap:.2e} from the optimum: {run.outcome}"


def _optimum(stage: OptimizerStage) -> None:
    plain = [e.cls() for e in built_in(STRUCTURE)]
    # a singular structure has no interior, and points are the residual's business
    for structure in (s for s in plain if s.index_kind is UNORDERED and not s.singular):
        for signal in (1.0, 0.0):
            design = design_for(points_for(structure, 2), signal=signal, groups=15)
            for parameterization in (e.cls() for e in built_in(PARAMETERIZATION)):
                for reml in (True, False):
                    check_stage_on(stage, design, structure, parameterization, reml)


def _bound(
    design: Design, structures: tuple[CovarianceStructure, ...], parameterization: Parameterization
) -> tuple[PooledEngine, CovarianceModel]:
    engine = PooledEngine.reduce(design)
    terms = tuple(
        BoundTerm.bind(t.label, design.groupings[t.grouping].name, s, t.points, parameterization)
        for t, s in zip(design.terms, structures, strict=True)
    )
    return engine, CovarianceModel.bind(terms, parameterization.scale, resolve_bijection(parameterization, SIGMA2))


def run_stages(
    stages: tuple[OptimizerStage, ...],
    design: Design,
    structures: tuple[CovarianceStructure, ...],
    parameterization: Parameterization,
    reml: bool,
) -> tuple[Found, float]:
    """Fit a design; returns what was found and −2 log L at the start."""
    engine, model = _bound(design, structures, parameterization)
    start = starting_point(engine, model, design, reml=reml)
    before = Problem(engine, model, reml).value(model.theta(*start))
    return Pipeline(stages).run(engine, model, reml, start), before


def check_stage_on(
    stage: OptimizerStage,
    design: Design,
    structure: CovarianceStructure | tuple[CovarianceStructure, ...],
    parameterization: Parameterization,
    reml: bool,
) -> None:
    """One combination, in a pipeline. Raises AssertionError."""
    structures = structure if isinstance(structure, tuple) else (structure,)
    newton = default_registry().find(STAGE, "newton", "kit").cls()
    cholesky = default_registry().find(PARAMETERIZATION, "cholesky", "kit").cls()
    best, _ = run_stages((newton,), design, structures, cholesky, reml)
    names = ", ".join(s.name for s in structures)
    who = f"{stage.name} on {names} in {parameterization.name}, {'REML' if reml else 'ML'}"
    assert best.converged, f"{who}: the reference did not converge: {best.reason}"
    alone, before = run_stages((stage,), design, structures, parameterization, reml)
    assert alone.point.value <= before + 1e-9 * abs(before), (
        f"{who}: −2 log L rose from {before} to {alone.point.value}"
    )
    values = [row.value for row in alone.trace if row.stage == stage.name]
    rises = [b - a for a, b in itertools.pairwise(values)]
    if stage.name in _MONOTONE:
        assert all(r <= 1e-8 for r in rises), f"{who}: an iteration raised −2 log L by {max(rises)}"
    stages = (stage,) if stage.finishes else (stage, newton)
    found = alone if stage.finishes else run_stages(stages, design, structures, parameterization, reml)[0]
    gap = found.point.value - best.point.value
    assert abs(gap) <= REACHES, f"{who}: it stopped {gap:.2e} from the optimum: {found.reason}"
    assert found.converged, f"{who}: {found.reason}"


RULES: dict[Rule, Callable[[OptimizerStage], None]] = {
    Rule(
        "flags",
        "the name is lower case, bounded and finishes are True or False",
        "name it after ^[a-z][a-z0-9_]*$, and declare both flags on the class",
    ): _flags,
    Rule(
        "outcome",
        "run() returns a StageOutcome with θ (size,) and a reason",
        "return StageOutcome(theta, StopReason.CONVERGED), from mmframe.api",
    ): _outcome,
    Rule("pure", "the θ that it is given is left as it is", "begin with theta = theta.copy()"): _pure,
    Rule(
        "never_worse",
        "−2 log L is never higher at its end than at its start",
        "return the best θ that was met; where nothing helped, the first",
    ): _never_worse,
    Rule(
        "monitor",
        "the monitor hears of each iteration, with −2 log L at its θ",
        "call monitor.step(theta, value) once an iteration, with the value of that θ",
    ): _monitor,
    Rule(
        "bounds",
        "a bounded stage asks only between the bounds",
        "clip to problem.lower and problem.upper before asking, or declare bounded = False",
    ): _bounds,
    Rule(
        "budget",
        "it ends when the budget of evaluations is used up",
        "let BudgetExhaustedError pass; catch the exceptions that you know, and no others",
    ): _budget,
    Rule(
        "finishes",
        f"a finishing stage comes within {REACHES:g} of the optimum by itself",
        "tighten its tolerance, or declare finishes = False: it is then meant to be followed by a stage that does",
    ): _finishes,
    Rule(
        "optimum",
        "the optimum is reached, alone or followed by a finishing stage: regular and singular, ML and REML",
        "see the combination in what was found, and fit it with trace",
    ): _optimum,
}
