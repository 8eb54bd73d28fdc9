"""Encoding: formulas and columns to matrices, and later new data in just the same way.

formulaic materialises every formula of a model in one pass. What it learns from the data (levels, knots, means) is kept
as plain values in an `Encoding`, which can be written as JSON and applied to new data in another process.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from formulaic import Formula, ModelSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.materializers import PandasMaterializer
from formulaic.parser.types import Factor, Token

from mmframe.covariance.domain import Array
from mmframe.design.frame import recode
from mmframe.errors import DataError, Issue, SpecError
from mmframe.spec.expressions import EXTRA
from mmframe.spec.sides import check_side, tokens_of


@frozen
class Part:
    """One term of a right-hand side: its factors, as written, with the kind of each ("numerical", "categorical"), and the place
    of its columns in a matrix."""

    name: str
    factors: tuple[str, ...]
    kinds: dict[str, str]
    place: slice


@frozen(eq=False)
class FormulaEncoding:
    """One right-hand side, with what was learnt from the data.

    levels: for each categorical factor its categories.   state: what stateful transforms remember.
    """

    formula: str
    columns: tuple[str, ...]
    kinds: dict[str, str]
    levels: dict[str, Any]
    state: dict[str, Any]
    terms: tuple[tuple[str, tuple[str, ...]], ...]

    def apply(self, frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]]) -> Array:
        """The matrix (n, columns) of new data. Raises DataError for levels that were not seen."""
        made = self._made(frame, transforms, full_rank=True)
        names = tuple(str(c) for c in made.model_spec.column_names)
        if names != self.columns:
            raise DataError(f"new data: {self.formula!r} gave the columns {names}, not {self.columns}")
        return np.asarray(made, dtype=float)

    def overparameterized(
        self, frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]]
    ) -> tuple[Array, tuple[Part, ...]]:
        """The matrix with a column for every level of every factor, none of them taken as a base, and its terms."""
        made = self._made(frame, transforms, full_rank=False)
        parts, end = [], 0
        for term, _, columns in made.model_spec.structure:
            start, end = end, end + len(columns)
            factors = tuple(f.expr for f in term.factors if f.expr in self.kinds)
            parts.append(Part(str(term), factors, {f: self.kinds[f] for f in factors}, slice(start, end)))
        return np.asarray(made, dtype=float), tuple(parts)

    def _in_categories(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns that are factors by themselves with the levels that were fitted: formulaic reads plain numbers as numbers."""
        changed = {}
        for factor, kind in self.kinds.items():
            name = factor.strip("`")
            levels = self.levels.get(factor)
            if kind != "categorical" or levels is None or name not in frame.columns:
                continue
            dtype = frame[name].dtype
            if not (isinstance(dtype, pd.CategoricalDtype) and list(dtype.categories) == list(levels)):
                changed[name] = recode(frame[name], list(levels))
        return frame.assign(**changed) if changed else frame

    def _made(self, frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]], *, full_rank: bool) -> Any:
        encoders = {
            name: (Factor.Kind(kind), {"categories": list(self.levels[name])} if name in self.levels else {})
            for name, kind in self.kinds.items()
        }
        spec = ModelSpec(
            formula=_parsed(self.formula, frozenset(transforms)),
            output="numpy",
            na_action="ignore",
            ensure_full_rank=full_rank,
            transform_state=_copied(self.state),
            encoder_state=encoders,
        )
        frame = self._in_categories(frame)
        with warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)
            try:
                with np.errstate(all="ignore"):  # what is not finite is found, and named, afterwards
                    return _materializer(frame, transforms).get_model_matrix(spec)
            except DataMismatchWarning as problem:
                raise DataError(f"new data: {problem}") from None
            except FormulaicError as problem:
                raise DataError(f"new data: {self.formula!r} cannot be evaluated: {problem}") from None


@lru_cache(maxsize=256)
def _parsed(text: str, transforms: frozenset[str]) -> Formula:
    """The only way to formulaic: whatever the text's origin, it is checked here, right before it is evaluated."""
    return Formula(check_side(text, transforms))


def written_terms(text: str, transforms: Mapping[str, Callable[..., Any]]) -> tuple[str, ...]:
    """The terms of a right-hand side in the order in which they are written, where formulaic sorts them by degree. What a
    power expands to is nowhere written, and stays sorted."""
    checked = check_side(text, frozenset(transforms))
    powers = any(t.kind is Token.Kind.OPERATOR and "**" in t.token for t in tokens_of(checked, "formula"))
    return tuple(str(term) for term in Formula(checked, _ordering="degree" if powers else "none"))


def _copied(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    return state


def _materializer(frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]]) -> PandasMaterializer:
    # formulaic takes pandas' nullable text for numbers
    text = [c for c, dtype in frame.dtypes.items() if isinstance(dtype, pd.StringDtype) and dtype.na_value is pd.NA]
    plain = frame.astype(dict.fromkeys(text, object)) if text else frame
    return PandasMaterializer(plain, context={**EXTRA, **transforms})


def encode(
    formulas: Mapping[str, str], frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]]
) -> dict[str, tuple[Array, FormulaEncoding]]:
    """Each formula's matrix (by columns) and encoding, from one pass over the data; equal formulas are made once."""
    keys = {text: f"formula_{k}" for k, text in enumerate(dict.fromkeys(formulas.values()))}
    try:
        specs = Formula(**{key: _parsed(text, frozenset(transforms)) for text, key in keys.items()})
        with np.errstate(all="ignore"):  # what is not finite is found, and named, afterwards
            made = _materializer(frame, transforms).get_model_matrix(specs, output="numpy", na_action="ignore")
    except FormulaicError as problem:
        raise SpecError(
            Issue("formula", str(problem).splitlines()[0], "", "see the formula language in the docs")
        ) from None
    except (TypeError, ValueError, ZeroDivisionError) as problem:
        raise DataError(f"formula: {' ; '.join(keys)!r} cannot be evaluated on the data: {problem}") from None
    # formulaic keeps the state of a factor with the formula that met it first; every formula needs it
    state = {name: kept for key in keys.values() for name, kept in made[key].model_spec.encoder_state.items()}
    done = {text: _encoded(text, made[key], state) for text, key in keys.items()}
    return {key: done[text] for key, text in formulas.items()}


def _encoded(text: str, matrix: Any, encoder_state: Mapping[str, Any]) -> tuple[Array, FormulaEncoding]:
    spec = matrix.model_spec
    kinds = {name: kind.value for name, (kind, _) in encoder_state.items()}
    levels = {name: list(state["categories"]) for name, (_, state) in encoder_state.items() if "categories" in state}
    terms = tuple((str(term), tuple(str(c) for c in columns)) for term, _, columns in spec.structure)
    names = tuple(str(c) for c in spec.column_names)
    encoding = FormulaEncoding(text, names, kinds, levels, dict(spec.transform_state), terms)
    return np.asfortranarray(matrix, dtype=float), encoding
