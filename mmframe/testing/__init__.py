"""The conformance kit: one call that checks a plugin against the rules of its interface. For authors of plugins.

Each function returns the names of the checks that passed and raises AssertionError with a sentence about the first that
did not:

    from mmframe.testing import check_covariance_structure
    check_covariance_structure(MyStructure(power=0.5))
"""

from __future__ import annotations

from typing import Any

from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.optimize.stage import OptimizerStage
from mmframe.testing.parameterizations import check_parameterization
from mmframe.testing.stages import check_stage
from mmframe.testing.structures import check_covariance_structure


def check(plugin: Any) -> list[str]:
    """Check a structure, a parameterization or a stage: a class (with default options) or an instance."""
    instance = plugin() if isinstance(plugin, type) else plugin
    if isinstance(instance, CovarianceStructure):
        return check_covariance_structure(instance)
    if isinstance(instance, Parameterization):
        return check_parameterization(instance)
    if isinstance(instance, OptimizerStage):
        return check_stage(instance)
    raise TypeError(f"{plugin!r} is not a covariance structure, a parameterization or an optimizer stage")


__all__ = ["check", "check_covariance_structure", "check_parameterization", "check_stage"]
