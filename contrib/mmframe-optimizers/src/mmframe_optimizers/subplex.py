"""Rowan's subplex, as NLopt has it: Nelder and Mead's simplex in subspaces, within bounds."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome
from mmframe_optimizers._nlopt import by_nlopt
from mmframe_optimizers._values import OFF


@frozen
class Subplex(OptimizerStage):
    """Rowan (1990), Functional stability analysis of numerical algorithms, PhD thesis, University of Texas at Austin.

    It compares values and builds no model, so kinks and edges of the domain do it no harm; it is slow, and has no proof of
    convergence, so it does not count as a finishing stage. `radius` is the first step and `tolerance` the change of θ at
    which it ends, in units of one over the root of the curvature. Needs the package nlopt.
    """

    name = "subplex"
    aliases = ("sbplx",)
    bounded = True
    finishes = False

    radius: float = 1.0
    tolerance: float = 1e-5
    max_evaluations: int = 10_000

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        return by_nlopt(
            self.name,
            "LN_SBPLX",
            problem,
            theta,
            monitor,
            radius=self.radius,
            tolerance=self.tolerance,
            evaluations=self.max_evaluations,
            fence=OFF,
        )
