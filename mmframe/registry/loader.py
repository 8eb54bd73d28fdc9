"""Loads plugins: the built-in modules, then entry points, each alone so that one cannot break another."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distributions, entry_points
from multiprocessing import current_process
from types import ModuleType
from typing import Any

from attrs import evolve, field, frozen

from mmframe.errors import PluginError, PluginWarning, told
from mmframe.registry import hookspecs
from mmframe.registry.rules import Offer, examine

BUILT_IN = "mmframe"
_GROUP = re.compile(r"mmframe\W?_?v?(\d*)", re.IGNORECASE)  # what may have been meant for the group


@frozen
class PluginRecord:
    """One plugin: where it came from, what it offers, and why it failed, if it did.

    name: of the entry point (a built-in's: of the module).   distribution: under its normalised name.
    """

    name: str
    distribution: str
    version: str
    error: str | None = None
    module: Any = field(default=None, repr=False, eq=False)
    hooks: tuple[str, ...] = ()
    offers: tuple[Offer, ...] = ()
    other_version: bool = False  # written for another version of the surface

    @property
    def label(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


def normalised(distribution: str) -> str:
    """The name of a distribution as package indexes compare it: `My_Plugin` is `my-plugin` (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def examined(record: PluginRecord) -> PluginRecord:
    """With what its module offers, or with the error. Never raises: a third party's code may raise anything."""
    try:
        hooks, offers = examine(record.module)
        return evolve(record, hooks=hooks, offers=offers)
    except KeyboardInterrupt:
        raise
    except PluginError as problem:
        return evolve(record, error=str(problem), module=None)
    except BaseException as problem:  # sys.exit() too
        return evolve(record, error=told(problem), module=None)


def load_all(entries: Iterable[EntryPoint] | None = None) -> tuple[PluginRecord, ...]:
    """Built-ins first, then entry points in sorted order. A failure is a record, and is warned of."""
    records = [*built_ins()]
    chosen = _installed() if entries is None else entries
    for entry in sorted(chosen, key=lambda e: (_distribution(e), e.name, e.group)):
        distribution, version = _distribution(entry), (entry.dist and entry.dist.version) or "unknown"
        if _wanted(distribution, entry.name):
            records.append(_loaded(entry, PluginRecord(entry.name, distribution, version)))
    current = {r.distribution for r in records if r.error is None}
    # a package that serves several versions of the surface has one for this version
    return tuple(r for r in records if not (r.other_version and r.distribution in current))


def _distribution(entry: EntryPoint) -> str:
    """Its normalised name; where the metadata are gone, as after an interrupted removal, what the entry point names."""
    return normalised((entry.dist and entry.dist.name) or entry.value)


def _installed() -> list[EntryPoint]:
    try:
        groups = [group for group in entry_points().groups if _GROUP.fullmatch(group)]
        return [entry for group in groups for entry in entry_points(group=group)]
    except Exception:  # one distribution whose entry points cannot be read would hide those of all others
        return [entry for one in distributions() for entry in _readable(one) if _GROUP.fullmatch(entry.group)]


def _readable(distribution: Any) -> list[EntryPoint]:
    try:
        return list(distribution.entry_points)
    except Exception:
        return []


def built_ins() -> tuple[PluginRecord, ...]:
    """The plugins that come with mmframe. They are examined like any other, and must be right."""
    from mmframe import __version__

    return tuple(
        _right(examined(PluginRecord(m.__name__.rsplit(".", 1)[1], BUILT_IN, __version__, None, m)))
        for m in built_in_modules()
    )


def built_in_modules() -> list[ModuleType]:
    import mmframe.plugins

    found = []
    for package in pkgutil.iter_modules(mmframe.plugins.__path__, "mmframe.plugins."):
        parent = importlib.import_module(package.name)
        for info in pkgutil.iter_modules(parent.__path__, package.name + "."):
            if not info.name.rsplit(".", 1)[1].startswith("_"):  # what several of them share
                found.append(importlib.import_module(info.name))
    return found


def _right(record: PluginRecord) -> PluginRecord:
    if record.error is not None:
        raise PluginError(f"{record.label}: {record.error}")
    return record


def _wanted(distribution: str, name: str) -> bool:
    """`MMFRAME_PLUGINS=none|a,b` limits what loads, by distribution or entry-point name."""
    limit = os.environ.get("MMFRAME_PLUGINS")
    if limit is None:
        return True
    allowed = {part.strip() for part in limit.split(",") if part.strip()}
    return bool({distribution, name} & (allowed | {normalised(part) for part in allowed}))


def _loaded(entry: EntryPoint, record: PluginRecord) -> PluginRecord:
    if entry.group != hookspecs.ENTRY_POINT_GROUP:
        return _of_wrong_group(entry.group, record)
    try:
        module = entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as problem:  # an import may raise anything, and call sys.exit()
        return evolve(record, error=told(problem))
    return examined(evolve(record, module=module))


def _of_wrong_group(group: str, record: PluginRecord) -> PluginRecord:
    """Known before anything of the plugin is imported."""
    version = _GROUP.fullmatch(group)
    if version is None or group != f"{hookspecs.PROJECT}.v{version[1]}" or not version[1]:
        error = f"its entry point is in the group {group!r}; allowed: {hookspecs.ENTRY_POINT_GROUP!r}"
        return evolve(record, error=error)
    newer = int(version[1]) > hookspecs.API_VERSION
    remedy = "upgrade mmframe, or install an older release of the plugin" if newer else "upgrade the plugin"
    error = (
        f"it is written for version {version[1]} of the plugin surface, and this mmframe has version"
        f" {hookspecs.API_VERSION} · {remedy}"
    )
    return evolve(record, error=error, other_version=True)


def warn_of(records: Iterable[PluginRecord]) -> None:
    """One warning for each plugin that failed; the workers of a process keep silent, it has said so."""
    if current_process().name != "MainProcess":
        return
    for record in records:
        if record.error is not None:
            warnings.warn(f"mmframe: {record.label} was not loaded: {record.error}", PluginWarning, stacklevel=3)
