"""Assembly: a specification and a table to a `Design`. Rows with missing values go, in all parts alike."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import UNORDERED, IndexKind, Points
from mmframe.design.design import Design, DesignTerm, Grouping
from mmframe.design.encoding import Encoding, TermEncoding, encode
from mmframe.design.frame import as_categories, to_pandas
from mmframe.design.grouping import make_grouping
from mmframe.design.index import PointSet
from mmframe.design.orthogonal import independent_columns, orthonormal
from mmframe.design.relationship import as_relationship
from mmframe.errors import DataError, Issue, SpecError, UnknownNameError, unknown
from mmframe.spec.formula import columns_of, split_top
from mmframe.spec.model import ModelSpec, TermSpec

_RESPONSE, _FIXED = "response", "fixed"


def assemble(spec: ModelSpec, data: Any, index_kinds: tuple[IndexKind, ...]) -> Design:
    """The design of a model.

    index_kinds: for each term of spec.random what its structure takes as points.
    Raises SpecError (columns), DataError (empty, not numeric, not finite, constant, one level).
    """
    names = frozenset(spec.transforms)
    response, right = (part.strip() for part in spec.formula.split("~", 1))
    bases = [_basis_columns(term, kind, names) for term, kind in zip(spec.random, index_kinds, strict=True)]
    fixed_columns = columns_of(response, names) | columns_of(right, names)
    extra = {c for c in (spec.weights, spec.offset) if c is not None}
    used = set(fixed_columns).union(*bases, *(term.group for term in spec.random), extra)
    table = to_pandas(data, used | set(spec.categorical))
    frame, rows, n_missing = _complete(table, sorted(used), spec.missing)
    categorical: dict[str, list[Any]] = {}
    if spec.categorical:
        frame = frame.copy(deep=False)
        for name, levels in spec.categorical.items():
            frame[name] = as_categories(frame[name], levels, name)
            categorical[name] = list(frame[name].cat.categories)
    formulas = {_FIXED: right}
    plain = response.strip("`")
    if plain not in frame.columns:
        formulas[_RESPONSE] = f"0 + {response}"
    points: dict[int, PointSet] = {}
    for k, (term, kind, columns) in enumerate(zip(spec.random, index_kinds, bases, strict=True)):
        if kind is UNORDERED:
            formulas[f"random_{k}"] = term.basis
        else:
            points[k] = PointSet.of(columns, frame)
    made = encode(formulas, frame, spec.transforms)
    y = _response(made[_RESPONSE][0] if _RESPONSE in made else _numbers(frame[plain])[:, None], response)
    X, fixed = made[_FIXED]
    _check_finite(X, fixed.columns, "fixed effects")
    weights, offset = _column(frame, spec.weights, "weights"), _column(frame, spec.offset, "offset")
    if weights is not None and not np.all(weights > 0):
        bad = int(np.sum(~(weights > 0)))
        raise DataError(
            f"weights: {bad} of {weights.size} values are not positive · drop these rows, or give other weights"
        )
    if offset is not None:
        y = y - offset
    _check_varies(y, response)
    groupings, places = _groupings(spec.random, frame)
    groupings = _related(spec.relationship, groupings)
    terms, encodings = [], []
    for k, term in enumerate(spec.random):
        basis: Any
        if k in points:
            basis = points[k]
            Z, labels, at = basis.indicators(frame), basis.points.labels, basis.points
        else:
            Z, basis = made[f"random_{k}"]
            labels, at = basis.columns, Points.unordered(basis.columns)
            if not labels:
                raise SpecError(Issue(term.label, "the basis has no column", "at least one, such as '1'"))
        _check_finite(Z, labels, f"term {term.label!r}")
        terms.append(DesignTerm(term.label, places[k], Z, labels, at))
        encodings.append(TermEncoding(term.group, basis))
    X, kept, dropped, orthonormal_X = _full_rank(X, fixed.columns, weights)
    encoding = Encoding(
        fixed,
        tuple(kept),
        tuple(encodings),
        categorical,
        spec.offset,
        tuple(sorted(columns_of(right, names))),
        tuple(tuple(sorted(c)) for c in bases),
        spec.transforms,
    )
    return Design(
        X,
        y,
        tuple(fixed.columns[j] for j in kept),
        dropped,
        response,
        tuple(terms),
        groupings,
        weights,
        offset,
        frame.index,
        rows,
        n_missing,
        encoding,
        orthonormal_X,
    )


def _basis_columns(term: TermSpec, kind: IndexKind, transforms: frozenset[str]) -> tuple[str, ...]:
    """The columns of a term's basis; for points in the order in which they are written."""
    if kind is UNORDERED:
        return tuple(sorted(columns_of(term.basis, transforms)))
    pieces = [p.strip() for p in split_top(term.basis, "+")]
    variables = pieces[1:] if pieces and pieces[0] == "0" else pieces
    one_column = kind is IndexKind.POSITION and len(variables) != 1
    if (
        pieces[0] != "0"
        or not variables
        or one_column
        or any(not (v.isidentifier() or re.fullmatch("`[^`]+`", v)) for v in variables)
    ):
        name = getattr(term.structure, "name", "the structure")
        wanted = "ordered points" if kind is IndexKind.POSITION else "coordinates"
        example = "0 + visit" if kind is IndexKind.POSITION else "0 + x + y"
        raise SpecError(
            Issue(
                term.label,
                f"{name} needs {wanted}",
                "columns by name after '0 +'",
                f"write {name}({example} | {term.group_name})",
            )
        )
    return tuple(v.strip("`") for v in variables)


