"""Every stage and parameterization on crossed and nested factors reaches the reference optimum; few evaluations do."""

from __future__ import annotations

import pytest

import mmframe as mm
from tests.reference.cases import BY_ID, builder_of, data_of

CASES = ("penicillin_reml", "pastes_nested_ml", "dietox_3level_reml", "test3comp_y3_reml")
STAGES = (["newton"], ["lbfgs"], ["cg"], ["simplex", "newton"], ["em", "gradient", "cg"])


@pytest.mark.parametrize("parameterization", ["natural", "profile", "cholesky", "log_cholesky"])
@pytest.mark.parametrize("stages", STAGES, ids="-".join)
@pytest.mark.parametrize("case_id", CASES)
def test_every_stage_reaches_the_optimum(case_id: str, stages: list[str], parameterization: str) -> None:
    case = BY_ID[case_id]
    builder = builder_of(case).parameterization(parameterization).stages(*stages)
    fit = builder.build(data_of(case)).fit()
    assert fit.estimates.engine == "blocked"
    assert fit.loglike == pytest.approx(case["expected"]["loglik"], abs=1e-4)


@pytest.mark.parametrize(
    "case_id", ["penicillin_reml", "pastes_nested_reml", "insteval_dept_ml", "kb07_item_ml", "oats_fac_reml"]
)
def test_the_default_needs_few_evaluations(case_id: str) -> None:
    case = BY_ID[case_id]
    fit = builder_of(case).build(data_of(case)).fit()
    assert sum(fit.estimates.evaluations.values()) <= 12


def test_schedule_of_the_mission_on_insteval_from_a_poor_start() -> None:
    """EM lowers the criterion at each of its iterations on a large crossed design."""
    case = BY_ID["insteval_dept_ml"]
    start = {"sd(Intercept | s)": 1.0, "sd(Intercept | d)": 0.2, "sd(Intercept | dept)": 1.0, "sigma": 2.0}
    builder = builder_of(case).start(start).stages({"em": {"max_iterations": 4}}, "newton")
    fit = builder.build(data_of(case)).fit()
    em = fit.trace.query("stage in ('start', 'em')")["value"]
    assert em.is_monotonic_decreasing
    assert fit.loglike == pytest.approx(case["expected"]["loglik"], abs=1e-4)
    assert isinstance(fit, mm.FitResult)
