"""Kenward and Roger's covariance and degrees of freedom against the definitions, with Σ written out and moved by differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from mmframe.errors import SpecError
from mmframe.likelihood.dense import DenseEngine
from mmframe.optimize.problem import Problem
from mmframe.results.second_order import customary
from mmframe.results.source import FittedSource
from tests.likelihood.residual_models import MODELS, build
from tests.results.test_satterthwaite import HYPOTHESES, damped

Array = np.ndarray
SLEEPSTUDY = mm.datasets.load("sleepstudy")
LINEAR = "kenward_roger_linear"


def naive(
    model: mm.Model, fit: mm.FitResult, L: Array, *, reml: bool, information: str, whole: bool = False
) -> tuple[Array, float, float]:
    """(Φ_A, ν, λ) as Kenward & Roger (1997) write them, in the natural coordinates of a dense model; with their R_jl, of the
    customary parameters, where the whole is wanted."""
    assert isinstance(fit.source, FittedSource) and isinstance(model.engine, DenseEngine)
    engine, X = model.engine, model.engine.X  # weighted, as Σ is
    point = fit.source.found.point
    theta = model.covariance.theta(point.flats, point.sigma2)
    sizes = 30.0 * np.maximum(np.abs(theta), 1e-2 * np.max(np.abs(theta)))

    def sigma(t: Array) -> Array:
        G, R, sigma2 = model.covariance.matrices(t)
        return np.linalg.inv(engine._inverse(G, R)[0]) * sigma2

    inverse, moved = np.linalg.inv(sigma(theta)), central_differences(sigma, theta, sizes)
    phi = np.linalg.inv(X.T @ inverse @ X)
    projected = inverse - inverse @ X @ phi @ X.T @ inverse if reml else inverse
    k = theta.size
    if information == "expected":
        twice = np.array([[np.trace(projected @ moved[j] @ projected @ moved[m]) for m in range(k)] for j in range(k)])
        W = np.linalg.inv(twice / 2)
    else:
        problem = Problem(engine, model.covariance, reml)
        hessian = central_differences(lambda t: problem.gradient(t)[1], theta, sizes)
        W = np.linalg.inv((hessian + hessian.T) / 4)
    P = [-X.T @ inverse @ moved[j] @ inverse @ X for j in range(k)]
    total = np.zeros_like(phi)
    for j in range(k):
        for m in range(k):
            Q = X.T @ inverse @ moved[j] @ inverse @ moved[m] @ inverse @ X
            total += W[j, m] * (Q - P[j] @ phi @ P[m])
    if whole:
        total -= X.T @ inverse @ _second_derivatives(model, sigma, theta, moved, W) @ inverse @ X / 4
    rows = len(L)
    theta_L = L.T @ np.linalg.inv(L @ phi @ L.T) @ L
    pieces = [theta_L @ phi @ P[j] @ phi for j in range(k)]
    a1 = sum(W[j, m] * np.trace(pieces[j]) * np.trace(pieces[m]) for j in range(k) for m in range(k))
    a2 = sum(W[j, m] * np.trace(pieces[j] @ pieces[m]) for j in range(k) for m in range(k))
    B = (a1 + 6 * a2) / (2 * rows)
    g = ((rows + 1) * a1 - (rows + 4) * a2) / ((rows + 2) * a2)
    c = np.array([g, rows - g, rows + 2 - g]) / (3 * rows + 2 * (1 - g))
    mean = 1 / (1 - a2 / rows)
    variance = 2 / rows * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
    rho = variance / (2 * mean**2)
    nu = 4 + (rows + 2) / (rows * rho - 1)
    return phi + 2 * phi @ total @ phi, nu, nu / (mean * (nu - 2))


def _second_derivatives(model: mm.Model, sigma: Any, theta: Array, moved: Array, W: Array) -> Array:
    """Σ_jl W_jl ∂²Σ/∂ψ_j∂ψ_l: that in θ, pair by pair, less what the curvature of ψ(θ) makes of the first derivatives."""
    k, step = theta.size, 1e-3 * np.sqrt(np.diag(W))
    places = np.cumsum([0, *(t.size for t in model.covariance.terms)])

    def psi(t: Array) -> Array:
        parts = [
            customary(term, term.flat(t[a:b]))
            for term, a, b in zip(model.covariance.terms, places[:-1], places[1:], strict=True)
        ]
        return np.concatenate([*parts, t[places[-1] :]])

    def pairs(function: Any) -> Array:
        total = 0.0
        for j in range(k):
            for m in range(k):
                a, b = step[j] * np.eye(k)[j], step[m] * np.eye(k)[m]
                corners = (function(theta + u * a + v * b) * u * v for u in (1, -1) for v in (1, -1))
                total = total + W[j, m] * sum(corners) / (4 * step[j] * step[m])
        return np.asarray(total)

    back = np.linalg.solve(central_differences(psi, theta, step * 1e4).T, pairs(psi))
    return pairs(sigma) - np.tensordot(back, moved, axes=1)


def agrees(fit: mm.FitResult, dense: mm.Model, *, reml: bool) -> None:
    two = np.array([[0.0, 1.0, 0.0], [1.0, 0.5, -1.0]])
    for information in ("expected", "observed"):
        found = fit.contrast(HYPOTHESES, df=LINEAR, information=information)
        for n, row in enumerate(HYPOTHESES):
            covariance, nu, scale = naive(dense, fit, row[None], reml=reml, information=information)
            np.testing.assert_allclose(found["std_error"].iloc[n], np.sqrt(row @ covariance @ row), rtol=1e-4)
            np.testing.assert_allclose(found["df"].iloc[n], nu, rtol=2e-3)
            np.testing.assert_allclose(scale, 1.0, rtol=1e-6)
        full = fit.contrast(HYPOTHESES, df="kenward_roger", information=information)
        covariance, _, _ = naive(dense, fit, HYPOTHESES[:1], reml=reml, information=information, whole=True)
        variances = np.einsum("rp,pq,rq->r", HYPOTHESES, covariance, HYPOTHESES)
        errors = np.sqrt(np.where(variances > 0, variances, np.nan))  # the term may be the larger part
        np.testing.assert_allclose(full["std_error"], errors, rtol=1e-4)
        np.testing.assert_allclose(full["df"], found["df"], rtol=1e-9)
        covariance, nu, scale = naive(dense, fit, two, reml=reml, information=information)
        joint = fit.contrast(two, df=LINEAR, joint=True, information=information).iloc[0]
        gap = two @ fit.fixed_effects.to_numpy()
        statistic = scale * gap @ np.linalg.solve(two @ covariance @ two.T, gap) / 2
        np.testing.assert_allclose(joint["den_df"], nu, rtol=2e-3)
        np.testing.assert_allclose(joint["statistic"], statistic, rtol=2e-3)


@pytest.mark.parametrize("name", list(MODELS))
def test_against_the_definition(name: str) -> None:
    model = build(name, None)
    fit = model.fit()
    if fit.singular or fit.parameters["std_error"].isna().any() or not fit.converged:
        assert np.all(fit.coefficients(df=LINEAR)["df"] > 0)  # entries at a bound have no curvature of their own
        return
    agrees(fit, build(name, "dense", parameterization="natural"), reml=True)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("side", ["residual", "random"])
def test_a_structure_that_only_the_test_defines(side: str, reml: bool) -> None:
    agrees(damped(side, None, reml=reml).fit(), damped(side, "dense", reml=reml, parameterization="natural"), reml=reml)


@pytest.mark.parametrize("parameterization", ["cholesky", "natural", "profile", "log_cholesky"])
def test_whatever_was_optimised(parameterization: str) -> None:
    """pbkrtest 0.5.2: sleepstudy has 17 degrees of freedom and, being balanced, the errors of before."""
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEPSTUDY, parameterization=parameterization)
    found = fit.coefficients(df=LINEAR)
    np.testing.assert_allclose(found["df"], 17.0, rtol=1e-5)
    np.testing.assert_allclose(found["std_error"], fit.standard_errors, rtol=1e-5)


def test_exact_cases() -> None:
    """Where an exact F test exists it is that one: least squares, one-way and randomized blocks (also with 2 degrees of freedom)."""
    plain = mm.fit("Reaction ~ Days", SLEEPSTUDY)
    both = plain.contrast(np.eye(2), df=LINEAR, joint=True)
    np.testing.assert_allclose(both[["num_df", "den_df"]], [[2, 178.0]], rtol=1e-6)
    np.testing.assert_allclose(
        both["statistic"], plain.contrast(np.eye(2), df="residual", joint=True)["statistic"], rtol=1e-6
    )
    np.testing.assert_allclose(plain.coefficients(df=LINEAR)["std_error"], plain.standard_errors, rtol=1e-8)


def test_a_saved_fit_has_the_same(tmp_path: Path) -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEPSTUDY, residual="ar1(Days | Subject)")
    fit.save(tmp_path / "fit.mm")
    again = mm.load(tmp_path / "fit.mm")
    for information in (None, "expected", "observed"):
        np.testing.assert_allclose(
            again.contrast(np.eye(2), LINEAR, joint=True, information=information),
            fit.contrast(np.eye(2), LINEAR, joint=True, information=information),
        )


def test_which_information() -> None:
    """The expected without a residual structure (pbkrtest), the observed with one (SAS, mmrm)."""
    data = SLEEPSTUDY.drop(index=[3, 17, 18, 55, 120, 121, 122])
    for residual, default in ((None, "expected"), ("ar1(Days | Subject)", "observed")):
        fit = mm.fit("Reaction ~ Days + (1 | Subject)", data, residual=residual)
        found = {i: fit.coefficients(df=LINEAR, information=i)["df"] for i in (None, "expected", "observed")}
        np.testing.assert_array_equal(found[None], found[default])
        assert not np.allclose(found["expected"], found["observed"], rtol=1e-6)
    for wrong in ({"df": LINEAR, "information": "average"}, {"df": "satterthwaite", "information": "expected"}):
        with pytest.raises(SpecError, match="'expected' or 'observed', with df='kenward_roger' or"):
            fit.coefficients(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("formula", "options", "linear"),
    [
        ("Days + (Days | Subject)", {}, True),
        ("Days + (Days || Subject)", {}, True),
        ("Days + cs(0 + factor(Days) | Subject)", {}, True),
        ("Days", {"residual": "toep(Days | Subject)"}, True),
        ("Days", {"residual": "us(Days | Subject)"}, True),
        ("Days + (1 | Subject)", {"residual": "ar1(Days | Subject)"}, False),
        ("Days", {"residual": "toeph(Days | Subject)"}, False),
    ],
)
def test_the_term_in_second_derivatives(formula: str, options: dict[str, Any], linear: bool) -> None:
    """Zero where Σ is linear in the customary parameters, entries of Σ, although its own may be correlations."""
    fit = mm.fit(f"Reaction ~ {formula}", SLEEPSTUDY.drop(index=[3, 17, 18, 55, 120]), **options)
    full, short = fit.coefficients(df="kenward_roger"), fit.coefficients(df=LINEAR)
    np.testing.assert_allclose(full["df"], short["df"])
    same = np.allclose(full["std_error"], short["std_error"], rtol=1e-7)
    assert same == linear


def test_correlations_are_the_parameters_of_a_heterogeneous_toeplitz_structure() -> None:
    """SAS's TOEPH, with Σ written in variances and correlations by lag here, and moved in them."""
    data = SLEEPSTUDY[SLEEPSTUDY["Days"] < 4].drop(index=[3, 22, 50])
    fit = mm.fit("Reaction ~ Days", data, residual="toeph(Days | Subject)")
    R = fit.residual_covariance().to_numpy()
    sd = np.sqrt(np.diag(R))
    psi = np.append(sd**2, (R / np.outer(sd, sd))[0, 1:])
    day, subject = data["Days"].to_numpy(), data["Subject"].to_numpy()
    X = np.column_stack([np.ones(len(data)), day])

    def sigma(p: Array) -> Array:
        rho = np.append(1.0, p[4:])
        small = np.sqrt(np.outer(p[:4], p[:4])) * rho[np.abs(np.arange(4)[:, None] - np.arange(4))]
        return small[np.ix_(day, day)] * (subject[:, None] == subject[None, :])

    def deviance(p: Array) -> float:
        V = sigma(p)
        inverse = np.linalg.inv(V)
        M = X.T @ inverse @ X
        y = data["Reaction"].to_numpy()
        error = y - X @ np.linalg.solve(M, X.T @ inverse @ y)
        return float(np.linalg.slogdet(V)[1] + np.linalg.slogdet(M)[1] + error @ inverse @ error)

    k = psi.size
    step = np.append(3e-4 * psi[:4], np.full(3, 1.5e-4))

    def second(function: Any) -> dict[tuple[int, int], Any]:
        out = {}
        for j in range(k):
            for m in range(k):
                a, b = step[j] * np.eye(k)[j], step[m] * np.eye(k)[m]
                out[j, m] = sum(u * v * function(psi + u * a + v * b) for u in (1, -1) for v in (1, -1)) / (
                    4 * step[j] * step[m]
                )
        return out

    hessian = second(deviance)
    W = 2 * np.linalg.inv(np.array([[hessian[j, m] for m in range(k)] for j in range(k)]))
    inverse = np.linalg.inv(sigma(psi))
    phi = np.linalg.inv(X.T @ inverse @ X)
    moved = [(sigma(psi + h) - sigma(psi - h)) / (2 * s) for s, h in zip(step, np.diag(step), strict=True)]
    curved, total = second(sigma), np.zeros((2, 2))
    P = [X.T @ inverse @ D @ inverse @ X for D in moved]
    for j in range(k):
        for m in range(k):
            Q = X.T @ inverse @ moved[j] @ inverse @ moved[m] @ inverse @ X
            R_jl = X.T @ inverse @ curved[j, m] @ inverse @ X
            total += W[j, m] * (Q - P[j] @ phi @ P[m] - R_jl / 4)
    expected = np.sqrt(np.diag(phi + 2 * phi @ total @ phi))
    found = fit.coefficients(df="kenward_roger", information="observed")["std_error"]
    # the differences here err by 1e-6 of the errors
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(found, fit.coefficients(df=LINEAR, information="observed")["std_error"], rtol=1e-4)


def test_the_summary_says_which() -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEPSTUDY)
    text = fit.summary("kenward_roger")
    assert "Kenward and Roger's errors and degrees of freedom)" in text and " 17 " in text
    assert "Wald, normal" in fit.summary() and "singular" not in text
    rng = np.random.default_rng(0)
    noise = rng.normal(size=180)
    flat = SLEEPSTUDY.assign(noise=noise - pd.Series(noise).groupby(SLEEPSTUDY["Subject"]).transform("mean"))
    singular = mm.fit("noise ~ Days + (1 | Subject)", flat)
    assert "at a bound is taken as known" in singular.summary("satterthwaite")
    assert "at a bound" not in singular.summary()
