"""Assembly: a specification and a table to a `Design`. Rows with missing values go, in all parts alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from attrs import evolve
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import CovarianceStructure, Points
from mmframe.covariance.tree import Tree
from mmframe.design.bases import build, formula_parts, term_columns
from mmframe.design.design import Design, DesignTerm
from mmframe.design.encoding import encode
from mmframe.design.frame import as_categories, to_pandas
from mmframe.design.grouping import Grouping, factorize, make_grouping
from mmframe.design.kept import Encoding, TermEncoding
from mmframe.design.orthogonal import independent_columns, orthonormal
from mmframe.design.relationship import as_relationship
from mmframe.design.residual import FITTED, residual_columns, residual_design, wanted_points
from mmframe.errors import DataError, Issue, SpecError, UnknownNameError, unknown
from mmframe.spec.model import ModelSpec, TermSpec
from mmframe.spec.sides import columns_of

_RESPONSE, _FIXED = "response", "fixed"


def assemble(
    spec: ModelSpec,
    data: Any,
    trees: tuple[Tree, ...],
    residual: Tree | None = None,
    variances: tuple[CovarianceStructure, ...] = (),
    fitted: Array | None = None,
) -> Design:
    """The design of a model.

    trees: the structure of each term of spec.random.   residual, variances: those of the residual.   fitted (n,): the
    covariate of a variance function of fitted values; else those of least squares.
    Raises SpecError (columns), DataError (empty, not numeric, not finite, constant, one level).
    """
    names = frozenset(spec.transforms)
    response, right = (part.strip() for part in spec.formula.split("~", 1))
    bases = [
        term_columns(tree, term.label, term.group_name, lambda text: columns_of(text, names))
        for term, tree in zip(spec.random, trees, strict=True)
    ]
    residual_specs = wanted_points(residual, variances)
    fixed_columns = columns_of(response, names) | columns_of(right, names)
    extra = {c for c in (spec.weights, spec.offset) if c is not None} | residual_columns(spec, residual_specs)
    extra |= {term.by for term in spec.random if term.by is not None}
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
    formulas |= {part.basis: part.basis for tree in trees for part in formula_parts(tree)}
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
    for k, (term, tree) in enumerate(zip(spec.random, trees, strict=True)):
        built = build(tree, frame, lambda part: made[part.basis], term.label, term.group_name)
        if not built.points.size:
            raise SpecError(Issue(term.label, "the basis has no column", "at least one, such as '1'"))
        _check_finite(built.Z, built.points.labels, f"term {term.label!r}")
        for level, mask in strata_of(term.by, frame):
            suffix = "" if level is None else f"[{level}]"
            named = tuple(f"{label}{suffix}" for label in built.points.labels)
            Z = built.Z if mask is None else np.asfortranarray(built.Z * mask[:, None])
            stratum = "" if level is None else str(level)
            _check_levels(groupings[places[k]], tree, built.points, len(frame))
            terms.append(DesignTerm(term.label, places[k], Z, named, built.points, k, stratum, built.leaves))
            encodings.append(TermEncoding(term.group, built.basis, None if term.by is None else (term.by, level)))
    X, kept, dropped, orthonormal_X = _full_rank(X, fixed.columns, weights)
    encoding = Encoding(
        fixed,
        tuple(kept),
        tuple(encodings),
        categorical,
        spec.offset,
        tuple(sorted(columns_of(right, names))),
        tuple(
            (*sorted(columns), *((term.by,) if term.by else ()))
            for columns, term in zip(bases, spec.random, strict=True)
        ),
        spec.transforms,
    )
    design = Design(
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
        frame=frame[list(encoding.fixed_columns)].copy(),
    )
    if residual_specs is None:
        return design
    if FITTED in {c for leaf in residual_specs for c in leaf.columns}:
        frame = frame.assign(**{FITTED: _least_squares(design) if fitted is None else fitted})
    return evolve(design, residual=residual_design(spec, residual_specs, frame))


def _least_squares(design: Design) -> Array:
    """The fitted values of least squares, with the offset."""
    root = 1.0 if design.root_weights is None else design.root_weights
    mean = design.y - design.least_squares_residual / root
    return np.asarray(mean if design.offset is None else mean + design.offset)


def strata_of(by: str | None, frame: pd.DataFrame) -> list[tuple[Any, Array | None]]:
    """Each level of `by` with the rows that have it (1, else 0); one stratum of all rows without it."""
    if by is None:
        return [(None, None)]
    codes, levels = factorize(frame[by])
    return [(level, (codes == k).astype(float)) for k, level in enumerate(levels)]


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
            seen[key] = len(groupings)
            groupings.append(make_grouping(term.group, frame))
        places.append(seen[key])
    return tuple(groupings), places


def _check_levels(grouping: Grouping, tree: Tree, points: Points, rows: int) -> None:
    """Refuse one level whose effects are no more than their parameters: a variance needs at least two effects."""
    if grouping.size > 1:
        return
    if tree.structure is not None:
        try:
            parameters = sum(p.domain.count for p in tree.structure.params(points))
        except ValueError:
            return  # said when the structure is bound
        if parameters < points.size:
            return
    raise DataError(
        f"grouping factor {grouping.name!r}: it has one level ({grouping.levels[0]!s}) in the {rows} rows"
        " · a variance between levels needs at least two"
    )


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
