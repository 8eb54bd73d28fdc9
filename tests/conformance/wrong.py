"""Plugins that are each wrong in one way, beside the right ones that they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import define, frozen

from mmframe.api import (
    COORDINATES,
    POSITION,
    RELATIVE,
    Bijection,
    CovarianceStructure,
    Interval,
    LogElementwise,
    OptimizerStage,
    Param,
    Parameterization,
    Positive,
    Real,
    StageOutcome,
    StopReason,
    distances,
    lags,
    same_point,
)

# Structures


@frozen
class Right(CovarianceStructure):
    """variance * rho^lag."""

    name = "right"
    index_kind = POSITION
    power: float = 1.0

    def params(self, points: Any) -> Any:
        variance = Param("variance", Positive(), scale_power=2)
        return (variance, Param("rho", Interval(0, 1))) if points.size > 1 else (variance,)

    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.variance * phi.get("rho", 0.0) ** (lags(index) ** self.power)


class NotSymmetric(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        position = index[..., 0]
        ahead = position[..., :, None] > position[..., None, :]
        return Right.covariance(self, phi, index) * np.where(ahead, 0.9, 1.0)


class WrongDomain(Right):
    """Compound symmetry with any correlation: over five points it must stay above -1/4."""

    def params(self, points: Any) -> Any:
        return Right.params(self, points)[:1] + ((Param("rho", Interval(-1, 1)),) if points.size > 1 else ())

    def covariance(self, phi: Any, index: Any) -> Any:
        same = same_point(index)
        return phi.variance * (same + phi.get("rho", 0.0) * (1.0 - same))


class NotNearItsEdge(Right):
    """Positive definite but near rho = 1, where a wrong sign shows."""

    def covariance(self, phi: Any, index: Any) -> Any:
        rho = phi.get("rho", 0.0)
        bend = 1.0 - 0.5 * np.where(np.real(rho) > 0.99, lags(index) == 1, 0)
        return phi.variance * rho ** lags(index) * bend


@frozen
class OnALineOnly(CovarianceStructure):
    """The triangle 1 - d/range: a covariance on a line, and not in the plane."""

    name = "on_a_line_only"
    index_kind = COORDINATES

    def params(self, points: Any) -> Any:
        return Param("variance", Positive(), scale_power=2), Param("reach", Interval(1.0, 4.0))

    def covariance(self, phi: Any, index: Any) -> Any:
        ratio = distances(index) / phi.reach
        return phi.variance * np.where(np.real(ratio) < 1.0, 1.0 - ratio, 0.0)


class WrongJacobian(Right):
    def jacobian(self, phi: Any, index: Any) -> Any:
        rho, power = phi.get("rho", 0.0), lags(index)
        out = {"variance": (rho**power)[None]}
        return out if "rho" not in phi else {**out, "rho": (phi.variance * power * rho**power)[None]}  # not power - 1


class TransposedJacobian(Right):
    def jacobian(self, phi: Any, index: Any) -> Any:
        given = {"variance": np.ones(index.shape[:-1])}
        return given if "rho" not in phi else {**given, "rho": np.ones(index.shape[:-1])}


class WrongScalePower(Right):
    def params(self, points: Any) -> Any:
        return (Param("variance", Positive(), scale_power=1), *Right.params(self, points)[1:])


class NoScale(Right):
    def params(self, points: Any) -> Any:
        return (Param("variance", Positive()), *Right.params(self, points)[1:])


class OrderDependent(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        place = np.arange(index.shape[-2], dtype=float)
        return phi.variance * phi.get("rho", 0.0) ** np.abs(place[:, None] - place) * np.ones((*index.shape[:-2], 1, 1))


class SortsItsIndex(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        index -= index.min()
        index[...] = index[..., ::-1, :]
        return Right.covariance(self, phi, index)


class ChangesItsParameters(CovarianceStructure):
    name = "changes_its_parameters"

    def params(self, points: Any) -> Any:
        return (Param("sd", Positive(points.size), scale_power=1),)

    def covariance(self, phi: Any, index: Any) -> Any:
        sd = phi.sd
        sd *= 1.5
        return sd[..., :, None] * sd[..., None, :] * same_point(index)


class Random(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        return Right.covariance(self, phi, index) * (1.0 + 1e-6 * np.random.default_rng().normal())


class NotStacked(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        position = index.reshape(-1, index.shape[-1])[:, 0]
        return phi.variance * phi.get("rho", 0.0) ** np.abs(position[:, None] - position)


class AVector(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.variance * index[..., 0]


class NotFinite(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            return phi.variance / lags(index) ** 0.5


@frozen
class NotMarkov(Right):
    power: float = 1.5

    def markov(self, points: Any) -> bool:
        return True


class Redundant(Right):
    def params(self, points: Any) -> Any:
        return (*Right.params(self, points), Param("nothing", Real()))


class RepeatedNames(Right):
    def params(self, points: Any) -> Any:
        return Right.params(self, points) + Right.params(self, points)[:1]


class WrongProjection(Right):
    def project(self, target: Any, index: Any) -> Any:
        return {"variance": 7.0, **({"rho": 0.5} if len(index) > 1 else {})}


class BadReport(Right):
    def report(self, phi: Any, points: Any) -> Any:
        return {"half_life": np.log(0.5) / 0.0 if phi else 0.0} if False else {"half_life": float("nan")}


class FewCustomary(Right):
    def customary(self, phi: Any, points: Any) -> Any:
        return np.array([phi.variance])


class Raises(Right):
    def covariance(self, phi: Any, index: Any) -> Any:
        raise KeyError("rho")


@define
class NotFrozen(CovarianceStructure):
    name = "not_frozen"
    index_kind = POSITION
    power: float = 1.0
    params, covariance = Right.params, Right.covariance


class NoFields(CovarianceStructure):
    """Keeps an option where no formula can find it."""

    name = "no_fields"

    def __init__(self) -> None:
        self.power = 1.0

    def params(self, points: Any) -> Any:
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.variance * same_point(index)


class BadName(Right):
    name = "Bad-Name"


@frozen
class RightVariance(CovarianceStructure):
    """A variance function: exp(2 theta v)."""

    name = "right_variance"
    index_kind = POSITION
    unit = True
    covariate: str = "v"

    def params(self, points: Any) -> Any:
        return (Param("theta", Real()),)

    def covariance(self, phi: Any, index: Any) -> Any:
        return np.exp(2.0 * phi.theta * index[..., 0])[..., None] * same_point(index)


class NotDiagonal(RightVariance):
    def covariance(self, phi: Any, index: Any) -> Any:
        sd = np.exp(phi.theta * index[..., 0])
        return sd[..., :, None] * sd[..., None, :] * (0.5 + 0.5 * same_point(index))


class ScaledVariance(RightVariance):
    def params(self, points: Any) -> Any:
        return (Param("theta", Positive(), scale_power=2),)

    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.theta * same_point(index)


# Parameterizations


class RightCoordinates(Parameterization):
    """Logarithms where there are bounds."""

    name = "right_coordinates"
    scale = RELATIVE

    def bijection(self, param: Any) -> Any:
        return LogElementwise(param.domain) if isinstance(param.domain, (Positive, Interval)) else NotImplemented


@frozen(eq=False)
class Square(Bijection):
    """value = θ²."""

    domain: Any

    @property
    def size(self) -> int:
        return int(self.domain.count)

    @property
    def lower(self) -> Any:
        return np.zeros(self.size)

    @property
    def upper(self) -> Any:
        return np.full(self.size, np.inf)

    def forward(self, theta: Any) -> Any:
        return self.domain.unflatten(theta**2)

    def inverse(self, value: Any) -> Any:
        return np.sqrt(self.domain.flatten(value))

    def jacobian(self, theta: Any) -> Any:
        return np.diag(2.0 * theta)

    def curvature(self, theta: Any, adjoint: Any) -> Any:
        return np.diag(2.0 * adjoint)


class RightSquares(RightCoordinates):
    bijection_of: Any = Square

    def bijection(self, param: Any) -> Any:
        return type(self).bijection_of(param.domain) if isinstance(param.domain, Positive) else NotImplemented


class _WrongPull(Square):
    def jacobian(self, theta: Any) -> Any:
        return np.diag(theta)


class _WrongCurve(Square):
    def curvature(self, theta: Any, adjoint: Any) -> Any:
        return np.diag(adjoint)


class _NoInverse(Square):
    def inverse(self, value: Any) -> Any:
        return np.asarray(self.domain.flatten(value), dtype=float)


class _TightBounds(Square):
    @property
    def upper(self) -> Any:
        return np.full(self.size, 0.1)


class _ShortBounds(Square):
    @property
    def lower(self) -> Any:
        return np.zeros(1)


class _Leaves(Square):
    @property
    def lower(self) -> Any:
        return np.full(self.size, -np.inf)

    def forward(self, theta: Any) -> Any:
        return self.domain.unflatten(theta * np.abs(theta))

    def jacobian(self, theta: Any) -> Any:
        return np.diag(2.0 * np.abs(theta))

    def curvature(self, theta: Any, adjoint: Any) -> Any:
        return np.diag(2.0 * np.sign(theta) * adjoint)


class _NoBoundary(Square):
    def inverse(self, value: Any) -> Any:
        flat = np.asarray(self.domain.flatten(value), dtype=float)
        return np.where(flat > 0, np.sqrt(flat), np.nan)


class _WritesTheta(Square):
    def forward(self, theta: Any) -> Any:
        value = self.domain.unflatten(theta**2)
        theta *= 1.0 + 1e-3
        return value


def of(bijection: type[Bijection], name: str) -> type[Parameterization]:
    made = type(name, (RightSquares,), {"bijection_of": bijection, "__module__": __name__})
    globals()[name] = made
    return made


WrongPull, WrongCurve = of(_WrongPull, "WrongPull"), of(_WrongCurve, "WrongCurve")
NoInverse, TightBounds = of(_NoInverse, "NoInverse"), of(_TightBounds, "TightBounds")
ShortBounds, Leaves = of(_ShortBounds, "ShortBounds"), of(_Leaves, "Leaves")
NoBoundary, WritesTheta = of(_NoBoundary, "NoBoundary"), of(_WritesTheta, "WritesTheta")


class NoScaleDeclared(RightCoordinates):
    scale = "relative"  # type: ignore[assignment]


# Stages


@frozen
class RightStage(OptimizerStage):
    """Steepest descent with halved steps."""

    name = "right_stage"
    bounded = False
    finishes = False
    max_iterations: int = 15

    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        theta = theta.copy()
        value, gradient = problem.gradient(theta)
        for _ in range(self.max_iterations):
            step = 1.0
            while problem.value(theta - step * gradient) >= value and step > 1e-9:
                step *= 0.5
            if problem.value(theta - step * gradient) >= value:
                return StageOutcome(theta, StopReason.NO_PROGRESS)
            theta = theta - step * gradient
            value, gradient = problem.gradient(theta)
            monitor.step(theta, value)
        return StageOutcome(theta, StopReason.ITERATIONS)


class ReturnsAnywhere(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        found = RightStage.run(self, problem, theta, monitor)
        return StageOutcome(found.theta + 2.0, found.reason)


class WritesIntoTheta(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        found = RightStage.run(self, problem, theta, monitor)
        theta[:] = found.theta
        return found


class ReturnsTheta(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        return RightStage.run(self, problem, theta, monitor).theta


class ReturnsAMatrix(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        found = RightStage.run(self, problem, theta, monitor)
        return StageOutcome(found.theta[None], found.reason)


class Silent(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        class Nobody:
            def step(self, *_: Any) -> None: ...

        return RightStage.run(self, problem, theta, Nobody())


class Boasts(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        found = RightStage.run(self, problem, theta, monitor)
        monitor.step(found.theta, problem.value(found.theta) - 10.0)
        return found


class LeavesTheBounds(RightStage):
    bounded = True

    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        problem.value(theta - 50.0)
        return RightStage.run(self, problem, theta, monitor)


@frozen
class ClaimsToFinish(RightStage):
    name = "claims_to_finish"
    finishes = True
    max_iterations: int = 1


class SwallowsTheEnd(RightStage):
    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        best = theta
        for k in range(60):
            try:
                if problem.value(theta * (1 + 0.01 * k)) < problem.value(best):
                    best = theta * (1 + 0.01 * k)
                monitor.step(best, problem.value(best))
            except Exception:
                continue
        return StageOutcome(best, StopReason.ITERATIONS)


class NoFlag(RightStage):
    finishes = None  # type: ignore[assignment]
