"""The registry: which name means which class.

Names are bare (`ar1`) or qualified by the distribution (`mmframe-spatial/matern`). A built-in's bare name can be taken by
nobody; where two third parties share one, the bare name raises on use and shows both spellings. So installing a plugin
never changes a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any

import attrs
import pluggy
from attrs import frozen

from mmframe.errors import AmbiguousNameError, Issue, PluginError, SpecError, UnknownNameError, told, unknown
from mmframe.registry.loader import BUILT_IN, PluginRecord, load_all, normalised, warn_of
from mmframe.registry.observers import Observers
from mmframe.registry.rules import KINDS, PARAMETERIZATION, STAGE, STRUCTURE, new_manager, options_of

__all__ = [
    "PARAMETERIZATION",
    "STAGE",
    "STRUCTURE",
    "Entry",
    "Registry",
    "default_registry",
    "installed_registry",
    "strict_registry",
]


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
        return options_of(self.cls)


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
    def from_records(cls, records: Iterable[PluginRecord]) -> Registry:
        """Of plugins that were examined (`loader.examined`). Of several classes of one name in a distribution the later fail."""
        manager = new_manager()
        entries: dict[tuple[str, str, type], Entry] = {}
        kept: list[PluginRecord] = []
        for record in records:
            twice = _taken(record, entries.values())
            if twice is not None:
                record = attrs.evolve(record, error=f"its distribution has another class called {twice!r}", module=None)
            kept.append(record)
            if record.error is not None:
                continue
            for o in record.offers:  # two entry points may offer one class
                entry = Entry(o.kind, o.name, o.aliases, record.distribution, record.version, o.cls)
                entries.setdefault((o.kind, record.distribution, o.cls), entry)
            if not any(known is record.module for _, known in manager.list_name_plugin()):
                manager.register(record.module, name=f"{record.distribution}/{record.name}")
        return cls(tuple(entries.values()), tuple(kept), manager)

    @property
    def failures(self) -> tuple[PluginRecord, ...]:
        return tuple(r for r in self.records if r.error is not None)

    @cached_property
    def _by_kind(self) -> dict[str, tuple[Entry, ...]]:
        return {kind: tuple(e for e in self.entries if e.kind == kind) for kind in KINDS}

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
            distribution = normalised(distribution)
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
                        ", ".join(sorted(f"{e.distribution}/{name}" for e in found)),
                        "write one of these qualified names",
                    )
                )
            if found:
                return found[0]
        issue = unknown(where, kind, name, [*self.names(kind), *([e.qualified for e in mine] if "/" in name else [])])
        if self.failures:
            told = "; ".join(f"{r.name} of {r.distribution} failed to load ({r.error})" for r in self.failures)
            issue = attrs.evolve(issue, remedy=f"{issue.remedy} · plugins: {told}".strip(" ·"))
        raise UnknownNameError(issue)

    def create(self, kind: str, name: str, options: Mapping[str, Any], where: str) -> Any:
        """An instance with options. Raises SpecError for an unknown, missing or wrongly typed option, PluginError where the
        class fails."""
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
        written = f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"
        try:
            return entry.cls(**options)
        except (TypeError, ValueError) as problem:
            raise SpecError(Issue(where, written, "", str(problem))) from None
        except Exception as problem:  # somebody's class may raise anything
            said = f"the {kind} {entry.qualified} {entry.version} raised {told(problem)}"
            raise PluginError(f"{where}: {written}: {said}") from problem

    def qualified_name(self, obj: Any) -> str | None:
        """The qualified name of an instance's class, if it is registered."""
        return next((e.qualified for e in self.entries if e.cls is type(obj)), None)

    def observers(self) -> Observers:
        """Who wants to hear of one fit."""
        return Observers(self.manager)


def _taken(record: PluginRecord, entries: Iterable[Entry]) -> str | None:
    """A name that another class of the same distribution has already."""
    for offer in record.offers:
        for e in entries:
            if (e.kind, e.distribution) == (offer.kind, record.distribution) and e.cls is not offer.cls:
                shared = {e.name, *e.aliases} & {offer.name, *offer.aliases}
                if shared:
                    return sorted(shared)[0]
    return None


def default_registry() -> Registry:
    """Built-ins and installed plugin packages, loaded once a process, with one warning for each that failed."""
    registry = installed_registry()
    if not _SAID:
        _SAID.append(True)  # before it is said: where warnings are errors, one is enough
        warn_of(registry.records)
    return registry


_SAID: list[bool] = []


def strict_registry() -> Registry:
    """As `default_registry`, but a plugin that fails to load is an error. Raises PluginError."""
    registry = installed_registry()
    if registry.failures:
        raise PluginError("; ".join(f"{r.label} failed: {r.error}" for r in registry.failures))
    return registry


@lru_cache(maxsize=1)
def installed_registry() -> Registry:
    """As `default_registry`, without a word about what failed."""
    return Registry.from_records(load_all())
