"""Documents: YAML and dicts to a `ModelSpec` (written.py is the way back). Documents are untrusted data.

Every issue of a document is collected, with its path and, in YAML, its line, and all are raised together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from attrs import define, field

from mmframe.errors import Issue, SpecError, UnknownNameError, nearest
from mmframe.spec.formula import parse_formula, read_term
from mmframe.spec.model import (
    COMBINATORS,
    CRITERIA,
    DEFAULT_STRUCTURE,
    MISSING,
    Choice,
    ModelSpec,
    OutputSpec,
    TermSpec,
)
from mmframe.spec.residual import read_residual, read_variance

VERSION = 1
# Documents may come from anybody: these bound what reading one can cost.
MAX_DEPTH = 20
KEYS = (
    "mmframe", "data", "categorical", "formula", "random", "residual", "variance", "weights", "offset", "criterion",
    "parameterization", "stages", "start", "fix", "tie", "relationship", "engine", "missing", "output",
)  # fmt: skip


@define
class _Reader:
    """Collects issues while a document is read. `lines` maps a path to its line in the file."""

    source: str
    lines: dict[str, int]
    issues: list[Issue] = field(factory=list)
    unknown: bool = False

    def where(self, path: str) -> str:
        line = self.lines.get(path)
        place = f"{self.source}, line {line}" if line else self.source
        return f"{place}: {path}" if path else place

    def say(self, path: str, given: Any, allowed: str = "", remedy: str = "") -> None:
        shown = given if isinstance(given, str) else repr(given)
        self.issues.append(Issue(self.where(path), shown, allowed, remedy))

    def attempt(self, path: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except SpecError as problem:
            self.issues.extend(
                attrs.evolve(
                    i,
                    where=f"{self.where(path)}"
                    if i.where in ("", "formula", path)
                    else f"{self.where(path)} ({i.where})",
                )
                for i in problem.issues
            )
            return None

    def keys(self, path: str, given: Mapping[str, Any], allowed: Sequence[str]) -> None:
        for key in given:
            if key not in allowed:
                full = f"{path}.{key}" if path else str(key)
                self.say(full, f"there is no key {key!r}", ", ".join(allowed), nearest(str(key), allowed))

    def text(self, path: str, value: Any, *, none: bool = True) -> Any:
        if isinstance(value, str) or (value is None and none):
            return None if value is None else str(value)
        self.say(path, value, "text")
        return None

    def mapping(self, path: str, value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if isinstance(value, Mapping):
            return {str(k): v for k, v in value.items()}
        self.say(path, value, "a mapping {name: value}")
        return {}

    def choice(self, path: str, value: Any) -> Choice | None:
        if isinstance(value, str):
            return Choice(str(value))
        if isinstance(value, Mapping) and "name" in value and isinstance(value["name"], str):
            return Choice(str(value["name"]), {str(k): plain(v) for k, v in value.items() if k != "name"})
        if isinstance(value, Mapping) and len(value) == 1:
            name, options = next(iter(value.items()))
            if isinstance(name, str) and (options is None or isinstance(options, Mapping)):
                return Choice(str(name), {str(k): plain(v) for k, v in (options or {}).items()})
        self.say(path, value, "a name, {name: ..., option: ...}, or {name: {option: ...}}")
        return None

    def numbers(self, path: str, value: Any) -> dict[str, float]:
        out = {}
        for name, number in self.mapping(path, value).items():
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                out[name] = float(number)
            else:
                self.say(f"{path}.{name}", number, "a number in data units")
        return out


def plain(value: Any, depth: int = 0) -> Any:
    """Plain Python values out of the YAML reader's own types. Raises SpecError where they nest too deep."""
    if depth > MAX_DEPTH:
        raise SpecError(Issue("document", f"more than {MAX_DEPTH} levels", "fewer levels"))
    if isinstance(value, Mapping):
        return {str(k): plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v, depth + 1) for v in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str(value) if isinstance(value, str) else value


