"""The builder: specification + data + registry -> `Model`. The only file that sees all layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

import attrs
import numpy as np
import pandas as pd
from attrs import field, frozen
from threadpoolctl import ThreadpoolController

from mmframe.covariance import report
from mmframe.covariance.domain import Array, PositiveDefinite
from mmframe.covariance.model import SIGMA2, BoundTerm, CovarianceModel
from mmframe.covariance.parameterization import (
    ABSOLUTE,
    Bijection,
    Parameterization,
    StandardDeviationsCorrelations,
    resolve_bijection,
)
from mmframe.covariance.structure import CovarianceStructure, Param
from mmframe.design.assemble import assemble
from mmframe.design.design import Design
from mmframe.design.frame import to_pandas
from mmframe.errors import DataError, EngineRefusedError, Issue, SpecError, UnknownNameError, unknown
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.pooled import PooledEngine
from mmframe.optimize.pipeline import Found, Pipeline
from mmframe.optimize.stage import OptimizerStage, TraceRow
from mmframe.optimize.start import starting_point
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, Registry, default_registry
from mmframe.results.result import FitResult
from mmframe.spec.formula import parse_formula, read_term
from mmframe.spec.model import DEFAULT_STRUCTURE, Choice, ModelSpec, OutputSpec, TermSpec

ENGINES: tuple[type[Engine], ...] = (PooledEngine, DenseEngine)
DEFAULT_PARAMETERIZATION = "cholesky"
DEFAULT_STAGES = (Choice("newton"),)


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


@frozen(eq=False)
class Resolved:
    """The plugins that a specification names, as objects."""

    structures: tuple[CovarianceStructure, ...]
    parameterizations: tuple[Parameterization, ...]
    stages: tuple[OptimizerStage, ...]
    engines: tuple[type[Engine], ...]


def resolve(spec: ModelSpec, registry: Registry) -> Resolved:
    """Look up every name of a specification. Raises one SpecError with all that is wrong."""
    issues: list[Issue] = []

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except SpecError as problem:
            issues.extend(problem.issues)
            return None

    structures = []
    for k, term in enumerate(spec.random):
        chosen = term.structure
        if isinstance(chosen, CovarianceStructure):
            structures.append(chosen)
        else:
            where = f"random[{k}] ({term.label}): structure"
            structures.append(attempt(partial(registry.create, STRUCTURE, chosen.name, chosen.options, where)))
    names = [_parameterization(spec, k) for k in range(len(spec.random))] or [DEFAULT_PARAMETERIZATION]
    if isinstance(spec.parameterization, dict):
        known = {key for term in spec.random for key in (term.label, term.group_name)}
        issues += [unknown("parameterization", "term", key, known) for key in spec.parameterization if key not in known]
    parameterizations = [
        chosen
        if isinstance(chosen, Parameterization)
        else attempt(partial(registry.create, PARAMETERIZATION, chosen, {}, "parameterization"))
        for chosen in names
    ]
    scales = {p.scale for p in parameterizations if p is not None}
    if len(scales) > 1:
        issues.append(
            Issue(
                "parameterization",
                f"terms on two scales ({', '.join(sorted({p.name for p in parameterizations if p is not None}))})",
                "all relative (profile, cholesky, log_cholesky) or all absolute (natural)",
            )
        )
    chosen_stages = DEFAULT_STAGES if spec.stages is None else spec.stages
    if not chosen_stages:
        issues.append(Issue("stages", "an empty list", ", ".join(registry.names(STAGE))))
    stages = [
        attempt(partial(registry.create, STAGE, c.name, c.options, f"stages[{i}]")) if isinstance(c, Choice) else c
        for i, c in enumerate(chosen_stages)
    ]
    engines = ENGINES
    if spec.engine is not None:
        engines = tuple(e for e in ENGINES if e.name == spec.engine)
        if not engines:
            issues.append(unknown("engine", "engine", spec.engine, [e.name for e in ENGINES]))
    for key, value in (("residual", spec.residual), ("variance", spec.variance), ("relationship", spec.relationship)):
        if value:
            shown = ", ".join(value) if isinstance(value, dict) else repr(value)
            issues.append(
                Issue(
                    key,
                    shown,
                    "nothing in this version: residuals are independent with one variance",
                    f"leave {key} out",
                )
            )
    if issues:
        raise UnknownNameError(issues) if all("there is no" in i.given for i in issues) else SpecError(issues)
    return Resolved(tuple(structures), tuple(parameterizations), tuple(stages), engines)


def _parameterization(spec: ModelSpec, k: int) -> Any:
    """The parameterization of a term, by name or as an instance."""
    term = spec.random[k]
    if term.parameterization is not None:
        return term.parameterization
    if isinstance(spec.parameterization, dict):
        by_group = spec.parameterization.get(term.group_name, DEFAULT_PARAMETERIZATION)
        return spec.parameterization.get(term.label, by_group)
    return spec.parameterization or DEFAULT_PARAMETERIZATION


def choose_engine(design: Design, engines: Sequence[type[Engine]]) -> type[Engine]:
    """The first engine that takes the design. Raises EngineRefusedError with every engine's reason."""
    reasons = []
    for engine in engines:
        reason = engine.refuses(design)
        if reason is None:
            return engine
        reasons.append(f"{engine.name}: {reason}")
    raise EngineRefusedError("engine: no engine takes this model · " + " · ".join(reasons))


