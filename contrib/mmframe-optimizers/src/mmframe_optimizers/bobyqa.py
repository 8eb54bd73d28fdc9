"""Powell's BOBYQA, as NLopt has it: quadratic models from values, within bounds."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome
from mmframe_optimizers._nlopt import by_nlopt
from mmframe_optimizers._values import FENCE


@frozen
class BOBYQA(OptimizerStage):
    """Powell (2009), The BOBYQA algorithm for bound constrained optimization without derivatives, report DAMTP 2009/NA06.

    A quadratic that interpolates 2·size + 1 values is minimised in a trust region. `radius` is that of the first one and
    `tolerance` that of the last, in units of one over the root of the curvature. Needs the package nlopt.
    """

    name = "bobyqa"
    bounded = True
    finishes = True

    radius: float = 1.0
    tolerance: float = 1e-6
    max_evaluations: int = 10_000

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        return by_nlopt(
            self.name,
            "LN_BOBYQA",
            problem,
            theta,
            monitor,
            radius=self.radius,
            tolerance=self.tolerance,
            evaluations=self.max_evaluations,
            fence=FENCE,
        )
