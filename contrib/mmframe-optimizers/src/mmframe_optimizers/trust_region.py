"""Newton's method in a trust region (scipy), with the gradient and the Hessian of the problem."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import in_
from scipy.optimize import minimize

from mmframe.api import Monitor, OptimizerStage, Problem, StageOutcome, StopReason


class _NotFiniteError(Exception):
    """The Hessian is not finite where scipy asked for it."""


@frozen
class TrustRegion(OptimizerStage):
    """The quadratic of the exact derivatives is minimised in a ball (Conn, Gould & Toint 2000, Trust-Region Methods).

    `subproblem` says how: "exact" by factorisations (Moré & Sorensen 1983), "krylov" by Lanczos' method to high accuracy
    (Gould, Lucidi, Roma & Toint 1999), "ncg" by truncated conjugate gradients (Steihaug 1983), the cheapest with very many
    parameters. `radius` is that of the first ball; `tolerance` bounds the norm of the gradient, in units of one over the
    root of the curvature.
    """

    name = "trust_region"
    bounded = False
    finishes = True

    subproblem: str = field(default="exact", validator=in_(("exact", "krylov", "ncg")))
    radius: float = 1.0
    tolerance: float = 1e-5
    max_iterations: int = 500

    def run(self, problem: Problem, theta: Any, monitor: Monitor) -> StageOutcome:
        if not problem.size:
            return StageOutcome(theta, StopReason.NOTHING_TO_DO)
        seen: dict[bytes, tuple[float, Any, Any]] = {}
        last = np.asarray(theta, dtype=float)

        def at(u: Any) -> tuple[float, Any, Any]:
            key = u.tobytes()
            if key not in seen:
                hessian = problem.hessian(u)  # first: its pass gives value and gradient as well
                seen[key] = (*problem.gradient(u), hessian)
            return seen[key]

        def hessian(u: Any) -> Any:
            value, _, second = at(u)
            if np.isfinite(value) and not np.all(np.isfinite(second)):
                raise _NotFiniteError
            # off the domain, where no step ends: the trial is refused by its value
            return second if np.isfinite(value) else np.eye(problem.size)

        def step(u: Any) -> None:
            nonlocal last
            last = np.array(u)
            value, gradient, _ = at(last)
            monitor.step(last, value, float(np.max(np.abs(gradient))))

        try:
            found = minimize(
                lambda u: at(u)[0],
                last,
                jac=lambda u: at(u)[1],
                hess=hessian,
                method=f"trust-{self.subproblem}",
                callback=step,
                options={"gtol": self.tolerance, "maxiter": self.max_iterations, "initial_trust_radius": self.radius},
            )
        except _NotFiniteError:
            return StageOutcome(last, StopReason.NO_PROGRESS, "the Hessian is not finite")
        if not found.nit:  # it began at the end: the trace shows that it was here
            step(found.x)
        reasons = {0: StopReason.CONVERGED, 1: StopReason.ITERATIONS}
        reason = reasons.get(found.status, StopReason.NO_PROGRESS)
        return StageOutcome(found.x, reason, "" if found.status == 0 else str(found.message))
