"""Observers: plugins that hear of a fit. One that fails is warned of once, and hears no more of that fit; the fit goes on."""

from __future__ import annotations

import warnings
from typing import Any

import pluggy
from attrs import define, field


@define(eq=False)
class Observers:
    """The observers of one fit, each called alone, so that one that fails keeps none from hearing."""

    manager: pluggy.PluginManager
    _failed: set[int] = field(factory=set)

    def hear(self, hook: str) -> bool:
        """Whether anybody listens: what happens often need not be told to nobody."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every observer that has not failed yet."""
        if not self.hear(hook):
            return
        plugins = self.manager.get_plugins()
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):  # in pluggy's order
            if id(impl.plugin) in self._failed:
                continue
            alone = self.manager.subset_hook_caller(hook, plugins - {impl.plugin})
            try:
                alone(**arguments)
            except Exception as problem:  # somebody's observer may raise anything
                self._failed.add(id(impl.plugin))
                warnings.warn(
                    f"mmframe: the observer {impl.plugin_name} failed in {hook}, and hears no more of this fit:"
                    f" {type(problem).__name__}: {problem}",
                    stacklevel=2,
                )
