"""The bootstrap: seeds and workers, what is drawn, intervals, failures."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap as scipys
from scipy.stats import norm

import mmframe as mm
from mmframe.design.units import units_of
from mmframe.errors import SpecError, StoreError, UnknownNameError
from mmframe.model import Model
from mmframe.refits.bootstrap import BootstrapWarning
from mmframe.refits.units import with_units

SLEEP = mm.datasets.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fit() -> mm.FitResult:
    return mm.fit(FORMULA, SLEEP)


def test_the_numbers_do_not_depend_on_workers_nor_on_how_many_follow(fit: mm.FitResult) -> None:
    one = fit.bootstrap(12, seed=3, workers=1)
    two = fit.bootstrap(12, seed=3, workers=2)
    pd.testing.assert_frame_equal(one.estimates, two.estimates)
    pd.testing.assert_frame_equal(fit.bootstrap(5, seed=3, workers=1).estimates, one.estimates.iloc[:5])
    cases = fit.bootstrap(8, seed=3, kind="cases", workers=1)
    pd.testing.assert_frame_equal(cases.estimates, fit.bootstrap(8, seed=3, kind="cases", workers=2).estimates)
    drawn = fit.bootstrap(4, workers=1)
    pd.testing.assert_frame_equal(drawn.estimates, fit.bootstrap(4, seed=drawn.seed, workers=1).estimates)
    assert not np.allclose(drawn.estimates, one.estimates.iloc[:4])


def test_a_refit_is_the_fit_of_the_drawn_response(fit: mm.FitResult) -> None:
    made = fit.bootstrap(2, seed=11, workers=1)
    rng = np.random.default_rng(np.random.SeedSequence(11, spawn_key=(1,)))
    again = mm.fit(FORMULA, SLEEP.assign(Reaction=fit.simulate(1, rng)[:, 0]))
    expected = [*again.parameters["estimate"], *again.fixed_effects]
    np.testing.assert_allclose(made.estimates.iloc[1], expected, rtol=2e-5)
    assert list(made.estimates.columns) == [*fit.parameters["name"], *fit.fixed_effects.index]


def test_its_errors_are_those_of_theory(fit: mm.FitResult) -> None:
    """Of the fixed effects, whose errors are exact in a balanced design: within the error of 300 replicates."""
    made = fit.bootstrap(300, seed=5, workers=1)
    ratio = made.standard_errors[["Intercept", "Days"]] / fit.standard_errors
    assert (np.abs(ratio - 1) < 4 / np.sqrt(2 * 300)).all()
    assert (np.abs(made.bias[["Intercept", "Days"]]) < 4 * fit.standard_errors / np.sqrt(300)).all()
    normal, percentile = made.conf_int("normal"), made.conf_int("percentile")
    np.testing.assert_allclose(percentile.loc["Days"], normal.loc["Days"], atol=0.4)
    np.testing.assert_allclose(percentile.loc["Days"], np.quantile(made.estimates["Days"], [0.025, 0.975]), rtol=1e-12)
    np.testing.assert_allclose(
        made.conf_int("basic").loc["Days"], 2 * made.original["Days"] - percentile.loc["Days"].to_numpy()[::-1]
    )
    assert made.failed == 0 and made.singular.dtype == bool and "300 refits, 0 failed, seed 5" in repr(made)


@pytest.mark.parametrize("residual", [None, "ar1(Days | Subject)"])
def test_a_group_that_is_drawn_twice_counts_as_two(residual: str | None) -> None:
    """The refit is the fit of a table in which every copy has a name of its own."""
    formula = "Reaction ~ Days + (1 | Subject)"
    fit = mm.fit(formula, SLEEP, residual=residual)
    model = Model.of(fit)
    units = units_of(model.design, None)
    assert units.count == 18
    chosen = np.array([0, 0, 0, 3, 5, 5, 7, 8, 9, 10, 11, 12, 13, 17, 17])
    names = list(dict.fromkeys(SLEEP["Subject"]))
    table = pd.concat([
        SLEEP[SLEEP["Subject"] == names[k]].assign(Subject=f"copy {j}") for j, k in enumerate(chosen)
    ])  # fmt: skip
    again = mm.fit(formula, table, residual=residual)
    found = with_units(model, units, chosen).find()
    assert -0.5 * found.point.value == pytest.approx(again.loglike, abs=1e-6)
    np.testing.assert_allclose(found.evaluation.beta, again.fixed_effects, rtol=1e-6)


def test_levels_of_a_crossed_factor_are_shared() -> None:
    """Drawn by one factor, the other's levels keep their identity; nested levels go with their group."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame([(s, i) for s in range(8) for i in range(6)], columns=["s", "i"])
    data["y"] = rng.normal(size=8)[data["s"]] + rng.normal(size=6)[data["i"]] + rng.normal(size=48)
    fit = mm.fit("y ~ 1 + (1 | s) + (1 | i)", data)
    model = Model.of(fit)
    chosen = np.array([0, 0, 1, 2, 4, 5, 7, 7])
    found = with_units(model, units_of(model.design, "s"), chosen).find()
    table = pd.concat([data[data["s"] == k].assign(s=j) for j, k in enumerate(chosen)])
    assert -0.5 * found.point.value == pytest.approx(mm.fit("y ~ 1 + (1 | s) + (1 | i)", table).loglike, abs=1e-6)
    with pytest.raises(SpecError, match="all rows hang together by s, i"):
        fit.bootstrap(2, kind="cases", workers=1)
    with pytest.raises(SpecError, match="bca': no independent groups: all rows hang together"):
        fit.bootstrap(20, seed=1, workers=1).conf_int("bca")
    with pytest.raises(UnknownNameError, match="there is no grouping factor 'k'"):
        fit.bootstrap(2, kind="cases", by="k", workers=1)


