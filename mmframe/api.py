"""All that a plugin may import: the versioned surface (API version 1, entry-point group `mmframe.v1`).

The built-in plugins import only this module, numpy, scipy and attrs. What a third party meets:

- a covariance structure subclasses `CovarianceStructure` and is returned by the hook `mmframe_covariance_structures`;
- a parameterization subclasses `Parameterization` (with `Bijection`), hook `mmframe_parameterizations`;
- a stage subclasses `OptimizerStage` and sees a `Problem` and a `Monitor`, hook `mmframe_optimizer_stages`;
- what gives known relationships between levels (a pedigree, a tree) returns a `Relationship`;
- what asks more of a fit takes a `FitResult`, and refits its `Model` (`Model.of(fit)`) with parameters held or another response;
- observers implement `mmframe_fit_started`, `mmframe_iteration`, `mmframe_stage_finished` or `mmframe_fit_finished`.
"""

from __future__ import annotations

from mmframe.covariance.bijections import Bijection, Identity, LogElementwise, RootElementwise
from mmframe.covariance.domain import (
    Box,
    Domain,
    Interval,
    OutsideDomainError,
    Positive,
    PositiveDefinite,
    Psd,
    Real,
    unvech,
    vech,
    vech_basis,
    vech_indices,
)
from mmframe.covariance.matrix_bijections import CholeskyEntries, LogCholeskyEntries, MatrixEntries
from mmframe.covariance.parameterization import ABSOLUTE, RELATIVE, Parameterization, Scale
from mmframe.covariance.structure import (
    COORDINATES,
    POSITION,
    UNORDERED,
    CovarianceStructure,
    IndexKind,
    Param,
    Phi,
    Points,
    Reading,
    distances,
    lags,
    same_point,
)
from mmframe.design.relationship import Relationship
from mmframe.errors import Issue, MissingPackageError
from mmframe.model import Model
from mmframe.optimize.problem import Problem
from mmframe.optimize.stage import BudgetExhaustedError, Monitor, OptimizerStage, StageOutcome, StopReason, TraceRow
from mmframe.registry.hookspecs import API_VERSION, hookimpl
from mmframe.results.result import FitResult

__all__ = [
    "ABSOLUTE",
    "API_VERSION",
    "COORDINATES",
    "POSITION",
    "RELATIVE",
    "UNORDERED",
    "Bijection",
    "Box",
    "BudgetExhaustedError",
    "CholeskyEntries",
    "CovarianceStructure",
    "Domain",
    "FitResult",
    "Identity",
    "IndexKind",
    "Interval",
    "Issue",
    "LogCholeskyEntries",
    "LogElementwise",
    "MatrixEntries",
    "MissingPackageError",
    "Model",
    "Monitor",
    "OptimizerStage",
    "OutsideDomainError",
    "Param",
    "Parameterization",
    "Phi",
    "Points",
    "Positive",
    "PositiveDefinite",
    "Problem",
    "Psd",
    "Reading",
    "Real",
    "Relationship",
    "RootElementwise",
    "Scale",
    "StageOutcome",
    "StopReason",
    "TraceRow",
    "distances",
    "hookimpl",
    "lags",
    "same_point",
    "unvech",
    "vech",
    "vech_basis",
    "vech_indices",
]
