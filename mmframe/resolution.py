"""Resolution: the names of a specification to plugins, and a design to the engine that takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen

from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.report import RESIDUAL
from mmframe.covariance.structure import UNORDERED, CovarianceStructure
from mmframe.covariance.tree import Tree
from mmframe.design.bases import BLOCK
from mmframe.design.design import Design
from mmframe.errors import AmbiguousNameError, EngineRefusedError, Issue, SpecError, UnknownNameError, unknown
from mmframe.likelihood.banded import BandedEngine
from mmframe.likelihood.blocked import BlockedEngine
from mmframe.likelihood.bordered import BorderedEngine
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.pattern import PatternEngine
from mmframe.likelihood.plain import PlainEngine
from mmframe.likelihood.pooled import PooledEngine
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry.loader import BUILT_IN
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, Entry, Registry
from mmframe.registry.rules import offer
from mmframe.spec.model import COMBINATORS, Choice, ModelSpec, TermSpec
from mmframe.spec.residual import FITTED

ENGINES: tuple[type[Engine], ...] = (
    PooledEngine,
    BlockedEngine,
    BandedEngine,
    PatternEngine,
    BorderedEngine,
    PlainEngine,
    DenseEngine,
)
HETEROGENEOUS = "heterogeneous"
INDEPENDENT = "variance_component"
DEFAULT_PARAMETERIZATION = "cholesky"
DEFAULT_STAGES = (Choice("newton"),)


@frozen(eq=False)
class Resolved:
    """The plugins that a specification names, as objects. residual, variances: of the residual.   residual_coordinates: its
    parameterization."""

    trees: tuple[Tree, ...]
    parameterizations: tuple[Parameterization, ...]
    stages: tuple[OptimizerStage, ...]
    engines: tuple[type[Engine], ...]
    residual: Tree | None
    variances: tuple[CovarianceStructure, ...]
    residual_coordinates: Parameterization


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


def _kept_rules(kind: str, given: Any) -> Any:
    """An instance, where its class keeps the rules that registered ones keep. Raises PluginError."""
    offer(kind, type(given))
    return given


def _tree(registry: Registry, basis: str, chosen: Any, where: str) -> Tree:
    """The structure of a term, or of a part of one. Raises SpecError."""
    if isinstance(chosen, CovarianceStructure):
        made: CovarianceStructure | None = _kept_rules(STRUCTURE, chosen)
    elif chosen.name in COMBINATORS:
        if not chosen.parts:
            remedy = f"write {chosen.name}(ar1(visit), ... | group)"
            raise SpecError(Issue(where, f"{chosen.name!r} without parts", "a combinator of structures", remedy))
        parts = tuple(_tree(registry, p.basis, p.structure, where) for p in chosen.parts)
        if chosen.options:
            raise SpecError([unknown(f"{where}: {chosen.name}", "option", o, ["by"]) for o in chosen.options])
        if chosen.name == BLOCK:  # blocks of blocks are blocks
            parts = tuple(p for part in parts for p in (part.parts if part.combinator == BLOCK else (part,)))
        elif any(t.combinator == BLOCK for part in parts for t in _inner(part)):
            raise SpecError(Issue(where, f"{BLOCK!r} inside {chosen.name!r}", f"{BLOCK!r} outermost"))
        if chosen.name != HETEROGENEOUS:
            return Tree(basis, None, chosen.name, parts)
        if len(parts) != 1 or parts[0].structure is None:
            raise SpecError(Issue(where, f"{len(parts)} parts of {HETEROGENEOUS!r}", "one structure"))
        made = registry.create(STRUCTURE, HETEROGENEOUS, {"structure": parts[0].structure}, where)
    else:
        if _is_unit(registry.find(STRUCTURE, chosen.name, where)):
            remedy = f'write variance="{chosen.name}(covariate)"'
            raise SpecError(Issue(where, f"{chosen.name!r} is a variance function", "a covariance structure", remedy))
        made = registry.create(STRUCTURE, chosen.name, chosen.options, where)
    assert made is not None
    return Tree(basis, made)


def _is_unit(entry: Entry) -> bool:
    return bool(getattr(entry.cls, "unit", False))


def _residual_tree(registry: Registry, term: TermSpec) -> Tree:
    tree = _tree(registry, term.basis, term.structure, "residual")
    for leaf in tree.leaves:
        if leaf.structure is not None and leaf.structure.singular:
            raise SpecError(Issue("residual", leaf.structure.name, "a structure that is positive definite"))
    if any(t.combinator == BLOCK for t in _inner(tree)):
        raise SpecError(Issue("residual", BLOCK, "structures over the same points", "give strata by by='column'"))
    return tree


def _inner(tree: Tree) -> list[Tree]:
    return [tree, *(t for part in tree.parts for t in _inner(part))]


def _variance(registry: Registry, chosen: Any) -> CovarianceStructure:
    if isinstance(chosen, CovarianceStructure):
        return chosen
    known = sorted(e.name for e in registry.of_kind(STRUCTURE) if _is_unit(e))
    if "/" not in chosen.name and chosen.name not in registry.names(STRUCTURE):
        raise UnknownNameError(unknown("variance", "variance function", chosen.name, known))
    if not _is_unit(registry.find(STRUCTURE, chosen.name, "variance")):
        raise SpecError(Issue("variance", f"{chosen.name!r} is a covariance structure", ", ".join(known)))
    made: CovarianceStructure = registry.create(STRUCTURE, chosen.name, chosen.options, "variance")
    if made.index_kind is UNORDERED and getattr(made, "covariate", None) == FITTED:
        raise SpecError(
            Issue("variance", f"{chosen.name}(fitted)", "a categorical column", "fitted values are a covariate")
        )
    return made


def resolve(spec: ModelSpec, registry: Registry) -> Resolved:
    """Look up every name of a specification. Raises one SpecError with all that is wrong."""
    issues: list[Issue] = []

    kinds: set[type[SpecError]] = set()

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except SpecError as problem:
            issues.extend(problem.issues)
            kinds.add(type(problem))
            return None

    trees = [
        attempt(partial(_tree, registry, term.basis, term.structure, f"random[{k}] ({term.label}): structure"))
        for k, term in enumerate(spec.random)
    ]
    residual = None if spec.residual is None else attempt(partial(_residual_tree, registry, spec.residual))
    variances = [attempt(partial(_variance, registry, chosen)) for chosen in spec.variance]
    if variances and spec.residual is None:  # independent rows, each a subject of its own
        residual = Tree("1", registry.create(STRUCTURE, INDEPENDENT, {}, "residual"))
    names = [_parameterization(spec, term) for term in spec.random]
    structured = spec.residual is not None or bool(spec.variance)
    if structured or not names:
        names.append(_residual_parameterization(spec))
    if isinstance(spec.parameterization, dict):
        known = {key for term in spec.random for key in (term.label, term.group_name)} | {RESIDUAL}
        issues += [unknown("parameterization", "term", key, known) for key in spec.parameterization if key not in known]
    parameterizations = [
        _kept_rules(PARAMETERIZATION, chosen)
        if isinstance(chosen, Parameterization)
        else attempt(partial(registry.create, PARAMETERIZATION, chosen, {}, "parameterization"))
        for chosen in names
    ]
    scales = {p.scale for p in parameterizations[: len(spec.random)] if p is not None}
    if len(scales) > 1 and not structured:
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
        attempt(partial(registry.create, STAGE, c.name, c.options, f"stages[{i}]"))
        if isinstance(c, Choice)
        else _kept_rules(STAGE, c)
        for i, c in enumerate(chosen_stages)
    ]
    engines = ENGINES
    if spec.engine is not None:
        engines = tuple(e for e in ENGINES if e.name == spec.engine)
        if not engines:
            issues.append(unknown("engine", "engine", spec.engine, [e.name for e in ENGINES]))
    if issues:
        if all("there is no" in i.given for i in issues):
            raise UnknownNameError(issues)
        raise (kinds.pop() if kinds == {AmbiguousNameError} else SpecError)(issues)
    coordinates, of_residual = tuple(parameterizations[: len(trees)]), parameterizations[-1]
    return Resolved(tuple(trees), coordinates, tuple(stages), engines, residual, tuple(variances), of_residual)


def qualified(spec: ModelSpec, registry: Registry) -> ModelSpec:
    """The specification with the names of other packages in full, so that it means the same wherever it is read again."""

    def full(kind: str, name: str) -> str:
        if kind == STRUCTURE and name in COMBINATORS:
            return name
        entry = registry.find(kind, name, "name")
        return name if entry.distribution == BUILT_IN else entry.qualified

    def choice(kind: str, given: Any) -> Any:
        if not isinstance(given, Choice):
            return given
        parts = tuple(evolve(part, structure=choice(STRUCTURE, part.structure)) for part in given.parts)
        return evolve(given, name=full(kind, given.name), parts=parts)

    def coordinates(given: Any) -> Any:
        if isinstance(given, Mapping):
            return {key: coordinates(value) for key, value in given.items()}
        return full(PARAMETERIZATION, given) if isinstance(given, str) else given

    def term(given: TermSpec) -> TermSpec:
        structure = choice(STRUCTURE, given.structure)
        return evolve(given, structure=structure, parameterization=coordinates(given.parameterization))

    return evolve(
        spec,
        random=tuple(map(term, spec.random)),
        residual=None if spec.residual is None else term(spec.residual),
        variance=tuple(choice(STRUCTURE, v) for v in spec.variance),
        parameterization=coordinates(spec.parameterization),
        stages=None if spec.stages is None else tuple(choice(STAGE, s) for s in spec.stages),
    )


def _parameterization(spec: ModelSpec, term: TermSpec) -> Any:
    """The parameterization of a term, by name or as an instance."""
    if term.parameterization is not None:
        return term.parameterization
    if isinstance(spec.parameterization, dict):
        by_group = spec.parameterization.get(term.group_name, DEFAULT_PARAMETERIZATION)
        return spec.parameterization.get(term.label, by_group)
    return spec.parameterization or DEFAULT_PARAMETERIZATION


def _residual_parameterization(spec: ModelSpec) -> Any:
    """That of the residual: its own, the model's, or that of the first term."""
    if spec.residual is not None and spec.residual.parameterization is not None:
        return spec.residual.parameterization
    if isinstance(spec.parameterization, dict):
        return spec.parameterization.get(RESIDUAL, DEFAULT_PARAMETERIZATION)
    return spec.parameterization or (
        _parameterization(spec, spec.random[0]) if spec.random else DEFAULT_PARAMETERIZATION
    )


def choose_engine(design: Design, engines: Sequence[type[Engine]]) -> type[Engine]:
    """The first engine that takes the design and suits it, else the first that takes it.

    Raises EngineRefusedError with every engine's reason.
    """
    reasons: list[str] = []
    able: type[Engine] | None = None
    for engine in engines:
        reason = engine.refuses(design)
        if reason is not None:
            reasons.append(f"{engine.name}: {reason}")
        elif engine.suits(design):
            return engine
        else:
            able = able or engine
    if able is not None:
        return able
    raise EngineRefusedError("engine: no engine takes this model · " + " · ".join(reasons))
