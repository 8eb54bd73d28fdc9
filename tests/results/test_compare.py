"""Comparison of fits: lme4's numbers, refits by ML, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import mmframe as mm
from mmframe.comparison import boundary_law
from mmframe.errors import DataError, SpecError, StoreError
from mmframe.results.chi_bar_square import tail, weights

SLEEPSTUDY = mm.datasets.load("sleepstudy")


def sleep(formula: str, **options: object) -> mm.FitResult:
    return mm.fit(f"Reaction ~ {formula}", SLEEPSTUDY, **options)  # type: ignore[arg-type]


def test_lme4_s_table() -> None:
    """Bates et al. (2015), JSS 67(1), section 5.2: anova(fm1, fm2) refits by ML: 0.0639 on 1 degree of freedom, p = 0.8004."""
    table = mm.compare(sleep("Days + (Days | Subject)"), sleep("Days + (Days || Subject)"))
    assert list(table["n_parameters"]) == [5, 6]
    two = "Reaction ~ Days + diagonal(Days | Subject)"
    assert list(table.index) == [two, "Reaction ~ Days + (Days | Subject)"]
    reml = table["chisq"].iloc[1]
    assert not table["refitted"].any()  # the fixed effects are the same: REML fits as they are
    ml = mm.compare(sleep("Days + (Days || Subject)", reml=False), sleep("Days + (Days | Subject)", reml=False))
    np.testing.assert_allclose(ml["chisq"].iloc[1], 0.0639, atol=5e-5)
    np.testing.assert_allclose(ml["p_value"].iloc[1], 0.8004, atol=5e-5)
    np.testing.assert_allclose(ml["aic"], [1762.00, 1763.94], atol=6e-3)
    assert np.isnan(ml["chisq"].iloc[0]) and reml != ml["chisq"].iloc[1]


def test_other_fixed_effects_are_refitted_by_ml() -> None:
    """lme4 1.1: anova(lmer(Reaction ~ 1 + (Days|Subject)), lmer(Reaction ~ Days + (Days|Subject))), refitted: chisq 23.537 on 1."""
    table = mm.compare(sleep("1 + (Days | Subject)"), sleep("Days + (Days | Subject)"))
    assert table["refitted"].all()
    np.testing.assert_allclose(table["chisq"].iloc[1], 23.537, atol=1e-3)
    np.testing.assert_allclose(table["loglike"].iloc[1], -875.9697, atol=1e-4)
    mixed = mm.compare(sleep("1 + (Days | Subject)", reml=False), sleep("Days + (Days | Subject)"))
    np.testing.assert_allclose(mixed["chisq"], table["chisq"], rtol=1e-6)
    assert list(mixed["refitted"]) == [False, True]


def test_three_fits_and_equal_numbers_of_parameters() -> None:
    fits = [sleep("Days + (Days | Subject)"), sleep("Days + (1 | Subject)"), sleep("Days + (0 + Days | Subject)")]
    table = mm.compare(*fits)
    assert list(table["n_parameters"]) == [4, 4, 6]
    assert np.isnan(table["p_value"].iloc[1]) and table["df"].iloc[1] == 0 and table["p_value"].iloc[2] < 1e-4


def test_a_variance_at_zero_has_the_law_of_the_boundary() -> None:
    """Stram & Lee (1994), case 3: equal parts chi-square with q and q + 1 degrees of freedom; case 1: with 0 and 1."""
    one = sleep("Days + (1 | Subject)")
    for richer, df in (("Days + (1 | Subject) + (0 + Days | Subject)", 1), ("Days + (Days | Subject)", 2)):
        row = mm.compare(one, sleep(richer)).iloc[1]
        lower = chi2.sf(row["chisq"], 1) if df == 2 else 0.0
        np.testing.assert_allclose(row["p_boundary"], (lower + chi2.sf(row["chisq"], df)) / 2, rtol=1e-12)
        assert row["df"] == df and row["p_boundary"] < row["p_value"]
    # a fixed effect more adds one degree of freedom to both parts
    row = mm.compare(sleep("1 + (1 | Subject)"), sleep("Days + (Days | Subject)")).iloc[1]
    np.testing.assert_allclose(row["p_boundary"], (chi2.sf(row["chisq"], 2) + chi2.sf(row["chisq"], 3)) / 2, rtol=1e-12)
    # the first variance of all, and one that is found to be zero
    row = mm.compare(sleep("Days"), one).iloc[1]
    np.testing.assert_allclose(row["p_boundary"], row["p_value"] / 2, rtol=1e-12)
    row = mm.compare(one, sleep("Days + (1 | Subject) + (1 | Days)")).iloc[1]
    assert row["p_boundary"] == 1 and row["chisq"] < 1e-6


@pytest.mark.parametrize(
    ("simpler", "richer"),
    [
        ("Days + diagonal(Days | Subject)", "Days + (Days | Subject)"),  # a correlation
        ("Days", "Days + (Days | Subject)"),  # two variances
        (
            "Days + (1 | Subject) + (1 | Days)",
            "Days + (Days | Subject) + (1 | Days)",
        ),  # the simpler has a zero variance
        ("1 + (1 | Subject)", "Days + (1 | Subject)"),  # a fixed effect
        ("Days", "Days + cs(0 + factor(Days) | Subject)"),  # a correlation that means nothing without its variance
        ("Days + (Days | Subject)", "Days + (1 | Subject)  + I(Days**2) + I(Days**3) + I(Days**4)"),  # not nested
    ],
)
def test_where_no_variance_is_tested_at_zero(simpler: str, richer: str) -> None:
    assert mm.compare(sleep(simpler), sleep(richer))["p_boundary"].isna().all()


@pytest.mark.slow
def test_the_law_of_the_boundary_holds_in_simulation() -> None:
    """Of 500 tests of a second variance that is zero, 10 % have p_boundary < 0.1, and too few p_value < 0.1."""
    rng = np.random.default_rng(20261122)
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 8), "x": np.tile(np.linspace(-1, 1, 8), 40)})
    mean = 1.0 + rng.normal(size=40)[data["g"]]
    null, slopes = (
        mm.Model.of(mm.fit(f"y ~ x + {random}", data.assign(y=mean + rng.normal(size=320))))
        for random in ("(1 | g)", "(x || g)")
    )
    found = []
    for _ in range(500):
        y = rng.normal(size=40)[data["g"]] + rng.normal(size=320)
        found.append(mm.compare(null.responding(y).fit(), slopes.responding(y).fit()).iloc[1])
    rejected = np.mean([row["p_boundary"] < 0.1 for row in found])
    assert abs(rejected - 0.1) < 3 * np.sqrt(0.1 * 0.9 / 500)
    assert np.mean([row["p_value"] < 0.1 for row in found]) < 0.075


def test_weights_of_the_mixture() -> None:
    """Independent variances: binomial. Two: by the angle of the cone. Three: Shapiro (1988), (3.6), by the angles between them."""
    np.testing.assert_allclose(weights(np.eye(2)), [0.25, 0.5, 0.25])
    np.testing.assert_allclose(weights(np.diag([4.0, 9.0, 1.0])), np.array([1, 3, 3, 1]) / 8, atol=2e-3)
    C = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, -0.3], [0.2, -0.3, 1.0]])
    rho = np.array([C[0, 1], C[0, 2], C[1, 2]])
    partial = [(C[i, j] - C[i, k] * C[j, k]) / np.sqrt((1 - C[i, k] ** 2) * (1 - C[j, k] ** 2))
               for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 2, 0))]  # fmt: skip
    three = (2 * np.pi - np.arccos(rho).sum()) / (4 * np.pi)
    two = (3 * np.pi - np.arccos(partial).sum()) / (4 * np.pi)
    np.testing.assert_allclose(weights(C), [0.5 - two, 0.5 - three, two, three], atol=2e-3)
    assert tail(0.0, np.array([0.25, 0.5, 0.25]), 0) == 1.0
    assert tail(3.0, np.array([0.25, 0.5, 0.25]), 1) == pytest.approx(
        0.25 * chi2.sf(3, 1) + 0.5 * chi2.sf(3, 2) + 0.25 * chi2.sf(3, 3)
    )


def test_several_variances_at_zero_in_simulation() -> None:
    """Of 300 tests of two variances that are zero, 10 % have p_boundary < 0.1."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(40), 6), "x": np.tile(np.linspace(0, 1, 6), 40)})
    data["y"] = rng.normal(size=240)
    null, both = (mm.Model.of(mm.fit(f"y ~ x{random}", data)) for random in ("", " + (x || g)"))
    found = []
    for _ in range(300):
        y = rng.normal(size=240)
        found.append(mm.compare(null.responding(y).fit(), both.responding(y).fit()).iloc[1])
    rejected = np.mean([row["p_boundary"] < 0.1 for row in found])
    assert abs(rejected - 0.1) < 3 * np.sqrt(0.1 * 0.9 / 300)
    assert np.mean([row["p_value"] < 0.1 for row in found]) < 0.06
    assert all(row["df"] == 2 for row in found)


