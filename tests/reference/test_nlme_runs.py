"""Runs of nlme on the data sets of the reference cases: contrib/reference-values/nlme, with how they were made and checked."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attrs import frozen

import mmframe as mm
from tests.reference.residual_parameters import estimate

ROOT = Path(__file__).parents[2]
RUNS = {
    r["id"]: r for r in map(json.loads, (ROOT / "contrib/reference-values/nlme/runs.jsonl").read_text().splitlines())
}
RELATIVE = 1e-4


@frozen
class Model:
    """rank: a numeric column whose ranks are the column `occasion`."""

    fixed: str
    random: str | None = None
    residual: str | None = None
    variance: str | None = None
    structure: str = "us"
    rank: str | None = None


CHICK = RAT = "weight ~ Time * Diet"
DIETOX = "Weight ~ Time * Cu"
OVARY = "follicles ~ sin2pt + cos2pt"
ORTHO = "distance ~ age * Sex"
PUPS = "weight ~ Treatment * sex + Lsize"
SCHOOLS = "slope ~ Sector"
MILK = "protein ~ Diet * Time"
WHEAT = "yld ~ 0 + variety"
PLACE = "latitude + longitude | 1"

MODELS = {
    "gls_chick_constpower_reml": Model(CHICK, variance="const_power(Time)"),
    "gls_chick_ar1_constpower_ml": Model(CHICK, None, "ar1(occasion | Chick)", "const_power(Time)", rank="Time"),
    "lme_dietox_constpower_reml": Model(DIETOX, "1 | Pig", variance="const_power(Time)"),
    "gls_dietox_constpower_reml": Model(DIETOX, variance="const_power(Time)"),
    "lme_milk_constpower_ml": Model(MILK, "1 | Cow", variance="const_power(Time)"),
    "gls_dietox_power_fitted_reml": Model(DIETOX, variance="power(fitted)"),
    "gls_dietox_ar1_power_fitted_ml": Model(DIETOX, None, "ar1(Time | Pig)", "power(fitted)"),
    "lme_bodyweight_power_fitted_reml": Model(RAT, "Time | Rat", variance="power(fitted)"),
    "lme_dietox_power_fitted_ml": Model(DIETOX, "1 | Pig", variance="power(fitted)"),
    "lme_orthodont_comb_ident_power_reml": Model(ORTHO, "1 | Subject", variance="ident(Sex) * power(age)"),
    "gls_bodyweight_comb_ident_power_ml": Model(RAT, variance="ident(Diet) * power(Time)"),
    "gls_ratpup_ident_interaction_reml": Model(PUPS, variance="ident(sex:Treatment)"),
    "lme_ratpup_ident_interaction_ml": Model(PUPS, "1 | Litter", variance="ident(sex:Treatment)"),
    "gls_dietox_exp_reml": Model(DIETOX, variance="exp(Time)"),
    "gls_schools_fixed_reml": Model(SCHOOLS, variance="fixed(v)"),
    "gls_schools_fixed_sigma1_ml": Model(SCHOOLS, variance="fixed(v)"),
    "lme_schools_fixed_sigma1_reml": Model(SCHOOLS, "1 | School", variance="fixed(v)"),
    "lme_schools_fixed_sigma1_ml": Model(SCHOOLS, "1 | School", variance="fixed(v)"),
    "lme_schools_fixed_reml": Model(SCHOOLS, "1 | School", variance="fixed(v)"),
    "gls_ovary_arma11_ml": Model(OVARY, None, "arma11(index | Mare)"),
    "gls_ovary_arma11_reml": Model(OVARY, None, "arma11(index | Mare)"),
    "gls_orthodont_symm_ident_reml": Model(ORTHO, None, "us(occasion | Subject)", rank="age"),
    "gls_orthodont_compsymm_ident_reml": Model(ORTHO, None, "cs(occasion | Subject)", "ident(occasion)", rank="age"),
    "gls_orthodont_compsymm_identsex_ml": Model(ORTHO, None, "cs(occasion | Subject)", "ident(Sex)", rank="age"),
    "gls_orthodont_ar1_identsex_ml": Model(ORTHO, None, "ar1(occasion | Subject)", "ident(Sex)", rank="age"),
    "gls_orthodont_ar1_identsex_reml": Model(ORTHO, None, "ar1(occasion | Subject)", "ident(Sex)", rank="age"),
    "gls_dietox_ar1_identtime_reml": Model(DIETOX, None, "ar1(Time | Pig)", "ident(Time)"),
    "lme_milk_ar1_exp_ml": Model(MILK, "1 | Cow", "ar1(Time | Cow)", "exp(Time)"),
    "lme_milk_ar1_exp_reml": Model(MILK, "1 | Cow", "ar1(Time | Cow)", "exp(Time)"),
    "lme_bodyweight_car1_reml": Model(RAT, "Time | Rat", "car1(Time | Rat)"),
    "lme_bodyweight_car1_power_ml": Model(RAT, "Time | Rat", "car1(Time | Rat)", "power(Time)"),
    "lme_oxboys_car1_slope_reml": Model("height ~ age + I(age**2)", "age | Subject", "car1(age | Subject)"),
    "lme_dietox_litter_ar1_reml": Model(DIETOX, "1 | Litter", "ar1(Time | Pig)"),
    "lme_dietox_litter_car1_ml": Model(DIETOX, "1 | Litter", "car1(Time | Pig)"),
    "lme_machines_pdcompsymm_ml": Model("score ~ Machine", "0 + Machine | Worker", structure="cs"),
    "gls_bodyweight_exp_nugget_reml": Model(RAT, None, "sp_exp(Time | Rat, nugget=True)"),
    "gls_ovary_exp_nugget_ml": Model(OVARY, None, "sp_exp(Time | Mare, nugget=True)"),
    "lme_bodyweight_exp_nugget_reml": Model(RAT, "Time | Rat", "sp_exp(Time | Rat, nugget=True)"),
    "lme_milk_gaus_nugget_reml": Model(MILK, "1 | Cow", "sp_gau(Time | Cow, nugget=True)"),
    "gls_ovary_ratio_nugget_reml": Model(OVARY, None, "sp_ratio(Time | Mare, nugget=True)"),
    "gls_milk_spher_nugget_reml": Model(MILK, None, "sp_sph(Time | Cow, nugget=True)"),
    "gls_bodyweight_lin_nugget_reml": Model(RAT, None, "sp_lin(Time | Rat, nugget=True)"),
    "gls_ovary_gaus_ml": Model(OVARY, None, "sp_gau(Time | Mare)"),
    "gls_orthodont_lin_ml": Model(ORTHO, None, "sp_lin(age | Subject)"),
    "lme_ovary_ratio_reml": Model(OVARY, "1 | Mare", "sp_ratio(Time | Mare)"),
    "gls_wheat_exp_reml": Model(WHEAT, None, f"sp_exp({PLACE})"),
    "gls_wheat_gaus_nugget_reml": Model(WHEAT, None, f"sp_gau({PLACE}, nugget=True)"),
    "gls_wheat_ratio_nugget_ml": Model(WHEAT, None, f"sp_ratio({PLACE}, nugget=True)"),
    "gls_spatial_spher_nugget_reml": Model("r3 ~ f", None, "sp_sph(x + y | 1, nugget=True)"),
    "gls_spatial_ratio_nugget_reml": Model("r4 ~ f", None, "sp_ratio(x + y | 1, nugget=True)"),
    "gls_spatial_exp_nugget_ml": Model("r4 ~ f", None, "sp_exp(x + y | 1, nugget=True)"),
    "gls_spatial_spher_reml": Model("r2 ~ f", None, "sp_sph(x + y | 1)"),
    "gls_spatial_gaus_reml": Model("r2 ~ f", None, "sp_gau(x + y | 1)"),
}
# nlme's name of a variance parameter: the fit's
VARIANCE = {"const": "residual.constant", "power": "residual.delta", "expon": "residual.delta"}


def data_of(run: dict[str, Any], model: Model) -> pd.DataFrame:
    data = pd.read_csv(ROOT / run["data"], keep_default_na=False, na_values=["NA"])
    if "spatialdata" in run["data"]:  # residuals are whitened in the order of places here, of rows there
        data = data.sort_values(["x", "y"], ignore_index=True)
    return data if model.rank is None else data.assign(occasion=data[model.rank].rank(method="dense").astype(int))


def built(run_id: str, model: Model) -> mm.Model:
    run = RUNS[run_id]
    data = data_of(run, model)
    builder = (
        mm.ModelBuilder().criterion("reml" if run["reml"] else "ml").categorical(run["factors"]).fixed(model.fixed)
    )
    if model.random:
        builder = builder.random(model.random, structure=model.structure)
    if run["sigma_fixed"]:
        builder = builder.fix({"sigma": run["expected"]["sigma"]})
    return builder.residual(model.residual).variance(model.variance).build(data)


@cache
def fitted(run_id: str) -> mm.FitResult:
    return built(run_id, MODELS[run_id]).fit()


def as_in_r(label: str) -> str:
    """`Time:Diet[T.2]` -> `Diet2:Time`, its parts in the order of the alphabet."""
    label = re.sub(r"\[(?:T\.)?([^\]]*)\]", r"\1", label).replace(" ** ", "^").replace("**", "^")
    return "(Intercept)" if label == "Intercept" else ":".join(sorted(label.split(":")))


def each(key: str | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("run_id", [i for i in RUNS if key is None or RUNS[i]["expected"][key] is not None])


def test_every_run_has_a_model() -> None:
    assert set(MODELS) == set(RUNS)


@each()
def test_log_likelihood(run_id: str) -> None:
    fit, expected = fitted(run_id), RUNS[run_id]["expected"]
    assert fit.nobs == expected["nobs"]
    assert fit.loglike == pytest.approx(expected["loglik"], abs=1e-5)
    assert fit.converged, fit.stop_reason


@each()
def test_fixed_effects_and_standard_errors(run_id: str) -> None:
    fit, expected = fitted(run_id), RUNS[run_id]["expected"]
    values = {as_in_r(name): value for name, value in expected["fixef"].items()}
    errors = {as_in_r(name): value for name, value in expected["se"].items()}
    assert sorted(map(as_in_r, fit.fixed_effects.index)) == sorted(values)
    for label in map(str, fit.fixed_effects.index):
        name = as_in_r(label)
        assert fit.fixed_effects[label] == pytest.approx(values[name], rel=RELATIVE, abs=RELATIVE * errors[name])
        assert fit.standard_errors[label] == pytest.approx(errors[name], rel=RELATIVE)


@each("G")
def test_covariance_of_random_effects(run_id: str) -> None:
    fit, expected = fitted(run_id), np.array(RUNS[run_id]["expected"]["G"])
    random = MODELS[run_id].random
    assert random is not None
    sd = np.sqrt(np.diag(expected))
    G = fit.covariance(random.split("|")[1].strip())
    np.testing.assert_allclose(G / np.outer(sd, sd), expected / np.outer(sd, sd), atol=2 * RELATIVE)


@each()
def test_residual_parameters(run_id: str) -> None:
    fit, model, expected = fitted(run_id), MODELS[run_id], RUNS[run_id]["expected"]
    assert fit.sigma == pytest.approx(expected["sigma"], rel=RELATIVE)
    ratio: dict[str, float] = (expected["variance"] or {}).get("ratio", {})
    for name, value in (expected["correlation"] or {}).items():
        if name == "matrix":
            sd = fit.sigma * np.array(list(ratio.values()))
            S = fit.residual_covariance().to_numpy()
            np.testing.assert_allclose(S / np.outer(sd, sd), value, atol=2 * RELATIVE)
            ratio = {}  # they have been compared
        else:
            own = "rho" if model.residual and model.residual.startswith("car1") else name
            assert estimate(fit, f"residual.{own}") == pytest.approx(value, rel=RELATIVE, abs=RELATIVE)
    for name, value in (expected["variance"] or {}).items():
        if name != "ratio":
            assert estimate(fit, VARIANCE[name]) == pytest.approx(value, rel=RELATIVE, abs=RELATIVE)
    for level, value in list(ratio.items())[1:]:
        assert estimate(fit, f"residual.ratio[{level}]") == pytest.approx(value, rel=RELATIVE)


@each("ranef")
def test_random_effects(run_id: str) -> None:
    fit, expected = fitted(run_id), RUNS[run_id]["expected"]
    (table,) = fit.random_effects.values()
    place = [str(level) for level in table.index].index(expected["ranef"]["level"])
    scale = np.sqrt(np.diag(expected["G"]))
    np.testing.assert_allclose(table.iloc[place] / scale, expected["ranef"]["value"] / scale, atol=1e-3)


@each()
def test_fitted_values_and_normalized_residuals(run_id: str) -> None:
    fit, expected = fitted(run_id), RUNS[run_id]["expected"]
    np.testing.assert_allclose((fit.fitted.iloc[:5] - expected["fitted"]) / expected["sigma"], 0.0, atol=1e-3)
    np.testing.assert_allclose(fit.residuals(kind="normalized").iloc[:5], expected["normalized"], atol=1e-3)


@pytest.mark.parametrize(
    ("run_id", "residual"),
    [
        ("gls_orthodont_compsymm_ident_reml", "csh(occasion | Subject)"),
        ("gls_dietox_ar1_identtime_reml", "ar1h(Time | Pig)"),
    ],
)
def test_other_ways_to_write_a_model(run_id: str, residual: str) -> None:
    model = MODELS[run_id]
    again = built(run_id, Model(model.fixed, model.random, residual, None, rank=model.rank)).fit()
    assert again.loglike == pytest.approx(RUNS[run_id]["expected"]["loglik"], abs=1e-5)
