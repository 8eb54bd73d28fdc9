"""Everything registered walks through the conformance kit, and every combination fits real data."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd
import pytest

import mmframe as mm
from mmframe.design.design import Design
from mmframe.plugins.structures.ar1 import AR1
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, Entry, default_registry
from mmframe.testing import check, check_covariance_structure
from mmframe.testing.stages import check_stage_on
from tests.reference.cases import HERE

REGISTRY = default_registry()


def entries(kind: str) -> list[Entry]:
    return list(REGISTRY.of_kind(kind))


# What has options without a default, as an example of itself.
NEEDS_OPTIONS: dict[str, dict[str, Any]] = {
    "heterogeneous": {"structure": AR1()},
    "known": {"matrix": [[1.0, 0.3, 0.1], [0.3, 2.0, 0.4], [0.1, 0.4, 1.5]]},
    **{name: {"covariate": "v"} for name in ("ident", "power", "exp", "const_power", "fixed")},
}


@pytest.mark.parametrize("entry", [*entries(STRUCTURE), *entries(PARAMETERIZATION)], ids=lambda e: e.qualified)
def test_conformance(entry: Entry) -> None:
    plugin = entry.cls(**NEEDS_OPTIONS.get(entry.name, {}))
    assert check_covariance_structure(plugin, (3,)) if entry.name == "known" else check(plugin)


@pytest.mark.slow
@pytest.mark.parametrize("entry", entries(STAGE), ids=lambda e: e.qualified)
def test_stage_conformance(entry: Entry) -> None:
    assert check(entry.cls)


# Real data: (formula, data). Dyestuff2's variance is exactly zero; Pastes' casks and Early's slopes end on the boundary of
# the cone or next to it; Machines has three columns; Sleepstudy scaled has a badly scaled slope.
REAL = {
    "sleepstudy": ("Reaction ~ Days + (Days | Subject)", "sleepstudy"),
    "dyestuff": ("Yield ~ 1 + (1 | Batch)", "dyestuff"),
    "dyestuff2": ("Yield ~ 1 + (1 | Batch)", "dyestuff2"),
    "machines": ("score ~ Machine + (0 + Machine | Worker)", "machines"),
    "orthodont": ("distance ~ age * Sex + (age | Subject)", "orthodont"),
    "early": ("cog ~ tos + trt:tos + (1 + tos | id)", "early"),
    "sleepstudy_big": ("Reaction ~ DaysBig + (DaysBig | Subject)", "sleepstudy_ext"),
    "pastes_casks": ("strength ~ 1 + (1 + cask | batch)", "pastes"),
}


# One variance for an intercept and a slope in units a million times apart is no model: its likelihood has a local
# optimum at each sign of the correlation. These structures are compared where the columns share a unit.
NEEDS_ONE_UNIT = {"compound_symmetry", "variance_component"}


# Structures for the columns of any basis; the others are of points, or singular.
OF_COLUMNS = {"unstructured", "diagonal", "variance_component", "compound_symmetry"}


@cache
def design_of(name: str) -> Design:
    formula, file = REAL[name]
    return mm.ModelBuilder().fixed(formula).build(pd.read_csv(HERE / "data" / f"{file}.csv")).design


COMBINATIONS = [
    pytest.param(
        structure, parameterization, stage, data, id=f"{structure.name}-{parameterization.name}-{stage.name}-{data}"
    )
    for structure in entries(STRUCTURE)
    if structure.name in OF_COLUMNS
    for parameterization in entries(PARAMETERIZATION)
    for stage in entries(STAGE)
    for data in REAL
    if not (data == "sleepstudy_big" and structure.name in NEEDS_ONE_UNIT)
]


@pytest.mark.parametrize(("structure", "parameterization", "stage", "data"), COMBINATIONS)
def test_every_combination_reaches_the_optimum(
    structure: Entry, parameterization: Entry, stage: Entry, data: str
) -> None:
    """No stage raises −2 log L; finishing stages alone, others with one after them, come within 1e-5; ML and REML."""
    for reml in (True, False):
        check_stage_on(stage.cls(), design_of(data), structure.cls(), parameterization.cls(), reml)


# Residuals on real data: the structure, and what goes beside it.
RESIDUALS = {
    "us": ("FEV1 ~ ARMCD", "us(AVISIT | USUBJID)", "fev_data"),
    "ar1h": ("FEV1 ~ ARMCD", "ar1h(AVISIT | USUBJID)", "fev_data"),
    "toep": ("FEV1 ~ RACE", "toep(AVISIT | USUBJID)", "fev_data"),
    "slope and car1": ("weight ~ Time + (Time | Rat)", "car1(Time | Rat)", "bodyweight"),
}


@pytest.mark.parametrize("stage", entries(STAGE), ids=lambda e: e.name)
@pytest.mark.parametrize("parameterization", entries(PARAMETERIZATION), ids=lambda e: e.name)
@pytest.mark.parametrize("residual", RESIDUALS)
def test_every_stage_reaches_the_optimum_of_a_residual(residual: str, parameterization: Entry, stage: Entry) -> None:
    """−2 log L never rises, and each stage, followed by a finishing one, ends where Newton's method does; ML and REML."""
    formula, structure, file = RESIDUALS[residual]
    data = pd.read_csv(HERE / "data" / f"{file}.csv")
    builder = mm.ModelBuilder().fixed(formula).residual(structure)
    for criterion in ("reml", "ml"):
        best = builder.criterion(criterion).build(data).fit()
        stages = (stage.name,) if stage.cls.finishes else (stage.name, "newton")
        found = builder.criterion(criterion).parameterization(parameterization.name).stages(*stages).build(data).fit()
        assert best.converged and found.converged, found.stop_reason
        assert abs(found.deviance - best.deviance) <= 1e-5
        values = found.trace.loc[found.trace["stage"] == stage.name, "value"].to_numpy()
        if stage.name in ("em", "gradient", "newton"):
            assert (values[1:] - values[:-1] <= 1e-8).all()
