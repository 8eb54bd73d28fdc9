"""Py-BOBYQA: BOBYQA in numpy, with safeguards of its own."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason
from mmframe_optimizers._packages import needed
from mmframe_optimizers._values import Objective, fitting_radius


@frozen
class PyBOBYQA(OptimizerStage):
    """Cartis, Fiala, Marteau & Roberts (2019), Improving the flexibility and robustness of model-based derivative-free
    optimization solvers, ACM Trans. Math. Softw. 45.

    `points` values are interpolated, 2·size + 1 where None. `radius` is that of the first trust region and `tolerance` that
    of the last, in units of one over the root of the curvature. Nothing in it is random. Needs the package Py-BOBYQA.
    """

    name = "pybobyqa"
    aliases = ("py_bobyqa",)
    bounded = True
    finishes = True

    radius: float = 1.0
    tolerance: float = 1e-6
    max_evaluations: int = 10_000
    points: int | None = None

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        """Raises MissingPackageError where Py-BOBYQA is not installed."""
        pybobyqa = needed("Py-BOBYQA", "pybobyqa", self.name, "pybobyqa")
        if not problem.size:
            return StageOutcome(theta, StopReason.NOTHING_TO_DO)
        objective = Objective.at(problem, theta, monitor)
        found = pybobyqa.solve(
            objective,
            objective.theta,
            bounds=(problem.lower, problem.upper),
            npt=self.points,
            rhobeg=fitting_radius(self.radius, problem),
            rhoend=self.tolerance,
            maxfun=self.max_evaluations,
            do_logging=False,
        )
        reasons = {found.EXIT_SUCCESS: StopReason.CONVERGED, found.EXIT_MAXFUN_WARNING: StopReason.ITERATIONS}
        reason = reasons.get(found.flag, StopReason.NO_PROGRESS)
        return StageOutcome(objective.theta, reason, "" if reason is StopReason.CONVERGED else str(found.msg))