def _relationship(reader: _Reader, value: Any) -> dict[str, Any]:
    """Files by grouping factor: a path, or {file: ..., inverse: true}."""
    out: dict[str, Any] = {}
    for factor, given in reader.mapping("relationship", value).items():
        path = f"relationship.{factor}"
        if isinstance(given, str):
            out[factor] = str(given)
        elif (
            isinstance(given, Mapping)
            and set(given) <= {"file", "inverse"}
            and isinstance(given.get("file"), str)
            and isinstance(given.get("inverse", False), bool)
        ):
            out[factor] = {str(k): v if isinstance(v, bool) else str(v) for k, v in given.items()}
        else:
            reader.say(path, given, "a file, or {file: a CSV or Parquet file, inverse: true or false}")
    return out


def from_dict(document: Any, source: str = "spec", lines: Mapping[str, int] | None = None) -> ModelSpec:
    """A document as nested dicts and lists. Raises SpecError with every issue."""
    reader = _Reader(source, dict(lines or {}))
    if not isinstance(document, Mapping):
        raise SpecError(Issue(source, type(document).__name__, "a mapping with the keys " + ", ".join(KEYS)))
    document = plain(document)
    reader.keys("", document, KEYS)
    version = document.get("mmframe", VERSION)
    if type(version) is not int or version != VERSION:
        reader.say("mmframe", version, str(VERSION), "this version of mmframe reads documents of that version")
    formula, random = "", []
    if "formula" not in document:
        reader.say("formula", "it is missing", "a formula such as 'y ~ x + (1 | group)'")
    else:
        parsed = reader.attempt("formula", lambda: parse_formula(document["formula"], "formula"))
        if parsed is not None:
            formula, random = parsed.fixed, list(parsed.random)
    random += _random(reader, document.get("random"))
    values: dict[str, Any] = {
        "formula": formula,
        "random": tuple(random),
        "residual": _residual(reader, document.get("residual")),
        "variance": _variance(reader, document.get("variance")),
        "tie": _tie(reader, document.get("tie")),
        "weights": reader.text("weights", document.get("weights")),
        "offset": reader.text("offset", document.get("offset")),
        "engine": reader.text("engine", document.get("engine")),
        "data": reader.text("data", document.get("data")),
        "start": reader.numbers("start", document.get("start")),
        "fix": reader.numbers("fix", document.get("fix")),
        "relationship": _relationship(reader, document.get("relationship")),
        "parameterization": _parameterization(reader, document.get("parameterization")),
        "stages": _stages(reader, document.get("stages")),
        "categorical": _categorical(reader, document.get("categorical")),
        "output": _output(reader, document.get("output")),
    }
    for key, allowed, default in (("criterion", CRITERIA, "reml"), ("missing", MISSING, "drop")):
        value = document.get(key, default)
        if isinstance(value, str) and value.lower() in allowed:
            values[key] = value.lower()
        else:
            near = nearest(str(value).lower(), allowed)
            reader.say(key, value, ", ".join(allowed), near)
    if reader.issues:
        only_unknown = all("there is no" in i.given for i in reader.issues)
        raise UnknownNameError(reader.issues) if only_unknown else SpecError(reader.issues)
    return ModelSpec(**values)


def _random(reader: _Reader, value: Any) -> list[TermSpec]:
    if value is None:
        return []
    if not isinstance(value, list):
        reader.say("random", value, "a list of terms")
        return []
    out: list[TermSpec] = []
    for k, item in enumerate(value):
        path = f"random[{k}]"
        if isinstance(item, str):
            out += reader.attempt(path, partial(read_term, item, path)) or []
            continue
        if not isinstance(item, Mapping):
            reader.say(path, item, "a term in words, or {term: ..., structure: ..., parameterization: ...}")
            continue
        reader.keys(path, item, ("term", "structure", "parameterization", "by"))
        if "term" not in item:
            reader.say(path, "'term' is missing", "term: 1 + x | group")
            continue
        chosen = None if item.get("structure") is None else reader.choice(f"{path}.structure", item["structure"])
        combined = chosen is not None and chosen.name in COMBINATORS
        text = f"{chosen.name}({item['term']})" if chosen is not None and combined else str(item["term"])
        terms = reader.attempt(f"{path}.term", partial(read_term, text, path)) or []
        if chosen is not None and not combined:
            if any(t.structure not in (Choice(DEFAULT_STRUCTURE), chosen) for t in terms):
                reader.say(
                    f"{path}.structure",
                    f"{item['structure']!r} beside {item['term']!r}",
                    "one structure",
                    "name it once",
                )
            terms = [attrs.evolve(t, structure=chosen) for t in terms]
        parameterization = reader.text(f"{path}.parameterization", item.get("parameterization"))
        by = reader.text(f"{path}.by", item.get("by"))
        out += [attrs.evolve(t, parameterization=parameterization, by=by or t.by) for t in terms]
    return out


