"""Powell's method of conjugate directions (scipy): values only, no derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from scipy.optimize import Bounds, minimize

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class Powell(OptimizerStage):
    """Line searches along directions that become conjugate (Powell 1964, The Computer Journal 7).

    It needs no derivative, and does not count as a finishing stage: a round of line searches that gains less than `tolerance`
    ends it.
    """

    name = "powell"
    bounded = True
    finishes = False

    max_iterations: int = 200
    tolerance: float = 1e-8

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        start = np.clip(theta, problem.lower, problem.upper)
        size = max(1.0, 2.0 * abs(problem.value(start)))  # scipy's is relative to the sum of two values
        found = minimize(
            lambda u: min(problem.value(u), 1e30),
            start,
            method="Powell",
            bounds=Bounds(problem.lower, problem.upper),
            callback=lambda u: monitor.step(u, problem.value(u)),
            options={"maxiter": self.max_iterations, "xtol": 1e-6, "ftol": self.tolerance / size},
        )
        reason = StopReason.CONVERGED if found.success else StopReason.ITERATIONS
        # between bounds its line searches may end at a point that is worse than one before
        met = [np.atleast_1d(found.x), start, *([] if monitor.best_theta is None else [monitor.best_theta])]
        return StageOutcome(min(met, key=problem.value), reason)


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [Powell]
