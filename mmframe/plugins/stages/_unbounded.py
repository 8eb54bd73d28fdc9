"""What stages share that are scipy's minimisers by gradients, without bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from mmframe.api import Monitor, Problem, StageOutcome, StopReason


def by_gradients(
    method: str, problem: Problem, theta: Any, monitor: Monitor, iterations: int, tolerance: float
) -> StageOutcome:
    """Run scipy's minimiser `method`. A large number stands where the value is +inf: line searches interpolate."""

    def objective(u: Any) -> tuple[float, Any]:
        value, gradient = problem.gradient(u)
        return (value, gradient) if np.isfinite(value) else (1e30, gradient)

    def step(u: Any) -> None:
        value, gradient = problem.gradient(u)
        monitor.step(u, value, float(np.max(np.abs(gradient), initial=0.0)))

    found = minimize(
        objective,
        theta,
        jac=True,
        method=method,
        callback=step,
        options={"maxiter": iterations, "gtol": tolerance},
    )
    reason = StopReason.CONVERGED if found.success else StopReason.NO_PROGRESS
    if found.status == 1:
        reason = StopReason.ITERATIONS
    return StageOutcome(found.x, reason, "" if found.success else str(found.message))
