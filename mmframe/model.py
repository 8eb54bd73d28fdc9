"""The model: a specification bound to data, with its engine, coordinates and stages. Immutable."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.covariance import report
from mmframe.covariance.hold import check_values, hold, put
from mmframe.covariance.model import SIGMA2, CovarianceModel
from mmframe.covariance.parameterization import resolve_bijection
from mmframe.covariance.structure import CovarianceStructure
from mmframe.covariance.term import BoundTerm
from mmframe.design.assemble import assemble
from mmframe.design.design import Design
from mmframe.errors import DataError, Issue, SpecError
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.threads import one_blas_thread
from mmframe.optimize.clock import Clock
from mmframe.optimize.pipeline import Found, Pipeline
from mmframe.optimize.stage import OptimizerStage, TraceRow
from mmframe.optimize.start import starting_point
from mmframe.registry.registry import Registry, default_registry
from mmframe.resolution import ENGINES, Resolved, check_identifiable, choose_engine, resolve
from mmframe.results.description import describe_model
from mmframe.results.progress import terminal_progress
from mmframe.results.result import FitResult
from mmframe.results.source import FittedSource
from mmframe.spec.model import ModelSpec


@frozen(eq=False)
class Model:
    """A specification bound to data: immutable, and fitted as often as one likes. `phases`: seconds that building took."""

    spec: ModelSpec
    design: Design
    engine: Engine
    covariance: CovarianceModel
    stages: tuple[OptimizerStage, ...]
    registry: Registry
    phases: dict[str, float] = field(factory=dict)

    def describe(self) -> str:
        """What the model is and how it will be computed: terms, stages, the engine and its blocks. Text, to be printed."""
        return describe_model(self, resolve(self.spec, self.registry), ENGINES)

    @cached_property
    def reported(self) -> tuple[report.Reported, ...]:
        return report.reported(self.covariance.terms)

    def fit(self, *, progress: bool = False, on_step: Callable[[TraceRow], None] | None = None) -> FitResult:
        """Run the stages; returns a new FitResult and leaves the model as it was."""
        self.registry.notify("mmframe_fit_started", spec=self.spec, design=self.design)
        with one_blas_thread():
            if progress and on_step is None:
                with terminal_progress() as shown:
                    found = self._run(shown)
            else:
                found = self._run(on_step)
        result = self.result(found)
        self.registry.notify("mmframe_fit_finished", result=result)
        return result

    def _run(self, on_step: Callable[[TraceRow], None] | None) -> Found:
        def stage_finished(name: str, outcome: Any, value: float) -> None:
            self.registry.notify("mmframe_stage_finished", name=name, outcome=outcome, value=value)

        clock = Clock(dict(self.phases))
        start = starting_point(self.engine, self.covariance, reml=self.spec.reml)
        for values in (self.spec.start, self.spec.fix):
            start = put(self.covariance.terms, self.reported, start, values)
        return Pipeline(self.stages, on_step=on_step, on_stage=stage_finished).run(
            self.engine, self.covariance, self.spec.reml, start, clock
        )

    def result(self, found: Found) -> FitResult:
        """The result of what the stages found."""
        names = tuple(self._structure_name(t.structure) for t in self.covariance.terms)
        fitted = FittedSource(self.spec, self.design, self.engine, self.covariance, self.reported, names, found)
        return FitResult(self.spec, fitted.estimates, fitted)

    def _structure_name(self, structure: CovarianceStructure) -> str:
        """Qualified where it is registered, else the class's own."""
        return self.registry.qualified_name(structure) or type(structure).__name__


def bind_covariance(spec: ModelSpec, design: Design, resolved: Resolved) -> CovarianceModel:
    """Structures at their points with their coordinates; what is fixed is held."""
    terms = tuple(
        BoundTerm.bind(term.label, design.groupings[term.grouping].name, structure, term.points, parameterization)
        for term, structure, parameterization in zip(
            design.terms, resolved.structures, resolved.parameterizations, strict=False
        )
    )
    parameterization = resolved.parameterizations[0]
    rows = report.reported(terms)
    check_values(spec.start, spec.fix, rows)
    sigma = resolve_bijection(parameterization, SIGMA2)
    model = CovarianceModel.bind(terms, parameterization.scale, sigma)
    return hold(model, rows, spec.fix) if spec.fix else model


def _check_scale(design: Design) -> None:
    """Squares of the response, and their squares, must be numbers."""
    size = float(np.max(np.abs(design.y)))
    if not 1e-30 < size < 1e30:
        raise DataError(
            f"response {design.response!r}: its values reach {size:.3g} · allowed: 1e-30 to 1e30 · change its unit"
        )


def build(spec: ModelSpec, data: Any, registry: Registry | None = None) -> Model:
    """A specification and data to a Model. Raises SpecError, DataError or EngineRefusedError before any fitting."""
    registry = registry or default_registry()
    clock = Clock()
    if spec.random == () and spec.formula.strip() == "":
        raise SpecError(Issue("formula", "''", "a formula such as 'y ~ x + (1 | group)'"))
    if "~" not in spec.formula:
        raise SpecError(Issue("formula", repr(spec.formula), "a response, '~', and fixed effects", "write y ~ ..."))
    resolved = resolve(spec, registry)
    if data is None:
        if spec.data is None:
            raise DataError("data: none were given · pass a table, or name a file under 'data'")
        data = spec.data
    kinds = tuple(s.index_kind for s in resolved.structures)
    design = assemble(spec, data, kinds)
    if design.n <= design.p:
        raise DataError(f"data: {design.n} rows for {design.p} fixed effects · at least one row more is needed")
    if report.SIGMA not in spec.fix:
        check_identifiable(design, resolved.structures)
    _check_scale(design)
    clock.lap("design")
    engine = choose_engine(design, resolved.engines).reduce(design)
    if engine.residual_square <= 1e-28 * float(design.weighted(design.y) @ design.weighted(design.y)):
        raise DataError(
            f"response {design.response!r}: the fixed effects explain it without any residual"
            " · take out the column that copies it"
        )
    clock.lap("reduce")
    covariance = bind_covariance(spec, design, resolved)
    clock.lap("design")
    return Model(spec, design, engine, covariance, resolved.stages, registry, clock.seconds)