def test_bca_of_a_mean_is_scipy_s() -> None:
    """Rows are the units of a model without random effects, and its estimate is the mean: scipy.stats.bootstrap, BCa."""
    y = np.random.default_rng(4).exponential(size=25) + 3
    fit = mm.fit("y ~ 1", pd.DataFrame({"y": y}))
    made = fit.bootstrap(3000, seed=8, kind="cases", workers=1, statistic=lambda f: float(f.fixed_effects.iloc[0]))
    theirs = scipys((y,), np.mean, n_resamples=20_000, rng=np.random.default_rng(1)).confidence_interval
    ours = made.conf_int("bca").loc["statistic"]
    error = y.std() / 5
    np.testing.assert_allclose(ours, [theirs.low, theirs.high], atol=0.1 * error)
    # it leans to the long tail, which the percentile interval does less
    assert ours["upper"] > made.conf_int("percentile").loc["statistic", "upper"]


def test_bca_by_its_formula(fit: mm.FitResult) -> None:
    """Efron (1987), (6.6) and (6.8), with the jackknife by refits of tables without one subject."""
    made = fit.bootstrap(60, seed=2, workers=1)
    left = np.array([
        mm.fit(FORMULA, SLEEP[SLEEP["Subject"] != s]).sigma for s in dict.fromkeys(SLEEP["Subject"])
    ])  # fmt: skip
    gap = left.mean() - left
    a = np.sum(gap**3) / (6 * np.sum(gap**2) ** 1.5)
    drawn = made.estimates["sigma"].to_numpy()
    z0 = norm.ppf(np.mean(drawn < fit.sigma))
    z = norm.ppf([0.05, 0.95])
    expected = np.quantile(drawn, norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))))
    np.testing.assert_allclose(made.conf_int("bca", 0.9).loc["sigma"], expected, rtol=1e-5)


def test_a_statistic_of_one_s_own(fit: mm.FitResult) -> None:
    def share(f: mm.FitResult) -> dict[str, float]:
        G = f.covariance()
        return {"icc": G.iloc[0, 0] / (G.iloc[0, 0] + f.sigma2), "day 5": float(f.fixed_effects @ [1, 5])}

    made = fit.bootstrap(6, seed=1, workers=1, statistic=share)
    assert list(made.estimates.columns) == ["icc", "day 5"]
    assert made.original["day 5"] == pytest.approx(fit.fixed_effects["Intercept"] + 5 * fit.fixed_effects["Days"])
    with pytest.raises(SpecError, match="it gave a str"):
        fit.bootstrap(2, statistic=lambda f: "high", workers=1)


