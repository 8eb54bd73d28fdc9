"""Steepest descent with a line search."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class Gradient(OptimizerStage):
    """Steps along the negative gradient, each halved until it satisfies Armijo's condition and doubled while it helps
    (Nocedal & Wright 2006, chapter 3). Bounds are kept by projection."""

    name = "gradient"
    aliases = ("steepest_descent",)
    bounded = True
    finishes = False

    max_iterations: int = 20
    tolerance: float = 1e-5

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        lower, upper = problem.lower, problem.upper
        theta = np.clip(theta, lower, upper)
        value, gradient = problem.gradient(theta)
        step = 1.0
        for _ in range(self.max_iterations):
            free = np.clip(theta - gradient, lower, upper) - theta
            if np.max(np.abs(free), initial=0.0) < self.tolerance:
                return StageOutcome(theta, StopReason.CONVERGED)
            trial, trial_value, step = _search(problem, theta, value, gradient, step)
            if not trial_value < value:
                return StageOutcome(theta, StopReason.NO_PROGRESS)
            theta = trial
            value, gradient = problem.gradient(theta)
            monitor.step(theta, value, float(np.max(np.abs(gradient))))
        return StageOutcome(theta, StopReason.ITERATIONS, f"{self.max_iterations} iterations done")


def _search(problem: Problem, theta: Any, value: float, gradient: Any, step: float) -> tuple[Any, float, float]:
    """A step that lowers the value enough, and the length to try first next time."""

    def move(length: float) -> tuple[Any, float, float]:
        point = np.clip(theta - length * gradient, problem.lower, problem.upper)
        return point, problem.value(point), float(gradient @ (theta - point))

    point, trial, promised = move(step)
    for _ in range(60):
        if trial <= value - 1e-4 * promised and np.isfinite(trial):
            break
        step *= 0.5
        point, trial, promised = move(step)
    else:
        return theta, value, step
    for _ in range(10):
        longer, longer_value, _ = move(2 * step)
        if not longer_value < trial:
            break
        step, point, trial = 2 * step, longer, longer_value
    return point, trial, step


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [Gradient]
