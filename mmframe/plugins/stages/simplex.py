"""The simplex of Nelder and Mead (scipy): values only, no derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from scipy.optimize import Bounds, minimize

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class Simplex(OptimizerStage):
    """Nelder & Mead (1965) with dimension-dependent coefficients (Gao & Han 2012, Comput. Optim. Appl. 51).

    It needs no derivative, and has no proof of convergence, so it does not count as a finishing stage.
    """

    name = "simplex"
    aliases = ("nelder_mead", "nm")
    bounded = True
    finishes = False

    max_iterations: int = 2000
    tolerance: float = 1e-7

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        theta = np.clip(theta, problem.lower, problem.upper)
        corners = np.vstack([theta, theta + np.eye(problem.size)])
        found = minimize(
            lambda u: min(problem.value(u), 1e30),
            theta,
            method="Nelder-Mead",
            bounds=Bounds(problem.lower, problem.upper),
            callback=lambda u: monitor.step(u, problem.value(u)),
            options={
                "maxiter": self.max_iterations,
                "maxfev": 10 * self.max_iterations,
                "xatol": 1e-5,
                "fatol": self.tolerance,
                "adaptive": True,
                "initial_simplex": np.clip(corners, problem.lower, problem.upper),
            },
        )
        reason = StopReason.CONVERGED if found.success else StopReason.ITERATIONS
        return StageOutcome(found.x, reason)


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [Simplex]
