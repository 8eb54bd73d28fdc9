"""The model: a specification bound to data, with its engine, coordinates and stages. Immutable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from mmframe.covariance import report
from mmframe.covariance.combine import compose
from mmframe.covariance.domain import Array
from mmframe.covariance.hold import check_values, hold, put
from mmframe.covariance.model import SIGMA2, CovarianceModel
from mmframe.covariance.parameterization import resolve_bijection
from mmframe.covariance.sound import is_markov
from mmframe.covariance.structure import UNORDERED, CovarianceStructure
from mmframe.covariance.term import BoundTerm
from mmframe.design.assemble import assemble
from mmframe.design.design import Design
from mmframe.design.residual import Stratum
from mmframe.errors import DataError, Issue, SpecError, StoreError
from mmframe.identifiable import check_effects, check_parameters, check_repeats, natural_names
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.penalty import PenalizedEngine
from mmframe.likelihood.threads import one_blas_thread
from mmframe.optimize.clock import Clock
from mmframe.optimize.found import Found
from mmframe.optimize.pipeline import DEFAULT_BUDGET, Pipeline
from mmframe.optimize.stage import OptimizerStage, StageOutcome, TraceRow
from mmframe.optimize.start import starting_point
from mmframe.registry.blame import naming_plugins
from mmframe.registry.observers import Observers
from mmframe.registry.registry import Registry, default_registry
from mmframe.resolution import ENGINES, Resolved, as_choice, choose_engine, qualified, resolve
from mmframe.results.description import describe_model
from mmframe.results.progress import terminal_progress
from mmframe.results.result import FitResult
from mmframe.results.source import FittedSource
from mmframe.spec.model import ModelSpec
from mmframe.spec.residual import FITTED

# Rounds of a variance function of fitted values, and the change of β (in units of itself or its error) that ends them.
_ROUNDS = 100
_STILL = 1e-8


Start = tuple[tuple[Array, ...], float]  # natural parameters in data units: the flat φ of each term, σ²


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
    again: Callable[[Array], Model] | None = None  # the same model where fitted values are a covariate of the variance
    warm: Start | None = None  # where to start, in place of moments

    def describe(self) -> str:
        """What the model is and how it will be computed: terms, stages, the engine and its blocks. Text, to be printed."""
        return describe_model(self, resolve(self.spec, self.registry), ENGINES)

    @cached_property
    def reported(self) -> tuple[report.Reported, ...]:
        return report.reported(self.covariance.terms)

    @cached_property
    def starting_point(self) -> Start:
        """Where the stages start, before `start` and `fix`: natural parameters in data units (flat φ of each term, σ²)."""
        if self.warm is not None:
            return self.warm
        with one_blas_thread():
            return starting_point(self.engine, self.covariance, self.design, reml=self.spec.reml)

    def fit(self, *, progress: bool = False, on_step: Callable[[TraceRow], None] | None = None) -> FitResult:
        """Run the stages; returns a new FitResult and leaves the model as it was. Raises PluginError where a plugin's code fails."""
        observers = self.registry.observers()
        observers.tell("mmframe_fit_started", model=self)
        with naming_plugins(self.registry):
            result = self._fit(observers, progress, on_step)
            if self.again is not None:
                result = self._iterated(result, self.again, observers, progress, on_step)
        observers.tell("mmframe_fit_finished", result=result)
        return result

    def _iterated(
        self,
        result: FitResult,
        again: Callable[[Array], Model],
        observers: Observers,
        progress: bool,
        on_step: Callable[[TraceRow], None] | None,
    ) -> FitResult:
        """Fits with the last fit's values as covariate until β moves no more (Pinheiro & Bates 2000, section 5.2.1)."""
        for _ in range(_ROUNDS):
            before, error = result.estimates.beta, np.sqrt(np.diag(result.estimates.beta_cov))
            assert isinstance(result.source, FittedSource)
            point = result.source.found.point
            model = evolve(again(result.source.fitted), warm=(point.flats, point.sigma2))
            result = model._fit(observers, progress, on_step)
            if np.all(np.abs(result.estimates.beta - before) <= _STILL * np.maximum(np.abs(before), error)):
                return result
        reason = f"the fitted values that its variance takes still move after {_ROUNDS} rounds"
        return evolve(result, estimates=evolve(result.estimates, converged=False, stop_reason=reason))

    def _fit(self, observers: Observers, progress: bool, on_step: Callable[[TraceRow], None] | None) -> FitResult:
        with one_blas_thread():
            if progress and on_step is None:
                with terminal_progress() as shown:
                    found = self._observed(observers, shown)
            else:
                found = self._observed(observers, on_step)
        return self.result(found)

    def _observed(self, observers: Observers, on_step: Callable[[TraceRow], None] | None) -> Found:
        def iterated(row: TraceRow) -> None:
            if on_step is not None:
                on_step(row)
            observers.tell("mmframe_iteration", row=row)

        def stage_finished(name: str, outcome: StageOutcome, value: float) -> None:
            observers.tell("mmframe_stage_finished", name=name, outcome=outcome, value=value)

        heard = iterated if observers.hear("mmframe_iteration") else on_step
        return self._stages(Pipeline(self.stages, on_step=heard, on_stage=stage_finished))

    def _stages(self, plan: Pipeline) -> Found:
        start = self.starting_point
        for values in (self.spec.start if self.warm is None else {}, self.spec.fix):
            start = put(self.covariance.terms, self.reported, start, values)
        return plan.run(self.engine, self.covariance, self.spec.reml, start, Clock(dict(self.phases)))

    def find(self, budget: int = DEFAULT_BUDGET) -> Found:
        """What the stages find, without a result and without a word to observers: for what fits many times.

        budget: evaluations of −2 log L.
        """
        with one_blas_thread(), naming_plugins(self.registry):
            return self._stages(Pipeline(self.stages, budget))

    def result(self, found: Found) -> FitResult:
        """The result of what the stages found."""
        names = tuple(self._structure_name(t.structure) for t in self.covariance.random)
        fitted = FittedSource(self.spec, self.design, self.engine, self.covariance, self.reported, names, found)
        return FitResult(self.spec, fitted.estimates, fitted)

    def using(self, **changes: Any) -> Model:
        """The same data and terms with another `criterion`, `stages` (as a document writes them) or `start`.

        Nothing is assembled or reduced again. Raises SpecError for what would change the design.
        """
        other = [name for name in changes if name not in ("criterion", "stages", "start")]
        if other:
            raise SpecError(Issue("using", ", ".join(other), "criterion, stages, start", "build another model"))
        if changes.get("stages") is not None:
            changes["stages"] = tuple(as_choice(s, f"stages[{i}]") for i, s in enumerate(changes["stages"])) or None
        spec = evolve(self.spec, **changes)
        return evolve(self, spec=spec, stages=resolve(spec, self.registry).stages)

    def holding(self, values: Mapping[str, float]) -> Model:
        """The same model with some parameters held: covariance parameters by name in data units, fixed effects by their column.

        Raises SpecError, UnknownNameError.
        """
        columns = self.design.columns
        effects = {name: float(v) for name, v in values.items() if name in columns}
        engine, covariance, spec = self.engine, self.covariance, self.spec
        if effects:
            held = np.array([effects.get(name, np.nan) for name in columns])
            engine = PenalizedEngine(engine, held=held)
        parameters = {name: v for name, v in values.items() if name not in effects}
        if parameters:
            check_values({}, parameters, self.reported)
            spec = evolve(
                spec,
                fix={**spec.fix, **parameters},
                tie=tuple(names for names in spec.tie if not set(names) & set(parameters)),
            )
            covariance = hold(covariance, self.reported, spec.fix, spec.tie)
        return evolve(self, spec=spec, engine=engine, covariance=covariance)

    def responding(self, y: Array) -> Model:
        """The same model for another response (n,), before any offset is taken off: for simulation and the bootstrap."""
        offset = self.design.offset
        design = self.design.with_response(y if offset is None else y - offset)
        return evolve(self, design=design, engine=self.engine.of(design))

    @classmethod
    def of(cls, fit: FitResult) -> Model:
        """The model of a fit, which starts where that fit ended. Raises StoreError for a fit that was read from a file."""
        source = fit.source
        if not isinstance(source, FittedSource):
            raise StoreError("a saved fit holds no data · fit again")
        registry = default_registry()
        stages = resolve(fit.spec, registry).stages
        model = cls(source.spec, source.design, source.engine, source.covariance, stages, registry)
        return model.starting_from(source.found)

    def starting_from(self, found: Found) -> Model:
        """The same model, which starts where stages ended before."""
        return evolve(self, warm=(found.point.flats, found.point.sigma2))

    def _structure_name(self, structure: CovarianceStructure) -> str:
        """Qualified where it is registered, else the class's own."""
        return self.registry.qualified_name(structure) or type(structure).__name__


