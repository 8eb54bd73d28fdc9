"""Satterthwaite's degrees of freedom against a naive computation: V written out, every derivative by differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import frozen

import mmframe as mm
from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Positive, lags
from mmframe.covariance.derivative import central_differences
from mmframe.errors import SpecError
from mmframe.optimize.problem import Problem
from mmframe.results.source import FittedSource
from tests.likelihood.residual_models import MODELS, build, table

Array = np.ndarray
SLEEPSTUDY = mm.datasets.load("sleepstudy")


@frozen
class Damped(CovarianceStructure):
    """A structure that nobody else knows: Σ_ij = variance · rho^√|i − j|."""

    name = "damped"
    index_kind = POSITION

    def params(self, points: Any) -> Any:
        return Param("variance", Positive(), scale_power=2), Param("rho", Interval(0.0, 1.0))

    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.variance * phi.rho ** np.sqrt(lags(index))


def damped(side: str, engine: str | None, *, reml: bool, parameterization: str | None = None) -> mm.Model:
    builder = mm.ModelBuilder().fixed("y ~ x + arm").criterion("reml" if reml else "ml").engine(engine)
    if side == "residual":
        builder = builder.residual("visit | s", structure=Damped())
    else:
        builder = builder.random("0 + visit | s", structure=Damped())
    return builder.parameterization(parameterization).build(table())


def naive(model: mm.Model, fit: mm.FitResult, L: Array, *, reml: bool) -> Array:
    """2v²/(g'Ag) with v and its slopes from V itself, in natural coordinates, by differences."""
    assert isinstance(fit.source, FittedSource)
    point = fit.source.found.point
    problem = Problem(model.engine, model.covariance, reml)
    theta = model.covariance.theta(point.flats, point.sigma2)
    sizes = 30.0 * np.maximum(np.abs(theta), 1e-2 * np.max(np.abs(theta)))
    hessian = central_differences(lambda t: problem.gradient(t)[1], theta, sizes)
    A = 2.0 * np.linalg.inv(0.5 * (hessian + hessian.T))

    def variances(t: Array) -> Array:
        G, R, sigma2 = model.covariance.matrices(t)
        found = model.engine.evaluate(G, reml=reml, score=False, sigma2=sigma2, R=R)
        assert found is not None
        return np.einsum("rp,pq,rq->r", L, found.beta_cov, L)

    v, g = variances(theta), central_differences(variances, theta, sizes)
    return 2.0 * v**2 / np.einsum("kr,kl,lr->r", g, A, g)


HYPOTHESES = np.vstack([np.eye(3), [[1.0, 2.0, -1.0]]])


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", list(MODELS))
def test_against_the_definition(name: str, reml: bool) -> None:
    model = build(name, None, reml=reml)
    fit = model.fit()
    flat = fit.parameters["std_error"].isna().any()
    if fit.singular or flat or not fit.converged:  # entries at a bound have no curvature of their own
        assert np.all(fit.coefficients(df="satterthwaite")["df"] > 0)
        return
    expected = naive(build(name, "dense", reml=reml, parameterization="natural"), fit, HYPOTHESES, reml=reml)
    found = fit.contrast(HYPOTHESES)["df"].to_numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("side", ["residual", "random"])
def test_a_structure_that_only_the_test_defines(side: str, reml: bool) -> None:
    fit = damped(side, None, reml=reml).fit()
    assert fit.converged and not fit.singular
    expected = naive(damped(side, "dense", reml=reml, parameterization="natural"), fit, HYPOTHESES, reml=reml)
    np.testing.assert_allclose(fit.contrast(HYPOTHESES)["df"], expected, rtol=2e-3)


@pytest.mark.parametrize("parameterization", ["cholesky", "natural", "profile", "log_cholesky"])
def test_whatever_was_optimised(parameterization: str) -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEPSTUDY, parameterization=parameterization)
    np.testing.assert_allclose(fit.coefficients(df="satterthwaite")["df"], [17.0, 17.0], rtol=1e-5)  # lmerTest 3.1


def test_exact_cases() -> None:
    """Where an exact t or F test exists: least squares, and a balanced one-way layout (5 days a subject, m subjects)."""
    plain = mm.fit("Reaction ~ Days", SLEEPSTUDY)
    np.testing.assert_allclose(plain.coefficients(df="satterthwaite")["df"], 178.0, rtol=1e-6)
    oneway = mm.fit("Reaction ~ 1 + (1 | Subject)", SLEEPSTUDY)
    np.testing.assert_allclose(oneway.coefficients(df="satterthwaite")["df"], 17.0, rtol=1e-5)
    residual = plain.coefficients(df="residual")
    np.testing.assert_allclose(residual["p_value"], plain.coefficients(df="satterthwaite")["p_value"], rtol=1e-6)


