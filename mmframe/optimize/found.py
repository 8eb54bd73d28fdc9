"""What the stages find: a point, what the end looks like there, and the record of the way."""

from __future__ import annotations

from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.model import CovarianceModel
from mmframe.likelihood.evaluation import Evaluation
from mmframe.optimize.problem import Counts
from mmframe.optimize.stage import TraceRow

# The predicted remaining decrease of −2 log L below which a point is an optimum.
OPTIMAL = 1e-7


@frozen(eq=False)
class Point:
    """Natural parameters in data units (flat φ of each term, σ²), with −2 log L there; and the coordinates in which it
    was reached, so that the way there and back costs no digits and no evaluation."""

    flats: tuple[Array, ...]
    sigma2: float
    value: float
    model: CovarianceModel
    reached: Array

    def theta(self, model: CovarianceModel) -> Array:
        return self.reached if model is self.model else model.theta(self.flats, self.sigma2)


@frozen(eq=False)
class Check:
    """What the end looks like: the predicted remaining decrease, the smallest curvature (in unit-diagonal coordinates),
    and the direction in which to leave a saddle."""

    remaining: float
    gradient_norm: float
    smallest_curvature: float
    escape: Array | None

    @property
    def optimal(self) -> bool:
        return self.escape is None and self.remaining <= OPTIMAL


@frozen(eq=False)
class Found:
    """The end of the pipeline. `cover` and `theta` are the coordinates in which the end was examined; `phases` are
    seconds."""

    point: Point
    cover: CovarianceModel
    theta: Array
    evaluation: Evaluation
    check: Check
    converged: bool
    singular: bool
    reason: str
    trace: tuple[TraceRow, ...]
    counts: Counts
    phases: dict[str, float]
