"""Expectation-maximisation: sure, and slow near the end."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class EM(OptimizerStage):
    """G ← G − G S G / m for ML and REML, projected onto the structure (Laird, Lange & Stram 1987, JASA 82).

    Each iteration lowers −2 log L. It stops after `max_iterations`, or when an iteration gains less than `tolerance`.
    """

    name = "em"
    bounded = True
    finishes = False

    max_iterations: int = 20
    tolerance: float = 1e-8

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        value = problem.value(theta)
        for _ in range(self.max_iterations):
            new = problem.em_update(theta)
            new_value = problem.value(new)
            if not new_value < value:
                return StageOutcome(theta, StopReason.NO_PROGRESS)
            gain, theta, value = value - new_value, new, new_value
            monitor.step(theta, value)
            if gain < self.tolerance:
                return StageOutcome(theta, StopReason.CONVERGED)
        return StageOutcome(theta, StopReason.ITERATIONS, f"{self.max_iterations} iterations done")


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [EM]
