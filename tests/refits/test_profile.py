"""Profiles: minima of fits that hold the parameter, with ends where −2 log L has risen by chi-square's quantile."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

import mmframe as mm
from mmframe.errors import SpecError, StoreError, UnknownNameError
from mmframe.refits.profile import ProfileWarning

SLEEP = mm.datasets.load("sleepstudy")
RISE = chi2.ppf(0.95, 1)


def fitted(right: str = "Days + (Days | Subject)", **how: object) -> mm.FitResult:
    return mm.fit(f"Reaction ~ {right}", SLEEP, **how)  # type: ignore[arg-type]


MODELS = {
    "slopes": {"right": "Days + (Days | Subject)"},
    "ar1": {"right": "Days + (1 | Subject)", "residual": "ar1(Days | Subject)"},
    "exponential": {"right": "Days + (1 | Subject)", "variance": "exp(Days)"},
    "visits": {"right": "Days", "residual": "csh(Days | Subject)"},
    "weights": {"right": "Days + (1 | Subject)", "weights": np.linspace(0.5, 2.0, 180)},
    "a zero variance": {"right": "Days + (1 | Subject) + (1 | Other)"},
}


@pytest.mark.parametrize("name", MODELS)
def test_ends_are_where_the_deviance_has_risen(name: str) -> None:
    """By fits of their own, with the parameter held there, from where a fit starts by itself."""
    how = dict(MODELS[name])
    data = SLEEP.assign(Other=np.tile(np.arange(6), 30))
    formula = f"Reaction ~ {how.pop('right')}"
    reml = mm.fit(formula, data, **how)  # type: ignore[arg-type]
    ml = mm.fit(formula, data, reml=False, **how)  # type: ignore[arg-type]
    some = [n for n in reml.parameters["name"] if "[4]" not in n][:3]
    table = reml.conf_int("profile", parameters=some)
    assert list(table.index) == some
    for parameter, row in table.iterrows():
        for end in ("lower", "upper"):
            held = mm.fit(formula, data, reml=False, fix={str(parameter): float(row[end])}, **how)  # type: ignore[arg-type]
            rise = held.deviance - ml.deviance
            if row[f"{end}_at_bound"]:
                assert rise < RISE
            else:
                assert rise == pytest.approx(RISE, abs=2e-5)


def test_a_fixed_effect_is_held_as_an_offset_would() -> None:
    fit = fitted()
    row = fit.conf_int("profile", parameters="Days").loc["Days"]
    ml = fitted(reml=False)
    for end in (row["lower"], row["upper"]):
        held = mm.fit("Reaction ~ 1 + (Days | Subject)", SLEEP, reml=False, offset=end * SLEEP["Days"].to_numpy())
        assert held.deviance - ml.deviance == pytest.approx(RISE, abs=2e-5)


def test_the_table() -> None:
    fit = fitted()
    table = fit.profile("sd(Days | Subject)", confidence=0.9)
    assert table.attrs["name"] == "sd(Days | Subject)" and table.attrs["criterion"] == "ML"
    ml = fitted(reml=False)
    middle = table[table["zeta"] == 0].iloc[0]
    assert middle["value"] == table.attrs["estimate"] == pytest.approx(ml.covariance().loc["Days", "Days"] ** 0.5)
    assert middle["deviance"] == pytest.approx(ml.deviance, abs=1e-8)
    assert (np.diff(table["value"]) > 0).all() and (np.diff(table["zeta"]) > 0).all()
    assert table["zeta"].iloc[0] < -1.645 and table["zeta"].iloc[-1] > 1.645
    np.testing.assert_allclose(table["deviance"] - ml.deviance, table["zeta"] ** 2, atol=1e-9)
    interval = fit.conf_int("profile", confidence=0.9, parameters="sd(Days | Subject)").iloc[0]
    ends = [table.attrs["lower"], table.attrs["upper"]]
    np.testing.assert_allclose(ends, [interval["lower"], interval["upper"]], rtol=1e-5)
    ax = mm.pictures.profile(table, confidence=0.9)
    assert ax.get_xlabel() == "sd(Days | Subject)"


def test_a_bound_is_told() -> None:
    """Dyestuff2's analogue: between-group variance estimated as zero. The interval begins at the bound."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(6), 5), "y": rng.normal(size=30)})
    fit = mm.fit("y ~ 1 + (1 | g)", data)
    assert fit.singular
    table = fit.profile("sd(Intercept | g)")
    assert table.attrs["lower"] == 0.0 and table.attrs["lower_at_bound"] and not table.attrs["upper_at_bound"]
    assert table["value"].iloc[0] == table.attrs["estimate"] == 0.0


