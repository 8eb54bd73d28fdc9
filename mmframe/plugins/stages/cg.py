"""Nonlinear conjugate gradients (scipy)."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, hookimpl
from mmframe.plugins.stages._unbounded import by_gradients


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
        return by_gradients("CG", problem, theta, monitor, self.max_iterations, self.tolerance)


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [ConjugateGradient]
