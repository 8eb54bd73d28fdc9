"""Fits by each stage against lme4's criteria, against Newton's method, and with starts on the boundary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmframe as mm

HERE = Path(__file__).parent
FINISHING = ("bobyqa", "pybobyqa", "cobyqa", "trust_region")
ALL = (*FINISHING, "subplex")
SLOPES = "Reaction ~ Days + (Days | Subject)"
CROSSED = "diameter ~ 1 + (1 | plate) + (1 | sample)"
# Far from the optimum: G = sigma² I, as lme4 begins.
UNIT = {"sd(Intercept | Subject)": 30, "sd(Days | Subject)": 30, "corr(Intercept, Days | Subject)": 0, "sigma": 30}

# Bates, Mächler, Bolker & Walker (2015), J. Stat. Softw. 67, section 1.2 (the REML criterion, to the digits there), and the
# run of R in r/criteria.txt: -2 log L by lme4.
LME4 = {
    (name, criterion): float(value)
    for name, criterion, value in (line.split() for line in (HERE / "r" / "criteria.txt").read_text().splitlines()[1:])
}


@pytest.fixture(scope="module")
def sleepstudy() -> pd.DataFrame:
    return mm.datasets.load("sleepstudy")


@pytest.fixture(scope="module")
def penicillin() -> pd.DataFrame:
    return pd.read_csv(HERE / "data" / "penicillin.csv")


@pytest.fixture(scope="module")
def noise() -> pd.DataFrame:
    """No effect of g: the optimum is singular."""
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"g": np.repeat(np.arange(12), 6), "x": np.tile(np.arange(6), 12)})
    return table.assign(y=1 + 0.5 * table["x"] + rng.normal(size=72))


@pytest.mark.parametrize("stage", ALL)
@pytest.mark.parametrize("reml", [True, False])
def test_lme4s_criterion_is_reached(stage: str, reml: bool, sleepstudy: Any, penicillin: Any) -> None:
    criterion = "REML" if reml else "ML"
    slopes = mm.fit(SLOPES, sleepstudy, reml=reml, stages=[stage], start=UNIT)
    crossed = mm.fit(CROSSED, penicillin, reml=reml, stages=[stage])
    assert -2 * slopes.loglike == pytest.approx(LME4["sleepstudy", criterion], abs=1e-5)
    assert -2 * crossed.loglike == pytest.approx(LME4["penicillin", criterion], abs=1e-5)
    assert slopes.converged and crossed.converged


@pytest.mark.parametrize("subproblem", ["krylov", "ncg"])
def test_other_ways_to_minimise_the_quadratic(subproblem: str, sleepstudy: Any, noise: Any) -> None:
    stages = [{"trust_region": {"subproblem": subproblem}}]
    slopes = mm.fit(SLOPES, sleepstudy, stages=stages, start=UNIT)
    assert slopes.converged and -2 * slopes.loglike == pytest.approx(LME4["sleepstudy", "REML"], abs=1e-5)
    singular = mm.fit("y ~ x + (x | g)", noise, stages=stages)
    assert singular.converged and singular.singular


def test_the_published_criterion() -> None:
    assert LME4["sleepstudy", "REML"] == pytest.approx(1743.6, abs=0.05)


@pytest.mark.parametrize("stage", FINISHING)
@pytest.mark.parametrize("parameterization", ["cholesky", "log_cholesky", "profile", "natural"])
def test_regular_and_singular_optima_in_all_coordinates(
    stage: str, parameterization: str, sleepstudy: Any, noise: Any
) -> None:
    for formula, data, start in ((SLOPES, sleepstudy, UNIT), ("y ~ x + (x | g)", noise, None)):
        best = mm.fit(formula, data)
        found = mm.fit(formula, data, stages=[stage], parameterization=parameterization, start=start)
        assert found.converged and found.singular == best.singular
        assert found.loglike == pytest.approx(best.loglike, abs=5e-6)


@pytest.mark.parametrize("parameterization", ["cholesky", "log_cholesky", "profile", "natural"])
def test_subplex_goes_before_a_stage_that_finishes(parameterization: str, noise: Any) -> None:
    best = mm.fit("y ~ x + (x | g)", noise)
    found = mm.fit("y ~ x + (x | g)", noise, stages=["subplex", "newton"], parameterization=parameterization)
    assert found.converged and found.loglike == pytest.approx(best.loglike, abs=5e-6)


@pytest.mark.parametrize("stage", ALL)
@pytest.mark.parametrize("parameterization", ["profile", "natural", "cholesky"])
def test_a_start_on_the_boundary(stage: str, parameterization: str, penicillin: Any) -> None:
    zero = {"sd(Intercept | plate)": 0.0, "sd(Intercept | sample)": 1.0, "sigma": 1.0}
    found = mm.fit(CROSSED, penicillin, stages=[stage, "newton"], parameterization=parameterization, start=zero)
    assert found.converged and -2 * found.loglike == pytest.approx(LME4["penicillin", "REML"], abs=1e-5)


@pytest.mark.parametrize("stage", ALL)
def test_one_parameter(stage: str, penicillin: Any) -> None:
    best = mm.fit("diameter ~ 1 + (1 | sample)", penicillin)
    far = {"sd(Intercept | sample)": 40.0, "sigma": 1.0}
    found = mm.fit("diameter ~ 1 + (1 | sample)", penicillin, stages=[stage], start=far)
    assert found.converged and found.loglike == pytest.approx(best.loglike, abs=5e-6)


def test_options_by_name(sleepstudy: Any) -> None:
    short = mm.fit(SLOPES, sleepstudy, stages=[{"subplex": {"max_evaluations": 12}}], start=UNIT)
    assert short.stop_reason.startswith("subplex: 12 evaluations done") and not short.converged
    with pytest.raises(ValueError, match="subproblem"):
        mm.fit(SLOPES, sleepstudy, stages=[{"trust_region": {"subproblem": "cauchy"}}])


def test_several_stages_and_the_trace(sleepstudy: Any) -> None:
    found = mm.fit(SLOPES, sleepstudy, stages=["bobyqa", "trust_region"], start=UNIT)
    assert list(found.trace["stage"].unique()) == ["start", "bobyqa", "trust_region"]
    assert np.all(np.diff(found.trace["value"]) <= 0.0)
