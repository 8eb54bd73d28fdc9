"""Resolution: the names of a specification to plugins, and a design to the engine that takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from attrs import frozen

from mmframe.covariance.domain import PositiveDefinite
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.design.design import Design
from mmframe.errors import DataError, EngineRefusedError, Issue, SpecError, UnknownNameError, unknown
from mmframe.likelihood.blocked import BlockedEngine
from mmframe.likelihood.dense import DenseEngine
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.pooled import PooledEngine
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, Registry
from mmframe.spec.model import Choice, ModelSpec

ENGINES: tuple[type[Engine], ...] = (PooledEngine, BlockedEngine, DenseEngine)
DEFAULT_PARAMETERIZATION = "cholesky"
DEFAULT_STAGES = (Choice("newton"),)


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
    for key, value in (("residual", spec.residual), ("variance", spec.variance)):
        if value:
            issues.append(
                Issue(
                    key,
                    repr(value),
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

    An unrestricted term with as many effects as rows, or any term with as many levels as rows; but for terms of related
    levels. Raises DataError.
    """
    for term, structure in zip(design.terms, structures, strict=True):
        if design.groupings[term.grouping].relationship is not None:
            continue  # what relatives share tells the effects from the residual
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
