"""What prediction needs to encode new data as the data were: every part of a model with what was learnt from the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from mmframe.design.bases import Basis
from mmframe.design.encoding import FormulaEncoding


@frozen(eq=False)
class TermEncoding:
    """How one random-effects term becomes columns.   by: the column, and the level, to which it is confined."""

    group: tuple[str, ...]
    basis: Basis
    by: tuple[str, Any] | None = None


@frozen(eq=False)
class Encoding:
    """All that prediction needs: fixed effects, terms, categories, the offset's column, and user functions."""

    fixed: FormulaEncoding
    kept: tuple[int, ...]
    terms: tuple[TermEncoding, ...]
    categorical: dict[str, list[Any]]
    offset: str | None
    fixed_columns: tuple[str, ...]
    term_columns: tuple[tuple[str, ...], ...]
    transforms: Mapping[str, Callable[..., Any]]
