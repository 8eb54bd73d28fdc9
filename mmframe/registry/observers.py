"""Observers: plugins that hear of a fit. One that fails is warned of once, and hears no more of that fit; the fit goes on."""

from __future__ import annotations

import warnings
from contextvars import ContextVar
from typing import Any

import pluggy
from attrs import define, field

from mmframe.errors import PluginWarning, told

# A fit that an observer makes is told to nobody: it would be told to that observer.
_TELLING: ContextVar[bool] = ContextVar("_TELLING", default=False)


@define(eq=False)
class Observers:
    """The observers of one fit, each called alone, so that one that fails keeps none from hearing."""

    manager: pluggy.PluginManager
    _failed: set[int] = field(factory=set)

    def hear(self, hook: str) -> bool:
        """Whether anybody listens: what happens often need not be told to nobody."""
        return not _TELLING.get() and bool(getattr(self.manager.hook, hook).get_hookimpls())

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call a hook of every observer that has not failed yet."""
        if not self.hear(hook):
            return
        plugins = self.manager.get_plugins()
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):  # in pluggy's order
            if id(impl.plugin) in self._failed:
                continue
            alone = self.manager.subset_hook_caller(hook, plugins - {impl.plugin})
            token = _TELLING.set(True)
            try:
                alone(**arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as problem:  # somebody's observer may raise anything, and call sys.exit()
                self._failed.add(id(impl.plugin))
                said = f"mmframe: the observer {impl.plugin_name} failed in {hook}, and hears no more of this fit"
                warnings.warn(f"{said}: {told(problem)}", PluginWarning, stacklevel=2)
            finally:
                _TELLING.reset(token)