def _made(where: str, make: Callable[[], CovarianceStructure]) -> CovarianceStructure:
    try:
        return make()
    except ValueError as problem:
        raise SpecError(Issue(where, str(problem))) from None


def random_structures(design: Design, resolved: Resolved) -> tuple[CovarianceStructure, ...]:
    """The structure of each term, combinations made. Raises SpecError."""
    return tuple(_made(t.label, partial(compose, resolved.trees[t.source], t.leaves, t.points)) for t in design.terms)


def residual_structures(strata: tuple[Stratum, ...], resolved: Resolved) -> tuple[CovarianceStructure, ...]:
    """The structure of each stratum of the residual, combinations and variance functions made. Raises SpecError."""
    assert resolved.residual is not None
    return tuple(
        _made("residual", partial(compose, resolved.residual, s.leaves, s.points, resolved.variances)) for s in strata
    )


def bind_covariance(
    spec: ModelSpec,
    design: Design,
    resolved: Resolved,
    random: tuple[CovarianceStructure, ...],
    residual: tuple[CovarianceStructure, ...],
    engine: Engine,
) -> CovarianceModel:
    """Structures at their points with their coordinates; what is fixed is held."""
    terms = [
        BoundTerm.bind(
            term.label,
            design.groupings[term.grouping].name,
            structure,
            term.points,
            resolved.parameterizations[term.source],
            term.stratum,
        )
        for term, structure in zip(design.terms, random, strict=True)
    ]
    if design.residual is not None:
        terms += [
            BoundTerm.bind(
                design.residual.label, report.RESIDUAL, structure, stratum.points, resolved.residual_coordinates,
                stratum.label, at,
            )
            for structure, stratum, at in zip(residual, design.residual.strata, engine.residual_index, strict=True)
        ]  # fmt: skip
    parameterization = resolved.parameterizations[0] if resolved.parameterizations else resolved.residual_coordinates
    rows = report.reported(tuple(terms))
    check_values(spec.start, spec.fix, rows)
    sigma = resolve_bijection(parameterization, SIGMA2)
    model = CovarianceModel.bind(tuple(terms), parameterization.scale, sigma, len(design.terms))
    return hold(model, rows, spec.fix, spec.tie) if spec.fix or spec.tie else model


