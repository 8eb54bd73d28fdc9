"""Optional packages: imported when a stage runs, with a plain sentence where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mmframe.api import Issue, MissingPackageError


def needed(package: str, module: str, stage: str, extra: str) -> Any:
    """The module of an optional package. Raises MissingPackageError, which says what to install."""
    try:
        return import_module(module)
    except ImportError as problem:
        raise MissingPackageError(
            Issue(
                f"stage {stage!r}",
                f"the package {package} cannot be imported ({problem})",
                "a stage whose package is installed",
                f"pip install 'mmframe-optimizers[{extra}]'",
            )
        ) from problem
