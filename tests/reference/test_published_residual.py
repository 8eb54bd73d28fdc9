"""Numbers printed by SAS PROC MIXED, SPSS MIXED and Metida.jl for models with residual structures, at their printed precision.

SAS stops early: its −2 log L lies up to 1.3e-5 above the optimum and its estimates are good to three digits or so, on the
scale of the standard deviations. Tables whose standard errors are adjusted (Kenward-Roger, empirical) are read for estimates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.reference.cases import BY_ID, CASES, data_of, fitted, label_of
from tests.reference.residual_parameters import SAS_ORDER, sas_parameter, stratum_variances

SAS_M2LOGLIK = 1.3e-5
SAS_ESTIMATE = 1e-3  # of a standard deviation, a correlation or a range
SAS_EFFECT = 3e-3  # of a standard error
OTHER_BASE = {"fev_spgau2d_arm_kr_reml"}  # SAS takes TRT as the base: its intercept and sign differ


def published(*keys: str) -> list[tuple[str, dict[str, Any]]]:
    """(case, source) of the cases with a residual structure whose source prints one of the keys."""
    pairs = [(c["id"], p) for c in CASES if c.get("residual") for p in c["published"] or []]
    return [pytest.param(i, p, id=i) for i, p in pairs if any(key in p for key in keys)]  # type: ignore[misc]


def rounding(value: float | str) -> float:
    """Half a unit of the last digit that was printed."""
    decimals = str(value).partition(".")[2]
    return 0.5 * 10.0 ** -len(decimals)


def number(row: str) -> tuple[list[str], list[str]]:
    """The fields of a printed row up to its first number, and from there on."""
    fields = [field.strip() for field in row.split("|")]
    first = next(k for k, field in enumerate(fields) if field.lstrip("-").replace(".", "", 1).isdigit())
    return fields[:first], fields[first:]


@pytest.mark.parametrize(("case_id", "source"), published("m2loglik"))
def test_log_likelihood(case_id: str, source: dict[str, Any]) -> None:
    early = SAS_M2LOGLIK if "SAS" in source["source"] else 1e-8
    for key in ("m2loglik", "m2loglik_metida"):
        if key in source:
            assert -2 * fitted(case_id).loglike == pytest.approx(source[key], abs=rounding(source[key]) + early)


@pytest.mark.parametrize(("case_id", "source"), published("cov_parms_printed"))
def test_covariance_parameters_of_sas(case_id: str, source: dict[str, Any]) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    for row in source["cov_parms_printed"]:
        words, numbers = number(row)
        stratum = next((word.split()[-1] for word in words if word.startswith("ARMCD ")), None)
        found, scale = sas_parameter(case, fit, words[0], stratum, SAS_ORDER.get(case_id, [0, 1, 2, 3]))
        assert found == pytest.approx(float(numbers[0]), abs=SAS_ESTIMATE * scale + rounding(numbers[0])), row


@pytest.mark.parametrize(("case_id", "source"), published("solution_printed"))
def test_fixed_effects_of_sas(case_id: str, source: dict[str, Any]) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    if case_id in OTHER_BASE:
        assert "ARMCD | PBO | -4.2312 | 0.9016" in source["solution_printed"][1]
        assert fit.fixed_effects.iloc[1] == pytest.approx(4.2312, abs=SAS_EFFECT * fit.standard_errors.iloc[1])
        return
    for row in source["solution_printed"]:
        words, numbers = number(row)
        columns, levels = words[0].split("*"), words[1:]
        parts = [] if words[0] == "Intercept" else [list(pair) for pair in zip(columns, levels, strict=True)]
        label = label_of(case, {"parts": parts}, list(fit.fixed_effects.index))
        error = fit.standard_errors[label]
        assert fit.fixed_effects[label] == pytest.approx(
            float(numbers[0]), abs=SAS_EFFECT * error + rounding(numbers[0])
        )
        if "_kr_" not in case_id:
            assert error == pytest.approx(float(numbers[1]), abs=SAS_EFFECT * error + rounding(numbers[1])), row


@pytest.mark.parametrize(("case_id", "source"), published("diff_TRT_PBO", "fixef", "cov", "cov_parms"))
def test_other_tables_of_sas(case_id: str, source: dict[str, Any]) -> None:
    case, fit = BY_ID[case_id], fitted(case_id)
    error = fit.standard_errors.iloc[-1]
    given = source["diff_TRT_PBO"]["estimate"] if "diff_TRT_PBO" in source else source["fixef"]
    assert fit.fixed_effects.iloc[-1] == pytest.approx(given, abs=SAS_EFFECT * error)
    if "se" in source:
        assert error == pytest.approx(source["se"], abs=rounding(source["se"]))
    rows = source.get("cov", {}) or dict(zip(case["expected"]["cov_params"], source.get("cov_parms", []), strict=False))
    for name, value in rows.items():
        name = f"TOEP({name[-1]})" if name.startswith("TOEP") else name
        found, scale = sas_parameter(case, fit, name, None, [0, 1, 2, 3])
        assert found == pytest.approx(value, abs=SAS_ESTIMATE * scale), name


@pytest.mark.parametrize(("case_id", "source"), published("rows"))
def test_predictions_of_sas(case_id: str, source: dict[str, Any]) -> None:
    data, fit = data_of(BY_ID[case_id]), fitted(case_id)
    for row in source["rows"]:
        new = data.iloc[[row["row"] - 1]]
        assert fit.predict(new, level="population").iloc[0] == pytest.approx(row["marginal_mean"], abs=1e-3)
        if new["FEV1"].isna().iloc[0]:
            assert fit.predict(new).iloc[0] == pytest.approx(row["conditional_mean"], abs=3e-3)


@pytest.mark.parametrize(("case_id", "source"), published("T_minus_R"))
def test_bioequivalence_of_spss(case_id: str, source: dict[str, Any]) -> None:
    """SPSS, method C: the treatment's effect to eight digits, and variances to three where they are identified."""
    fit = fitted(case_id)
    label = next(name for name in fit.fixed_effects.index if name.startswith("treatment"))
    assert fit.fixed_effects[label] == pytest.approx(source["T_minus_R"]["est"], abs=2e-6)
    assert fit.standard_errors[label] == pytest.approx(source["T_minus_R"]["se"], abs=2e-6)
    G, within = fit.covariance("subject").to_numpy(), stratum_variances(fit, ["R", "T"])
    printed = {key: float(source[f"{key}_txt"]) for key in ("R_var_R", "R_var_T", "G_var_R", "G_var_T", "G_rho")}
    found = {"R_var_R": within[0], "R_var_T": within[1], "G_var_R": G[0, 0], "G_var_T": G[1, 1]}
    found["G_rho"] = G[0, 1] / np.sqrt(G[0, 0] * G[1, 1])
    if case_id == "be_rds04_C_reml":  # of T only the sum of the variances is identified, and the covariance
        total = printed["R_var_T"] + printed["G_var_T"]
        assert found["R_var_T"] + found["G_var_T"] == pytest.approx(total, abs=1e-3)
        printed = {key: printed[key] for key in ("R_var_R", "G_var_R")}
    for key, value in printed.items():
        assert found[key] == pytest.approx(value, abs=rounding(source[f"{key}_txt"]) + 3e-4 * (key == "G_rho")), key


@pytest.mark.parametrize(("case_id", "source"), published("se_intercept", "var_first"))
def test_intercepts_and_covariances_of_metida(case_id: str, source: dict[str, Any]) -> None:
    fit = fitted(case_id)
    if "se_intercept" in source:
        assert fit.fixed_effects.iloc[0] == pytest.approx(source["fixef_intercept"], rel=1e-6)
        assert fit.standard_errors.iloc[0] == pytest.approx(source["se_intercept"], rel=1e-6)
        return
    S = fit.residual_covariance().to_numpy()
    assert S[0, 0] == pytest.approx(source["var_first"], abs=rounding(source["var_first"]) + 1e-6)
    assert S[3, 3] == pytest.approx(source["var_4"], abs=rounding(source["var_4"]) + 1e-5)
    assert S[0, 1] / np.sqrt(S[0, 0] * S[1, 1]) == pytest.approx(source["cor_1_2"], abs=1e-6)
    assert S[1, 3] / np.sqrt(S[1, 1] * S[3, 3]) == pytest.approx(source["metida_theta9"], abs=1e-6)
