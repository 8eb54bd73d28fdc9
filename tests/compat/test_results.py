"""The results: against statsmodels where that is right, against theory and R where it is not; labels, summaries, files."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.iolib.summary2 import summary_col

import mmframe as mm
from mmframe.compat.statsmodels import L2, ConvergenceWarning, MixedLM, MixedLMParams, MixedLMResults, VCSpec, mixedlm
from mmframe.errors import DataError, SpecError, StoreError
from tests.compat.test_formulas import TABLE
from tests.compat.theirs import DIETOX, SLEEPSTUDY, dense_loglike, pair, quietly, random_data

Array = np.ndarray
# Davies & Goldsmith (1972), Statistical Methods in Research and Production; as in the R package lme4.
PASTES = pd.read_csv(Path(__file__).parents[1] / "reference" / "data" / "pastes.csv")


def dietox(**options: Any) -> MixedLM:
    return mixedlm("Weight ~ Time", DIETOX, groups="Pig", **options)


@pytest.fixture(scope="module")
def both() -> tuple[MixedLMResults, Any]:
    """One model with everything, in both packages, at the same parameters as nearly as statsmodels goes."""
    mine, their = pair(random_data(21))
    result = mine.fit(reml=False)
    other = quietly(
        lambda: their.fit(
            reml=False, start_params=result.params_object.get_packed(True, True), method="bfgs", gtol=1e-9
        )
    )
    return result, other


SURFACE = [
    "params", "bse", "tvalues", "pvalues", "fe_params", "bse_fe", "cov_re", "cov_re_unscaled", "vcomp", "scale", "llf", "aic", "bic",
    "df_resid", "nobs", "fittedvalues", "resid", "normalized_cov_params", "k_fe", "k_re", "k_re2", "k_vc", "method", "use_sqrt",
    "reml", "df_modelwc", "k_constant", "use_t",
]  # fmt: skip


@pytest.mark.parametrize("name", SURFACE)
def test_attributes_are_those_of_statsmodels(name: str, both: tuple[MixedLMResults, Any]) -> None:
    mine, their = (getattr(r, name) for r in both)
    if isinstance(their, (str, bool)):
        assert mine == their
    else:
        np.testing.assert_allclose(np.asarray(mine), np.asarray(their), rtol=2e-3, atol=1e-4)


def test_methods_are_those_of_statsmodels(both: tuple[MixedLMResults, Any]) -> None:
    mine, their = both
    close = {"rtol": 2e-3, "atol": 1e-4}
    np.testing.assert_allclose(mine.conf_int(0.1), their.conf_int(0.1), **close)
    np.testing.assert_allclose(mine.cov_params(), their.cov_params(), **close)
    R = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, -1.0]])
    wide = np.hstack([R, np.zeros((2, 5))])
    np.testing.assert_allclose(mine.cov_params(r_matrix=wide), their.cov_params(r_matrix=wide), **close)
    np.testing.assert_allclose(mine.cov_params(column=[0, 2]), their.cov_params(column=[0, 2]), **close)
    for use_t in (None, True):
        a, b = mine.t_test(R, use_t=use_t), their.t_test(R, use_t=use_t)
        for name in ("effect", "sd", "tvalue", "pvalue", "statistic"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), **close)
        np.testing.assert_allclose(a.conf_int(), b.conf_int(), **close)
    for a, b in (
        (mine.wald_test(wide), quietly(lambda: their.wald_test(wide))),
        (mine.f_test(wide), quietly(lambda: their.f_test(wide))),
        (mine.wald_test(wide, use_f=True), quietly(lambda: their.wald_test(wide, use_f=True))),
    ):
        for name in ("statistic", "pvalue", "df_denom"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), **close)
        assert a.distribution == b.distribution
    assert mine.f_test(wide).df_num == 2
    assert np.isclose(mine.wald_test(R).statistic, mine.wald_test(wide).statistic)
    assert np.shape(mine.wald_test(R, scalar=False).statistic) == (1, 1)
    for g in mine.model.group_labels:
        np.testing.assert_allclose(mine.random_effects[g], their.random_effects[g], rtol=1e-2, atol=2e-3)
        assert list(mine.random_effects[g].index) == list(their.random_effects[g].index)
        np.testing.assert_allclose(mine.random_effects_cov[g], their.random_effects_cov[g], rtol=1e-2, atol=2e-3)
    np.testing.assert_allclose(mine.predict(), their.predict(), **close)
    np.testing.assert_allclose(mine.predict(np.ones((2, 3))), their.predict(np.ones((2, 3))), **close)


def test_tests_by_words() -> None:
    result = mixedlm("y ~ x + C(k) + x:f", TABLE, groups="g").fit()
    names = result.model.exog_names
    R = np.zeros((1, len(names)))
    R[0, names.index("x")], R[0, names.index("C(k)[T.2]")] = 1.0, -1.0
    assert np.isclose(result.t_test("x = C(k)[T.2]").statistic, result.t_test(R).statistic)
    assert np.isclose(result.t_test((R, 2.0)).statistic, (result.t_test(R).effect - 2.0) / result.t_test(R).sd)
    assert np.isclose(result.t_test("x - C(k)[T.2] = 2").statistic, result.t_test((R, 2.0)).statistic)
    joint = result.wald_test("x:f[T.b] = 0, x:f[T.c] = 0")
    S = np.zeros((2, len(names)))
    S[0, names.index("x:f[T.b]")] = S[1, names.index("x:f[T.c]")] = 1.0
    assert np.isclose(joint.statistic, result.wald_test(S).statistic)
    assert result.wald_test("g Var = 0").df_denom == 1
    with pytest.raises(SpecError, match="linear equations in"):
        result.t_test("w = 0")
    with pytest.raises(ValueError, match=f"should have {result.k_fe} columns"):
        result.t_test(np.eye(2))


def test_terms_and_pairs() -> None:
    formula = "y ~ x + C(k) + f*x"
    mine = mixedlm(formula, TABLE, groups="g").fit(reml=False)
    their = quietly(lambda: smf.mixedlm(formula, TABLE, groups="g").fit(reml=False, method="lbfgs"))
    a, b = mine.wald_test_terms().table, quietly(their.wald_test_terms).table
    assert sorted(a.index) == sorted(b.index)
    np.testing.assert_allclose(a.loc[b.index].astype(float), b.astype(float), rtol=2e-3, atol=1e-5)
    assert set(mine.wald_test_terms(skip_single=True).table.index) == {"f", "C(k)", "f:x"}
    combined = mine.wald_test_terms(combine_terms=["x"]).table
    assert combined.loc["x", "df_constraint"].max() == 3
    pairs = mine.t_test_pairwise("C(k)").result_frame
    assert list(pairs.index) == ["2-1", "3-1", "3-2"]
    slopes = mine.fe_params
    expected = [slopes["C(k)[T.2]"], slopes["C(k)[T.3]"], slopes["C(k)[T.3]"] - slopes["C(k)[T.2]"]]
    np.testing.assert_allclose(pairs["coef"], expected)
    summed = mixedlm("y ~ x + C(k, contr.sum) + f*x", TABLE, groups="g").fit(reml=False)
    np.testing.assert_allclose(summed.t_test_pairwise("C(k, contr.sum)").result_frame["coef"], expected, rtol=1e-6)
    with pytest.raises(SpecError, match="a factor of the formula"):
        mine.t_test_pairwise("x")


# p-values of a published example and R 4.2's p.adjust of them; Sidak and Holm-Sidak by their definitions.
P = np.array([0.01, 0.04, 0.03, 0.005])


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("bonferroni", [0.04, 0.16, 0.12, 0.02]), ("holm", [0.03, 0.06, 0.06, 0.02]), ("fdr_bh", [0.02, 0.04, 0.04, 0.02]),
        ("sidak", 1 - (1 - P) ** 4), ("hs", [1 - 0.99**3, 1 - 0.97**2, 1 - 0.97**2, 1 - 0.995**4]),
    ],
)  # fmt: skip
def test_adjusted_p_values(method: str, expected: Any) -> None:
    from mmframe.compat.contrasts import adjusted

    np.testing.assert_allclose(adjusted(P, method), expected, rtol=1e-10)


# where statsmodels is wrong


def test_pastes_is_lme4_s() -> None:
    """lmer(strength ~ (1|batch) + (1|batch:cask), Pastes), lme4 1.1; AIC under REML as lme4 has it."""
    model = mixedlm("strength ~ 1", PASTES, groups="batch", re_formula="1", vc_formula={"cask": "0 + cask"})
    result = model.fit()
    np.testing.assert_allclose(result.fe_params["Intercept"], 60.0533, rtol=1e-5)
    np.testing.assert_allclose(result.bse_fe["Intercept"], 0.6769, rtol=1e-4)
    np.testing.assert_allclose(result.cov_re.iloc[0, 0], 1.657, rtol=1e-3)
    np.testing.assert_allclose(result.scale, 0.678, rtol=1e-3)
    np.testing.assert_allclose(result.llf, -123.4954, atol=1e-4)
    np.testing.assert_allclose(result.aic, 2 * 123.49537 + 8, atol=1e-3)
    np.testing.assert_allclose(result.bic, 2 * 123.49537 + 4 * np.log(60), atol=1e-3)
    ml = model.fit(reml=False)
    np.testing.assert_allclose([ml.aic, ml.bic], [255.9944, 264.3718], atol=1e-3)
    # resid(r)[1:5], predict(r)[1:5], in the order of lme4's data
    np.testing.assert_allclose(
        result.resid[:5], [0.17133538, -0.02866462, -1.08662875, 1.11337125, -0.12093607], atol=2e-4
    )
    np.testing.assert_allclose(result.fittedvalues[:5], [62.62866, 62.62866, 61.18663, 61.18663, 62.82094], rtol=1e-5)


@pytest.mark.parametrize("reml", [True, False])
def test_errors_of_covariances_have_their_units(reml: bool) -> None:
    """Those of the natural parameterization: the inverse of minus the second derivatives of the log-likelihood there."""
    data = random_data(21, groups=12)
    model = MixedLM(data.endog, data.exog, data.groups, data.exog_re, VCSpec(*data.vc))
    result = model.fit(reml=reml)
    k = model.k_re2 + model.k_vc

    def natural(point: Array) -> float:
        scale = point[-1]
        params = MixedLMParams.from_packed(np.concatenate([point[:3], point[3:-1] / scale]), 3, 2, False, True)
        return dense_loglike(model, params, scale, reml=reml)

    at = np.concatenate([result.natural[0], [result.scale]])
    steps = np.concatenate([result.natural[1], [result.scale * np.sqrt(2 / result.nobs)]]) * 0.02
    H = np.empty((len(at), len(at)))
    for i in range(len(at)):
        for j in range(i + 1):
            ei, ej = np.eye(len(at))[i] * steps, np.eye(len(at))[j] * steps
            value = natural(at + ei + ej) - natural(at + ei - ej) - natural(at - ei + ej) + natural(at - ei - ej)
            H[i, j] = H[j, i] = value / (4 * steps[i] * steps[j])
    errors = np.sqrt(np.diag(np.linalg.inv(-H)))
    np.testing.assert_allclose(result.bse_re, errors[3 : 3 + k], rtol=5e-3)
    np.testing.assert_allclose(result.bse_fe, errors[:3], rtol=5e-3)
    ten = MixedLM(10 * data.endog, data.exog, data.groups, data.exog_re, VCSpec(*data.vc)).fit(reml=reml)
    np.testing.assert_allclose(ten.bse_re, 100 * result.bse_re, rtol=1e-6)


def test_the_profile_is_of_the_variance_in_data_units() -> None:
    """A point of it is the maximum of the likelihood with that variance, and its values lie about the estimate."""
    result = dietox(re_formula="~Time").fit(reml=False)
    found = result.profile_re(1, "re", num_low=2, dist_low=0.2, num_high=1, dist_high=0.3)
    estimate = result.cov_re.iloc[1, 1]
    np.testing.assert_allclose(found[:, 0], [estimate - 0.2, estimate - 0.1, estimate, estimate + 0.3])
    assert np.isclose(found[2, 1], result.llf, atol=1e-7) and np.all(found[[0, 1, 3], 1] < result.llf)
    held = mm.fit(
        "Weight ~ Time + (Time | Pig)", DIETOX, reml=False, fix={"sd(Time | Pig)": float(np.sqrt(estimate + 0.3))}
    )
    assert np.isclose(found[3, 1], held.loglike, atol=1e-6)
    with pytest.raises(ValueError, match="dist_low is too large"):
        result.profile_re(1, "re", dist_low=9.0)
    with pytest.raises(ValueError, match="vtype: 'x'"):
        result.profile_re(1, "x")
    with pytest.raises(ValueError, match="re_ix: 2"):
        result.profile_re(2, "re")


def test_profiles_of_components_and_beside_held_entries() -> None:
    mine, _ = pair(random_data(21))
    result = mine.fit()
    found = result.profile_re("b", "vc", 1, 0.2, 1, 0.2)
    assert np.isclose(found[1, 1], result.llf, atol=1e-7) and found[0, 1] < result.llf > found[2, 1]
    free = MixedLMParams.from_components(np.ones(3), np.eye(2), vcomp=np.ones(2))
    independent = mine.fit(free=free)
    found = independent.profile_re(1, "re", 1, 0.2, 1, 0.2)
    assert np.isclose(found[1, 1], independent.llf, atol=1e-7) and found[0, 1] < independent.llf > found[2, 1]
    assert np.all(free.cov_re == np.eye(2)), "the caller's mask stays as it was"
    with pytest.raises(ValueError, match="a variance component: a, b"):
        result.profile_re("c", "vc")


def test_the_bootstrap_is_parametric() -> None:
    result = mixedlm("Reaction ~ Days", SLEEPSTUDY, groups="Subject").fit()
    mean, deviation, every = result.bootstrap(nrep=200, rng=3)
    assert every.shape == (200, 3) and np.array_equal(result.bootstrap_results, every)
    np.testing.assert_allclose(mean[:2], result.fe_params, rtol=0.02)
    np.testing.assert_allclose(deviation[:2], result.bse_fe, rtol=0.2)
    np.testing.assert_array_equal(result.bootstrap(nrep=3, rng=1, store=0)[2], result.bootstrap(nrep=3, rng=1)[2])
    with pytest.raises(ValueError, match="nrep: 0"):
        result.bootstrap(0)


def test_the_distribution_has_the_model_s_moments() -> None:
    mine, _ = pair(random_data(5, groups=6))
    p = MixedLMParams.from_components(
        np.array([1.0, 0.5, -0.5]), np.array([[1.0, 0.3], [0.3, 0.6]]), vcomp=np.array([0.5, 0.8])
    )
    law = mine.get_distribution(p.get_packed(False, True), 2.0, None)
    rng = np.random.default_rng(0)
    draws = np.stack([law.rvs(0, rng=rng) for _ in range(6000)])
    rows = mine.row_indices[2]
    Z, Q = mine.exog_re[rows], [m[2] for m in mine.exog_vc.mats]
    V = 2.0 * (np.eye(len(rows)) + Z @ p.cov_re @ Z.T + 0.5 * Q[0] @ Q[0].T + 0.8 * Q[1] @ Q[1].T)
    np.testing.assert_allclose(draws.mean(0), mine.exog @ p.fe_params, atol=6 * np.sqrt(np.max(draws.var(0)) / 6000))
    error = np.sqrt(2 * np.outer(np.diag(V), np.diag(V)) / 6000)
    assert np.all(np.abs(np.cov(draws.T)[np.ix_(rows, rows)] - V) < 5 * error)
    np.testing.assert_array_equal(law.rvs(rng=4), law.rvs(rng=4))
    assert law.rvs(rng=np.random.RandomState(1)).shape == (mine.nobs,)


# labels, words, files


def test_labels_follow_the_data() -> None:
    result = dietox(re_formula="~Time").fit()
    names = ["Intercept", "Time", "Pig Var", "Pig x Time Cov", "Time Var"]
    for name in ("params", "bse", "tvalues", "pvalues"):
        assert list(getattr(result, name).index) == names
    assert list(result.cov_params().columns) == list(result.conf_int().index) == names
    assert list(result.conf_int().columns) == [0, 1]
    assert list(result.bse_re.index) == names[2:] and list(result.fe_params.index) == names[:2]
    assert list(result.cov_re.index) == list(result.cov_re_unscaled.columns) == ["Pig", "Time"]
    assert result.resid.index.equals(DIETOX.index) and result.fittedvalues.index.equals(DIETOX.index)
    plain = MixedLM(DIETOX["Weight"].to_numpy(), DIETOX[["Time"]].to_numpy(), DIETOX["Pig"].to_numpy()).fit()
    for name in ("params", "bse", "fe_params", "cov_re", "resid", "fittedvalues", "bse_re"):
        assert isinstance(getattr(plain, name), np.ndarray), name
    assert isinstance(plain.cov_params(), np.ndarray) and isinstance(plain.conf_int(), np.ndarray)


def test_prediction() -> None:
    frame = TABLE.rename(columns={"a b": "ab"})
    result = mixedlm("y ~ np.log(z) + C(k)", frame, groups="g").fit()
    new = frame.iloc[[3, 8]].drop(columns="y")
    np.testing.assert_allclose(result.predict(new), result.predict()[[3, 8]])
    assert list(result.predict(new).index) == list(new.index)
    np.testing.assert_allclose(result.predict(new.to_dict("list")), result.predict(new))
    np.testing.assert_allclose(result.predict(result.model.exog[:4], transform=False), result.predict()[:4])
    hole = new.assign(z=[np.nan, 1.0])
    assert np.isnan(result.predict(hole).iloc[0]) and np.isfinite(result.predict(hole).iloc[1])
    with pytest.raises(DataError, match="outside of the nominated levels"):
        result.predict(new.assign(k=9))
    p = result.params_object
    np.testing.assert_allclose(result.model.predict(result.params), result.model.predict(p))
    np.testing.assert_allclose(result.model.predict(np.asarray(result.params)[: result.k_fe]), result.model.predict(p))


def test_everything_else_is_one_attribute_away() -> None:
    result = dietox(re_formula="~Time").fit()
    fit = result.mmframe
    assert isinstance(fit, mm.FitResult) and fit.formula == "Weight ~ Time + (Time | Pig)"
    np.testing.assert_allclose(fit.fixed_effects, result.fe_params)
    np.testing.assert_allclose(fit.covariance("Pig"), result.cov_re)
    new = pd.DataFrame({"Time": [5.0], "Pig": [4601]})
    assert fit.predict(new, interval="prediction").shape == (1, 4)
    table = mm.compare(dietox().fit(), result)
    assert list(table["df"])[1] == 2 and table["p_value"].iloc[1] < 1e-10


def test_summary() -> None:
    result = dietox(re_formula="~Time").fit()
    summary = result.summary()
    text = str(summary)
    assert text.splitlines()[0].strip() == "Mixed Linear Model Regression Results" == summary.title
    for piece in (
        "No. Observations: 861",
        "No. Groups:       72",
        "Mean group size:  12.0",
        "Log-Likelihood:     -2217.0475",
        "REML",
    ):
        assert piece in text, piece
    frame = summary.tables[1]
    assert list(frame.columns) == ["Coef.", "Std.Err.", "z", "P>|z|", "[0.025", "0.975]"]
    assert list(frame.loc["Time Var"])[:3] == ["0.416", f"{result.bse_re['Time Var']:.3f}", ""]
    other = result.summary(yname="kg", xname_fe=["a", "b"], xname_re=["u", "v", "w"], title="T", alpha=0.1)
    assert (
        list(other.tables[1].index) == ["a", "b", "u", "v", "w"] and "[0.05" in other.tables[1] and "kg" in str(other)
    )
    assert "<table" in summary.as_html() and "\\begin{tabular}" in summary.as_latex()
    with pytest.raises(ValueError, match="xname_re should be a list of length 3"):
        result.summary(xname_re=["u"])
    assert "Test for Constraints" in str(result.t_test(np.eye(2)))
    assert "chi2" in repr(result.wald_test("Time = 0")) and "F test" in str(result.f_test("Time = 0"))


def test_statsmodels_puts_results_side_by_side() -> None:
    table = summary_col([dietox().fit(), dietox(re_formula="~Time").fit()], stars=True)
    text = str(table)
    assert "6.9425***" in text and "Pig x Time Cov" in text


SCRIPT = """
import sys, numpy as np
from mmframe.compat.statsmodels import MixedLMResults
r = MixedLMResults.load(sys.argv[1])
print(repr(float(r.llf)), repr(float(r.bse_re.iloc[0])), repr(float(r.random_effects[4601]["Time"])), r.model.n_groups)
print(r.profile_re(0, "re", 1, 1.0, 1, 1.0)[0, 1] < r.llf, r.fit_again if hasattr(r, "fit_again") else r.model.fit().converged)
"""


def test_saved_results_work_in_another_process(tmp_path: Path) -> None:
    result = dietox(re_formula="~Time").fit(full_output=True)
    result.save(tmp_path / "fit.mm")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "fit.mm")], capture_output=True, text=True, check=True
    )
    llf, error, effect, groups = done.stdout.split()[:4]
    assert float(llf) == result.llf and float(error) == result.bse_re.iloc[0] and int(groups) == 72
    assert np.isclose(float(effect), result.random_effects[4601]["Time"], rtol=1e-10)
    assert done.stdout.split()[4:] == ["True", "True"]
    again = MixedLMResults.load(tmp_path / "fit.mm")
    assert str(again.summary()) == str(result.summary()) and again.hist == result.hist
    pd.testing.assert_series_equal(again.resid, result.resid)
    pd.testing.assert_frame_equal(again.cov_params(), result.cov_params())
    assert mm.load(tmp_path / "fit.mm").loglike == result.llf


@pytest.mark.parametrize("kind", ["arrays", "components", "wide"])
def test_every_kind_of_model_is_saved(kind: str, tmp_path: Path) -> None:
    if kind == "wide":
        model = mixedlm("y ~ x", TABLE, groups="site", vc_formula={"g": "0 + C(g)"})
    else:
        model, _ = pair(random_data(21, components=kind == "components"))
    result = model.fit()
    result.save(tmp_path / "fit.mm")
    again = MixedLMResults.load(tmp_path / "fit.mm")
    for label in result.model.group_labels:
        np.testing.assert_allclose(again.random_effects[label], result.random_effects[label], rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(
            again.random_effects_cov[label], result.random_effects_cov[label], rtol=1e-6, atol=1e-10
        )
    packed = result.params_object.get_packed(True)
    assert np.isclose(again.model.loglike(packed), result.model.loglike(packed), rtol=1e-12)


def test_saved_groups_of_any_labels(tmp_path: Path) -> None:
    """Categories in another order, and tuples."""
    turned = pd.Categorical(DIETOX["Pig"], categories=sorted(set(DIETOX["Pig"]), reverse=True))
    frame = DIETOX.assign(Pen=turned)
    result = mixedlm("Weight ~ Time", frame, groups="Pen").fit()
    result.save(tmp_path / "a.mm")
    again = MixedLMResults.load(tmp_path / "a.mm")
    assert list(again.model.group_labels) == list(result.model.group_labels) == sorted(set(DIETOX["Pig"]))
    assert (
        again.model.row_indices[4601] == result.model.row_indices[4601] == list(np.flatnonzero(DIETOX["Pig"] == 4601))
    )
    np.testing.assert_allclose(again.model.fit().random_effects[4601], result.random_effects[4601], rtol=1e-6)
    pairs = [(int(p) // 100, int(p) % 100) for p in DIETOX["Pig"]]
    by_tuples = MixedLM(DIETOX["Weight"], DIETOX[["Time"]], pairs, np.ones(len(DIETOX))).fit()
    by_tuples.save(tmp_path / "b.mm")
    other = MixedLMResults.load(tmp_path / "b.mm")
    np.testing.assert_allclose(other.random_effects[46, 1], by_tuples.random_effects[46, 1])
    by_tuples.remove_data()
    assert "Group" in str(by_tuples.summary()) or by_tuples.model.removed


def test_loaded_results_of_a_formula(tmp_path: Path) -> None:
    frame = TABLE.drop(columns="a b")
    result = mixedlm("y ~ np.log(z) + C(k)", frame, groups="g").fit()
    result.save(tmp_path / "a.mm")
    again = MixedLMResults.load(tmp_path / "a.mm")
    pd.testing.assert_series_equal(again.predict(frame.head(3)), result.predict(frame.head(3)))
    pd.testing.assert_frame_equal(again.wald_test_terms().table, result.wald_test_terms().table)
    refitted = again.model.fit()  # by the arrays that were saved
    np.testing.assert_allclose(refitted.params, result.params, rtol=1e-7)
    np.testing.assert_allclose(refitted.predict(again.model.exog[:3]), result.predict()[:3], rtol=1e-7)


def test_held_slopes_and_penalties_in_comparisons() -> None:
    model = dietox()
    free = MixedLMParams.from_components(np.array([1.0, 0.0]), np.eye(1))
    start = MixedLMParams.from_components(np.array([0.0, 7.0]), np.eye(1))
    held, whole = model.fit(free=free, start_params=start, reml=False), dietox().fit(reml=False)
    assert held.mmframe.estimates.n_parameters == held.n_parameters == 3 and np.isclose(held.mmframe.aic, held.aic)
    assert held.mmframe.standard_errors["Time"] == 0.0 and held.mmframe.fixed_effects["Time"] == 7.0
    table = mm.compare(held, whole)
    wald = ((whole.fe_params["Time"] - 7.0) / whole.bse_fe["Time"]) ** 2
    assert table["df"].iloc[1] == 1 and np.isclose(table["chisq"].iloc[1], wald, rtol=0.02)
    penalty = L2()
    for penalized in (dietox().fit(fe_pen=penalty), dietox().fit_regularized(alpha=1.0)):
        with pytest.raises(DataError, match="a penalized fit has no likelihood ratio"):
            mm.compare(whole, penalized)
        assert pickle.loads(pickle.dumps(penalized)).llf == penalized.llf


def test_the_profile_from_zero() -> None:
    """Upwards from a variance of zero."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=120)
    y -= np.repeat([y[k * 12 : k * 12 + 12].mean() for k in range(10)], 12)
    result = quietly(MixedLM(y, np.ones(120), np.repeat(np.arange(10), 12)).fit)
    found = result.profile_re(0, "re", num_low=1, dist_low=0.0, num_high=2, dist_high=0.2)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.0, 0.1, 0.2])
    assert np.isclose(found[0, 1], result.llf) and found[3, 1] < found[2, 1] < result.llf


