"""Reference cases with a residual structure, a variance function or a structured G: the parameters of the residual, each at
the case's own tolerance, and predictions that use a subject's other visits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mmframe as mm
from tests.reference.cases import BY_ID, CASES, builder_of, covariance_tolerance, data_of, fitted
from tests.reference.residual_parameters import SHAPES, sas_parameter, shape, stratum_variances


def with_residual(key: str | None = None) -> pytest.MarkDecorator:
    ids = [c["id"] for c in CASES if c["expected"].get("residual") and (key is None or key in c["expected"])]
    return pytest.mark.parametrize("case_id", ids)


def compare_residual(
    case: dict[str, Any], fit: mm.FitResult, given: dict[str, Any], stratum: str | None = None
) -> None:
    half = covariance_tolerance(case)
    assert half is not None
    relative, corr_abs = 2 * half, case["tolerance"].get("corr_abs", half)
    for name, value in given.items():
        if name == "cov":
            table = fit.residual_covariance(stratum)
            assert [str(label) for label in table.index] == value["levels"]
            S, expected = table.to_numpy(), np.array(value["matrix"])
            sd = np.sqrt(np.diag(expected))
            np.testing.assert_allclose(np.diag(S), np.diag(expected), rtol=relative)
            np.testing.assert_allclose(S / np.outer(sd, sd), expected / np.outer(sd, sd), atol=relative)
        elif name == "cor":
            S = fit.residual_covariance(stratum).to_numpy()
            sd = np.sqrt(np.diag(S))
            np.testing.assert_allclose(S / np.outer(sd, sd), value, atol=corr_abs)
        elif name in ("cs_cov", "resid"):
            S = fit.residual_covariance(stratum).to_numpy()
            found = S[1, 0] if name == "cs_cov" else S[0, 0] - S[1, 0]
            assert found == pytest.approx(value, rel=relative)
        elif name == "variance":
            assert fit.sigma2 == pytest.approx(value, rel=relative)
        elif name == "sigma":
            assert fit.sigma == pytest.approx(value, rel=half)
        elif name in ("variance_by", "sd_by"):
            wanted = [v if name == "variance_by" else v**2 for v in value.values()]
            assert stratum_variances(fit, list(value)) == pytest.approx(wanted, rel=relative)
        elif name in SHAPES:
            assert shape(case, fit, name) == pytest.approx(value, rel=relative, abs=corr_abs)
        else:
            assert isinstance(value, dict), name
            compare_residual(case, fit, value, stratum=name)


@with_residual()
def test_residual_parameters(case_id: str) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    if covariance_tolerance(case) is None:  # not one by one: test_what_a_partial_replicate_design_identifies
        return
    compare_residual(case, fit, case["expected"]["residual"])


@pytest.mark.parametrize("case_id", [c["id"] for c in CASES if c.get("residual") and "fev" in c["data"]])
def test_parameters_as_sas_names_them(case_id: str) -> None:
    """The same numbers once more, one by one, under the names of a fit's parameters where they have one."""
    case, fit = BY_ID[case_id], fitted(case_id)
    by = "separate_parameters_by" in case["residual"]
    for name, value in case["expected"]["cov_params"].items():
        stratum, own = name.split(" ", 1) if by else (None, name)
        found, scale = sas_parameter(case, fit, own, stratum, [0, 1, 2, 3])
        assert found == pytest.approx(value, abs=case["tolerance"]["cov_rel"] * scale), name


@with_residual("at_boundary")
def test_an_estimate_on_the_boundary_is_reported(case_id: str) -> None:
    fit = fitted(case_id)
    assert fit.singular
    for name in BY_ID[case_id]["expected"]["at_boundary"]:
        (block,) = BY_ID[case_id]["expected"]["varcomp"]
        G = fit.covariance(block["group"]).to_numpy()
        if name.startswith("var("):
            assert G[0, 0] == pytest.approx(0.0, abs=1e-6 * fit.sigma2)
        else:
            assert G[0, 1] / np.sqrt(G[0, 0] * G[1, 1]) == pytest.approx(1.0, abs=1e-4)


def test_a_model_that_is_not_identified_says_so() -> None:
    case = BY_ID["be_rds04_C_reml"]
    with pytest.warns(mm.IdentifiabilityWarning, match=r"residual\.ratio\[T\] cannot be told apart"):
        builder_of(case).build(data_of(case)).fit()


def test_what_a_partial_replicate_design_identifies() -> None:
    """Of treatment T only the sum of the variances, between subjects and within; and the covariance (notes of the case)."""
    case, fit = BY_ID["be_rds04_C_reml"], fitted("be_rds04_C_reml")
    G, expected = fit.covariance("subject").to_numpy(), np.array(case["expected"]["varcomp"][0]["cov"])
    within = case["expected"]["residual"]["variance_by"]
    found = stratum_variances(fit, list(within))
    assert G[0, 0] == pytest.approx(expected[0, 0], rel=1e-4)
    assert G[1, 0] == pytest.approx(expected[1, 0], rel=1e-4)
    assert found[0] == pytest.approx(within["R"], rel=1e-4)
    assert G[1, 1] + found[1] == pytest.approx(expected[1, 1] + within["T"], rel=1e-4)


@with_residual("predict_missing")
def test_a_missing_visit_is_predicted_from_the_others(case_id: str) -> None:
    """The conditional mean given the subject's observed visits, and the standard error of predicting the observation."""
    case, fit = BY_ID[case_id], fitted(case_id)
    data = data_of(case)
    for row in case["expected"]["predict_missing"]["rows"]:
        new = data.iloc[[row["row"] - 1]]
        population = fit.predict(new, level="population", interval="confidence").iloc[0]
        assert population["estimate"] == pytest.approx(row["marginal_mean"], rel=1e-5)
        assert population["std_error"] == pytest.approx(row["marginal_se"], rel=case["tolerance"]["se_rel"])
        if row["observed"] is None:  # of observed rows the source prints the marginal mean
            conditional = fit.predict(new, interval="prediction").iloc[0]
            assert conditional["estimate"] == pytest.approx(row["conditional_mean"], rel=1e-5)
            assert conditional["std_error"] == pytest.approx(row["prediction_se"], rel=case["tolerance"]["se_rel"])
