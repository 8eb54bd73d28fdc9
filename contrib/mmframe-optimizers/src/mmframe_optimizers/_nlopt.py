"""Algorithms of NLopt that use values only."""

from __future__ import annotations

from typing import Any

from mmframe.api import Monitor, Problem, StageOutcome, StopReason
from mmframe_optimizers._packages import needed
from mmframe_optimizers._values import Objective, fitting_radius


def by_nlopt(
    stage: str,
    algorithm: str,
    problem: Problem,
    theta: Any,
    monitor: Monitor,
    *,
    radius: float,
    tolerance: float,
    evaluations: int,
    fence: float,
) -> StageOutcome:
    """Run an algorithm of NLopt, by its name without `NLOPT_`, within the bounds.

    Raises MissingPackageError where NLopt is not installed.
    """
    nlopt = needed("nlopt", "nlopt", stage, "nlopt")
    if not problem.size:
        return StageOutcome(theta, StopReason.NOTHING_TO_DO)
    objective = Objective.at(problem, theta, monitor, fence)
    search = nlopt.opt(getattr(nlopt, algorithm), problem.size)
    search.set_min_objective(lambda u, _: objective(u))  # what a callback raises comes out of `optimize`
    search.set_lower_bounds(problem.lower)
    search.set_upper_bounds(problem.upper)
    search.set_initial_step(fitting_radius(radius, problem))
    search.set_xtol_abs(tolerance)
    search.set_maxeval(evaluations)
    try:
        search.optimize(objective.theta)
    except nlopt.RoundoffLimited:
        return StageOutcome(objective.theta, StopReason.NO_PROGRESS, "stopped by rounding")
    if search.last_optimize_result() == nlopt.MAXEVAL_REACHED:
        return StageOutcome(objective.theta, StopReason.ITERATIONS, f"{evaluations} evaluations done")
    return StageOutcome(objective.theta, StopReason.CONVERGED)
