"""Sufficient statistics of several grouping factors: by level of each, and by cell of each pair of them.

A cell is a pair of levels that some row has in common. With R = σ²I the likelihood sees the data only through Z_i'Z_i
and Z_i'Y of every level, Z_i'Z_j of every cell, and Y'Y. Parts of the data merge: cells are matched by their levels.
"""

from __future__ import annotations

import itertools

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.reduce import LevelStatistics, basis_columns

Ints = NDArray[np.intp]


@frozen(eq=False)
class Cells:
    """The cells of two grouping factors: levels `rows` of the one and `cols` of the other, sorted; W (q_g, q_h, cells).

    Of a factor with itself (levels that a relationship ties together) it holds the cells with rows < cols.
    """

    rows: Ints
    cols: Ints
    W: Array

    @classmethod
    def of(cls, design: Design, g: int, h: int) -> Cells:
        first, second = design.groupings[g], design.groupings[h]
        key = first.codes * second.size + second.codes
        order = np.argsort(key)
        key = key[order]
        starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        counts = np.diff(np.append(starts, key.size)).astype(float)
        distinct = key[starts]
        left, right = basis_columns(design, g), basis_columns(design, h)
        W = np.empty((len(left), len(right), starts.size))
        ones = [[bool(np.all(z == 1.0)) for z in side] for side in (left, right)]
        for (a, z), (b, u) in itertools.product(enumerate(left), enumerate(right)):
            both = ones[0][a] and ones[1][b]
            W[a, b] = counts if both else np.add.reduceat((z * u)[order], starts)
        return cls(distinct // second.size, distinct % second.size, W)

    def merge(self, other: Cells) -> Cells:
        """Both parts' sums by cell."""
        rows, cols = np.concatenate([self.rows, other.rows]), np.concatenate([self.cols, other.cols])
        W = np.concatenate([self.W, other.W], axis=2)
        order = np.lexsort((cols, rows))
        rows, cols, W = rows[order], cols[order], W[:, :, order]
        starts = np.flatnonzero(np.concatenate([[True], (np.diff(rows) != 0) | (np.diff(cols) != 0)]))
        return Cells(rows[starts], cols[starts], np.add.reduceat(W, starts, axis=2))


@frozen(eq=False)
class CellStatistics:
    """levels: the statistics of each factor by level, all in one basis.   cells: those of each pair (g, h), g ≤ h."""

    basis: Basis
    levels: tuple[LevelStatistics, ...]
    cells: dict[tuple[int, int], Cells]

    @classmethod
    def of(cls, design: Design) -> CellStatistics:
        basis, columns = Basis.of(design)
        F = len(design.groupings)
        levels = tuple(LevelStatistics.by_level(design, g, basis, columns) for g in range(F))
        cells = {(g, h): Cells.of(design, g, h) for g, h in itertools.combinations(range(F), 2)}
        return cls(basis, levels, cells)

    def merge(self, other: CellStatistics) -> CellStatistics:
        """Statistics of both parts; levels are matched by their numbers."""
        basis, mine, theirs = self.basis.merge(other.basis)
        levels = tuple(a.merged(b, basis, mine, theirs) for a, b in zip(self.levels, other.levels, strict=True))
        return CellStatistics(basis, levels, {key: self.cells[key].merge(other.cells[key]) for key in self.cells})

    def __add__(self, other: CellStatistics) -> CellStatistics:
        return self.merge(other)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of levels of each factor."""
        return tuple(s.m for s in self.levels)

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of columns of each factor's basis."""
        return tuple(s.q for s in self.levels)
