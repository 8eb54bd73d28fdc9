"""Fits by name: against log_cholesky, against nlme's pdSymm, and where the optimum is singular."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmframe_matrix_log import MatrixLogEntries
from test_matrix_log import NLME

import mmframe as mm
from mmframe.api import PositiveDefinite

FORMULA = "Reaction ~ Days + (Days | Subject)"
FAR = {"sd(Intercept | Subject)": 1, "sd(Days | Subject)": 1, "corr(Intercept, Days | Subject)": 0, "sigma": 100}


@pytest.fixture(scope="module")
def sleepstudy() -> pd.DataFrame:
    return mm.datasets.load("sleepstudy")


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("stage", ["newton", "lbfgs", "em"])
def test_the_optimum_is_that_of_log_cholesky(stage: str, reml: bool, sleepstudy: Any) -> None:
    stages = [stage] if stage != "em" else ["em", "newton"]
    mine = mm.fit(FORMULA, sleepstudy, reml=reml, parameterization="matrix_log", stages=stages, start=FAR)
    other = mm.fit(FORMULA, sleepstudy, reml=reml, parameterization="log_cholesky", start=FAR)
    assert mine.converged and -2 * mine.loglike == pytest.approx(-2 * other.loglike, abs=1e-7)
    np.testing.assert_allclose(mine.covariance("Subject"), other.covariance("Subject"), rtol=1e-4)
    np.testing.assert_allclose(mine.parameters["std_error"], other.parameters["std_error"], rtol=1e-3)


@pytest.mark.parametrize("criterion", ["REML", "ML"])
def test_nlmes_fit_by_the_matrix_logarithm(criterion: str, sleepstudy: Any) -> None:
    fit = mm.fit(FORMULA, sleepstudy, reml=criterion == "REML", parameterization="matrix_log", start=FAR)
    assert -2 * fit.loglike == pytest.approx(float(NLME[f"criterion_{criterion}"][0]), abs=1e-6)
    sigma = float(fit.parameters.set_index("name")["estimate"]["sigma"])
    assert sigma == pytest.approx(float(NLME[f"sigma_{criterion}"][0]), rel=1e-5)
    theta = MatrixLogEntries(PositiveDefinite(2)).inverse(np.asarray(fit.covariance("Subject")) / sigma**2)
    np.testing.assert_allclose(theta, 2.0 * NLME[f"coef_{criterion}"], atol=1e-4)


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 1e4])
def test_units_far_apart(unit: float, sleepstudy: Any) -> None:
    start = {**FAR, "sd(Days | Subject)": 1 / unit}
    best = mm.fit(FORMULA, sleepstudy, reml=False)  # by ML, which does not depend on the unit of a covariate
    other = sleepstudy.assign(Days=sleepstudy["Days"] * unit)
    mine = mm.fit(FORMULA, other, reml=False, parameterization="matrix_log", start=start)
    assert mine.converged and mine.loglike == pytest.approx(best.loglike, abs=1e-6)


def test_three_columns() -> None:
    diet = mm.datasets.load("dietox")
    diet = diet.assign(t=diet["Time"] - 6.5, t2=(diet["Time"] - 6.5) ** 2)
    formula = "Weight ~ t + t2 + (t + t2 | Pig)"
    best = mm.fit(formula, diet)
    mine = mm.fit(formula, diet, parameterization="matrix_log")
    assert mine.converged and mine.loglike == pytest.approx(best.loglike, abs=1e-7)


def test_singular_fits_end_on_the_boundary() -> None:
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"g": np.repeat(np.arange(12), 6), "x": np.tile(np.arange(6), 12)})
    table["y"] = 1 + 0.5 * table["x"] + rng.normal(size=72)  # no effect of g
    for term in ("1", "x"):
        best = mm.fit(f"y ~ x + ({term} | g)", table)
        mine = mm.fit(f"y ~ x + ({term} | g)", table, parameterization="matrix_log")
        assert mine.converged and mine.singular and best.singular
        assert mine.loglike == pytest.approx(best.loglike, abs=1e-6)


def test_terms_may_differ(sleepstudy: Any) -> None:
    split = "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)"
    mixed = {"1 | Subject": "matrix_log", "0 + Days | Subject": "profile"}
    assert mm.fit(split, sleepstudy, parameterization=mixed).loglike == pytest.approx(
        mm.fit(split, sleepstudy).loglike, abs=1e-7
    )
