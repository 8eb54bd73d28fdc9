"""Documents: YAML and dicts to a `ModelSpec` and back, exactly. Documents are untrusted data.

Every issue of a document is collected, with its path and, in YAML, its line, and all are raised together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from attrs import define, field

from mmframe.covariance.structure import CovarianceStructure
from mmframe.errors import Issue, SpecError, UnknownNameError, nearest
from mmframe.spec.formula import parse_formula, read_term
from mmframe.spec.model import CRITERIA, DEFAULT_STRUCTURE, MISSING, Choice, ModelSpec, OutputSpec, TermSpec

VERSION = 1
# Documents may come from anybody: these bound what reading one can cost.
MAX_DEPTH = 20
KEYS = (
    "mmframe", "data", "categorical", "formula", "random", "residual", "variance", "weights", "offset", "criterion",
    "parameterization", "stages", "start", "fix", "relationship", "engine", "missing", "output",
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
        "residual": _residual(reader, "residual", document.get("residual")),
        "variance": _residual(reader, "variance", document.get("variance")),
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
        reader.keys(path, item, ("term", "structure", "parameterization"))
        if "term" not in item:
            reader.say(path, "'term' is missing", "term: 1 + x | group")
            continue
        terms = reader.attempt(f"{path}.term", partial(read_term, str(item["term"]), path)) or []
        if item.get("structure") is not None:
            chosen = reader.choice(f"{path}.structure", item["structure"])
            if any(t.structure not in (Choice(DEFAULT_STRUCTURE), chosen) for t in terms):
                reader.say(
                    f"{path}.structure",
                    f"{item['structure']!r} beside {item['term']!r}",
                    "one structure",
                    "name it once",
                )
            terms = [attrs.evolve(t, structure=chosen) for t in terms]
        parameterization = reader.text(f"{path}.parameterization", item.get("parameterization"))
        out += [attrs.evolve(t, parameterization=parameterization) for t in terms]
    return out


def _residual(reader: _Reader, path: str, value: Any) -> str | None:
    """Kept as text: this version has no residual structures, and says so when the names are resolved."""
    return None if value is None else str(plain(value))


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
    for key in ("residual", "variance", "weights", "offset"):
        if getattr(spec, key) is not None:
            out[key] = getattr(spec, key)
    out["criterion"] = spec.criterion
    for key in ("parameterization", "start", "fix", "relationship", "engine"):
        value = getattr(spec, key)
        if value:
            value = getattr(value, "name", value)  # an instance of a parameterization goes by its name
            out[key] = dict(value) if isinstance(value, Mapping) else value
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
    out: dict[str, Any] = {
        "term": f"{term.basis} | {term.group_text}",
        "structure": _choice_document(as_named(term.structure)),
    }
    if term.parameterization is not None:
        out["parameterization"] = getattr(term.parameterization, "name", term.parameterization)
    return out


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
        choice = as_named(term.structure)
        options = "".join(f", {k}={v!r}" for k, v in choice.options.items())
        plain = choice == Choice(DEFAULT_STRUCTURE)
        bar = f"{term.basis} | {term.group_text}"
        parts.append(f"({bar})" if plain else f"{choice.name}({bar}{options})")
    return " + ".join(parts)
