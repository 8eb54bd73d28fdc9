"""Nonlinear conjugate gradients (scipy)."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from scipy.optimize import minimize

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class ConjugateGradient(OptimizerStage):
    """Polak-Ribière conjugate gradients (Nocedal & Wright 2006, section 5.2).

    `tolerance` bounds the gradient in units of one over the root of the curvature.
    """

    name = "cg"
    aliases = ("conjugate_gradient",)
    bounded = False
    finishes = True

    max_iterations: int = 500
    tolerance: float = 1e-5

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        found = minimize(
            lambda u: _finite(problem, u),
            theta,
            jac=True,
            method="CG",
            callback=lambda u: monitor.step(u, *_size(problem, u)),
            options={"maxiter": self.max_iterations, "gtol": self.tolerance},
        )
        return StageOutcome(found.x, _reason(found), "" if found.success else str(found.message))


def _finite(problem: Problem, theta: Any) -> tuple[float, Any]:
    """A large number where the value is +inf: line searches interpolate."""
    value, gradient = problem.gradient(theta)
    return (value, gradient) if np.isfinite(value) else (1e30, gradient)


def _size(problem: Problem, theta: Any) -> tuple[float, float]:
    value, gradient = problem.gradient(theta)
    return value, float(np.max(np.abs(gradient), initial=0.0))


def _reason(found: Any) -> StopReason:
    if found.success:
        return StopReason.CONVERGED
    return StopReason.ITERATIONS if found.status == 1 else StopReason.NO_PROGRESS


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [ConjugateGradient]
