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
    """Raised by a monitor to end a stage; the pipeline keeps the best point."""


@define(eq=False)
class Monitor:
    """Records what a stage does and ends it when the budget is used up.

    A stage calls `step` once an iteration. It keeps the best θ, so nothing is lost when a stage is ended.
    """

    stage: str
    evaluations: Callable[[], int]
    budget: int
    on_step: Callable[[TraceRow], None] | None = None
    rows: list[TraceRow] = field(factory=list)
    best_theta: Array | None = None
    best_value: float = np.inf
    started: float = field(factory=time.perf_counter)

    def step(self, theta: Array, value: float, gradient_norm: float = np.nan) -> None:
        if value < self.best_value:
            self.best_theta, self.best_value = np.array(theta, dtype=float), float(value)
        row = TraceRow(
            self.stage,
            len(self.rows),
            self.evaluations(),
            float(value),
            float(gradient_norm),
            time.perf_counter() - self.started,
        )
        self.rows.append(row)
        if self.on_step is not None:
            self.on_step(row)
        if row.evaluations >= self.budget:
            raise BudgetExhaustedError


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
