"""Every reference case at its own tolerance: what all models share. The residual's parameters: test_residual_structures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from tests.reference.cases import (
    BY_ID,
    CASES,
    covariance_tolerance,
    data_of,
    fitted,
    group_of,
    label_of,
    level_labels,
)

SCALE_FREE = 1e-8


def each(key: str | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case_id", [c["id"] for c in CASES if key is None or key in c["expected"]])


@each()
def test_log_likelihood(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    assert fit.nobs == case["expected"]["nobs"]
    assert fit.loglike == pytest.approx(case["expected"]["loglik"], abs=case["tolerance"]["loglik_abs"])
    assert fit.converged, fit.stop_reason


@each()
def test_fixed_effects_and_standard_errors(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    labels = list(fit.fixed_effects.index)
    tolerance, expected = case["tolerance"], case["expected"]
    assert len(labels) == expected["n_fixef"]
    for term in case["fixef_terms"]:
        if term["name"] not in expected["fixef"]:
            continue
        label = label_of(case, term, labels)
        error = expected["se"][term["name"]]
        # a coefficient near zero is compared on the scale of its standard error
        allowed = max(tolerance["fixef_rel"] * abs(expected["fixef"][term["name"]]), tolerance["fixef_rel"] * error)
        assert fit.fixed_effects[label] == pytest.approx(expected["fixef"][term["name"]], abs=allowed)
        assert fit.standard_errors[label] == pytest.approx(error, rel=tolerance["se_rel"])


@each()
def test_covariance_parameters(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    tolerance, expected = case["tolerance"], case["expected"]
    relative = covariance_tolerance(case)
    if relative is None:  # not identified: test_what_a_partial_replicate_design_identifies compares what is
        return
    if "sigma" in expected:
        assert fit.sigma == pytest.approx(expected["sigma"], rel=relative)
    start: dict[str, int] = {}
    for block in expected["varcomp"]:
        group = block["group"]
        G = fit.covariance(group)
        first = start.get(group, 0)
        part = G.to_numpy()[first : first + len(block["sd"]), first : first + len(block["sd"])]
        start[group] = first + len(block["sd"])
        assert np.sqrt(np.diag(part)) == pytest.approx(block["sd"], rel=relative, abs=relative * fit.sigma * SCALE_FREE)
        if block["corr"] is not None and min(block["sd"]) > 0:
            sd = np.sqrt(np.diag(part))
            np.testing.assert_allclose(part / np.outer(sd, sd), block["corr"], atol=tolerance.get("corr_abs", relative))


@each("ranef")
def test_random_effects(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    tolerance, expected = case["tolerance"], case["expected"]
    relative = 10 * tolerance.get("sd_rel", tolerance.get("cov_rel") or 1e-4)
    identified = slice(1 if covariance_tolerance(case) is None else None)
    for group, levels in expected["ranef"].items():
        name = group_of(case, group, fit.random_effects)
        table, cov = fit.random_effects[name], fit.random_effects_cov[name]
        names = level_labels(case, group, table.index)
        scale = np.maximum(np.sqrt(np.diag(fit.covariance(group))), 1e-12)
        for level in levels:
            place = names.index(level["level"])
            values = list(level["value"].values())
            np.testing.assert_allclose(((table.iloc[place] - values) / scale)[identified], 0.0, atol=relative)
            if "cond_var" in level:
                found = cov[table.index[place]].to_numpy() / np.outer(scale, scale)
                np.testing.assert_allclose(found, np.array(level["cond_var"]) / np.outer(scale, scale), atol=relative)


@each("information_criteria")
def test_information_criteria(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    given = case["expected"]["information_criteria"]
    allowed = 2 * case["tolerance"]["loglik_abs"]
    if "aic_all_params" in given:
        assert fit.aic == pytest.approx(given["aic_all_params"], abs=allowed)
    if "bic_all_params_logN" in given:
        assert fit.bic == pytest.approx(given["bic_all_params_logN"], abs=allowed)


@each("singular")
def test_singular(case_id: str) -> None:
    assert fitted(case_id).singular == BY_ID[case_id]["expected"]["singular"]


@each("predict")
def test_prediction_of_new_data(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    for row in case["expected"]["predict"]:
        data = pd.DataFrame([row["newdata"]])
        population = fit.predict(data, level="population")
        conditional = fit.predict(data, new_levels="population")
        assert population.iloc[0] == pytest.approx(row["population"], rel=1e-5)
        assert conditional.iloc[0] == pytest.approx(row["conditional"], rel=1e-5)


@each("fitted_conditional")
def test_fitted_and_residuals(case_id: str) -> None:
    fit, expected = fitted(case_id), BY_ID[case_id]["expected"]
    for row in expected["fitted_conditional"]:
        assert fit.fitted.iloc[row["row"] - 1] == pytest.approx(row["value"], rel=1e-6)
    for row in expected["residual_conditional"]:
        assert fit.residuals().iloc[row["row"] - 1] == pytest.approx(row["value"], rel=1e-5)


@each("vcov_fixef")
def test_covariance_of_fixed_effects(case_id: str) -> None:
    fit, expected = fitted(case_id), np.array(BY_ID[case_id]["expected"]["vcov_fixef"]["matrix"])
    np.testing.assert_allclose(fit.fixed_effects_cov, expected, rtol=1e-4)


@each("dropped_columns")
def test_dropped_columns(case_id: str) -> None:
    assert len(fitted(case_id).dropped) == len(BY_ID[case_id]["expected"]["dropped_columns"])


@each("certified")
def test_nist_certified_sums_of_squares(case_id: str) -> None:
    """The residual variance of a balanced one-way layout is the certified mean square within; NIST StRD."""
    case, fit = BY_ID[case_id], fitted(case_id)
    relative = 2 * case["tolerance"]["sd_rel"]
    assert fit.sigma2 == pytest.approx(case["expected"]["certified"]["ms_within"], rel=relative)


def test_sleepstudy_to_six_digits() -> None:
    """The project's own statement: REML −871.814136, ML deviance 1751.939344 (lme4 1.1-31, Newton-polished)."""
    for name, reml in (("sleepstudy_rs_reml", True), ("sleepstudy_rs_ml", False)):
        expected = BY_ID[name]["expected"]
        fit = mm.fit("Reaction ~ Days + (Days | Subject)", mm.datasets.load("sleepstudy"), reml=reml)
        assert fit.loglike == pytest.approx(expected["loglik"], abs=5e-7)
        np.testing.assert_allclose(fit.covariance("Subject"), expected["varcomp"][0]["cov"], rtol=1e-6)
        assert fit.sigma == pytest.approx(expected["sigma"], rel=1e-6)
        np.testing.assert_allclose(fit.standard_errors, list(expected["se"].values()), rtol=1e-6)
    assert fit.deviance == pytest.approx(1751.939344, abs=5e-7)


def test_insteval_reml() -> None:
    """Students, instructors and departments, crossed: the REML log-likelihood that lme4 and mixedlm agree on."""
    case = BY_ID["insteval_dept_ml"]
    formula = "y ~ service + (1|s) + (1|d) + (1|dept)"
    fit = mm.fit(formula, data_of(case), reml=True, categorical={"service": case["categorical"]["service"]["levels"]})
    assert fit.nobs == case["expected"]["nobs"]
    assert fit.loglike == pytest.approx(-118866.9171, abs=1e-4)
    assert fit.converged, fit.stop_reason
