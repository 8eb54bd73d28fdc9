"""Degrees of freedom, p-values, intervals, contrasts and likelihood-ratio tests of the reference cases, at their own tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mmframe as mm
from tests.reference.cases import BY_ID, builder_of, data_of, fitted, label_of
from tests.reference.test_reference_cases import each

# Satterthwaite's degrees of freedom divide by the variance of a variance: they lose digits where the estimates do.
DF = 2e-5


def labels_of(case_id: str) -> dict[str, str]:
    """Our label of each coefficient of a case."""
    case, names = BY_ID[case_id], list(fitted(case_id).fixed_effects.index)
    return {t["name"]: label_of(case, t, names) for t in case["fixef_terms"] if t["name"] in case["expected"]["fixef"]}


@each("df_satterthwaite")
def test_satterthwaite(case_id: str) -> None:
    """lmerTest's, SAS's, SPSS's and mmrm's degrees of freedom; p-values and intervals follow."""
    case, fit, label = BY_ID[case_id], fitted(case_id), labels_of(case_id)
    expected = case["expected"]
    table = fit.coefficients(df="satterthwaite")
    relative = max(DF, 10 * case["tolerance"]["se_rel"])
    for name, degrees in expected["df_satterthwaite"].items():
        assert table.loc[label[name], "df"] == pytest.approx(degrees, rel=relative), name
    for name, p in expected.get("p_satterthwaite", {}).items():
        assert table.loc[label[name], "p_value"] == pytest.approx(p, rel=200 * relative, abs=1e-12), name
    for interval in expected.get("ci95_satterthwaite", []):
        row = table.loc[label[interval["par"]]]
        ends = [interval["lower"], interval["upper"]]
        np.testing.assert_allclose(
            [row["lower"], row["upper"]], ends, rtol=0, atol=max(1e-4, relative) * row["std_error"]
        )


@each("contrast_tests")
def test_contrasts(case_id: str) -> None:
    """Single rows with t tests, several with Fai and Cornelius's degrees of freedom."""
    fit, label = fitted(case_id), labels_of(case_id)
    relative = max(DF, 10 * BY_ID[case_id]["tolerance"]["se_rel"])
    for test in BY_ID[case_id]["expected"]["contrast_tests"]:
        places = [list(fit.fixed_effects.index).index(label[name]) for name in test["coef_names"]]
        L = np.zeros((len(test["L"]), len(fit.fixed_effects)))
        L[:, places] = test["L"]
        if "F" in test:
            row = fit.contrast(L, joint=True).iloc[0]
            assert row["num_df"] == test["numdf"]
            assert row["den_df"] == pytest.approx(test["df_satterthwaite"], rel=relative)
            assert row["statistic"] == pytest.approx(test["F"], rel=relative)
            assert row["p_value"] == pytest.approx(test["p"], rel=200 * relative)
            continue
        row = fit.contrast(L).iloc[0]
        assert row["estimate"] == pytest.approx(test["estimate"], rel=relative)
        assert row["std_error"] == pytest.approx(test["se"], rel=relative)
        assert row["df"] == pytest.approx(test["df_satterthwaite"], rel=relative)
        assert row["p_value"] == pytest.approx(test["p"], rel=200 * relative)
        np.testing.assert_allclose(
            [row["lower"], row["upper"]], [test["lower95"], test["upper95"]], atol=1e-4 * test["se"]
        )


@each("lrt")
def test_likelihood_ratios(case_id: str) -> None:
    case, whole = BY_ID[case_id], fitted(case_id)
    for test in case["expected"]["lrt"]:
        spec = builder_of(case).spec
        builder = mm.ModelBuilder().criterion(spec.criterion).categorical(spec.categorical)
        reduced = builder.fixed(test["reduced"]).build(data_of(case)).fit()
        table = mm.compare(whole, reduced)
        assert table["df"].iloc[1] == test["df"]
        assert table["chisq"].iloc[1] == pytest.approx(test["chisq"], rel=1e-5, abs=2e-6)
        assert table["p_value"].iloc[1] == pytest.approx(test["p"], rel=1e-3)


def _kenward_roger(case_id: str, expected: dict[str, Any], information: str) -> None:
    label = labels_of(case_id)
    relative = max(DF, 10 * BY_ID[case_id]["tolerance"]["se_rel"])
    table = fitted(case_id).coefficients(df="kenward_roger", information=information)
    errors = expected["se_adjusted"]
    if "se_adjusted_linear" in expected:
        short = fitted(case_id).coefficients(df="kenward_roger_linear", information=information)["std_error"]
        for name, error in expected["se_adjusted_linear"].items():
            assert short[label[name]] == pytest.approx(error, rel=relative), name
    for name, degrees in expected["df"].items():
        row = table.loc[label[name]]
        assert row["df"] == pytest.approx(degrees, rel=relative), name
        assert row["std_error"] == pytest.approx(errors[name], rel=relative), name
        if "t" in expected:
            assert row["statistic"] == pytest.approx(expected["t"][name], rel=relative, abs=1e-8), name
            assert row["p_value"] == pytest.approx(expected["p"][name], rel=200 * relative, abs=1e-12), name


@each("kenward_roger")
def test_kenward_roger(case_id: str) -> None:
    """pbkrtest's (expected information), and SAS's with FIRSTORDER (observed): degrees of freedom, adjusted errors, t, p."""
    expected = BY_ID[case_id]["expected"]["kenward_roger"]
    _kenward_roger(case_id, expected, expected["information"])
    default = "expected" if BY_ID[case_id].get("residual") is None else "observed"
    assert expected["information"] == default


@each("kenward_roger_observed_info")
def test_kenward_roger_with_observed_information(case_id: str) -> None:
    _kenward_roger(case_id, BY_ID[case_id]["expected"]["kenward_roger_observed_info"], "observed")
