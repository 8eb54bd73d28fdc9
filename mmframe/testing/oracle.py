"""The likelihood of a structure on each side: value, gradient and Hessian of the fast engines against the dense oracle."""

from __future__ import annotations

from functools import partial

import numpy as np
from attrs import frozen

from mmframe.covariance.cover import cover
from mmframe.covariance.derivative import DerivativeMethod, central_differences
from mmframe.covariance.domain import Array, Positive
from mmframe.covariance.model import SIGMA2, CovarianceModel
from mmframe.covariance.parameterization import RELATIVE, Parameterization, resolve_bijection
from mmframe.covariance.structure import CovarianceStructure, Param, Phi, Points, same_point
from mmframe.covariance.term import BoundTerm
from mmframe.design.design import Design
from mmframe.likelihood.banded import BandedEngine
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.pattern import PatternEngine
from mmframe.likelihood.pooled import PooledEngine
from mmframe.optimize.problem import Problem
from mmframe.testing.designs import design_for, residual_design_for
from mmframe.testing.places import samples


@frozen
class _One(CovarianceStructure):
    """One variance, independent points."""

    name = "one"

    def params(self, points: Points) -> tuple[Param, ...]:
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi: Phi, index: Array) -> Array:
        return np.asarray(phi.variance * same_point(index))


ONE = _One()


class _Cover(Parameterization):
    """The cover as a parameterization."""

    name = "cover"
    scale = RELATIVE

    def bijection(self, param: Param) -> object:
        return cover(param.domain)


def bound(structure: CovarianceStructure, points: Points) -> BoundTerm:
    """The structure at its points, in coordinates that reach every boundary."""
    return BoundTerm.bind("basis | g", "g", structure, points, _Cover())


def _value(problem: Problem, theta: Array) -> Array:
    return np.asarray(problem.value(theta))


def _gradient(problem: Problem, theta: Array) -> Array:
    return problem.gradient(theta)[1]


def check_both_sides(
    structure: CovarianceStructure, parameterization: Parameterization, points: Points, *, random: bool
) -> None:
    """On each side where the structure can stand (`random`: on that of random effects too), by each engine that takes it."""
    if random:
        check_against_oracle(structure, parameterization, points)
    if not structure.singular:
        check_residual_against_oracle(structure, parameterization, points, PatternEngine, random=False)
    if structure.markov(points):
        check_residual_against_oracle(structure, parameterization, points, BandedEngine, random=True)


def check_against_oracle(structure: CovarianceStructure, parameterization: Parameterization, points: Points) -> None:
    """Value, gradient and Hessian of the fast engine against the dense oracle and differences; ML and REML; each side."""
    _check_side(structure, parameterization, points, design_for(points, groups=9), PooledEngine, "random effects")


def check_residual_against_oracle(
    structure: CovarianceStructure,
    parameterization: Parameterization,
    points: Points,
    engine: type[Engine],
    *,
    random: bool,
) -> None:
    """The same as the structure of the residual, with missing points, with a random intercept or without."""
    design = residual_design_for(points, random=random)
    _check_side(structure, parameterization, points, design, engine, "residual")


def _check_side(
    structure: CovarianceStructure,
    parameterization: Parameterization,
    points: Points,
    design: Design,
    engine: type[Engine],
    side: str,
) -> None:
    fast_engine, slow_engine = engine.reduce(design), DenseEngine.reduce(design)
    who = f"{structure.name} in {parameterization.name} at {points.size} points, {side}, {engine.name}"
    sigma = resolve_bijection(parameterization, SIGMA2)

    def model_of(wanted: Engine) -> CovarianceModel:
        if design.residual is None:
            terms = [BoundTerm.bind("basis | g", "g", structure, points, parameterization)]
            return CovarianceModel.bind(tuple(terms), parameterization.scale, sigma)
        terms = [BoundTerm.bind(t.label, "g", ONE, t.points, parameterization) for t in design.terms]
        at = wanted.residual_index[0]
        terms.append(BoundTerm.bind("v | g", "residual", structure, points, parameterization, "", at))
        return CovarianceModel.bind(tuple(terms), parameterization.scale, sigma, len(design.terms))

    fast_model, slow_model = model_of(fast_engine), model_of(slow_engine)
    flats = tuple(samples(t.params)[1] for t in fast_model.terms)
    theta = fast_model.theta(flats, 1.3)
    exact = all(t.method is not DerivativeMethod.DIFFERENCES for t in fast_model.terms)
    for reml in (True, False):
        fast, slow = Problem(fast_engine, fast_model, reml), Problem(slow_engine, slow_model, reml)
        value, gradient = fast.gradient(theta)
        assert abs(value - slow.value(theta)) <= 1e-9 * abs(value), f"{who}: the value differs from the dense oracle"
        by_value = central_differences(partial(_value, slow), theta, np.full(theta.size, 1.0))
        np.testing.assert_allclose(gradient, by_value, rtol=1e-5, atol=1e-4, err_msg=f"{who}: gradient")
        by_gradient = central_differences(
            partial(_gradient, slow), theta, (1 if exact else 30) * np.maximum(np.abs(theta), 1e-3)
        )
        hessian = fast.hessian(theta)
        size = float(np.max(np.abs(hessian)))
        tolerance = 1e-6 if exact else 1e-5  # where Σ itself is only differenced
        np.testing.assert_allclose(hessian, by_gradient, atol=tolerance * size, err_msg=f"{who}: Hessian")