def test_removed_data(tmp_path: Path) -> None:
    """The summary, tests and predictions of new data stay; what needs the data says so."""
    result = dietox(re_formula="~Time").fit()
    text = str(result.summary())
    result.save(tmp_path / "small.mm", remove_data=True)
    for slim in (result, MixedLMResults.load(tmp_path / "small.mm")):
        assert str(slim.summary()) == text and slim.model.exog is None
        assert slim.t_test("Time = 7").statistic is not None
        np.testing.assert_allclose(
            slim.predict(DIETOX.head(2)), slim.fe_params["Intercept"] + slim.fe_params["Time"] * np.array([1, 2])
        )
        with pytest.raises(DataError, match="the data of this model were removed"):
            slim.model.fit()
        with pytest.raises(DataError, match="the data of this model were removed"):
            _ = slim.random_effects
    with pytest.raises(StoreError, match="there is no file"):
        MixedLMResults.load(tmp_path / "none.mm")
    mm.fit("Weight ~ Time + (1 | Pig)", DIETOX).save(tmp_path / "plain.mm")
    with pytest.raises(StoreError, match=r"mmframe\.load reads other fits"):
        MixedLMResults.load(tmp_path / "plain.mm")


def test_p_values_are_normal() -> None:
    result = dietox().fit()
    z = result.fe_params / result.bse_fe
    np.testing.assert_allclose(result.pvalues[:2], 2 * stats.norm.sf(np.abs(z)))
    assert issubclass(ConvergenceWarning, UserWarning)


