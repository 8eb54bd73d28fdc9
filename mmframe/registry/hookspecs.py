"""The extension points of version 1 of the plugin surface. None is `firstresult`: hooks collect classes, and the registry
validates and selects. docs/reference/hooks.md has a section on each, with its exact signature.

A hook that goes is marked `@hookspec(warn_on_impl=...)`, an argument that goes `warn_on_impl_args={...}`, for at least one
minor release: pluggy then tells the author of each plugin that still has it, at the line of the plugin. A hook may gain arguments at
any time, since a plugin names those that it takes. What else would break a plugin comes with a new version of the surface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from mmframe.covariance.parameterization import Parameterization
    from mmframe.covariance.structure import CovarianceStructure
    from mmframe.model import Model
    from mmframe.optimize.stage import OptimizerStage, StageOutcome, TraceRow
    from mmframe.results.result import FitResult

PROJECT = "mmframe"
API_VERSION = 1
ENTRY_POINT_GROUP = f"{PROJECT}.v{API_VERSION}"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:  # type: ignore[empty-body]
    """Classes of covariance structures and variance functions."""


@hookspec
def mmframe_parameterizations() -> list[type[Parameterization]]:  # type: ignore[empty-body]
    """Classes of parameterizations."""


@hookspec
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:  # type: ignore[empty-body]
    """Classes of optimizer stages."""


@hookspec
def mmframe_fit_started(model: Model) -> None:
    """Called before the first stage, with the model that is fitted."""


@hookspec
def mmframe_iteration(row: TraceRow) -> None:
    """Called after each iteration of a stage, with the line of the trace that it wrote."""


@hookspec
def mmframe_stage_finished(name: str, outcome: StageOutcome, value: float) -> None:
    """Called after each stage, with its name, its outcome and −2 log L."""


@hookspec
def mmframe_fit_finished(result: FitResult) -> None:
    """Called with the result, converged or not; not where the fit raised an error."""


def hooks_of(specs: Any) -> tuple[str, ...]:
    """The names of the hooks that a module of specifications declares."""
    return tuple(name for name in vars(specs) if name.startswith(f"{PROJECT}_"))
