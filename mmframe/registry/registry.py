"""The registry: which name means which class.

Names are bare (`ar1`) or qualified by the distribution (`mmframe-spatial/matern`). A built-in's bare name can be taken by
nobody; where two third parties share one, the bare name raises on use and shows both spellings. So installing a plugin
never changes a number.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import attrs
import pluggy
from attrs import frozen

from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.errors import AmbiguousNameError, Issue, PluginError, SpecError, UnknownNameError, unknown
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry.loader import BUILT_IN, PluginRecord, load_all, new_manager

STRUCTURE, PARAMETERIZATION, STAGE = "covariance structure", "parameterization", "stage"

_KINDS: dict[str, tuple[str, Any]] = {
    STRUCTURE: ("mmframe_covariance_structures", CovarianceStructure),
    PARAMETERIZATION: ("mmframe_parameterizations", Parameterization),
    STAGE: ("mmframe_optimizer_stages", OptimizerStage),
}
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


@frozen
class Entry:
    """A registered class: its kind, bare name and aliases, and the distribution that it comes from."""

    kind: str
    name: str
    aliases: tuple[str, ...]
    distribution: str
    version: str
    cls: type

    @property
    def qualified(self) -> str:
        return f"{self.distribution}/{self.name}"

    @property
    def options(self) -> dict[str, Any]:
        """Option names with their defaults (attrs.NOTHING where there is none)."""
        if not attrs.has(self.cls):
            return {}
        return {f.alias or f.name: f.default for f in attrs.fields(self.cls) if f.init}


def _validated(kind: str, cls: Any, record: PluginRecord) -> Entry:
    base: Any = _KINDS[kind][1]
    who = f"plugin {record.name!r} of {record.distribution}"
    plugin: type | None = cls if isinstance(cls, type) else None
    if plugin is None or not issubclass(plugin, base):
        raise PluginError(f"{who} gave {cls!r}; allowed: classes derived from {base.__name__}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise PluginError(f"{who}: {cls.__name__} lacks the methods {missing}")
    aliases = tuple(getattr(cls, "aliases", ()))
    for name in (getattr(cls, "name", None), *aliases):
        if not (isinstance(name, str) and _NAME.match(name)):
            raise PluginError(f"{who}: {cls.__name__} has the name {name!r}; allowed: {_NAME.pattern}")
    for attribute in {OptimizerStage: ("bounded", "finishes"), Parameterization: ("scale",)}.get(base, ()):
        if not hasattr(cls, attribute):
            raise PluginError(f"{who}: {cls.__name__} does not declare {attribute!r}")
    return Entry(kind, cls.name, aliases, record.distribution, record.version, cls)


@frozen(eq=False)
class Registry:
    """All registered classes, and what failed to load."""

    entries: tuple[Entry, ...]
    records: tuple[PluginRecord, ...]
    manager: pluggy.PluginManager

    def __reduce__(self) -> tuple[Any, ...]:
        """Models can be copied and sent to other processes; there the registry is that of the process."""
        if self is not default_registry():
            raise TypeError("a registry of one's own is made again, not copied · leave registry= out")
        return default_registry, ()

    @classmethod
    def from_records(cls, records: tuple[PluginRecord, ...], *, strict: bool = False) -> Registry:
        manager = new_manager()
        entries: list[Entry] = []
        kept: list[PluginRecord] = []
        for record in records:
            if record.module is None:
                kept.append(record)
                continue
            try:
                mine = [
                    _validated(kind, found, record)
                    for kind, (hook, _) in _KINDS.items()
                    for found in (getattr(record.module, hook)() if hasattr(record.module, hook) else ())
                ]
            except Exception as problem:  # a plugin's hook may raise anything
                if strict or record.distribution == BUILT_IN:
                    raise
                warnings.warn(f"mmframe: {problem}", stacklevel=2)
                kept.append(attrs.evolve(record, error=str(problem), module=None))
                continue
            entries.extend(mine)
            manager.register(record.module, name=f"{record.distribution}/{record.name}")
            kept.append(record)
        return cls(tuple(entries), tuple(kept), manager)

    @cached_property
    def _by_kind(self) -> dict[str, tuple[Entry, ...]]:
        return {kind: tuple(e for e in self.entries if e.kind == kind) for kind in _KINDS}

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        return self._by_kind[kind]

    def names(self, kind: str) -> list[str]:
        return sorted({name for e in self.of_kind(kind) for name in (e.name, *e.aliases)})

    def find(self, kind: str, name: str, where: str) -> Entry:
        """The entry that a bare or qualified name means.

        Raises UnknownNameError with the nearest name, AmbiguousNameError where two packages share the bare name.
        """
        mine = self.of_kind(kind)
        if "/" in name:
            distribution, bare = name.split("/", 1)
            exact = [e for e in mine if e.distribution == distribution and bare in (e.name, *e.aliases)]
            if exact:
                return exact[0]
        else:
            found = [e for e in mine if name in (e.name, *e.aliases)]
            own = [e for e in found if e.distribution == BUILT_IN]
            if own:
                return own[0]
            if len(found) > 1:
                raise AmbiguousNameError(
                    Issue(
                        where,
                        f"the {kind} {name!r} is offered by {' and '.join(sorted(e.distribution for e in found))}",
                        ", ".join(sorted(e.qualified for e in found)),
                        "write one of these qualified names",
                    )
                )
            if found:
                return found[0]
        issue = unknown(where, kind, name, [*self.names(kind), *([e.qualified for e in mine] if "/" in name else [])])
        failed = [r for r in self.records if r.error]
        if failed:
            told = "; ".join(f"{r.name} of {r.distribution} failed to load ({r.error})" for r in failed)
            issue = attrs.evolve(issue, remedy=f"{issue.remedy} · plugins: {told}".strip(" ·"))
        raise UnknownNameError(issue)

    def create(self, kind: str, name: str, options: Mapping[str, Any], where: str) -> Any:
        """An instance with options. Raises SpecError for an unknown, missing or wrongly typed option."""
        entry = self.find(kind, name, where)
        known = entry.options
        issues = [unknown(f"{where}: {name}", "option", o, known) for o in options if o not in known]
        issues += [
            Issue(where, f"{name!r} needs the option {o!r}", "", f"give {o}=...")
            for o, default in known.items()
            if default is attrs.NOTHING and o not in options
        ]
        for option, value in options.items():
            default = known.get(option, attrs.NOTHING)
            if (
                isinstance(default, bool) != isinstance(value, bool)
                and default is not attrs.NOTHING
                and default is not None
            ):
                issues.append(Issue(where, f"{option}={value!r}", f"a value like {default!r}"))
            elif isinstance(default, int) and not isinstance(default, bool) and not isinstance(value, int):
                issues.append(Issue(where, f"{option}={value!r}", "a whole number"))
            elif isinstance(default, (int, float)) and not isinstance(value, (int, float)):
                issues.append(Issue(where, f"{option}={value!r}", "a number"))
        if issues:
            raise SpecError(issues)
        try:
            return entry.cls(**options)
        except (TypeError, ValueError) as problem:
            raise SpecError(
                Issue(where, f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})", "", str(problem))
            ) from None

    def qualified_name(self, obj: Any) -> str | None:
        """The qualified name of an instance's class, if it is registered."""
        return next((e.qualified for e in self.entries if e.cls is type(obj)), None)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an observer hook; an observer that fails is warned of, and never stops a fit."""
        caller = getattr(self.manager.hook, hook)
        if not caller.get_hookimpls():
            return
        try:
            caller(**arguments)
        except Exception as problem:
            warnings.warn(f"mmframe: an observer of {hook} failed: {type(problem).__name__}: {problem}", stacklevel=2)


@lru_cache(maxsize=1)
def default_registry() -> Registry:
    """Built-ins and installed plugin packages, loaded once a process."""
    return Registry.from_records(load_all())


def strict_registry() -> Registry:
    """As `default_registry`, but a plugin that fails to load is an error."""
    return Registry.from_records(load_all(strict=True), strict=True)
