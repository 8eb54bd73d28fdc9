"""Limited-memory BFGS with bounds (scipy)."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from scipy.optimize import Bounds, minimize

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class LBFGS(OptimizerStage):
    """L-BFGS-B (Byrd, Lu, Nocedal & Zhu 1995, SIAM J. Sci. Comput. 16).

    `tolerance` bounds the projected gradient in units of one over the root of the curvature.
    """

    name = "lbfgs"
    aliases = ("l_bfgs_b",)
    bounded = True
    finishes = True

    max_iterations: int = 500
    tolerance: float = 1e-5

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        last: dict[str, Any] = {}

        def objective(u: Any) -> tuple[float, Any]:
            value, gradient = problem.gradient(u)
            last.update(value=value, size=float(np.max(np.abs(gradient), initial=0.0)))
            return (value, gradient) if np.isfinite(value) else (1e30, gradient)

        found = minimize(
            objective,
            np.clip(theta, problem.lower, problem.upper),
            jac=True,
            method="L-BFGS-B",
            bounds=Bounds(problem.lower, problem.upper),
            callback=lambda u: monitor.step(u, problem.value(u), last["size"]),
            options={
                "maxiter": self.max_iterations,
                "maxfun": 10 * self.max_iterations,
                "gtol": self.tolerance,
                "ftol": 0.0,
            },
        )
        reason = StopReason.CONVERGED if found.success else StopReason.NO_PROGRESS
        if found.status == 1:
            reason = StopReason.ITERATIONS
        return StageOutcome(found.x, reason, "" if found.success else str(found.message))


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [LBFGS]
