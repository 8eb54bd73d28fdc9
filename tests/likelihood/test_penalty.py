"""Penalties and held effects: values against the definition, β against a general minimiser, derivatives against differences."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from scipy.optimize import minimize

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import unvech, vech, vech_basis
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.information import eliminate, joint_second_derivatives
from mmframe.likelihood.penalty import PenalizedEngine, Penalty
from mmframe.optimize.problem import Problem

SLEEPSTUDY = mm.datasets.load("sleepstudy")
G = (np.array([[0.9, 0.05], [0.05, 0.1]]),)
RIDGE = Penalty(lambda beta: 5e-3 * float(beta @ beta), lambda beta: 1e-2 * beta)
HUBER = Penalty(
    lambda beta: float(np.sum(np.sqrt(1 + (beta / 3) ** 2))), lambda beta: beta / 9 / np.sqrt(1 + (beta / 3) ** 2)
)
LOGDET = Penalty(lambda m: -0.7 * float(np.linalg.slogdet(m)[1]), lambda m: -0.7 * np.linalg.inv(m))
KINDS = {
    "ridge": {"effects_penalty": RIDGE},
    "huber": {"effects_penalty": HUBER},
    "logdet": {"covariances": (LOGDET,)},
    "held": {"held": np.array([np.nan, 9.0])},
    "all": {"effects_penalty": RIDGE, "covariances": (LOGDET,), "held": np.array([np.nan, 9.0])},
}


def model(parameterization: str = "cholesky") -> mm.Model:
    builder = mm.ModelBuilder().fixed("Reaction ~ Days").random("1 + Days | Subject")
    return builder.parameterization(parameterization).build(SLEEPSTUDY)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("sigma2", [None, 700.0])
@pytest.mark.parametrize("kind", list(KINDS))
def test_beta_minimises_the_penalised_criterion(kind: str, sigma2: float | None, reml: bool) -> None:
    engine = DenseEngine.reduce(model().design)
    options = KINDS[kind]
    found = PenalizedEngine(engine, **options).evaluate(G, reml=reml, score=False, sigma2=sigma2)
    assert found is not None
    held = options.get("held")
    free = np.ones(2, dtype=bool) if held is None else np.isnan(held)

    def whole(part: np.ndarray) -> float:
        beta = np.where(free, 0.0, 0.0 if held is None else np.nan_to_num(held))
        beta[free] = part
        inner = engine.evaluate(G, reml=reml, score=False, sigma2=sigma2, beta=beta)
        assert inner is not None
        on_beta, on_G = options.get("effects_penalty"), options.get("covariances", (None,))[0]
        return inner.value + (2 * on_beta.value(beta) if on_beta else 0.0) + (2 * on_G.value(G[0]) if on_G else 0.0)

    best = minimize(
        whole, found.beta[free] + 0.5, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
    )
    np.testing.assert_allclose(found.value, whole(found.beta[free]), rtol=1e-12)
    assert found.value <= best.fun + 1e-8
    np.testing.assert_allclose(found.beta[free], best.x, rtol=1e-4)
    if held is not None:
        np.testing.assert_array_equal(found.beta[~free], held[~free])


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("parameterization", ["cholesky", "profile", "natural"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_gradient_and_hessian_are_those_of_the_value(kind: str, parameterization: str, reml: bool) -> None:
    built = model(parameterization)
    problem = Problem(PenalizedEngine(built.engine, **KINDS[kind]), built.covariance, reml)
    theta = built.covariance.theta((vech(G[0]) * 650.0,), 650.0)
    value, gradient = problem.gradient(theta)
    assert value == problem.value(theta)
    np.testing.assert_allclose(gradient, central_differences(problem.value, theta), rtol=1e-5, atol=1e-6)
    slow = central_differences(lambda t: problem.gradient(t)[1], theta)
    np.testing.assert_allclose(problem.hessian(theta), slow, rtol=1e-4, atol=3e-5 * np.max(np.abs(slow)))


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_penalised_fit_is_an_optimum(kind: str) -> None:
    built = model()
    fit = attrs.evolve(built, engine=PenalizedEngine(built.engine, **KINDS[kind])).fit()
    assert fit.converged
    again = attrs.evolve(built, engine=PenalizedEngine(built.engine, **KINDS[kind]))
    other = again.using(stages=("em", "lbfgs")).fit()
    np.testing.assert_allclose(other.loglike, fit.loglike, atol=1e-6)


def test_no_penalty_changes_nothing() -> None:
    built = model()
    plain, around = built.fit(), attrs.evolve(built, engine=PenalizedEngine(built.engine)).fit()
    np.testing.assert_allclose(around.loglike, plain.loglike, rtol=1e-12)
    np.testing.assert_allclose(around.fixed_effects, plain.fixed_effects, rtol=1e-9)
    np.testing.assert_allclose(around.parameters["std_error"], plain.parameters["std_error"], rtol=1e-5)


@pytest.mark.parametrize("engine", [None, "dense"])
@pytest.mark.parametrize("reml", [True, False])
def test_joint_second_derivatives(reml: bool, engine: str | None) -> None:
    """In (β, entries of G, σ²), none profiled, against differences of the scores."""
    built = mm.ModelBuilder().fixed("Reaction ~ Days").random("1 + Days | Subject").engine(engine).build(SLEEPSTUDY)
    beta, sigma2 = np.array([250.0, 11.0]), 700.0

    def scores(point: np.ndarray) -> np.ndarray:
        found = built.engine.evaluate((unvech(point[2:5]),), reml=reml, score=True, sigma2=point[5], beta=point[:2])
        assert found is not None
        S = found.score[0]
        return np.concatenate([found.beta_score, [S[0, 0], 2 * S[1, 0], S[1, 1], found.sigma2_score]])

    point = np.concatenate([beta, vech(G[0]), [sigma2]])
    answer = built.engine.curvature(G, (np.stack(vech_basis(2)),), reml=reml, sigma2=sigma2, beta=beta)
    assert answer is not None
    joint, slow = joint_second_derivatives(answer[0], reml=reml), central_differences(scores, point)
    size = np.sqrt(np.outer(np.abs(np.diag(slow)), np.abs(np.diag(slow))))
    np.testing.assert_allclose(joint / size, slow / size, atol=1e-7)
    half = eliminate(joint, np.array([0, 1]))
    np.testing.assert_allclose(np.linalg.inv(half), np.linalg.inv(joint)[2:, 2:], rtol=1e-6)
