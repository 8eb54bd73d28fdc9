"""Known relationships between the levels of a grouping factor: Var(b) = K ⊗ G, with K or its inverse given by label.

Pedigrees, kinship, phylogenies. The sparsity of an inverse is kept; a singular K (identical twins) goes through a root.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from attrs import frozen
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

from mmframe.covariance.domain import Array
from mmframe.design.frame import read_table
from mmframe.errors import DataError, Issue, SpecError

_SYMMETRY = 1e-8  # the largest difference of mirrored entries, relative to the largest entry
_NEGATIVE = 1e-8  # the most negative eigenvalue that counts as zero, relative to the largest
_BLOCK = 500  # levels of a connected part up to which a sparse K is factorised part by part
_TRIPLETS = ("row", "column", "value")


@frozen(eq=False, init=False)
class Relationship:
    """K (m, m), or its inverse, with the label of each row.

    matrix: an array, a scipy sparse matrix, or a DataFrame whose index and columns are the labels.   levels: the labels,
    where the matrix has none.   inverse: whether the matrix is K⁻¹. Levels that the data do not have are allowed, and
    get predictions; each level of the data must be there.
    Raises DataError: not square, labels missing or repeated, not symmetric, not finite, not positive semidefinite (an
    inverse: not positive definite).
    """

    matrix: Any
    levels: pd.Index
    inverse: bool

    def __init__(self, matrix: Any, levels: Iterable[Any] | None = None, inverse: bool = False) -> None:
        if isinstance(matrix, Relationship):
            matrix, levels, inverse = matrix.matrix, matrix.levels, matrix.inverse
        if isinstance(matrix, pd.DataFrame):
            if levels is None:
                levels = matrix.index
                if set(matrix.index) != set(matrix.columns):
                    raise DataError("relationship: the rows and the columns of the table have different labels")
                matrix = matrix.loc[:, list(matrix.index)]
            matrix = matrix.to_numpy()
        if levels is None:
            raise DataError(
                "relationship: a matrix without labels · allowed: a DataFrame with labels,"
                " or Relationship(matrix, levels=[...])"
            )
        labels = pd.Index(levels)
        matrix = _numbers(matrix)
        _check(matrix, labels)
        self.__attrs_init__(matrix, labels, bool(inverse))

    @classmethod
    def read(cls, path: str | Path, *, inverse: bool = False) -> Relationship:
        """A CSV or Parquet file: a square table whose first column holds the labels, or the columns row, column, value
        (one triangle or both). Raises DataError."""
        table = read_table(path, "relationship")
        if tuple(table.columns) == _TRIPLETS:
            return cls(*_from_triplets(table, str(path)), inverse)
        table = table.set_index(table.columns[0])
        # the header of a file is text; so are labels that look like numbers there
        if len(table.columns) == len(table.index):
            table.columns = (
                table.index if list(map(str, table.columns)) == list(map(str, table.index)) else table.columns
            )
        return cls(table, None, inverse)

    @property
    def size(self) -> int:
        return len(self.levels)

    @cached_property
    def precision(self) -> tuple[sp.csr_array, float]:
        """K⁻¹ as a sparse matrix and its log-determinant, where the inverse is what was given."""
        factor = self._factor
        return sp.csr_array(self.matrix), float(np.sum(np.log(factor.U.diagonal())))

    @cached_property
    def _factor(self) -> Any:
        """The sparse factorization of K⁻¹, rows and columns in one order."""
        matrix = sp.csc_array(self.matrix)
        try:
            found = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        except RuntimeError:
            found = None
        if found is None or not np.all(found.U.diagonal() > 0) or not np.array_equal(found.perm_r, found.perm_c):
            raise DataError(
                "relationship: the inverse that was given is not positive definite · allowed: the inverse of a covariance"
                " matrix; give a singular K itself"
            )
        return found

    @cached_property
    def root(self) -> Any:
        """L (m, r) with LL' = K, dense or sparse, r the rank; where K is what was given."""
        if sp.issparse(self.matrix):
            parts, label = connected_components(self.matrix, directed=False)
            sizes = np.bincount(label, minlength=parts)
            if sizes.max() <= min(_BLOCK, self.size // 2):
                return _root_by_parts(self.matrix, label, sizes)
            return _dense_root(self.matrix.toarray())
        return _dense_root(self.matrix)

    @cached_property
    def covariance(self) -> Array:
        """K (m, m), written out."""
        dense = self.matrix.toarray() if sp.issparse(self.matrix) else self.matrix
        return np.asarray(np.linalg.inv(dense) if self.inverse else dense)

    def draw(self, white: Array) -> Array:
        """Columns with covariance K from independent standard normals (m or more, k): (m, k)."""
        if not self.inverse:
            return np.asarray(self.root @ white[: self.root.shape[1]])
        factor = self._factor
        half = sp.csc_array(factor.L @ sp.diags_array(np.sqrt(factor.U.diagonal())))
        solved = sp.linalg.spsolve_triangular(sp.csr_array(half.T), white[: self.size], lower=False)
        return np.asarray(solved[factor.perm_c])

    def place(self, labels: pd.Index, factor: str) -> NDArray[np.intp]:
        """Where each label stands. Raises DataError for labels that are not there."""
        found = self.levels.get_indexer(pd.Index(labels))
        if np.any(found < 0) and self.levels.map(str).is_unique:
            found = np.where(found >= 0, found, self.levels.map(str).get_indexer(labels.map(str)))
        missing = labels[found < 0]
        if len(missing):
            shown = ", ".join(map(repr, missing[:5].tolist())) + (", ..." if len(missing) > 5 else "")
            raise DataError(
                f"relationship of {factor!r}: it lacks {len(missing)} of the {len(labels)} levels in the data ({shown})"
                f" · its labels are such as {self.levels[:1].tolist()[0]!r} · add these rows and columns, or drop the data's rows"
            )
        return np.asarray(found, dtype=np.intp)


def as_relationship(value: Any, factor: str) -> Relationship:
    """What a user gives: a Relationship, a labelled table, a file, or {file: ..., inverse: ...}. Raises SpecError, DataError."""
    if isinstance(value, Relationship):
        return value
    if isinstance(value, (str, Path)):
        return Relationship.read(value)
    if isinstance(value, Mapping):
        unknown = set(value) - {"file", "inverse"}
        if unknown or "file" not in value or not isinstance(value.get("inverse", False), bool):
            raise SpecError(
                Issue(f"relationship[{factor!r}]", repr(dict(value)), "{file: ..., inverse: true or false}")
            )
        return Relationship.read(value["file"], inverse=value.get("inverse", False))
    if isinstance(value, (pd.DataFrame, np.ndarray)) or sp.issparse(value):
        return Relationship(value)
    allowed = "a DataFrame with labels, mm.Relationship(matrix, levels=..., inverse=...), or a file"
    raise SpecError(Issue(f"relationship[{factor!r}]", type(value).__name__, allowed))


def _numbers(matrix: Any) -> Any:
    """A sparse or dense matrix of real numbers."""
    try:
        made = sp.csr_array(matrix) if sp.issparse(matrix) else np.asarray(matrix)
        if np.issubdtype(made.dtype, np.complexfloating):
            raise ValueError("complex numbers")
        return made.astype(float)
    except (TypeError, ValueError) as problem:
        raise DataError(f"relationship: its entries are not real numbers ({problem})") from None


def _from_triplets(table: pd.DataFrame, path: str) -> tuple[sp.csr_array, pd.Index]:
    """The matrix of the columns row, column, value: one triangle, or both."""
    if table[["row", "column"]].isna().any(axis=None):
        raise DataError(f"relationship: {path!r} has rows without a label · fill them, or drop them")
    labels = pd.Index(pd.unique(pd.concat([table["row"], table["column"]])))
    i, j = labels.get_indexer(table["row"]), labels.get_indexer(table["column"])
    size = len(labels)
    values = _numbers(table["value"].to_numpy())
    key, mirror = i * size + j, j * size + i
    if len(np.unique(key)) < key.size:
        first = table.loc[pd.Series(key).duplicated().to_numpy(), ["row", "column"]].iloc[0].tolist()
        raise DataError(f"relationship: {path!r} gives the entry {first} twice · allowed: each entry once")
    off = i != j
    paired = np.isin(mirror[off], key[off])
    if np.all(paired):
        return sp.coo_array((values, (i, j)), shape=(size, size)).tocsr(), labels
    if np.any(paired):
        raise DataError(f"relationship: {path!r} mirrors some entries and others not · allowed: one triangle, or both")
    rows, cols = np.concatenate([i, j[off]]), np.concatenate([j, i[off]])
    return sp.coo_array((np.concatenate([values, values[off]]), (rows, cols)), shape=(size, size)).tocsr(), labels


def _check(matrix: Any, labels: pd.Index) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise DataError(f"relationship: a matrix of shape {matrix.shape} · allowed: as many rows as columns")
    if matrix.shape[0] == 0:
        raise DataError("relationship: the matrix is empty · allowed: a row and a column for each level")
    if labels.hasnans:
        raise DataError("relationship: some labels are missing · fill them")
    if len(labels) != matrix.shape[0]:
        raise DataError(f"relationship: {len(labels)} labels for {matrix.shape[0]} rows · one each")
    if not labels.is_unique:
        raise DataError(
            f"relationship: the label {labels[labels.duplicated()].tolist()[0]!r} occurs twice · allowed: once each"
        )
    values = matrix.data if sp.issparse(matrix) else matrix
    if not np.all(np.isfinite(values)):
        raise DataError("relationship: some entries are infinite or not a number")
    gap = abs(matrix - matrix.T).max() if matrix.shape[0] else 0.0
    if gap > _SYMMETRY * max(abs(values).max(initial=0.0), 1e-300):
        raise DataError(f"relationship: it is not symmetric (mirrored entries differ by up to {gap:.3g})")


def _dense_root(K: Array) -> Array:
    """By Cholesky where K is well inside the cone, else by its eigenvectors, without those of zero."""
    try:
        L = np.linalg.cholesky(K)
        if np.min(np.diag(L)) ** 2 > _NEGATIVE * np.max(np.diag(K)):
            return np.asarray(L)
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(K)
    _check_semidefinite(values)
    kept = values > _NEGATIVE * values[-1]
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def _check_semidefinite(values: Array) -> None:
    if values.min() < -_NEGATIVE * max(values.max(), 1e-300):
        raise DataError(
            f"relationship: it is not positive semidefinite (its smallest eigenvalue is {values.min():.3g})"
            " · allowed: a covariance or correlation matrix · look for levels whose relationships contradict each other"
        )


def _root_by_parts(K: Any, label: NDArray[np.intp], sizes: NDArray[np.intp]) -> sp.csr_array:
    """The root of a sparse K whose connected parts are small: parts of one size go through one batched eigenproblem."""
    order = np.argsort(label, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows, cols, values, column = [], [], [], 0
    dense_rows = sp.csr_array(K)[order][:, order].tocoo()
    part = label[order]
    within = np.arange(order.size) - starts[part]
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        place = np.full(sizes.size, -1)
        place[alike] = np.arange(alike.size)
        stack = np.zeros((alike.size, size, size))
        mine = place[part[dense_rows.row]] >= 0
        stack[place[part[dense_rows.row[mine]]], within[dense_rows.row[mine]], within[dense_rows.col[mine]]] = (
            dense_rows.data[mine]
        )
        eigenvalues, vectors = np.linalg.eigh(stack)
        _check_semidefinite(eigenvalues)
        root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[:, None, :]
        used = eigenvalues > _NEGATIVE * max(float(eigenvalues.max()), 1e-300)
        number = np.cumsum(used.ravel()).reshape(used.shape) - 1 + column
        column += int(used.sum())
        b, i, k = np.nonzero(np.broadcast_to(used[:, None, :], stack.shape))
        rows.append(order[starts[alike[b]] + i])
        cols.append(number[b, k])
        values.append(root[b, i, k])
    at = (np.concatenate(rows), np.concatenate(cols))
    return sp.coo_array((np.concatenate(values), at), shape=(order.size, column)).tocsr()