def _check_size(design: Design, covariance: CovarianceModel) -> None:
    if covariance.size + design.p > design.n:
        raise DataError(
            f"covariance: {covariance.size} parameters beside {design.p} fixed effects for {design.n} rows"
            " · allowed: fewer parameters than rows · use a structure with fewer parameters, or fewer points"
        )


def _check_scale(design: Design) -> None:
    """Squares of the response, and their squares, must be numbers."""
    size = float(np.max(np.abs(design.y)))
    if not 1e-30 < size < 1e30:
        raise DataError(
            f"response {design.response!r}: its values reach {size:.3g} · allowed: 1e-30 to 1e30 · change its unit"
        )


def build(
    spec: ModelSpec,
    data: Any,
    registry: Registry | None = None,
    fitted: Array | None = None,
    *,
    lenient: bool = False,
) -> Model:
    """A specification and data to a Model. Raises SpecError, DataError or EngineRefusedError before any fitting,
    PluginError where a plugin's own code fails.

    fitted (n,): fitted values that a variance function takes as its covariate.   lenient: as many random effects as rows are
    warned of, not refused.
    """
    registry = registry or default_registry()
    with naming_plugins(registry):
        return _built(spec, data, registry, fitted, lenient)


def _built(spec: ModelSpec, data: Any, registry: Registry, fitted: Array | None, lenient: bool) -> Model:
    clock = Clock()
    if spec.random == () and spec.formula.strip() == "":
        raise SpecError(Issue("formula", "''", "a formula such as 'y ~ x + (1 | group)'"))
    if "~" not in spec.formula:
        raise SpecError(Issue("formula", repr(spec.formula), "a response, '~', and fixed effects", "write y ~ ..."))
    resolved = resolve(spec, registry)
    spec = qualified(spec, registry)
    if data is None:
        if spec.data is None:
            raise DataError("data: none were given · pass a table, or name a file under 'data'")
        data = spec.data
    design = assemble(spec, data, resolved.trees, resolved.residual, resolved.variances, fitted)
    if design.n <= design.p:
        raise DataError(f"data: {design.n} rows for {design.p} fixed effects · at least one row more is needed")
    random = random_structures(design, resolved)
    residual = () if design.residual is None else residual_structures(design.residual.strata, resolved)
    if design.residual is not None:
        check_repeats(design.residual, residual)
        banded = all(is_markov(c, s.points) for c, s in zip(residual, design.residual.strata, strict=True))
        design = evolve(design, residual=evolve(design.residual, banded=banded))
    elif report.SIGMA not in spec.fix:
        check_effects(design, random, lenient=lenient)
    _check_scale(design)
    clock.lap("design")
    engine = choose_engine(design, resolved.engines).reduce(design)
    if engine.residual_square <= 1e-28 * float(design.weighted(design.y) @ design.weighted(design.y)):
        raise DataError(
            f"response {design.response!r}: the fixed effects explain it without any residual"
            " · take out the column that copies it"
        )
    clock.lap("reduce")
    covariance = bind_covariance(spec, design, resolved, random, residual, engine)
    again = None
    if any(getattr(v, "covariate", None) == FITTED for v in resolved.variances):
        again = partial(build, spec, data, registry, lenient=lenient)
    model = Model(spec, design, engine, covariance, resolved.stages, registry, clock.seconds, again)
    _check_size(design, covariance)
    clock.lap("design")
    special = design.residual is not None or any(c.index_kind is not UNORDERED for c in random)
    # what is tied may tell apart what alone could not be; later rounds of fitted values are the same model
    if special and not spec.tie and fitted is None:
        flats, sigma2 = model.starting_point
        start = flats if covariance.residual else covariance.rescale(flats, 1.0 / np.sqrt(sigma2))
        check_parameters(engine, covariance, start, natural_names(covariance, model.reported), spec.fix)
        clock.lap("start")
    return model