def test_the_weights_of_crossed_factors() -> None:
    """Of a balanced two-way layout, whose mean squares are independent under the null: 1/4, 1/2, 1/4 but for the small
    correlation that the residual's mean square brings (that of -σ²/n and -σ²/m)."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame([(i, j) for i in range(40) for j in range(40)], columns=["i", "j"])
    data["y"] = rng.normal(size=1600)
    none, both = mm.fit("y ~ 1", data), mm.fit("y ~ 1 + (1 | i) + (1 | j)", data)
    law = boundary_law(none, both)
    assert law is not None and law[1] == 0
    np.testing.assert_allclose(law[0], [0.25, 0.5, 0.25], atol=0.01)
    row = mm.compare(none, both).iloc[1]
    assert row["p_boundary"] == pytest.approx(tail(row["chisq"], *law))


def test_a_residual_structure_is_compared() -> None:
    table = mm.compare(sleep("Days + (1 | Subject)"), sleep("Days + (1 | Subject)", residual="ar1(Days | Subject)"))
    assert table["df"].iloc[1] == 1 and table["chisq"].iloc[1] > 10


def test_what_is_refused(tmp_path: Path) -> None:
    one = sleep("Days + (1 | Subject)")
    with pytest.raises(SpecError, match="1 fit · allowed: two or more"):
        mm.compare(one)
    with pytest.raises(SpecError, match="a str"):
        mm.compare(one, "Days")
    other = mm.fit("Reaction ~ Days + (1 | Subject)", SLEEPSTUDY.iloc[:-1])
    with pytest.raises(DataError, match="responses of 180 and 179 rows"):
        mm.compare(one, other)
    one.save(tmp_path / "one.mm")
    stored = mm.load(tmp_path / "one.mm")
    assert mm.compare(stored, sleep("Days + (Days | Subject)"))["df"].iloc[1] == 2
    with pytest.raises(StoreError, match="a saved fit holds no data"):
        mm.compare(stored, sleep("1 + (1 | Subject)"))


def test_the_same_model_with_other_stages_and_criterion() -> None:
    model = mm.ModelBuilder().fixed("Reaction ~ Days").random("Days | Subject").build(SLEEPSTUDY)
    ml = model.using(criterion="ml", stages=["em", "lbfgs"])
    assert ml.engine is model.engine and [s.name for s in ml.stages] == ["em", "lbfgs"]
    np.testing.assert_allclose(ml.fit().loglike, -875.9697, atol=1e-4)
    with pytest.raises(SpecError, match="fix · allowed: criterion, stages, start"):
        model.using(fix={"sigma": 1.0})
    fit = model.fit()
    again = mm.Model.of(fit).fit()
    assert len(again.trace) <= len(fit.trace) and np.isclose(again.loglike, fit.loglike, rtol=1e-12)


@pytest.mark.parametrize("formula", ["Days + (Days | Subject)", "Days + (1 | Subject)"])
def test_another_response(formula: str) -> None:
    """A model for another response is that of the data with it."""
    rng = np.random.default_rng(0)
    y = SLEEPSTUDY["Reaction"].to_numpy() + rng.normal(size=180)
    model = mm.Model.of(sleep(formula, offset=np.arange(180.0)))
    found = model.responding(y).fit()
    expected = mm.fit(f"Reaction ~ {formula}", SLEEPSTUDY.assign(Reaction=y), offset=np.arange(180.0))
    np.testing.assert_allclose(found.loglike, expected.loglike, rtol=1e-9)
    np.testing.assert_allclose(found.fixed_effects, expected.fixed_effects, rtol=1e-7)


def test_holding_and_responding_come_in_any_order() -> None:
    y = SLEEPSTUDY["Reaction"].to_numpy() + np.random.default_rng(0).normal(size=180)
    model = mm.Model.of(sleep("Days + (Days | Subject)"))
    held = {"Days": 9.0, "sigma": 25.0}
    one, other = model.holding(held).responding(y).fit(), model.responding(y).holding(held).fit()
    assert one.fixed_effects["Days"] == other.fixed_effects["Days"] == 9.0
    assert one.loglike == pytest.approx(other.loglike, abs=1e-8)


def test_a_model_without_random_effects_has_the_error_of_sigma() -> None:
    """σ̂/√(2(n − p)), by REML."""
    fit = mm.fit("Reaction ~ Days", SLEEPSTUDY)
    row = fit.parameters.set_index("name").loc["sigma"]
    np.testing.assert_allclose(row["std_error"], fit.sigma / np.sqrt(2 * 178), rtol=1e-6)
    assert "sigma" in fit.summary()


def test_one_group_with_many_effects_of_one_variance() -> None:
    """One level is enough where a variance has several effects; not where it has one."""
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(80, 12))
    y = Z @ rng.normal(size=12) + rng.normal(size=80)
    builder = mm.ModelBuilder().fixed(np.ones(80), y)
    fit = builder.random(Z=Z, groups=np.zeros(80), structure="variance_component").build().fit()
    assert fit.converged and 0.2 < fit.covariance("group").iloc[0, 0] < 5
    wide = rng.normal(size=(80, 120))
    assert (
        mm.ModelBuilder()
        .fixed(np.ones(80), y)
        .random(Z=wide, groups=np.zeros(80), structure="variance_component")
        .build()
        .engine.name
        == "dense"
    )  # small matrices no more
    with pytest.raises(DataError, match="it has one level"):
        builder.random(Z=Z, groups=np.zeros(80), structure="diagonal").build()