def _residual(reader: _Reader, value: Any) -> TermSpec | None:
    """`ar1(visit | subject)`, or {term: visit | subject, structure: ar1, by: arm, parameterization: natural}."""
    if value is None:
        return None
    if isinstance(value, str):
        found: TermSpec | None = reader.attempt("residual", partial(read_residual, str(value), "residual"))
        return found
    given = reader.mapping("residual", value)
    reader.keys("residual", given, ("term", "structure", "by", "parameterization"))
    term = reader.text("residual.term", given.get("term"), none=False)
    chosen = reader.choice("residual.structure", given.get("structure"))
    if term is None or chosen is None:
        return None
    name = chosen.name if chosen.name in COMBINATORS else "structure"
    found = reader.attempt("residual.term", partial(read_residual, f"{name}({term})", "residual"))
    if found is None:
        return None
    if name == "structure":
        found = attrs.evolve(found, structure=chosen)
    by, parameterization = reader.text("residual.by", given.get("by")), given.get("parameterization")
    return attrs.evolve(
        found, by=by or found.by, parameterization=reader.text("residual.parameterization", parameterization)
    )


def _variance(reader: _Reader, value: Any) -> tuple[Choice, ...]:
    """`ident(sex) * power(time)`, or {structure: {name: exp, covariate: Days}}, or a list of such."""
    if value is None:
        return ()
    if isinstance(value, str):
        return reader.attempt("variance", partial(read_variance, str(value), "variance")) or ()
    found: list[Choice] = []
    for k, item in enumerate(value if isinstance(value, list) else [value]):
        path = f"variance[{k}]" if isinstance(value, list) else "variance"
        if isinstance(item, str):
            found += reader.attempt(path, partial(read_variance, str(item), "variance")) or ()
            continue
        given = reader.mapping(path, item)
        reader.keys(path, given, ("structure",))
        chosen = reader.choice(f"{path}.structure", given.get("structure"))
        if chosen is not None and not isinstance(chosen.options.get("covariate"), str):
            reader.say(f"{path}.structure", chosen.name, "a covariate", "write {name: power, covariate: time}")
        elif chosen is not None:
            found.append(chosen)
    return tuple(found)


def _tie(reader: _Reader, value: Any) -> tuple[tuple[str, ...], ...]:
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(v, list) and all(isinstance(n, str) for n in v) for v in value):
        return tuple(tuple(str(n) for n in names) for names in value)
    reader.say("tie", value, "a list of lists of parameters that are equal")
    return ()


def _parameterization(reader: _Reader, value: Any) -> Any:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    out = {}
    for term, name in reader.mapping("parameterization", value).items():
        text = reader.text(f"parameterization.{term}", name, none=False)
        if text is not None:
            out[term] = text
    return out


def _stages(reader: _Reader, value: Any) -> tuple[Choice, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        reader.say("stages", value, "a list such as [em, gradient, cg]")
        return None
    found = [reader.choice(f"stages[{i}]", item) for i, item in enumerate(value)]
    return tuple(c for c in found if c is not None)


def _categorical(reader: _Reader, value: Any) -> dict[str, list[Any] | None]:
    out: dict[str, list[Any] | None] = {}
    for name, levels in reader.mapping("categorical", value).items():
        if levels is None:
            out[name] = None
        elif isinstance(levels, list):
            out[name] = plain(levels)
        else:
            reader.say(f"categorical.{name}", levels, "a list of levels in order, or null for the levels as they come")
    return out


def _output(reader: _Reader, value: Any) -> OutputSpec:
    given = reader.mapping("output", value)
    reader.keys("output", given, ("summary", "bundle"))
    summary = given.get("summary", True)
    if not isinstance(summary, bool):
        reader.say("output.summary", summary, "true or false")
        summary = True
    return OutputSpec(summary, reader.text("output.bundle", given.get("bundle")))
