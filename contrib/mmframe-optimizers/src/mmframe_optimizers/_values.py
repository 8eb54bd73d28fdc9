"""What stages share that see values only: an objective that is finite everywhere and traced, and a radius that fits the bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import define

from mmframe.api import Monitor, Problem

# Off the domain a model of the criterion meets its best value so far and this much more. Coordinates have about unit
# curvature, so the criterion has that height some four units from its minimum: enough to turn a search back, and not so
# much that one such point spoils a quadratic model.
FENCE = 10.0
# What a search meets off the domain that only compares values.
OFF = 1e30


@define(eq=False)
class Objective:
    """−2 log L as an optimiser that builds models wants it, (size,) -> float: finite also off the domain.

    Each call writes a row of the trace with the best value so far. That keeps the best θ (size,), and ends the stage when
    the budget is used up: the exception of the monitor passes through the optimiser.
    """

    problem: Problem
    monitor: Monitor
    theta: Any
    value: float
    fence: float

    @classmethod
    def at(cls, problem: Problem, theta: Any, monitor: Monitor, fence: float = FENCE) -> Objective:
        """The objective with its best point where the stage begins, moved into the bounds."""
        start = np.clip(np.asarray(theta, dtype=float), problem.lower, problem.upper)
        return cls(problem, monitor, start, problem.value(start), fence)

    def __call__(self, theta: Any) -> float:
        point = np.array(theta, dtype=float)  # a copy: optimisers use their arrays again
        value = self.problem.value(point)
        if value < self.value:
            self.theta, self.value = point, value
        self.monitor.step(self.theta, self.value)
        return value if np.isfinite(value) else min(self.value + self.fence, OFF)


def fitting_radius(radius: float, problem: Problem) -> float:
    """The radius, or a quarter of the narrowest box side: Powell's methods need twice the radius between two bounds."""
    return float(min(radius, 0.25 * np.min(problem.upper - problem.lower, initial=np.inf)))
