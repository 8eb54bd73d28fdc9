"""The covariance of the covariance parameters: against the dense likelihood, differentiated twice, and by ratios of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from tests.reference.cases import HERE

SLOPE = "Reaction ~ Days + (Days | Subject)"


def restricted(theta: np.ndarray) -> float:
    """−2 restricted log L of sleepstudy's random slopes, written out; theta: sd, sd, correlation, sigma."""
    table = mm.datasets.load("sleepstudy")
    y, days = table["Reaction"].to_numpy(float), table["Days"].to_numpy(float)
    same = table["Subject"].to_numpy()[:, None] == table["Subject"].to_numpy()
    X = np.column_stack([np.ones(y.size), days])
    a, b, r, s = theta
    V = (a * a + r * a * b * (days[:, None] + days) + b * b * np.outer(days, days)) * same + s * s * np.eye(y.size)
    inverse = np.linalg.inv(V)
    information = X.T @ inverse @ X
    rest = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
    return float(np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest)


def gradient(theta: np.ndarray) -> np.ndarray:
    return central_differences(lambda t: np.array(restricted(t)), theta, 30 * np.abs(theta))


def test_it_is_twice_the_inverse_of_the_curvature() -> None:
    fit = mm.fit(SLOPE, mm.datasets.load("sleepstudy"))
    theta = fit.parameters["estimate"].to_numpy()
    hessian = central_differences(gradient, theta, 100 * np.abs(theta))
    wanted = 2.0 * np.linalg.inv(0.5 * (hessian + hessian.T))
    found = fit.parameters_cov
    assert list(found.index) == list(found.columns) == fit.parameters["name"].to_list()
    np.testing.assert_allclose(found.to_numpy(), wanted, rtol=2e-3, atol=1e-3 * np.max(np.abs(wanted)))


@pytest.mark.parametrize(
    ("formula", "residual"),
    [(SLOPE, None), ("Reaction ~ Days", "ar1(Days | Subject)"), (SLOPE, "car1(Days | Subject)")],
)
def test_its_diagonal_is_that_of_the_standard_errors(formula: str, residual: str | None) -> None:
    fit = mm.fit(formula, mm.datasets.load("sleepstudy"), residual=residual)
    errors = fit.parameters["std_error"].to_numpy()
    np.testing.assert_allclose(np.sqrt(np.diag(fit.parameters_cov)), errors, rtol=1e-10)
    matrix = fit.parameters_cov.to_numpy()
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-8, atol=1e-10)


def test_what_is_held_or_at_a_bound_has_none() -> None:
    data = mm.datasets.load("sleepstudy")
    held = mm.fit(SLOPE, data, fix={"sd(Days | Subject)": 6.0}).parameters_cov
    assert held.loc["sd(Days | Subject)"].isna().all() and held.loc["sigma", "sigma"] > 0
    zero = mm.fit("Yield ~ 1 + (1 | Batch)", pd.read_csv(HERE / "data" / "dyestuff2.csv")).parameters_cov
    assert zero.loc["sd(Intercept | Batch)"].isna().all() and zero.loc["sigma", "sigma"] > 0


def test_a_saved_fit_has_it(tmp_path: Path) -> None:
    fit = mm.fit(SLOPE, mm.datasets.load("sleepstudy"))
    fit.save(tmp_path / "fit.mm")
    assert mm.load(tmp_path / "fit.mm").parameters_cov.equals(fit.parameters_cov)


def test_a_ratio_by_the_delta_method() -> None:
    """The intraclass correlation of one random intercept, balanced: its variance is that of the F ratio of the analysis of
    variance in large samples (Searle, Casella & McCulloch 1992, Variance Components, section 3.6)."""
    data = mm.datasets.load("sleepstudy")
    fit = mm.fit("Reaction ~ 1 + (1 | Subject)", data)
    a, s = fit.parameters["estimate"]
    icc = a**2 / (a**2 + s**2)
    slope = np.array([2 * a * s**2, -2 * s * a**2]) / (a**2 + s**2) ** 2
    error = float(np.sqrt(slope @ fit.parameters_cov.to_numpy() @ slope))
    groups, m = 18, 10
    # var(icc) = 2 (1 − ρ)² (1 + (m − 1) ρ)² / (m (m − 1) (k − 1)), Fisher's
    wanted = np.sqrt(2 * (1 - icc) ** 2 * (1 + (m - 1) * icc) ** 2 / (m * (m - 1) * groups))
    assert error == pytest.approx(wanted, rel=0.05)