def test_a_statistic_goes_by_name_and_may_fail_now_and_then(fit: mm.FitResult) -> None:
    """Numbers in another order are the same numbers; what one refit raises does not lose the others."""
    count = iter(range(100))

    def turning(f: mm.FitResult) -> dict[str, float]:
        k = next(count)
        if k == 3:
            raise ZeroDivisionError("no share")
        return {"a": 1.0, "b": 2.0} if k % 2 else {"b": 2.0, "a": 1.0, "c": 3.0}

    next(count)  # the fit's own has no c
    with pytest.warns(BootstrapWarning, match="the statistic raised ZeroDivisionError: no share"):
        made = fit.bootstrap(4, seed=1, workers=1, statistic=turning)
    assert made.estimates["a"].dropna().tolist() == [1.0] * 3 and made.estimates["b"].dropna().tolist() == [2.0] * 3
    assert made.failed == 1
    with pytest.warns(BootstrapWarning, match="the statistic gave no 'c'"):
        fit.bootstrap(1, seed=1, workers=1, statistic=turning)
    with pytest.raises(SpecError, match="'sigma' · allowed: a function"):
        fit.bootstrap(1, statistic="sigma", workers=1)  # type: ignore[arg-type]


def test_cases_know_their_columns_and_their_groups(fit: mm.FitResult) -> None:
    """Copies of a group have names of their own; those drawn once keep theirs."""
    known = str(SLEEP["Subject"].iloc[0])

    def asked(f: mm.FitResult) -> dict[str, float]:
        names = [str(level) for level in f.random_effects["Subject"].index]
        assert len(set(names)) == 18
        new = SLEEP.head(1).assign(Subject="new")
        return {
            "F": f.anova()["statistic"].iloc[0], "copies": float(sum("(copy" in n for n in names)),
            "kept": float(known in names), "mean": float(f.predict(new, new_levels="population").iloc[0]),
        }  # fmt: skip

    made = fit.bootstrap(6, seed=2, workers=1, kind="cases", statistic=asked)
    assert made.failed == 0 and (made.estimates["copies"] > 0).all() and 0 < made.estimates["kept"].sum() < 6


def test_related_levels_are_no_independent_groups() -> None:
    rng = np.random.default_rng(1)
    names = [f"i{k}" for k in range(8)]
    K = pd.DataFrame(np.eye(8) + 0.3, index=names, columns=names)
    data = pd.DataFrame({"id": np.repeat(names, 5), "y": rng.normal(size=40)})
    data["y"] += np.repeat(rng.normal(size=8), 5)
    fit = mm.fit("y ~ 1 + (1 | id)", data, relationship={"id": K})
    with pytest.raises(SpecError, match="levels of id are related"):
        fit.bootstrap(2, kind="cases", workers=1)
    with pytest.raises(SpecError, match="levels of id are related"):
        fit.bootstrap(4, seed=1, workers=1).conf_int("bca")
    with pytest.raises(SpecError, match="robust: levels of id are related"):
        fit.robust_cov()


