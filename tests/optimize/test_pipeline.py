"""The pipeline: false zeros, singular optima, holding and starting, budget, trace."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.optimize.pipeline import Pipeline
from mmframe.registry.registry import PARAMETERIZATION, STAGE, default_registry
from tests.reference.cases import BY_ID, HERE, data_of

SLEEPSTUDY = mm.datasets.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"
ALL = [e.name for e in default_registry().of_kind(PARAMETERIZATION)]
STAGES = [e.name for e in default_registry().of_kind(STAGE)]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("parameterization", ALL)
def test_the_missions_own_schedule(parameterization: str, reml: bool) -> None:
    """em: 20, gradient: 5, cg."""
    fit = mm.fit(
        FORMULA,
        SLEEPSTUDY,
        reml=reml,
        parameterization=parameterization,
        stages=[{"em": {"max_iterations": 20}}, {"gradient": {"max_iterations": 5}}, "cg"],
    )
    expected = BY_ID["sleepstudy_rs_reml" if reml else "sleepstudy_rs_ml"]["expected"]["loglik"]
    assert fit.loglike == pytest.approx(expected, abs=1e-6)
    assert fit.converged
    values = fit.trace["value"].to_numpy()
    assert fit.trace["stage"].iloc[0] == "start"
    assert np.all(np.diff(values) <= 1e-8), "no stage raises −2 log L"


@pytest.mark.parametrize("stage", [s for s in STAGES if default_registry().find(STAGE, s, "").cls.finishes])
def test_a_fit_leaves_a_false_zero(stage: str) -> None:
    """At a zero factor the gradient in Cholesky coordinates is zero though the variance is not: dyestuff, REML."""
    data = data_of(BY_ID["dyestuff_reml"])
    model = mm.ModelBuilder().fixed("Yield ~ 1 + (1 | Batch)").stages(stage).build(data)
    zero = (tuple(np.zeros(1) for _ in model.covariance.terms), 1000.0)
    found = Pipeline(model.stages).run(model.engine, model.covariance, True, zero)
    assert -0.5 * found.point.value == pytest.approx(BY_ID["dyestuff_reml"]["expected"]["loglik"], abs=1e-6)
    assert found.converged
    assert not found.singular


def test_a_stage_that_does_not_finish_says_so_at_a_false_zero() -> None:
    data = data_of(BY_ID["dyestuff_reml"])
    model = mm.ModelBuilder().fixed("Yield ~ 1 + (1 | Batch)").stages("em").build(data)
    found = Pipeline(model.stages).run(model.engine, model.covariance, True, ((np.zeros(1),), 1000.0))
    assert not found.converged
    assert "curvature is negative" in found.reason


@pytest.mark.parametrize("parameterization", ALL)
@pytest.mark.parametrize("case", ["dyestuff2_reml", "dyestuff2_ml"])
def test_a_zero_variance_is_exactly_zero_and_named(case: str, parameterization: str) -> None:
    fit = mm.fit(
        "Yield ~ 1 + (1 | Batch)", data_of(BY_ID[case]), reml=BY_ID[case]["reml"], parameterization=parameterization
    )
    assert fit.converged
    assert fit.singular
    assert fit.covariance("Batch").iloc[0, 0] == 0.0
    assert "singular" in fit.stop_reason
    assert np.all(fit.random_effects["Batch"] == 0.0)
    row = fit.parameters.set_index("name").loc["sd(Intercept | Batch)"]
    assert row["estimate"] == 0.0
    assert np.isnan(row["std_error"])
    assert np.isnan(row["upper"])


def test_a_perfect_correlation_is_found_and_named() -> None:
    """lme4's tests/lmer-conv.R: slopes whose correlation is at its bound."""
    fit = mm.fit("cog ~ tos + trt:tos + (1 + tos | id)", data_of(BY_ID["early_rs_reml"]))
    assert fit.converged
    assert fit.singular == BY_ID["early_rs_reml"]["expected"]["singular"]