def check_identifiable(design: Design, structures: tuple[CovarianceStructure, ...]) -> None:
    """Refuse terms whose effects cannot be told from the residual (σ² is free).

    An unrestricted term with as many effects as rows, or any term with as many levels as rows. Raises DataError.
    """
    for term, structure in zip(design.terms, structures, strict=True):
        levels = design.groupings[term.grouping].size
        unrestricted = any(
            isinstance(p.domain, PositiveDefinite) and p.domain.dim == term.width for p in structure.params(term.points)
        )
        effects = levels * term.width if unrestricted else levels
        if effects >= design.n:
            raise DataError(
                f"term {term.label!r}: {effects} random effects ({levels} levels x {effects // levels}) for {design.n} rows"
                " · they cannot be told from the residual · allowed: fewer effects than rows · use a simpler basis, or 'diagonal'"
            )


@frozen(eq=False)
class Model:
    """A specification bound to data: immutable, and fitted as often as one likes."""

    spec: ModelSpec
    design: Design
    engine: Engine
    covariance: CovarianceModel
    stages: tuple[OptimizerStage, ...]
    registry: Registry
    start: tuple[tuple[Array, ...], float] | None = None

    @cached_property
    def reported(self) -> tuple[report.Reported, ...]:
        return report.reported(self.covariance.terms)

    def fit(self, *, progress: bool = False, on_step: Callable[[TraceRow], None] | None = None) -> FitResult:
        """Run the stages; returns a new FitResult and leaves the model as it was."""
        self.registry.notify("mmframe_fit_started", spec=self.spec, design=self.design)
        with _threads().limit(limits=1, user_api="blas"):
            if progress and on_step is None:
                from mmframe.results.progress import terminal_progress

                with terminal_progress() as shown:
                    found = self._run(shown)
            else:
                found = self._run(on_step)
        result = FitResult.of(self, found)
        self.registry.notify("mmframe_fit_finished", result=result)
        return result

    def _run(self, on_step: Callable[[TraceRow], None] | None) -> Found:
        def stage_finished(name: str, outcome: Any, value: float) -> None:
            self.registry.notify("mmframe_stage_finished", name=name, outcome=outcome, value=value)

        start = self.start or starting_point(self.engine, self.covariance, reml=self.spec.reml)
        start = self._held(start)
        return Pipeline(self.stages, on_step=on_step, on_stage=stage_finished).run(
            self.engine, self.covariance, self.spec.reml, start
        )

    def _held(self, start: tuple[tuple[Array, ...], float]) -> tuple[tuple[Array, ...], float]:
        """Starting values with `start` and then `fix` put in by name."""
        flats, sigma2 = start
        for values in (self.spec.start, self.spec.fix):
            changes = []
            for name, value in values.items():
                if name == report.SIGMA:
                    sigma2 = float(value) ** 2
                else:
                    changes.append((find_reported(self.reported, name), float(value)))
            if changes:
                flats = report.set_value(self.covariance.terms, flats, changes)
        return flats, sigma2


def find_reported(rows: tuple[report.Reported, ...], name: str, where: str = "parameter") -> report.Reported:
    """The reported quantity of this name, in any of its spellings. Raises UnknownNameError."""
    spellings = report.same_name(name)
    for row in rows:
        if row.name in spellings:
            return row
    raise UnknownNameError(unknown(where, "parameter", name, [r.name for r in rows] + [report.SIGMA]))


