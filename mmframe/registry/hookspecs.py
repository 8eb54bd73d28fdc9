"""The extension points. None is `firstresult`: hooks collect classes, and the registry validates and selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from mmframe.covariance.parameterization import Parameterization
    from mmframe.covariance.structure import CovarianceStructure
    from mmframe.optimize.stage import OptimizerStage

PROJECT = "mmframe"
ENTRY_POINT_GROUP = "mmframe.v1"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:  # type: ignore[empty-body]
    """Classes of covariance structures."""


@hookspec
def mmframe_parameterizations() -> list[type[Parameterization]]:  # type: ignore[empty-body]
    """Classes of parameterizations."""


@hookspec
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:  # type: ignore[empty-body]
    """Classes of optimizer stages."""


@hookspec
def mmframe_fit_started(spec: Any, design: Any) -> None:
    """Called before the first stage, with the ModelSpec and the Design."""


@hookspec
def mmframe_stage_finished(name: str, outcome: Any, value: float) -> None:
    """Called after each stage, with its name, its StageOutcome and −2 log L."""


@hookspec
def mmframe_fit_finished(result: Any) -> None:
    """Called with the FitResult."""
