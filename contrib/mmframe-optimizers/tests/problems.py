"""A criterion whose optimum is known, with what a stage sees of a problem: a quadratic, less a box and a half-space."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmframe.api import Monitor, TraceRow


class Quadratic:
    """value = ½ (θ − best)' A (θ − best) + 1000 within the box and where `inside(θ)`; +inf elsewhere."""

    def __init__(
        self, best: Any, curvature: Any, *, lower: Any = -np.inf, upper: Any = np.inf, inside: Any = None
    ) -> None:
        self.best = np.asarray(best, dtype=float)
        self.size = self.best.size
        self.names = tuple(f"theta{k}" for k in range(self.size))
        self.lower = np.broadcast_to(np.asarray(lower, dtype=float), (self.size,)).copy()
        self.upper = np.broadcast_to(np.asarray(upper, dtype=float), (self.size,)).copy()
        self.curvature = np.asarray(curvature, dtype=float)
        self.inside = inside or (lambda theta: True)
        self.asked = 0
        self.outside_the_box = 0

    def value(self, theta: Any) -> float:
        self.asked += 1
        theta = np.asarray(theta)
        if np.any(theta < self.lower) or np.any(theta > self.upper):
            self.outside_the_box += 1
            return np.inf
        if not self.inside(theta):
            return np.inf
        d = theta - self.best
        return float(0.5 * d @ self.curvature @ d + 1000.0)

    def gradient(self, theta: Any) -> Any:
        value = self.value(theta)
        return value, self.curvature @ (theta - self.best) if np.isfinite(value) else np.zeros(self.size)

    def hessian(self, theta: Any) -> Any:
        return self.curvature if np.isfinite(self.value(theta)) else np.full((self.size, self.size), np.nan)


def watched(problem: Quadratic, budget: int = 20_000, on_step: Any = None) -> Monitor:
    """A monitor that counts the evaluations of this problem."""
    return Monitor("stage", lambda: problem.asked, budget, on_step)


def values(rows: list[TraceRow]) -> Any:
    return np.array([row.value for row in rows])