def _check_values(spec: ModelSpec, rows: tuple[report.Reported, ...]) -> None:
    issues = []
    for where, values in (("start", spec.start), ("fix", spec.fix)):
        for name, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                issues.append(Issue(f"{where}[{name!r}]", repr(value), "a number in data units"))
                continue
            if name == report.SIGMA:
                low, high, derived = 0.0, np.inf, False
                inside = number > 0
            else:
                try:
                    row = find_reported(rows, name, where)
                except UnknownNameError as problem:
                    issues.extend(problem.issues)
                    continue
                low, high, derived = row.low, row.high, row.param < 0
                inside = low <= number <= high
            if derived:
                issues.append(Issue(f"{where}[{name!r}]", "a derived quantity", "parameters of the structure itself"))
            elif not (np.isfinite(number) and inside):
                issues.append(Issue(f"{where}[{name!r}]", repr(value), f"{low:g} to {high:g}"))
    if issues:
        raise SpecError(issues)


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
    _check_values(spec, rows)
    sigma = resolve_bijection(parameterization, SIGMA2)
    model = CovarianceModel.bind(terms, parameterization.scale, sigma)
    return hold(model, rows, spec.fix) if spec.fix else model


def hold(model: CovarianceModel, rows: tuple[report.Reported, ...], fix: Mapping[str, float]) -> CovarianceModel:
    """The model with some reported quantities held.

    Entries of a matrix get coordinates of their own (standard deviations and correlations); anything in data units needs
    the absolute scale.
    """
    held = [find_reported(rows, name, "fix") for name in fix if name != report.SIGMA]
    matrices = {(r.term, r.param) for r in held}

    def choose(param: Param, bijection: Bijection, at: tuple[int, int]) -> Bijection:
        if at in matrices and isinstance(param.domain, PositiveDefinite):
            return StandardDeviationsCorrelations(param.domain)
        return bijection

    terms = tuple(
        attrs.evolve(
            t,
            bijections=tuple(choose(p, b, (k, i)) for i, (p, b) in enumerate(zip(t.params, t.bijections, strict=True))),
        )
        for k, t in enumerate(model.terms)
    )
    scaled = report.SIGMA in fix or any(r.kind == "sd" for r in held)
    model = CovarianceModel.bind(terms, ABSOLUTE if scaled else model.scale, model.sigma_bijection)
    free = model.free.copy()
    offset = 0
    for k, term in enumerate(terms):
        for i, bijection in enumerate(term.bijections):
            for row in held:
                if (row.term, row.param) == (k, i):
                    free[offset + row.entry] = False
            offset += bijection.size
    if report.SIGMA in fix:
        free[-1] = False
    start = report.set_value(
        terms,
        tuple(_anywhere(t) for t in terms),
        [(find_reported(rows, n, "fix"), float(v)) for n, v in fix.items() if n != report.SIGMA],
    )
    sigma2 = float(fix.get(report.SIGMA, 1.0)) ** 2
    return attrs.evolve(model, held=model.theta(start, sigma2), free=free)


def _anywhere(term: BoundTerm) -> Array:
    rng = np.random.default_rng(0)
    from mmframe.covariance.derivative import flatten_phi

    return flatten_phi(term.params, {p.name: p.domain.sample(rng) for p in term.params})


def build(spec: ModelSpec, data: Any, registry: Registry | None = None) -> Model:
    """A specification and data to a Model. Raises SpecError, DataError or EngineRefusedError before any fitting."""
    registry = registry or default_registry()
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
    engine = choose_engine(design, resolved.engines).reduce(design)
    if engine.residual_square <= 1e-28 * float(design.weighted(design.y) @ design.weighted(design.y)):
        raise DataError(
            f"response {design.response!r}: the fixed effects explain it without any residual"
            " · take out the column that copies it"
        )
    covariance = bind_covariance(spec, design, resolved)
    return Model(spec, design, engine, covariance, resolved.stages, registry)


def as_choice(value: Any, where: str) -> Any:
    """`"cs"`, `{"name": "toeplitz", "bands": 3}`, `{"em": {"max_iterations": 20}}`, a Choice or an instance."""
    if isinstance(value, str):
        return Choice(value)
    if isinstance(value, (Choice, CovarianceStructure, OptimizerStage)):
        return value
    if isinstance(value, type) and issubclass(value, (CovarianceStructure, OptimizerStage)):
        return value()
    if isinstance(value, Mapping):
        if "name" in value:
            return Choice(str(value["name"]), {str(k): v for k, v in value.items() if k != "name"})
        if len(value) == 1:
            name, options = next(iter(value.items()))
            if options is None or isinstance(options, Mapping):
                return Choice(str(name), {str(k): v for k, v in (options or {}).items()})
    raise SpecError(Issue(where, repr(value), "a name, {name: ..., option: ...}, or an instance"))