def test_tied_parameters_move_together() -> None:
    names = ["sd(Intercept | Subject)", "sd(Days | Subject)"]
    fit = mm.ModelBuilder().fixed("Reaction ~ Days + (Days || Subject)").tie([names]).build(SLEEP).fit()
    table = fit.conf_int("profile")
    assert names[0] in table.index and names[1] not in table.index
    upper = float(table.loc[names[0], "upper"])
    ml = mm.ModelBuilder().fixed("Reaction ~ Days + (Days || Subject)").criterion("ml")
    held = ml.fix(dict.fromkeys(names, upper)).build(SLEEP).fit()
    assert held.deviance - ml.tie([names]).build(SLEEP).fit().deviance == pytest.approx(RISE, abs=2e-5)


def test_what_the_fit_holds_stays_held() -> None:
    fit = fitted("Days + (1 | Subject)", fix={"sigma": 30.0})
    table = fit.conf_int("profile")
    assert list(table.index) == ["sd(Intercept | Subject)", "Intercept", "Days"]
    base = fitted("Days + (1 | Subject)", fix={"sigma": 30.0}, reml=False)
    upper = float(table["upper"].iloc[0])
    held = fitted("Days + (1 | Subject)", fix={"sigma": 30.0, "sd(Intercept | Subject)": upper}, reml=False)
    assert held.deviance - base.deviance == pytest.approx(RISE, abs=2e-5)


def test_a_better_optimum_is_told() -> None:
    """A fit that stopped early: the profile finds what it missed."""
    start = {"sd(Days | Subject)": 40.0, "sigma": 60.0}
    early = fitted(reml=False, stages=[{"em": {"max_iterations": 1}}], start=start)
    assert not early.converged
    with pytest.warns(ProfileWarning, match="fit again with start="):
        early.profile("sigma")


def test_a_refit_that_does_not_converge_is_no_point_of_a_profile() -> None:
    """One row a cell: a compound symmetry of it and the residual are not told apart, and σ² may run to zero beside it."""
    rng = np.random.default_rng(8)
    data = pd.DataFrame({"g": np.repeat(np.arange(30), 4), "t": np.tile(np.arange(4), 30)})
    data["y"] = 2 * rng.normal(size=30)[data["g"]] + rng.normal(size=120)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.IdentifiabilityWarning)
        fit = mm.fit("y ~ 1 + cs(0 + C(t) | g)", data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            table = fit.conf_int("profile", parameters=["g.sd", "Intercept"])
    assert not any("lower by" in str(w.message) for w in caught)
    assert np.isfinite(table.loc["Intercept", ["lower", "upper"]].astype(float)).all()
    ends = table.loc["g.sd", ["lower_at_bound", "upper_at_bound"]]
    told = [w for w in caught if "so the interval has no end there" in str(w.message)]
    assert len(told) == 2 - int(ends.sum()) - int(table.loc["g.sd", ["lower", "upper"]].notna().sum() - ends.sum())


def test_everything_held() -> None:
    """Then the fixed effects are least squares with known weights, and nothing is estimated of the covariance."""
    fit = fitted("Days + (1 | Subject)", fix={"sigma": 25.0, "sd(Intercept | Subject)": 30.0})
    table = fit.conf_int("profile")
    np.testing.assert_allclose(table[["lower", "upper"]], fit.coefficients()[["lower", "upper"]], rtol=1e-6)
    assert np.isinf(fit.anova()["den_df"]).all() and np.isinf(fit.coefficients(df="kenward_roger")["df"]).all()
    assert fit.parameters["std_error"].isna().all()


@pytest.mark.parametrize(
    ("name", "words"),
    [("sd(Day | Subject)", "did you mean 'sd(Days | Subject)'"), ("residual.rho", "there is no parameter")],
)
def test_unknown_names(name: str, words: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        fitted().profile(name)
    assert words in str(caught.value)


def test_what_cannot_be_profiled(tmp_path: Path) -> None:
    fit = fitted("Days + (1 | Subject)", fix={"sigma": 30.0})
    with pytest.raises(SpecError, match="'sigma', which is held"):
        fit.profile("sigma")
    again = mm.load(fit.save(tmp_path / "fit.mmf"))
    with pytest.raises(StoreError, match="fit again"):
        again.conf_int("profile")
    with pytest.raises(SpecError, match="conf_int: 'likelihood' · allowed: 'wald', 'profile', 'bootstrap'"):
        fit.conf_int("likelihood")
    with pytest.raises(UnknownNameError, match="conf_int"):
        fit.conf_int(parameters=["Weeks"])
