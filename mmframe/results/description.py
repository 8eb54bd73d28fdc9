"""The printed description: what a model is and how it will be computed, before it is fitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from mmframe.covariance.parameterization import ABSOLUTE
from mmframe.likelihood.engine import Engine
from mmframe.spec.model import ModelSpec
from mmframe.spec.written import formula_of, term_text, variance_text

if TYPE_CHECKING:
    from mmframe.model import Model
    from mmframe.resolution import Resolved

_LISTED = 12  # names of columns that are listed


def describe_spec(spec: ModelSpec, resolved: Resolved) -> str:
    """What needs no data: formula, criterion, terms with their structures and parameterizations, stages."""
    lines = [_line("formula", formula_of(spec)), _line("criterion", spec.criterion.upper())]
    for term, tree, parameterization in zip(spec.random, resolved.trees, resolved.parameterizations, strict=True):
        absolute = resolved.residual is not None  # a structured residual has the scale among its own parameters
        scale = ABSOLUTE if absolute else parameterization.scale
        how = f"{_plugin(parameterization)} ({scale.value})"
        plain = tree.structure is not None and term.by is None
        what = f"{term.label}: {_plugin(tree.structure)}, {how}" if plain else f"{term_text(term)}: {how}"
        lines.append(_line("term", what))
    if spec.residual is not None:
        lines.append(_line("residual", f"{term_text(spec.residual)}: {_plugin(resolved.residual_coordinates)}"))
    if spec.variance:
        lines.append(_line("variance", variance_text(spec)))
    for word, values in (("held", spec.fix), ("start", spec.start)):
        lines += [_line(word, f"{name} = {value:g}") for name, value in values.items()]
    lines.append(_line("stages", ", ".join(_plugin(s) for s in resolved.stages)))
    return "\n".join(lines)


def describe_model(model: Model, resolved: Resolved, engines: Sequence[type[Engine]]) -> str:
    """All of it: what the data give, the engine, why the others were not taken, and the engine's blocks."""
    design, chosen = model.design, model.engine
    given = (("weights", model.spec.weights), ("offset", model.spec.offset))
    data = [_count(design.n, "row"), f"{design.n_missing:,} dropped", *(f"{k} {v}" for k, v in given if v is not None)]
    lines = [
        describe_spec(model.spec, resolved),
        _line("data", ", ".join(data)),
        _line("fixed", _names(design.columns)),
    ]
    if design.dropped:
        lines.append(_line("dropped", f"{_names(design.dropped)} (depend on the columns before them)"))
    for number, grouping in enumerate(design.groupings):
        columns = [c for t in design.terms if t.grouping == number for c in t.columns]
        known = grouping.relationship
        related = "" if known is None else f", related by {'the inverse of K' if known.inverse else 'K'}"
        lines.append(
            _line("grouping", f"{grouping.name}: {_count(grouping.size, 'level')} x {_names(columns)}{related}")
        )
    size = sum(t.size for t in model.covariance.terms)
    own = "" if design.residual is not None else " and σ²"
    lines += [_line("covariance", f"{_count(size, 'parameter')}{own}"), _line("engine", chosen.name)]
    spare = "it was not asked for" if model.spec.engine is not None else f"{chosen.name} comes before it"
    reasons: dict[str, list[str]] = {}
    for engine in engines:
        if engine.name != chosen.name:
            reason = engine.refuses(design)
            reasons.setdefault(spare if reason is None else reason, []).append(engine.name)
    lines += [f"  not {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    lines += ["blocks", *(f"  {line}" for line in chosen.describe().splitlines())]
    return "\n".join(lines)


def _line(word: str, text: str) -> str:
    return f"{word:<11}  {text}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _names(columns: Iterable[str]) -> str:
    """The number of columns, and the first of their names."""
    names = list(columns)
    if not names:
        return "no columns"
    more = "" if len(names) <= _LISTED else f", and {len(names) - _LISTED:,} more"
    return f"{_count(len(names), 'column')}: {', '.join(names[:_LISTED])}{more}"


def _plugin(plugin: Any) -> str:
    """Its name, with the options that are not at their defaults."""
    options = attrs.fields(type(plugin)) if attrs.has(type(plugin)) else ()
    given = [(f.name, getattr(plugin, f.name), f.default) for f in options if f.init]
    told = ", ".join(f"{name}={value!r}" for name, value, default in given if repr(value) != repr(default))
    name = getattr(plugin, "name", type(plugin).__name__)
    return f"{name}({told})" if told else name
