"""Checks of optimizer stages."""

from __future__ import annotations

import itertools
import re
from typing import Any

from mmframe.covariance.model import SIGMA2, CovarianceModel
from mmframe.covariance.parameterization import Parameterization, resolve_bijection
from mmframe.covariance.structure import UNORDERED, CovarianceStructure
from mmframe.covariance.term import BoundTerm
from mmframe.design.design import Design
from mmframe.likelihood.pooled import PooledEngine
from mmframe.optimize.found import Found
from mmframe.optimize.pipeline import Pipeline
from mmframe.optimize.stage import OptimizerStage
from mmframe.optimize.start import starting_point
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, default_registry
from mmframe.testing.designs import design_for, points_for

# How near to the optimum, in −2 log L, a finishing stage must come.
REACHES = 1e-5


def check_stage(stage: OptimizerStage) -> list[str]:
    """A stage never raises −2 log L; alone, or followed by a finishing one, it reaches the optimum. Raises AssertionError.

    It is run on every registered structure and parameterization, ML and REML, on designs with a regular and with a
    singular optimum.
    """
    assert re.fullmatch(r"[a-z][a-z0-9_]*", stage.name), f"the name {stage.name!r} is not ^[a-z][a-z0-9_]*$"
    for flag in ("bounded", "finishes"):
        assert isinstance(getattr(stage, flag), bool), f"{stage.name}: {flag} is not True or False"
    registry = default_registry()
    plain = [e.cls() for e in registry.of_kind(STRUCTURE) if _no_required_options(e.options)]
    # a singular structure has no interior, and points are the residual's business
    for structure in (s for s in plain if s.index_kind is UNORDERED and not s.singular):
        points = points_for(structure, 2)
        for signal in (1.0, 0.0):
            design = design_for(points, signal=signal, groups=15)
            for parameterization in (e.cls() for e in registry.of_kind(PARAMETERIZATION)):
                for reml in (True, False):
                    check_stage_on(stage, design, structure, parameterization, reml)
    return ["name and flags", "−2 log L never rises", "the optimum is reached, regular and singular, ML and REML"]


def _no_required_options(options: dict[str, Any]) -> bool:
    import attrs

    return all(default is not attrs.NOTHING for default in options.values())


def run_stages(
    stages: tuple[OptimizerStage, ...],
    design: Design,
    structures: tuple[CovarianceStructure, ...],
    parameterization: Parameterization,
    reml: bool,
) -> tuple[Found, float]:
    """Fit a design; returns what was found and −2 log L at the start."""
    engine = PooledEngine.reduce(design)
    terms = tuple(
        BoundTerm.bind(t.label, design.groupings[t.grouping].name, s, t.points, parameterization)
        for t, s in zip(design.terms, structures, strict=True)
    )
    model = CovarianceModel.bind(terms, parameterization.scale, resolve_bijection(parameterization, SIGMA2))
    start = starting_point(engine, model, design, reml=reml)
    from mmframe.optimize.problem import Problem

    before = Problem(engine, model, reml).value(model.theta(*start))
    return Pipeline(stages).run(engine, model, reml, start), before


def check_stage_on(
    stage: OptimizerStage,
    design: Design,
    structure: CovarianceStructure | tuple[CovarianceStructure, ...],
    parameterization: Parameterization,
    reml: bool,
) -> None:
    """One combination. Raises AssertionError."""
    structures = structure if isinstance(structure, tuple) else (structure,)
    newton = default_registry().find(STAGE, "newton", "kit").cls()
    cholesky = default_registry().find(PARAMETERIZATION, "cholesky", "kit").cls()
    best, _ = run_stages((newton,), design, structures, cholesky, reml)
    names = ", ".join(s.name for s in structures)
    who = f"{stage.name} on {names} in {parameterization.name}, {'REML' if reml else 'ML'}"
    assert best.converged, f"{who}: the reference did not converge: {best.reason}"
    alone, before = run_stages((stage,), design, structures, parameterization, reml)
    assert alone.point.value <= before + 1e-9 * abs(before), (
        f"{who}: −2 log L rose from {before} to {alone.point.value}"
    )
    values = [row.value for row in alone.trace if row.stage == stage.name]
    rises = [b - a for a, b in itertools.pairwise(values)]
    if stage.name in ("em", "gradient", "newton"):
        assert all(r <= 1e-8 for r in rises), f"{who}: an iteration raised −2 log L by {max(rises)}"
    stages = (stage,) if stage.finishes else (stage, newton)
    found = alone if stage.finishes else run_stages(stages, design, structures, parameterization, reml)[0]
    gap = found.point.value - best.point.value
    assert abs(gap) <= REACHES, f"{who}: it stopped {gap:.2e} from the optimum: {found.reason}"
    assert found.converged, f"{who}: {found.reason}"