def _complete(table: pd.DataFrame, used: list[str], missing: str) -> tuple[pd.DataFrame, NDArray[np.intp], int]:
    if len(table) == 0:
        raise DataError("data: the table has no rows · give at least as many as there are parameters")
    holes = np.zeros(len(table), dtype=bool)
    counts = {}
    for name in used:
        column = table[name]
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
            continue
        mask = np.isnan(column.to_numpy()) if column.dtype == np.float64 else np.asarray(pd.isna(column.array))
        if mask.any():
            counts[name] = int(mask.sum())
            holes |= mask
    total = int(holes.sum())
    if total == 0:
        return table, np.arange(len(table)), 0
    told = ", ".join(f"{name} ({count})" for name, count in counts.items())
    if missing == "raise":
        raise DataError(
            f"data: {total} of {len(table)} rows have missing values: {told} · drop or fill them, or use missing='drop'"
        )
    rows = np.flatnonzero(~holes)
    if rows.size == 0:
        raise DataError(f"data: no row is complete; missing values: {told}")
    return table.iloc[rows], rows, total


def _is_real(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)


def _numbers(column: pd.Series) -> Array:
    """The response's own column, where it is one."""
    if not _is_real(column.dtype):
        raise DataError(
            f"response {column.name!r}: {column.dtype} values such as {column.iloc[0]!r} · allowed: numbers"
        )
    return column.to_numpy(dtype=float, copy=True)


def _response(matrix: Array, name: str) -> Array:
    if matrix.shape[1] != 1:
        raise DataError(f"response {name!r}: it has {matrix.shape[1]} columns · allowed: one numeric column")
    y = np.ascontiguousarray(matrix[:, 0])
    bad = int(np.sum(~np.isfinite(y)))
    if bad:
        raise DataError(
            f"response {name!r}: {bad} of {y.size} values are infinite or not a number · drop these rows, or change the transformation"
        )
    return y


def _check_varies(y: Array, name: str) -> None:
    if np.all(y == y[0]):
        raise DataError(
            f"response {name!r}: it is constant ({y[0]:g}) in all {y.size} rows · there is nothing to explain"
        )


def _check_finite(matrix: Array, columns: tuple[str, ...], where: str) -> None:
    if np.isfinite(matrix.sum()):
        return
    for j, name in enumerate(columns):
        bad = int(np.sum(~np.isfinite(matrix[:, j])))
        if bad:
            raise DataError(
                f"{where}: the column {name!r} has {bad} values that are infinite or not a number"
                " · drop these rows, or change the transformation"
            )


def _column(frame: pd.DataFrame, name: str | None, where: str) -> Array | None:
    if name is None:
        return None
    if not _is_real(frame[name].dtype):
        raise DataError(f"{where} {name!r}: {frame[name].dtype} values · allowed: numbers")
    values = frame[name].to_numpy(dtype=float, copy=True)
    if not np.all(np.isfinite(values)):
        raise DataError(f"{where} {name!r}: some values are infinite · drop these rows")
    return values


def _groupings(terms: tuple[TermSpec, ...], frame: pd.DataFrame) -> tuple[tuple[Grouping, ...], list[int]]:
    """The distinct grouping factors (a:b and b:a are one), and each term's place among them."""
    seen: dict[frozenset[str], int] = {}
    groupings: list[Grouping] = []
    places = []
    for term in terms:
        key = frozenset(term.group)
        if key not in seen:
            grouping = make_grouping(term.group, frame)
            if grouping.size < 2:
                raise DataError(
                    f"grouping factor {grouping.name!r}: it has one level ({grouping.levels[0]!s}) in the {len(frame)} rows"
                    " · a variance between levels needs at least two"
                )
            seen[key] = len(groupings)
            groupings.append(grouping)
        places.append(seen[key])
    return tuple(groupings), places


def _related(given: dict[str, Any], groupings: tuple[Grouping, ...]) -> tuple[Grouping, ...]:
    """Grouping factors with their relationships; the levels are then those of the relationship."""
    known = {g.name: k for k, g in enumerate(groupings)}
    out = list(groupings)
    for name, value in given.items():
        if name not in known:
            raise UnknownNameError(unknown("relationship", "grouping factor", name, list(known)))
        grouping = groupings[known[name]]
        if isinstance(grouping.levels, pd.MultiIndex):
            raise SpecError(
                Issue(
                    f"relationship[{name!r}]", "an interaction", "a factor of one column", "make a column of its levels"
                )
            )
        relationship = as_relationship(value, name)
        place = relationship.place(grouping.levels, name)
        levels = pd.Index(relationship.levels, name=grouping.levels.name)
        out[known[name]] = Grouping(name, place[grouping.codes], levels, relationship)
    return tuple(out)


def _full_rank(
    X: Array, columns: tuple[str, ...], weights: Array | None
) -> tuple[Array, list[int], tuple[str, ...], tuple[Array, Array]]:
    """X without columns that depend on earlier ones (lme4's behaviour), the names of those, and Q and R of √w X."""
    root = None if weights is None else np.sqrt(weights)[:, None]

    def weighted(matrix: Array) -> Array:
        return matrix if root is None else matrix * root

    basis = orthonormal(weighted(X))
    kept = independent_columns(basis[1])
    if len(kept) == X.shape[1]:
        return X, kept, (), basis
    dropped = tuple(name for j, name in enumerate(columns) if j not in kept)
    X = np.asfortranarray(X[:, kept])
    return X, kept, dropped, orthonormal(weighted(X))