def _arrays(values: Any, prefix: str) -> dict[str, Array]:
    """Columns of a matrix by name: a table's own names, else prefix1, prefix2, ..."""
    if isinstance(values, pd.DataFrame):
        return {str(c): values[c].to_numpy() for c in values.columns}
    if isinstance(values, pd.Series):
        return {str(values.name if values.name is not None else prefix): values.to_numpy()}
    matrix = np.asarray(values)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2:
        raise DataError(f"{prefix}: an array with {matrix.ndim} dimensions · allowed: one or two")
    return {f"{prefix}{j + 1}": matrix[:, j] for j in range(matrix.shape[1])}


@frozen(eq=False)
class ModelBuilder:
    """Composes a model step by step. Each method returns a new builder; `build(data)` returns the Model.

    Terms may hold arrays in place of formulas: `.fixed(X, y)` and `.random(Z=Z, groups=g)`.
    """

    spec: ModelSpec = field(factory=lambda: ModelSpec(formula=""))
    columns: dict[str, Any] = field(factory=dict)
    registry: Registry | None = None

    def _with(self, **changes: Any) -> ModelBuilder:
        return attrs.evolve(self, spec=attrs.evolve(self.spec, **changes))

    def _add(self, new: Mapping[str, Any]) -> ModelBuilder:
        clash = [name for name in new if name in self.columns and new[name] is not self.columns[name]]
        if clash:
            raise SpecError(
                Issue(
                    "arrays", f"two columns named {clash[0]!r}", "names of their own", "pass tables with named columns"
                )
            )
        return attrs.evolve(self, columns={**self.columns, **new})

    @classmethod
    def from_spec(cls, spec: ModelSpec, registry: Registry | None = None) -> ModelBuilder:
        return cls(spec, {}, registry)

    def fixed(self, formula: Any, y: Any = None) -> ModelBuilder:
        """`.fixed("y ~ x")`, bar terms allowed; or `.fixed(X, y)` with arrays, X holding every column (no intercept is added)."""
        if y is None:
            if not isinstance(formula, str):
                raise SpecError(Issue("fixed", type(formula).__name__, "a formula, or two arrays X and y"))
            parsed = parse_formula(formula, "formula", tuple(self.spec.transforms))
            return self._with(formula=parsed.fixed, random=(*self.spec.random, *parsed.random))
        X, response = _arrays(formula, "x"), _arrays(y, "y")
        if len(response) != 1:
            raise SpecError(Issue("fixed", f"y has {len(response)} columns", "one"))
        name, values = next(iter(response.items()))
        name = "y" if name == "y1" else name
        right = " + ".join(["0", *(f"`{c}`" for c in X)])
        return self._add({**X, name: values})._with(formula=f"`{name}` ~ {right}")

    def random(
        self,
        term: str | None = None,
        *,
        structure: Any = None,
        parameterization: Any = None,
        Z: Any = None,
        groups: Any = None,
    ) -> ModelBuilder:
        """`.random("1 + x | g", structure="diagonal")`; or `.random(Z=Z, groups=g)` with arrays."""
        builder = self
        if term is None:
            if Z is None or groups is None:
                raise SpecError(
                    Issue("random", "neither a term nor Z and groups", "'1 + x | g', or Z=... and groups=...")
                )
            number = len(self.spec.random) + 1
            basis = _arrays(Z, "z" if number == 1 else f"z{number}_")
            label = _arrays(groups, "group")
            group = next(iter(label))
            group_name = "group" if group == "group1" else group
            builder = self._add({**basis, group_name: next(iter(label.values()))})
            terms = [TermSpec(" + ".join(["0", *(f"`{c}`" for c in basis)]), (group_name,))]
        else:
            terms = read_term(term, "random", tuple(self.spec.transforms))
        if structure is not None:
            chosen = as_choice(structure, "random: structure")
            if any(t.structure not in (Choice(DEFAULT_STRUCTURE), chosen) for t in terms):
                raise SpecError(
                    Issue("random", f"{term!r} with structure={structure!r}", "one structure", "name it once")
                )
            terms = [attrs.evolve(t, structure=chosen) for t in terms]
        terms = [attrs.evolve(t, parameterization=parameterization) for t in terms]
        return builder._with(random=(*builder.spec.random, *terms))

    def residual(self, term: str | None) -> ModelBuilder:
        return self._with(residual=term)

    def variance(self, function: str | None) -> ModelBuilder:
        return self._with(variance=function)

    def _column(self, key: str, value: Any) -> ModelBuilder:
        """A column by name, or an array that becomes one."""
        if value is None or isinstance(value, str):
            return self._with(**{key: value})
        return self._add({f"({key})": np.asarray(value)})._with(**{key: f"({key})"})

    def weights(self, weights: Any) -> ModelBuilder:
        """Var(ε_i) = σ²/w_i: a column's name or an array."""
        return self._column("weights", weights)

    def offset(self, offset: Any) -> ModelBuilder:
        """A known part of the mean: a column's name or an array."""
        return self._column("offset", offset)

    def criterion(self, criterion: str) -> ModelBuilder:
        """ "reml" or "ml"."""
        return self._with(criterion=str(criterion).lower())

    def parameterization(self, parameterization: Any) -> ModelBuilder:
        """One name (or instance) for all terms, or a mapping by term label or grouping factor."""
        if not isinstance(parameterization, (str, Mapping, Parameterization, type(None))):
            allowed = "a name, an instance of a parameterization, or a mapping by term"
            raise SpecError(Issue("parameterization", repr(parameterization), allowed))
        value = dict(parameterization) if isinstance(parameterization, Mapping) else parameterization
        return self._with(parameterization=value)

    def stages(self, *stages: Any) -> ModelBuilder:
        """Stages in order, by name, with options as {name: {option: value}}, or as instances; none: the default."""
        return self._with(stages=tuple(as_choice(s, f"stages[{i}]") for i, s in enumerate(stages)) or None)

    def start(self, start: Any) -> ModelBuilder:
        """{parameter name: value in data units}, or a FitResult."""
        if isinstance(start, FitResult):
            start = start.starting_values()
        return self._with(start=dict(start or {}))

    def fix(self, fix: Mapping[str, float] | None) -> ModelBuilder:
        """{parameter name: value in data units} to hold."""
        return self._with(fix=dict(fix or {}))

    def relationship(self, relationship: Mapping[str, Any] | None) -> ModelBuilder:
        return self._with(relationship=dict(relationship or {}))

    def engine(self, engine: str | None) -> ModelBuilder:
        return self._with(engine=engine)

    def categorical(self, categorical: Mapping[str, Iterable[Any] | None] | None) -> ModelBuilder:
        """{column: levels in order, or None for the levels as they come}."""
        levels = {str(k): None if v is None else list(v) for k, v in (categorical or {}).items()}
        return self._with(categorical=levels)

    def transforms(self, transforms: Mapping[str, Callable[..., Any]] | None) -> ModelBuilder:
        """{name: function} that formulas may call besides the allow-list; give them before the formulas."""
        issues = [
            Issue(f"transforms[{name!r}]", repr(function), "an identifier and a function")
            for name, function in (transforms or {}).items()
            if not (str(name).isidentifier() and not str(name).startswith("_") and callable(function))
        ]
        if issues:
            raise SpecError(issues)
        return self._with(transforms=dict(transforms or {}))

    def missing(self, missing: str) -> ModelBuilder:
        """ "drop" (rows with missing values go, and are counted) or "raise"."""
        return self._with(missing=missing)

    def output(self, *, summary: bool = True, bundle: str | None = None) -> ModelBuilder:
        return self._with(output=OutputSpec(summary, bundle))

    def build(self, data: Any = None) -> Model:
        """The Model. Raises SpecError, DataError or EngineRefusedError, before any fitting."""
        if not self.columns:
            return build(self.spec, data, self.registry)
        lengths = {name: len(values) for name, values in self.columns.items()}
        if data is not None:
            data = to_pandas(data, ())
            lengths["data"] = len(data)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"arrays: their lengths differ ({told}) · allowed: one value a row")
        table = pd.DataFrame(self.columns)
        if data is not None:
            clash = [name for name in self.columns if name in data.columns]
            if clash:
                raise SpecError(Issue("arrays", f"the data already have a column {clash[0]!r}", "names of their own"))
            table.index = data.index
            table = pd.concat([data, table], axis=1)
        return build(self.spec, table, self.registry)


__all__ = ["Model", "ModelBuilder", "Resolved", "build", "resolve"]
