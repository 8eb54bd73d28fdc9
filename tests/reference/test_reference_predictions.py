"""Predictions, influence, linear estimates, Wald intervals, columns left out and mean squares of the reference cases.

Fitted values and the covariance of the fixed effects: test_reference_cases.py; missing visits: test_residual_structures.py.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.reference.cases import BY_ID, data_of, fitted, label_of
from tests.reference.test_reference_cases import each
from tests.reference.test_reference_inference import DF, labels_of

CLOSE = 1e-6  # relative: the advised tolerances, of estimates and their errors, are 1e-5 and 1e-4


@each("predict")
def test_predictions_of_many_rows_at_once(case_id: str) -> None:
    """lme4's predict, rows with old and with new levels in one table."""
    expected = pd.DataFrame(BY_ID[case_id]["expected"]["predict"])
    data = pd.DataFrame(list(expected["newdata"]))
    population = fitted(case_id).predict(data, level="population")
    conditional = fitted(case_id).predict(data, new_levels="population")
    np.testing.assert_allclose(population, expected["population"], rtol=CLOSE)
    np.testing.assert_allclose(conditional, expected["conditional"], rtol=CLOSE)


@each("leverage")
def test_leverage(case_id: str) -> None:
    """lme4's hatvalues.merMod: the sum over all rows, and the first ones."""
    expected, found = BY_ID[case_id]["expected"]["leverage"], fitted(case_id).leverage()
    assert found.sum() == pytest.approx(expected["sum"], rel=CLOSE)
    np.testing.assert_allclose(found.head(len(expected["first"])), expected["first"], rtol=CLOSE)


@each("cooks_distance")
def test_cooks_distance(case_id: str) -> None:
    """lme4's cooks.distance.merMod."""
    expected, found = BY_ID[case_id]["expected"]["cooks_distance"], fitted(case_id).cooks_distance()
    np.testing.assert_allclose(found.head(len(expected["first"])), expected["first"], rtol=10 * CLOSE)


@each("linear_estimates")
def test_linear_estimates(case_id: str) -> None:
    """SAS's least-squares means and their differences, with Satterthwaite's degrees of freedom, by the weights that it used."""
    case, fit, label = BY_ID[case_id], fitted(case_id), labels_of(case_id)
    relative = max(DF, 10 * case["tolerance"]["se_rel"])
    rows = {
        given["name"]: dict(zip([label[name] for name in given["coef_names"]], given["L"], strict=True))
        for given in case["expected"]["linear_estimates"]
    }
    table = fit.contrast(pd.DataFrame(rows).T)
    for given in case["expected"]["linear_estimates"]:
        found = table.loc[given["name"]]
        assert found["estimate"] == pytest.approx(given["estimate"], abs=case["tolerance"]["fixef_rel"] * given["se"])
        assert found["std_error"] == pytest.approx(given["se"], rel=case["tolerance"]["se_rel"])
        assert found["df"] == pytest.approx(given["df_satterthwaite"], rel=relative)
        assert found["statistic"] == pytest.approx(given["t"], rel=case["tolerance"]["se_rel"])
        assert found["p_value"] == pytest.approx(given["p"], rel=200 * relative)
        ends = [given["lower95"], given["upper95"]]
        np.testing.assert_allclose([found["lower"], found["upper"]], ends, rtol=0, atol=1e-4 * given["se"])


@each("wald_ci95")
def test_wald_intervals(case_id: str) -> None:
    """confint(method = "Wald") of lme4, from the table of all parameters."""
    table, label = fitted(case_id).conf_int(), labels_of(case_id)
    for row in BY_ID[case_id]["expected"]["wald_ci95"]:
        found, width = table.loc[label[row["par"]]], row["upper"] - row["lower"]
        allowed = BY_ID[case_id]["tolerance"]["se_rel"] * width
        np.testing.assert_allclose(found, [row["lower"], row["upper"]], rtol=0, atol=allowed)


@each("dropped_columns")
def test_the_columns_that_are_left_out(case_id: str) -> None:
    """Those that R's pivoting leaves out: each depends on columns before it."""
    case, dropped = BY_ID[case_id], fitted(case_id).dropped
    named = {t["name"]: t for t in case["fixef_terms"]}
    expected = [label_of(case, named[name], list(dropped)) for name in case["expected"]["dropped_columns"]]
    assert list(dropped) == expected


@each("certified")
def test_certified_analysis_of_variance(case_id: str) -> None:
    """NIST StRD: in a balanced layout with an interior estimate, the mean square between is σ² + nG. The one within:
    test_reference_cases.py."""
    case, fit = BY_ID[case_id], fitted(case_id)
    certified, relative = case["expected"]["certified"], 2 * case["tolerance"]["sd_rel"]
    counts = data_of(case)["treatment"].value_counts()
    assert len(counts) - 1 == certified["df_between"]
    assert fit.nobs - len(counts) == certified["df_within"]
    between = fit.sigma2 + counts.iloc[0] * fit.covariance("treatment").iloc[0, 0]
    assert between == pytest.approx(certified["ms_between"], rel=relative)
    assert between / fit.sigma2 == pytest.approx(certified["F"], rel=2 * relative)
