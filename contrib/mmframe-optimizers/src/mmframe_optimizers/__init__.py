"""Optimizer stages on third-party optimisers: `bobyqa`, `subplex` (NLopt), `pybobyqa`, `cobyqa` and `trust_region` (scipy)."""

from __future__ import annotations

from mmframe.api import OptimizerStage, hookimpl
from mmframe_optimizers.bobyqa import BOBYQA
from mmframe_optimizers.cobyqa import COBYQA
from mmframe_optimizers.pybobyqa import PyBOBYQA
from mmframe_optimizers.subplex import Subplex
from mmframe_optimizers.trust_region import TrustRegion

__all__ = ["BOBYQA", "COBYQA", "PyBOBYQA", "Subplex", "TrustRegion"]


@hookimpl
def mmframe_optimizer_stages() -> list[type[OptimizerStage]]:
    return [BOBYQA, COBYQA, PyBOBYQA, Subplex, TrustRegion]
