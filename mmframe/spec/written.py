"""A `ModelSpec` written down: as a document, from which reading gives back an equal one, and as formulas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from mmframe.covariance.structure import CovarianceStructure
from mmframe.errors import Issue, SpecError
from mmframe.spec.document import VERSION
from mmframe.spec.model import DEFAULT_STRUCTURE, Choice, ModelSpec, OutputSpec, Part, TermSpec


def to_dict(spec: ModelSpec) -> dict[str, Any]:
    """The document of a specification; `from_dict` gives back an equal one.

    Raises SpecError where it holds what a document cannot: functions, arrays, unnamed objects.
    """
    issues = []
    if spec.transforms:
        issues.append(
            Issue(
                "transforms",
                ", ".join(spec.transforms),
                "formulas with allow-listed functions only",
                "documents hold no functions",
            )
        )
    for term in spec.random:
        if isinstance(term.structure, CovarianceStructure) and not hasattr(type(term.structure), "name"):
            issues.append(Issue(term.label, repr(term.structure), "a structure with a name"))
    arrays = [c for c in (spec.weights, spec.offset) if c and c.startswith("(")]
    issues += [Issue(c, "an array", "a column's name", "documents hold no arrays") for c in arrays]
    matrices = [k for k, v in spec.relationship.items() if not isinstance(v, (str, Mapping))]
    issues += [Issue(f"relationship[{k!r}]", "a matrix", "a file", "documents hold no matrices") for k in matrices]
    if issues:
        raise SpecError(issues)
    out: dict[str, Any] = {"mmframe": VERSION}
    if spec.data is not None:
        out["data"] = spec.data
    if spec.categorical:
        out["categorical"] = dict(spec.categorical)
    out["formula"] = spec.formula
    if spec.random:
        out["random"] = [_term_document(t) for t in spec.random]
    if spec.residual is not None:
        out["residual"] = _term_document(spec.residual)
    if spec.variance:
        out["variance"] = [{"structure": _choice_document(as_named(v))} for v in spec.variance]
    for key in ("weights", "offset"):
        if getattr(spec, key) is not None:
            out[key] = getattr(spec, key)
    out["criterion"] = spec.criterion
    for key in ("parameterization", "start", "fix", "relationship", "engine"):
        value = getattr(spec, key)
        if value:
            value = getattr(value, "name", value)  # an instance of a parameterization goes by its name
            out[key] = dict(value) if isinstance(value, Mapping) else value
    if spec.tie:
        out["tie"] = [list(names) for names in spec.tie]
    if spec.stages is not None:
        out["stages"] = [_choice_document(s, nested=True) for s in spec.stages]
    if spec.missing != "drop":
        out["missing"] = spec.missing
    if spec.output != OutputSpec():
        out["output"] = {"summary": spec.output.summary}
        if spec.output.bundle is not None:
            out["output"]["bundle"] = spec.output.bundle
    return out


def _term_document(term: TermSpec) -> dict[str, Any]:
    chosen = as_named(term.structure)
    basis = term.basis if not chosen.parts else ", ".join(_part_text(part) for part in chosen.parts)
    out: dict[str, Any] = {"term": f"{basis} | {term.group_text}", "structure": _choice_document(chosen)}
    if term.by is not None:
        out["by"] = term.by
    if term.parameterization is not None:
        out["parameterization"] = getattr(term.parameterization, "name", term.parameterization)
    return out


def _part_text(part: Part) -> str:
    chosen = as_named(part.structure)
    inner = part.basis if not chosen.parts else ", ".join(_part_text(p) for p in chosen.parts)
    return f"{chosen.name}({inner}{_option_text(chosen)})"


def _option_text(choice: Choice) -> str:
    return "".join(f", {k}={v!r}" for k, v in choice.options.items())


def as_named(plugin: Any) -> Choice:
    """A Choice, also of an instance: its name and its options."""
    if isinstance(plugin, Choice):
        return plugin
    options = attrs.asdict(plugin) if attrs.has(type(plugin)) else {}
    return Choice(type(plugin).name, options)


def _choice_document(choice: Any, *, nested: bool = False) -> Any:
    choice = as_named(choice)
    if not choice.options:
        return choice.name
    return {choice.name: dict(choice.options)} if nested else {"name": choice.name, **choice.options}


def formula_of(spec: ModelSpec) -> str:
    """The whole model in one line of the formula language."""
    parts = [spec.formula]
    for term in spec.random:
        plain = as_named(term.structure) == Choice(DEFAULT_STRUCTURE) and term.by is None
        parts.append(f"({term.basis} | {term.group_text})" if plain else term_text(term))
    return " + ".join(parts)


def term_text(term: TermSpec) -> str:
    """One term as a formula writes it: `ar1(visit | subject, by='arm')`."""
    chosen = as_named(term.structure)
    basis = term.basis if not chosen.parts else ", ".join(_part_text(part) for part in chosen.parts)
    by = f", by={term.by!r}" if term.by is not None else ""
    return f"{chosen.name}({basis} | {term.group_text}{_option_text(chosen)}{by})"


def variance_text(spec: ModelSpec) -> str:
    """The variance functions as one writes them: `ident(sex) * power(time)`."""
    told = []
    for chosen in map(as_named, spec.variance):
        rest = Choice(chosen.name, {k: v for k, v in chosen.options.items() if k != "covariate"})
        told.append(f"{chosen.name}({chosen.options['covariate']}{_option_text(rest)})")
    return " * ".join(told)