def test_failed_refits_are_counted_and_told() -> None:
    """One group alone has the level r: without it the columns depend on one another."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(5), 8), "x": rng.normal(size=40)})
    data["f"] = np.where(data["g"] == 4, "r", np.where(rng.random(40) < 0.5, "p", "q"))
    data["y"] = data["x"] + rng.normal(size=5)[data["g"]] + rng.normal(size=40)
    fit = mm.fit("y ~ x + f + (1 | g)", data)
    with pytest.warns(BootstrapWarning, match="refits failed: fixed effects: columns depend on one another"):
        made = fit.bootstrap(40, seed=1, kind="cases", workers=1)
    assert made.failed == made.estimates.isna().all(axis=1).sum() == sum(made.reasons.values()) > 0
    assert made.conf_int().loc["x"].notna().all()


def test_a_singular_fit_leaves_its_bound() -> None:
    """The estimate is zero, and responses drawn from it have none either; some refits estimate one."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(6), 5), "y": rng.normal(size=30)})
    fit = mm.fit("y ~ 1 + (1 | g)", data)
    assert fit.singular
    made = fit.bootstrap(40, seed=1, workers=1)
    assert made.failed == 0 and 0 < made.singular.sum() < 40
    assert ((made.estimates["sd(Intercept | g)"] == 0) == made.singular).all()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"n": 0}, "n=0 · allowed: a whole number of refits"),
        ({"kind": "residual"}, "'residual' · allowed: 'parametric', 'cases'"),
        ({"by": "Subject"}, "with kind='cases'"),
        ({"workers": 0}, "workers: 0"),
        ({"seed": -1}, "seed: -1"),
    ],
)
def test_errors(fit: mm.FitResult, how: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        fit.bootstrap(**how)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_intervals_of_all_parameters(fit: mm.FitResult) -> None:
    found = fit.conf_int("bootstrap", 0.9, parameters=["corr(Days, Intercept | Subject)", "Days"], n=30, seed=4)
    made = fit.bootstrap(30, seed=4, workers=1).conf_int(confidence=0.9)
    pd.testing.assert_frame_equal(found, made.loc[["corr(Intercept, Days | Subject)", "Days"]])
    with pytest.raises(UnknownNameError, match="'Weeks'"):  # before a million refits
        fit.conf_int("bootstrap", parameters="Weeks", n=1_000_000)
    with pytest.raises(SpecError, match="confidence: 95"):
        fit.conf_int("bootstrap", 95, n=1_000_000)


def test_likelihood_ratios_under_the_simpler_model() -> None:
    """Of a fixed effect the share is near the chi-square tail; of a variance at zero near that of the boundary."""
    rng = np.random.default_rng(9)
    data = pd.DataFrame({"g": np.repeat(np.arange(30), 4), "x": rng.normal(size=120)})
    data["y"] = 0.15 * data["x"] + 0.3 * rng.normal(size=30)[data["g"]] + rng.normal(size=120)
    none, group = mm.fit("y ~ x", data), mm.fit("y ~ x + (1 | g)", data)
    tested = mm.compare(none, group, bootstrap=200, seed=1, workers=1).iloc[1]
    assert tested["p_bootstrap"] == pytest.approx(tested["p_boundary"], abs=4 * np.sqrt(0.25 / 200))
    assert tested["p_bootstrap"] < tested["p_value"]
    effect = mm.compare(mm.fit("y ~ 1 + (1 | g)", data), group, bootstrap=200, seed=1, workers=1).iloc[1]
    assert effect["refitted"]
    assert effect["p_bootstrap"] == pytest.approx(effect["p_value"], abs=4 * np.sqrt(0.25 / 200))
    other = mm.compare(none, mm.fit("y ~ I(x > 0)", data), bootstrap=3, seed=1, workers=1)
    assert other["p_bootstrap"].isna().all()  # neither is the other with less
    # the observed statistic counts among the drawn ones
    assert tested["p_bootstrap"] * 201 == pytest.approx(round(tested["p_bootstrap"] * 201), abs=1e-9)


def test_an_unknown_interval(fit: mm.FitResult) -> None:
    with pytest.raises(SpecError, match="'student' · allowed: 'percentile', 'bca'"):
        fit.bootstrap(2, seed=1, workers=1).conf_int("student")


def test_a_saved_fit_holds_no_data(fit: mm.FitResult, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="fit again"):
        mm.load(fit.save(tmp_path / "fit.mmf")).bootstrap(2)


def test_no_bar_where_there_is_no_terminal(fit: mm.FitResult, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit.bootstrap(2, seed=1, workers=1, progress=True)
    out, err = capsys.readouterr()
    assert out == err == ""
