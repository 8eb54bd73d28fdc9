"""Sufficient statistics by level of one grouping factor, in one pass over the rows.

With R = σ²I the likelihood sees the data only through Z_i'Z_i, Z_i'Y and Y'Y, with Y an orthonormal basis (basis.py).
Statistics of parts of the data, cut at any row, merge: each part brings its basis, the merged basis comes from the
triangular factors alone, and the per-level sums are re-based and added.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.stack import vech_place

# Columns of one factor's terms together: small matrices are worked with entry by entry, at the fourth power of this.
MAX_COLUMNS = 80


def too_wide(design: Design) -> str | None:
    """Why the levels of a factor have more columns than engines of small matrices take; None where they have not."""
    for number, grouping in enumerate(design.groupings):
        columns = sum(t.width for t in design.terms if t.grouping == number)
        if columns > MAX_COLUMNS:
            return f"it takes up to {MAX_COLUMNS} columns of a grouping factor, and {grouping.name} has {columns}"
    return None


@frozen(eq=False)
class LevelStatistics:
    """Statistics of the rows seen so far, by level.

    W (q(q+1)/2, m): lower triangles of Z_i'Z_i.   A (q, r, m): Z_i'Y in the part's own basis of r columns.
    """

    W: Array
    A: Array
    basis: Basis

    @property
    def q(self) -> int:
        return int(self.A.shape[0])

    @property
    def m(self) -> int:
        return int(self.W.shape[1])

    @classmethod
    def of(cls, design: Design, grouping: int = 0) -> LevelStatistics:
        """All terms of one grouping factor."""
        basis, columns = Basis.of(design)
        return cls.by_level(design, grouping, basis, columns)

    @classmethod
    def by_level(cls, design: Design, grouping: int, basis: Basis, columns: list[Array]) -> LevelStatistics:
        """Sums over the rows of each level, with the columns of Y given."""
        factor = design.groupings[grouping]
        bases = basis_columns(design, grouping)
        q, m = len(bases), factor.size
        add = Adder(factor.codes, m)
        W = np.empty((q * (q + 1) // 2, m))
        A = np.empty((q, len(columns), m))
        for a, z in enumerate(bases):
            for b in range(a + 1):
                W[vech_place(a, b)] = add(z * bases[b])
            for j, column in enumerate(columns):
                A[a, j] = add(z * column)
        return cls(W, A, basis)

    def merge(self, other: LevelStatistics) -> LevelStatistics:
        """Statistics of both parts; levels are matched by their number."""
        basis, mine, theirs = self.basis.merge(other.basis)
        return self.merged(other, basis, mine, theirs)

    def merged(self, other: LevelStatistics, basis: Basis, mine: Array, theirs: Array) -> LevelStatistics:
        """The same, with the bases merged already."""
        A = np.tensordot(self.A, mine, axes=(1, 0)) + np.tensordot(other.A, theirs, axes=(1, 0))
        return LevelStatistics(self.W + other.W, np.ascontiguousarray(np.moveaxis(A, -1, 1)), basis)

    def __add__(self, other: LevelStatistics) -> LevelStatistics:
        return self.merge(other)

    @property
    def products(self) -> Array:
        """Z_i'Y with the last column of Y the residual itself: (q, p+1, m)."""
        return self.basis.products(self.A)


def basis_columns(design: Design, grouping: int) -> list[Array]:
    """The weighted columns (n,) of Z over all terms of one grouping factor."""
    columns = [term.Z[:, j] for term in design.terms if term.grouping == grouping for j in range(term.width)]
    return [design.weighted(z) for z in columns]


class Adder:
    """Sums over the rows of each level: by runs where the rows come sorted, else by counting."""

    def __init__(self, codes: NDArray[np.intp], m: int) -> None:
        self.codes, self.m = codes, m
        steps = np.diff(codes)
        self.sorted = codes.size > 0 and bool(np.all(steps >= 0))
        if self.sorted:
            self.starts = np.concatenate([[0], np.flatnonzero(steps) + 1])
            self.present = codes[self.starts]

    def __call__(self, values: Array) -> Array:
        if not self.sorted:
            return np.bincount(self.codes, weights=values, minlength=self.m)
        sums = np.add.reduceat(values, self.starts)
        if self.present.size == self.m:
            return np.asarray(sums)
        out = np.zeros(self.m)
        out[self.present] = sums
        return out
