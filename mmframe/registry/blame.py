"""Whose code raised: a plugin that fails in the middle of a fit is named, and what it raised is kept as the cause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.domain import Domain
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.errors import MmframeError, PluginError, told
from mmframe.optimize.problem import Problem
from mmframe.optimize.stage import Monitor, OptimizerStage
from mmframe.registry.registry import Registry

_KINDS: tuple[tuple[type, str], ...] = (
    (CovarianceStructure, "covariance structure"),
    (Parameterization, "parameterization"),
    (Bijection, "bijection"),
    (Domain, "domain"),
    (OptimizerStage, "stage"),
)


@contextmanager
def naming_plugins(registry: Registry) -> Iterator[None]:
    """Turns what a third party's structure, parameterization or stage raised into a PluginError that names it.

    Errors of mmframe's own kinds, and those that no plugin had a hand in, go on as they are.
    """
    try:
        yield
    except MmframeError:
        raise
    except (Exception, SystemExit) as problem:
        said = _accusation(problem, registry)
        if said is None:
            raise
        raise PluginError(f"{said} raised {told(problem)}") from problem


def _accusation(problem: BaseException, registry: Registry) -> str | None:
    """The innermost of the frames that ran a method of a third party's class, in words."""
    frames: list[FrameType] = []
    step = problem.__traceback__
    while step is not None:
        frames.append(step.tb_frame)
        step = step.tb_next
    for frame in reversed(frames):
        code = frame.f_code
        plugin = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if str(frame.f_globals.get("__name__")).startswith("mmframe."):
            if isinstance(plugin, (Problem, Monitor)):
                return None  # raised inside what a stage asked for, not by it
            continue
        for base, kind in _KINDS:
            if isinstance(plugin, base) and not type(plugin).__module__.startswith("mmframe."):
                return f"the {kind} {_named(plugin, registry)}, in {code.co_name}(),"
    return None


def _named(plugin: Any, registry: Registry) -> str:
    entry = next((e for e in registry.entries if e.cls is type(plugin)), None)
    if entry is not None:
        return f"{entry.qualified} {entry.version}"
    return f"{getattr(plugin, 'name', type(plugin).__name__)!r} ({type(plugin).__module__}.{type(plugin).__qualname__})"
