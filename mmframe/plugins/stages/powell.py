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

    It needs no derivative, and does not count as a finishing stage: `tolerance` is of values and of coordinates.
    """

    name = "powell"
    bounded = True
    finishes = False

    max_iterations: int = 200
    tolerance: float = 1e-7

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        found = minimize(
            lambda u: min(problem.value(u), 1e30),
            np.clip(theta, problem.lower, problem.upper),
            method="Powell",
            bounds=Bounds(problem.lower, problem.upper),
            callback=lambda u: monitor.step(u, problem.value(u)),
            options={"maxiter": self.max_iterations, "xtol": self.tolerance, "ftol": self.tolerance},
        )
        reason = StopReason.CONVERGED if found.success else StopReason.ITERATIONS
        return StageOutcome(np.atleast_1d(found.x), reason)


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [Powell]
