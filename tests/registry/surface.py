"""The plugin surface as text: every name with its signature. `python -m tests.registry.surface` records it anew."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

import mmframe.api
import mmframe.testing
from mmframe.registry import hookspecs

RECORDED = Path(__file__).with_name(f"surface_v{hookspecs.API_VERSION}.txt")


def lines() -> list[str]:
    out = [f"entry-point group {hookspecs.ENTRY_POINT_GROUP}"]
    for hook in hookspecs.hooks_of(hookspecs):
        out.append(f"hook {hook}{inspect.signature(getattr(hookspecs, hook))}")
    for module in (mmframe.api, mmframe.testing):
        for name in sorted(module.__all__):
            out += _described(f"{module.__name__}.{name}", getattr(module, name))
    return out


def _described(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, type):
        if inspect.isroutine(value):
            yield f"{name}{inspect.signature(value)}"
        else:
            yield f"{name}: {type(value).__name__}"
        return
    bases = ", ".join(b.__name__ for b in value.__bases__ if b is not object)
    yield f"class {name}({bases})"
    if issubclass(value, enum.Enum):
        yield from (f"  {member}" for member in value.__members__)
        return
    fields = {each.name for each in attrs.fields(value)} if attrs.has(value) else set()
    if attrs.has(value):
        for each in attrs.fields(value):
            if not each.name.startswith("_"):
                yield f"  field {each.name}: {each.type}{_default(each.default)}"
    for attribute, kind in sorted(inspect.get_annotations(value).items()):
        if str(kind).startswith("ClassVar"):
            default = f" = {getattr(value, attribute)!r}" if hasattr(value, attribute) else ""
            yield f"  {attribute}: {kind}{default}"
    # what comes from a base that has no name of its own here is this class's
    named = {getattr(mmframe.api, name) for name in mmframe.api.__all__ if isinstance(getattr(mmframe.api, name), type)}
    own = [c for c in value.__mro__ if c is value or (c.__module__.startswith("mmframe.") and c not in named)]
    members = {k: v for c in reversed(own) for k, v in vars(c).items()}
    for attribute, method in sorted(members.items()):
        if attribute.startswith("_") and attribute != "__init__":
            continue
        abstract = "abstract " if getattr(method, "__isabstractmethod__", False) else ""
        plain = method.__func__ if isinstance(method, (classmethod, staticmethod)) else method
        if inspect.isfunction(plain) and not (attribute == "__init__" and attrs.has(value)):
            how = "classmethod " if isinstance(method, classmethod) else ""
            yield f"  {abstract}{how}{attribute}{inspect.signature(plain)}"
        elif isinstance(method, (property, cached_property)) or (
            inspect.ismemberdescriptor(method) and attribute not in fields
        ):  # attrs keeps a cached property in a slot of its name
            yield f"  {abstract}property {attribute}"


def _default(default: Any) -> str:
    if default is attrs.NOTHING:
        return ""
    return " = (made)" if isinstance(default, attrs.Factory) else f" = {default!r}"  # type: ignore[arg-type]


if __name__ == "__main__":
    RECORDED.write_text("\n".join(lines()) + "\n", encoding="utf-8")
