"""What the kit shares with the registry: whether a class could be registered, and what comes with mmframe. Plugins are tried
beside that alone: somebody else's package must not decide whether yours is right."""

from __future__ import annotations

from typing import Any

import attrs

from mmframe.errors import PluginError
from mmframe.registry.loader import BUILT_IN
from mmframe.registry.registry import Entry, default_registry
from mmframe.registry.rules import offer


def built_in(kind: str) -> list[Entry]:
    """The registered classes of mmframe itself that need no option."""
    own = [e for e in default_registry().of_kind(kind) if e.distribution == BUILT_IN]
    return [e for e in own if attrs.NOTHING not in e.options.values()]


def registrable(kind: str, plugin: Any) -> None:
    """The registry would take its class. Raises AssertionError with what the registry says."""
    try:
        offer(kind, type(plugin))
    except PluginError as refused:
        raise AssertionError(f"it cannot be registered: {refused}") from None
