"""Loads plugins: the built-in modules, then entry points, each vetted alone so that one cannot break another."""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import pluggy
from attrs import field, frozen

from mmframe.errors import PluginError, nearest
from mmframe.registry import hookspecs

BUILT_IN = "mmframe"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("mmframe_"))


@frozen
class PluginRecord:
    """One plugin: where it came from, and why it failed, if it did."""

    name: str
    distribution: str
    version: str
    error: str | None = None
    module: Any = field(default=None, repr=False, eq=False)


def new_manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def vet(module: Any) -> None:
    """Register in a scratch manager; raises PluginError where a hook is misspelt or takes unknown arguments."""
    scratch = new_manager()
    try:
        scratch.register(module)
        scratch.check_pending()
    except pluggy.PluginValidationError as problem:
        names = [n for n in dir(module) if n.startswith("mmframe_") and n not in HOOKS]
        hint = f" · {nearest(names[0], HOOKS)}" if names else ""
        raise PluginError(f"{problem}{hint} · hooks: {', '.join(HOOKS)}") from None


def built_in_modules() -> list[ModuleType]:
    import mmframe.plugins

    found = []
    for package in pkgutil.iter_modules(mmframe.plugins.__path__, "mmframe.plugins."):
        parent = importlib.import_module(package.name)
        for info in pkgutil.iter_modules(parent.__path__, package.name + "."):
            found.append(importlib.import_module(info.name))
    return found


def _wanted(distribution: str, name: str) -> bool:
    """`MMFRAME_PLUGINS=none|a,b` limits what loads, by distribution or entry-point name."""
    limit = os.environ.get("MMFRAME_PLUGINS")
    if limit is None:
        return True
    allowed = {part.strip() for part in limit.split(",") if part.strip()}
    return allowed != {"none"} and bool({distribution, name} & allowed)


def load_all(entries: Iterable[EntryPoint] | None = None, *, strict: bool = False) -> tuple[PluginRecord, ...]:
    """Built-ins first, then entry points in sorted order; a failure is a record, warned of once."""
    from mmframe import __version__

    records = [
        PluginRecord(module.__name__.rsplit(".", 1)[1], BUILT_IN, __version__, None, module)
        for module in built_in_modules()
    ]
    chosen = entry_points(group=hookspecs.ENTRY_POINT_GROUP) if entries is None else entries
    for entry in sorted(chosen, key=lambda e: (e.dist.name if e.dist else "", e.name)):
        distribution = entry.dist.name if entry.dist else entry.value
        version = entry.dist.version if entry.dist else "unknown"
        if not _wanted(distribution, entry.name):
            continue
        try:
            module = entry.load()
            vet(module)
        except Exception as problem:  # a third party's import may raise anything; one must not stop the others
            message = f"{type(problem).__name__}: {problem}"
            if strict:
                raise PluginError(f"plugin {entry.name!r} of {distribution} {version} failed: {message}") from problem
            warnings.warn(
                f"mmframe: plugin {entry.name!r} of {distribution} {version} was not loaded: {message}", stacklevel=2
            )
            records.append(PluginRecord(entry.name, distribution, version, message))
            continue
        records.append(PluginRecord(entry.name, distribution, version, None, module))
    return tuple(records)
