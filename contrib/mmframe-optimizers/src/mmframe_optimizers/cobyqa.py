"""COBYQA (scipy): sequential quadratic programming on models of values, within bounds."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from scipy.optimize import Bounds, minimize

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason
from mmframe_optimizers._values import Objective, fitting_radius


@frozen
class COBYQA(OptimizerStage):
    """Ragonneau (2022), Model-based derivative-free optimization methods and software, PhD thesis, The Hong Kong Polytechnic
    University.

    `radius` is that of the first trust region and `tolerance` that of the last, in units of one over the root of the
    curvature.
    """

    name = "cobyqa"
    bounded = True
    finishes = True

    radius: float = 1.0
    tolerance: float = 1e-6
    max_evaluations: int = 10_000

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        if not problem.size:
            return StageOutcome(theta, StopReason.NOTHING_TO_DO)
        objective = Objective.at(problem, theta, monitor)
        found = minimize(
            objective,
            objective.theta,
            method="COBYQA",
            bounds=Bounds(problem.lower, problem.upper),
            options={
                "initial_tr_radius": fitting_radius(self.radius, problem),
                "final_tr_radius": self.tolerance,
                "maxfev": self.max_evaluations,
                "maxiter": self.max_evaluations,
            },
        )
        if found.success:
            return StageOutcome(objective.theta, StopReason.CONVERGED)
        done = found.nfev >= self.max_evaluations or found.nit >= self.max_evaluations
        reason = StopReason.ITERATIONS if done else StopReason.NO_PROGRESS
        return StageOutcome(objective.theta, reason, str(found.message))
