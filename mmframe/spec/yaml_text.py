"""YAML 1.2 to a `ModelSpec` and back, and specification files. YAML is untrusted data: plain values and nothing else."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from mmframe.errors import Issue, SpecError, nearest
from mmframe.spec.document import MAX_DEPTH, from_dict, plain
from mmframe.spec.model import ModelSpec
from mmframe.spec.written import to_dict

# Documents may come from anybody: this bounds what reading one can cost.
MAX_LENGTH = 60_000


def _yaml() -> YAML:
    reader = YAML(typ="rt", pure=True)
    reader.allow_duplicate_keys = False
    reader.default_flow_style = None
    return reader


def read_yaml(text: str, source: str = "spec") -> ModelSpec:
    """YAML 1.2 text (`no` is a string). Raises SpecError with lines."""
    if len(text) > MAX_LENGTH:
        raise SpecError(Issue(source, f"{len(text)} characters", f"at most {MAX_LENGTH}"))
    try:
        _refuse_machinery(text, source)
        document = _yaml().load(text)
    except YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f"{source}, line {mark.line + 1}" if mark is not None else source
        raise SpecError(Issue(place, str(getattr(problem, "problem", problem)).splitlines()[0], "YAML 1.2")) from None
    except (ValueError, TypeError, RecursionError) as problem:
        raise SpecError(Issue(source, str(problem).splitlines()[0], "YAML 1.2")) from None
    if document is None:
        raise SpecError(Issue(source, "an empty document", "a mapping with at least 'formula'"))
    lines: dict[str, int] = {}
    _find_lines(document, "", lines)
    return from_dict(plain(document), source, lines)


def _refuse_machinery(text: str, source: str) -> None:
    """A first look at the events: no tags, no anchors, no great depth. A specification needs none of them."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        line = event.start_mark.line + 1
        if isinstance(event, (CollectionStartEvent, CollectionEndEvent)):
            depth += 1 if isinstance(event, CollectionStartEvent) else -1
            if depth > MAX_DEPTH:
                raise SpecError(Issue(f"{source}, line {line}", f"more than {MAX_DEPTH} levels", "fewer levels"))
        if isinstance(event, NodeEvent) and (event.anchor is not None or isinstance(event, AliasEvent)):
            raise SpecError(
                Issue(f"{source}, line {line}", f"the anchor or alias {event.anchor!r}", "plain values", "write it out")
            )
        if getattr(event, "tag", None) is not None:
            raise SpecError(
                Issue(f"{source}, line {line}", f"the tag {str(event.tag)!r}", "plain values", "leave the tag out")
            )


def _find_lines(node: Any, path: str, lines: dict[str, int]) -> None:
    marks = getattr(node, "lc", None)
    if isinstance(node, Mapping):
        for key, value in node.items():
            full = f"{path}.{key}" if path else str(key)
            place = marks.data.get(key) if marks is not None and marks.data else None
            if place is not None:
                lines[full] = place[0] + 1
            _find_lines(value, full, lines)
    elif isinstance(node, list):
        for k, value in enumerate(node):
            full = f"{path}[{k}]"
            place = marks.data.get(k) if marks is not None and marks.data else None
            if place is not None:
                lines[full] = place[0] + 1
            _find_lines(value, full, lines)


def write_yaml(spec: ModelSpec) -> str:
    """The YAML document of a specification."""
    out = io.StringIO()
    _yaml().dump(to_dict(spec), out)
    return out.getvalue()


def load_spec(path: str | Path) -> ModelSpec:
    """A YAML file; its `data` and the files of relationships are taken relative to the file. Raises SpecError."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        near = nearest(file.name, [p.name for p in file.parent.glob("*.y*ml")]) if file.parent.is_dir() else ""
        raise SpecError(Issue(str(path), "there is no such file", "a YAML specification", near)) from None
    except UnicodeDecodeError:
        raise SpecError(Issue(str(path), "it is not UTF-8 text", "a YAML specification")) from None
    spec = read_yaml(text, file.name)
    if spec.data is not None and not Path(spec.data).is_absolute():
        spec = attrs.evolve(spec, data=str(file.parent / spec.data))
    if spec.relationship:
        beside = {
            k: str(file.parent / v) if isinstance(v, str) else {**v, "file": str(file.parent / v["file"])}
            for k, v in spec.relationship.items()
        }
        spec = attrs.evolve(spec, relationship=beside)
    return spec