@pytest.mark.parametrize("parameterization", ALL)
@pytest.mark.parametrize(
    "fix",
    [
        {"corr(Intercept, Days | Subject)": 0.0},
        {"corr(Days, Intercept | Subject)": 0.3},
        {"sd(Days | Subject)": 6.0},
        {"sigma": 25.0},
        {"sd(Intercept | Subject)": 20.0, "sigma": 30.0},
    ],
)
def test_fixed_parameters_stay_and_the_rest_is_optimal(fix: dict[str, float], parameterization: str) -> None:
    fit = mm.fit(FORMULA, SLEEPSTUDY, fix=fix, parameterization=parameterization)
    values = fit.parameters.set_index("name")["estimate"]
    for name, value in fix.items():
        name = name.replace("Days, Intercept", "Intercept, Days")
        assert values[name] == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert fit.converged, fit.stop_reason
    free = mm.fit(FORMULA, SLEEPSTUDY)
    assert fit.loglike < free.loglike
    assert fit.aic - fit.deviance == pytest.approx(free.aic - free.deviance - 2 * len(fix))
    # a step of any free parameter lowers the log-likelihood
    for name in values.index.difference([n.replace("Days, Intercept", "Intercept, Days") for n in fix]):
        moved = mm.fit(FORMULA, SLEEPSTUDY, fix={**fix, name: values[name] + 0.01 * max(abs(values[name]), 0.1)})
        assert moved.loglike < fit.loglike


def test_a_correlation_fixed_at_zero_equals_independent_terms() -> None:
    """lme4 1.1-31 on (1 | Subject) + (0 + Days | Subject): the case sleepstudy_rs0_reml."""
    fit = mm.fit(FORMULA, SLEEPSTUDY, fix={"corr(Intercept, Days | Subject)": 0.0})
    assert fit.loglike == pytest.approx(BY_ID["sleepstudy_rs0_reml"]["expected"]["loglik"], abs=1e-6)


def test_start_values_and_a_result_as_start() -> None:
    first = mm.fit(FORMULA, SLEEPSTUDY, reml=False)
    for start in ({"sd(Intercept | Subject)": 100.0, "sigma": 5.0}, first):
        fit = mm.fit(FORMULA, SLEEPSTUDY, start=start)
        assert fit.loglike == pytest.approx(-871.814136, abs=1e-6)
    again = mm.fit(FORMULA, SLEEPSTUDY, reml=False, start=first)
    assert len(again.trace) <= 2


def test_the_budget_ends_a_fit_in_words_and_keeps_the_best_point() -> None:
    model = mm.ModelBuilder().fixed(FORMULA).stages("simplex").build(SLEEPSTUDY)
    start = ((np.array([5000.0, 10.0, 300.0]),), 2000.0)
    found = Pipeline(model.stages, budget=40).run(model.engine, model.covariance, True, start)
    assert "budget" in found.reason
    assert not found.converged
    assert found.point.value <= min(row.value for row in found.trace) + 1e-9


def test_phases_name_stages_and_what_continued_them() -> None:
    data = data_of(BY_ID["dyestuff_reml"])
    model = mm.ModelBuilder().fixed("Yield ~ 1 + (1 | Batch)").stages("lbfgs").build(data)
    found = Pipeline(model.stages).run(model.engine, model.covariance, True, ((np.zeros(1),), 1000.0))
    assert set(found.phases) == {"start", "lbfgs", "lbfgs (cover)", "check"}
    assert {row.stage for row in found.trace} <= set(found.phases)
    assert all(seconds > 0 for seconds in found.phases.values())
    fixed = mm.fit("Yield ~ 1", data)
    assert list(fixed.diagnostics.phases.index) == ["design", "reduce", "start", "check"]


def test_units_do_not_matter() -> None:
    """A slope in units a million times larger: the same fit (lme4 1.1-31 itself stops early here)."""
    plain = mm.fit(FORMULA, SLEEPSTUDY)
    big = SLEEPSTUDY.assign(Days=SLEEPSTUDY["Days"] * 1e6, Reaction=SLEEPSTUDY["Reaction"] * 1e-3)
    for parameterization in ALL:
        fit = mm.fit(FORMULA, big, parameterization=parameterization)
        assert fit.converged
        moved = 180 * np.log(1e-3) - 2 * np.log(1e-3) + np.log(1e6)
        assert fit.loglike == pytest.approx(plain.loglike - moved, abs=1e-5)


@pytest.mark.parametrize("stages", [["newton"], ["em"], ["lbfgs"]])
def test_two_fits_of_one_model_never_touch_each_other(stages: list[str]) -> None:
    model = mm.ModelBuilder().fixed(FORMULA).stages(*stages).build(SLEEPSTUDY)
    first, second = model.fit(), model.fit()
    assert first is not second
    assert first.loglike == second.loglike
    pd.testing.assert_frame_equal(first.parameters, second.parameters)


def test_few_evaluations() -> None:
    """The default needs few passes over the groups on every reference case of the project."""
    from tests.reference.cases import CASES, builder_of

    passes = []
    for case in CASES[:40]:
        counts = builder_of(case).build(pd.read_csv(HERE / case["data"])).fit().estimates.evaluations
        passes.append(counts["hessians"] + counts["gradients"] + counts["values"])
    assert np.median(passes) <= 5
    assert max(passes) <= 25
