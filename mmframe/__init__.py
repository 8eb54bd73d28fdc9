"""mmframe: linear mixed-effects models, with every part a plugin."""

__version__ = "0.1.0"

from mmframe import datasets, pictures
from mmframe.builder import ModelBuilder
from mmframe.comparison import compare
from mmframe.compat.mixedlm import MixedLM
from mmframe.design.relationship import Relationship
from mmframe.errors import (
    DataError,
    EngineRefusedError,
    FormulaError,
    IdentifiabilityWarning,
    MmframeError,
    PluginError,
    SpecError,
    StoreError,
)
from mmframe.fitting import fit, fit_spec
from mmframe.model import Model
from mmframe.results.result import FitResult
from mmframe.results.store import load
from mmframe.spec.model import ModelSpec
from mmframe.spec.yaml_text import load_spec

__all__ = [
    "DataError",
    "EngineRefusedError",
    "FitResult",
    "FormulaError",
    "IdentifiabilityWarning",
    "MixedLM",
    "MmframeError",
    "Model",
    "ModelBuilder",
    "ModelSpec",
    "PluginError",
    "Relationship",
    "SpecError",
    "StoreError",
    "__version__",
    "compare",
    "datasets",
    "fit",
    "fit_spec",
    "load",
    "load_spec",
    "pictures",
]
