"""The optimizer stage: one run of one algorithm on a `Problem`. Stages speak θ, never matrices."""

from __future__ import annotations

import enum
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from attrs import define, field, frozen

from mmframe.covariance.domain import Array
from mmframe.errors import PluginError

if TYPE_CHECKING:
    from mmframe.optimize.problem import Problem


class StopReason(enum.Enum):
    """Why a stage stopped; the value is the message."""

    CONVERGED = "the stage's own convergence test passed"
    ITERATIONS = "the stage reached its number of iterations"
    NO_PROGRESS = "the stage could not lower the criterion any further"
    BUDGET = "the budget of evaluations was used up"
    NOTHING_TO_DO = "there is no free parameter"


@frozen(eq=False)
class StageOutcome:
    """What a stage hands on: its last θ, why it stopped, and a sentence of its own."""

    theta: Array
    reason: StopReason
    message: str = ""


@frozen
class TraceRow:
    """One line of the trace; `value` is −2 log L, `gradient_norm` the largest entry in the stage's units."""

    stage: str
    iteration: int
    evaluations: int
    value: float
    gradient_norm: float
    seconds: float


class BudgetExhaustedError(Exception):
    """Raised by a monitor or a problem to end a stage; the pipeline keeps the best point."""


class RunawayStage(BaseException):
    """Raised where a stage goes on after its end: one that catches every Exception does not catch this."""


# How often a stage may be told that its budget is used up.
PATIENCE = 100


@define
class Budget:
    """How many evaluations the engine may do for a stage, and how often a stage may ask and report: ten times that, since what
    is asked at one point again costs nothing."""

    evaluations: int
    asks: int = 0
    ended: int = 0

    def check(self, evaluations: int) -> None:
        """Raises BudgetExhaustedError, and RunawayStage where that was not heeded."""
        self.asks += 1
        if evaluations < self.evaluations and self.asks < 10 * self.evaluations:
            return
        self.ended += 1
        if self.ended > PATIENCE:
            raise RunawayStage
        raise BudgetExhaustedError


def _as_budget(given: Budget | int) -> Budget:
    return given if isinstance(given, Budget) else Budget(given)


@define(eq=False)
class Monitor:
    """Records what a stage does and ends it when the budget is used up.

    A stage calls `step` once an iteration. It keeps the best θ, so nothing is lost when a stage is ended.
    """

    stage: str
    evaluations: Callable[[], int]
    budget: Budget = field(converter=_as_budget)
    on_step: Callable[[TraceRow], None] | None = None
    rows: list[TraceRow] = field(factory=list)
    best_theta: Array | None = None
    best_value: float = np.inf
    started: float = field(factory=time.perf_counter)

    def step(self, theta: Array, value: float, gradient_norm: float = np.nan) -> None:
        """One iteration done: θ (size,), −2 log L there, the largest entry of its gradient.

        Raises PluginError for what are no numbers, BudgetExhaustedError where the budget is used up.
        """
        try:
            point, value, gradient_norm = np.array(theta, dtype=float), float(value), float(gradient_norm)
        except (TypeError, ValueError):
            given = f"θ {theta!r}, value {value!r}, gradient_norm {gradient_norm!r}"
            raise PluginError(f"the stage {self.stage!r} told the monitor {given}; allowed: numbers") from None
        if value < self.best_value:
            self.best_theta, self.best_value = point, value
        row = TraceRow(
            self.stage, len(self.rows), self.evaluations(), value, gradient_norm, time.perf_counter() - self.started
        )
        self.rows.append(row)
        if self.on_step is not None:
            self.on_step(row)
        self.budget.check(row.evaluations)


class OptimizerStage(ABC):
    """One algorithm. A subclass is an attrs class whose fields are its options.

    bounded: it respects `problem.lower` and `problem.upper` by itself; otherwise it meets +inf outside, and the
    pipeline continues it in coordinates without bounds.
    finishes: it reaches the optimum by itself. A stage that does not is meant to be followed by one that does.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    bounded: ClassVar[bool]
    finishes: ClassVar[bool]

    @abstractmethod
    def run(self, problem: Problem, theta: Array, monitor: Monitor) -> StageOutcome:
        """Lower problem.value from theta; numerical trouble is an outcome, not an exception."""
