"""Loads plugins: the built-in modules, then entry points, each alone so that one cannot break another."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from multiprocessing import current_process
from types import ModuleType
from typing import Any

from attrs import evolve, field, frozen

from mmframe.errors import PluginError
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
    except PluginError as problem:
        return evolve(record, error=str(problem), module=None)
    except Exception as problem:
        return evolve(record, error=f"{type(problem).__name__}: {problem}", module=None)


def load_all(entries: Iterable[EntryPoint] | None = None) -> tuple[PluginRecord, ...]:
    """Built-ins first, then entry points in sorted order. A failure is a record, and is warned of."""
    records = [*built_ins()]
    chosen = _installed() if entries is None else entries
    for entry in sorted(chosen, key=lambda e: (normalised(e.dist.name) if e.dist else "", e.name, e.group)):
        distribution = normalised(entry.dist.name) if entry.dist else entry.value
        version = entry.dist.version if entry.dist else "unknown"
        if _wanted(distribution, entry.name):
            records.append(_loaded(entry, PluginRecord(entry.name, distribution, version)))
    current = {r.distribution for r in records if r.error is None}
    # a package that serves several versions of the surface has one for this version
    return tuple(r for r in records if r.error is None or not (_of_another_version(r) and r.distribution in current))


def _installed() -> list[EntryPoint]:
    return [entry for group in entry_points().groups if _GROUP.fullmatch(group) for entry in entry_points(group=group)]


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
        return evolve(record, error=_wrong_group(entry.group))
    try:
        module = entry.load()
    except Exception as problem:  # an import may raise anything
        return evolve(record, error=f"{type(problem).__name__}: {problem}")
    return examined(evolve(record, module=module))


_NEWER, _OLDER = "upgrade mmframe, or install an older release of the plugin", "upgrade the plugin"


def _wrong_group(group: str) -> str:
    """Known before anything of the plugin is imported."""
    version = _GROUP.fullmatch(group)
    if version is None or group != f"{hookspecs.PROJECT}.v{version[1]}" or not version[1]:
        return f"its entry point is in the group {group!r}; allowed: {hookspecs.ENTRY_POINT_GROUP!r}"
    remedy = _NEWER if int(version[1]) > hookspecs.API_VERSION else _OLDER
    return (
        f"it is written for version {version[1]} of the plugin surface, and this mmframe has version"
        f" {hookspecs.API_VERSION} · {remedy}"
    )


def _of_another_version(record: PluginRecord) -> bool:
    return record.error is not None and record.error.endswith((_NEWER, _OLDER))


def warn_of(records: Iterable[PluginRecord]) -> None:
    """One warning for each plugin that failed; the workers of a process keep silent, it has said so."""
    if current_process().name != "MainProcess":
        return
    for record in records:
        if record.error is not None:
            warnings.warn(f"mmframe: {record.label} was not loaded: {record.error}", stacklevel=3)
