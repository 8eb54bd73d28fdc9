"""Newton's method with the Hessian (exact, or with average information) in a trust region: few evaluations, no saddles."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason, hookimpl


@frozen
class Newton(OptimizerStage):
    """Minimises the quadratic model of `problem.hessian` in a ball, by the eigenvectors of the Hessian (Moré & Sorensen 1983).

    It stops when the predicted remaining decrease of −2 log L is below `tolerance`; the last step is still taken, so
    the result is better than that by quadratic convergence.
    """

    name = "newton"
    bounded = False
    finishes = True

    max_iterations: int = 100
    tolerance: float = 1e-8

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        hessian = problem.hessian(theta)  # first: its pass over the groups gives value and gradient as well
        value, gradient = problem.gradient(theta)
        radius = 10.0
        rounding = 1e-15 * max(1.0, abs(value))
        for _ in range(self.max_iterations):
            if not np.all(np.isfinite(hessian)):
                return StageOutcome(theta, StopReason.NO_PROGRESS, "the Hessian is not finite")
            values, vectors = np.linalg.eigh(hessian)
            along = vectors.T @ gradient
            while True:
                step, predicted = trust_region_step(values, along, radius)
                if predicted <= self.tolerance:
                    if predicted > rounding:  # below it there is nothing left to gain
                        last = theta + vectors @ step
                        problem.hessian(last)  # the pipeline looks at it there
                        last_value, last_gradient = problem.gradient(last)
                        if last_value <= value + rounding:
                            theta, value, gradient = last, last_value, last_gradient
                    monitor.step(theta, value, float(np.max(np.abs(gradient), initial=0.0)))
                    if values[0] < -1e-6 * max(1.0, values[-1]) and predicted <= 0.0:
                        return StageOutcome(theta, StopReason.NO_PROGRESS, "stopped at a saddle")
                    return StageOutcome(theta, StopReason.CONVERGED)
                trial = theta + vectors @ step
                trial_hessian = problem.hessian(trial)
                trial_value, trial_gradient = problem.gradient(trial)
                gain = value - trial_value
                ratio = gain / predicted if np.isfinite(trial_value) else -1.0
                length = float(np.linalg.norm(step))
                if ratio < 0.1:
                    radius = 0.25 * length
                elif ratio > 0.7 and length > 0.9 * radius:
                    radius = 3.0 * radius
                if gain > 0.0:
                    break
                if radius < 1e-10:
                    return StageOutcome(theta, StopReason.NO_PROGRESS, "no step lowers the criterion")
            theta, value, gradient, hessian = trial, trial_value, trial_gradient, trial_hessian
            monitor.step(theta, value, float(np.max(np.abs(gradient))))
        return StageOutcome(theta, StopReason.ITERATIONS)


def trust_region_step(values: Any, along: Any, radius: float) -> tuple[Any, float]:
    """The minimiser of along·s + ½ Σ values s² in the ball, in eigenvector coordinates, and its predicted decrease."""
    smallest = float(values[0])
    flat = 1e-12 * max(1.0, float(values[-1]))
    if smallest > flat:
        step = -along / values
        if np.linalg.norm(step) <= radius:
            return step, float(-(along @ step + 0.5 * values @ step**2))

    def at(shift: float) -> Any:
        denominator = values + shift
        return -np.divide(along, denominator, out=np.zeros_like(along), where=denominator > flat)

    low = max(0.0, -smallest)
    step = at(low)
    if np.linalg.norm(step) <= radius:
        if smallest < -flat:  # the hard case: what is left of the radius goes along negative curvature
            room = np.sqrt(max(radius**2 - float(step @ step), 0.0))
            step[0] += room if along[0] <= 0 else -room
    else:
        high = low + float(np.linalg.norm(along)) / radius + 1.0
        for _ in range(100):
            middle = 0.5 * (low + high)
            if np.linalg.norm(at(middle)) > radius:
                low = middle
            else:
                high = middle
            if high - low <= 1e-3 * high:
                break
        step = at(high)
    return step, float(-(along @ step + 0.5 * values @ step**2))


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [Newton]