def test_contrasts_in_any_words() -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEPSTUDY)
    whole = fit.contrast([[1.0, 10.0]])
    for same in ({"Intercept": 1, "Days": 10}, "Intercept + 10 * Days", np.array([1.0, 10.0])):
        np.testing.assert_allclose(fit.contrast(same), whole)
    ten = fit.contrast("Days = 10")
    np.testing.assert_allclose(ten["statistic"], (fit.fixed_effects["Days"] - 10) / fit.standard_errors["Days"])
    np.testing.assert_allclose(fit.contrast(([[0, 1]], 10.0)), ten)
    assert list(fit.contrast("Days = 10, Intercept = 250").index) == ["Days = 10", "Intercept = 250"]
    both = fit.contrast("Days = 0, Intercept = 0", joint=True)
    np.testing.assert_allclose(both[["num_df", "den_df"]], [[2, 17.0]], rtol=1e-5)
    twice = fit.contrast(np.array([[0, 1.0], [0, 2.0]]), joint=True)  # one hypothesis, said twice
    np.testing.assert_allclose(twice["statistic"], fit.contrast({"Days": 1})["statistic"].to_numpy() ** 2)
    assert twice["num_df"].iloc[0] == 1
    for df in ("normal", "residual"):
        assert fit.contrast("Days", df=df, joint=True)["den_df"].iloc[0] == (np.inf if df == "normal" else 178)


def test_contrasts_by_name() -> None:
    """A Series goes by its index; text by the longest name that stands there, whatever signs it holds."""
    data = table().assign(**{"my arm": lambda d: d["arm"]})
    fit = mm.fit("y ~ C(`my arm`) * C(trait) * x + (1 | s)", data)
    names = list(fit.fixed_effects.index)
    given = pd.Series(1.0, index=names[::-1]) * np.arange(len(names))[::-1]
    np.testing.assert_allclose(fit.contrast(given)["estimate"], fit.fixed_effects @ np.arange(len(names)))
    text = " + ".join(f"{k} * {name}" for k, name in enumerate(names))
    np.testing.assert_allclose(fit.contrast(text)["estimate"], fit.fixed_effects @ np.arange(len(names)))
    none = fit.contrast(np.zeros((0, len(names))), joint=True)
    assert none["num_df"].iloc[0] == 0
    with pytest.raises(SpecError, match="rows that contradict one another"):
        fit.contrast((np.eye(len(names))[[1, 1]], [0.0, 5.0]), joint=True)
    with pytest.raises(SpecError, match="numbers over the coefficients"):
        fit.contrast({"x": "high"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.eye(3), "a matrix of shape (3, 3) · allowed: 2 columns"),
        ("Dayz = 0", "linear equations in Intercept, Days"),
        ({"Dayz": 1}, "the column 'Dayz'"),
        (object(), "a matrix, text, or a mapping"),
    ],
)
def test_wrong_contrasts_are_refused(wrong: Any, message: str) -> None:
    fit = mm.fit("Reaction ~ Days + (1 | Subject)", SLEEPSTUDY)
    with pytest.raises(SpecError) as caught:
        fit.contrast(wrong)
    assert message in str(caught.value)
    with pytest.raises(SpecError, match="'normal', 'residual', 'between_within'"):
        fit.contrast("Days", df="exact")


def test_a_singular_fit_has_them_too() -> None:
    """Over the directions that carry information: a variance at zero is taken as known."""
    rng = np.random.default_rng(0)
    data = SLEEPSTUDY.assign(noise=rng.normal(size=180))
    data["noise"] -= data.groupby("Subject")["noise"].transform("mean")
    fit = mm.fit("noise ~ Days + (1 | Subject)", data)
    assert fit.singular
    np.testing.assert_allclose(fit.coefficients(df="satterthwaite")["df"], 178.0, rtol=1e-5)


def test_a_saved_fit_has_the_same(tmp_path: Path) -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEPSTUDY, residual="ar1(Days | Subject)")
    fit.save(tmp_path / "fit.mm")
    again = mm.load(tmp_path / "fit.mm")
    np.testing.assert_allclose(again.coefficients(df="satterthwaite"), fit.coefficients(df="satterthwaite"))
    np.testing.assert_allclose(again.contrast(np.eye(2), joint=True), fit.contrast(np.eye(2), joint=True))