def test_results_are_copied_and_sent_to_other_processes() -> None:
    free = MixedLMParams.from_components(np.ones(2), np.eye(2))
    result = dietox(re_formula="~Time").fit(free=free)
    for other in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert other.llf == result.llf and other.bse.equals(result.bse)
        assert np.isclose(other.model.fit().llf, dietox(re_formula="~Time").fit().llf)
    before = result.aic, result.bse.copy()
    free.cov_re[:] = 1.0
    assert result.aic == before[0] and result.bse.equals(before[1])


@pytest.mark.parametrize("which", [0, 1])
def test_profiles_of_a_singular_fit(which: int) -> None:
    """A correlation of one at the estimate, and along the profile."""
    rng = np.random.default_rng(50)
    g = np.repeat(np.arange(10), 5)
    x = rng.normal(size=50)
    b = rng.normal(size=10)
    y = 1 + 2 * x + b[g] * (1 + 0.5 * x) * 0.6 + rng.normal(size=50)
    X = np.column_stack([np.ones(50), x])
    result = quietly(MixedLM(y, X, g, X).fit)
    correlation = result.cov_re[0, 1] / np.sqrt(result.cov_re[0, 0] * result.cov_re[1, 1])
    assert abs(correlation) > 1 - 1e-6
    estimate = result.cov_re[which, which]
    found = result.profile_re(which, "re", 1, estimate / 3, 3, 0.5)
    assert np.isclose(found[1, 1], result.llf, atol=1e-6) and np.all(found[[0, 2, 3, 4], 1] < result.llf)
