"""Factors whose levels are related, Var(b) = K ⊗ G: what the blocked engine works with in place of their levels.

K given: with K = LL', b = (L ⊗ I)u has independent u: the columns of L are levels of their own, and Z is replaced by
Z(L ⊗ I). A singular K has fewer columns than rows. K⁻¹ given: b = (I ⊗ Λ)c, and the prior precision of c is K⁻¹ ⊗ I,
whose sparsity is kept.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import scipy.sparse as sp
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.relationship import Relationship
from mmframe.likelihood import stack
from mmframe.likelihood.cells import Cells, CellStatistics
from mmframe.likelihood.reduce import LevelStatistics


@frozen(eq=False)
class Related:
    """relations: that of each factor, or None."""

    relations: tuple[Relationship | None, ...]

    def rooted(self, g: int) -> Any:
        """L of factor g, or None."""
        relation = self.relations[g]
        return None if relation is None or relation.inverse else relation.root

    @property
    def precise(self) -> tuple[int, ...]:
        """The factors whose K⁻¹ was given."""
        return tuple(g for g, r in enumerate(self.relations) if r is not None and r.inverse)

    def precision(self, g: int) -> tuple[sp.csr_array, float]:
        relation = self.relations[g]
        assert relation is not None
        return relation.precision

    def inward(self, g: int, z: Array) -> Array:
        """(L' ⊗ I) z: what multiplies the effects of the data's levels, (q, m, r), as what multiplies u."""
        L = self.rooted(g)
        return z if L is None else np.stack([np.asarray(L.T @ x) for x in z])

    def outward(self, g: int, u: Array) -> Array:
        """(L ⊗ I) u: effects of the data's levels, (q, m, r)."""
        L = self.rooted(g)
        return u if L is None else np.stack([np.asarray(L @ x) for x in u])

    def transform(self, statistics: CellStatistics) -> CellStatistics:
        """Statistics of Z(L ⊗ I) for each factor whose K was given."""
        for g in range(len(self.relations)):
            L = self.rooted(g)
            if L is not None:
                statistics = _transformed(statistics, g, L)
        return statistics

    def pattern(self, cells: dict[tuple[int, int], Cells], widths: tuple[int, ...]) -> dict[tuple[int, int], Cells]:
        """The cells with those that K⁻¹ joins."""
        out = dict(cells)
        for g in self.precise:
            out[g, g] = _upper(self.precision(g)[0], widths[g])
        return out


def _upper(K: sp.csr_array, q: int) -> Cells:
    """The entries above the diagonal as cells k_ij I."""
    upper = sp.triu(K, 1).tocsr()
    upper.sort_indices()
    coo = upper.tocoo()
    W = np.eye(q)[:, :, None] * coo.data
    return Cells(coo.row.astype(np.intp), coo.col.astype(np.intp), W)


def precision_blocks(K: sp.csr_array, q: int) -> tuple[Array, Cells]:
    """K⁻¹ ⊗ I as diagonal blocks (q, q, m) and cells."""
    return np.eye(q)[:, :, None] * K.diagonal(), _upper(K, q)


def _transformed(statistics: CellStatistics, g: int, L: Any) -> CellStatistics:
    level = statistics.levels[g]
    q = level.q
    W = stack.full(level.W)
    entries = [(a, b) for a in range(q) for b in range(a + 1)]  # the order of vech
    products = {(a, b): _congruence(L, W[a, b]) for a, b in entries}
    diagonal = np.stack([products[pair].diagonal() for pair in entries])
    A = np.stack([np.asarray((L.T @ x.T).T) for x in level.A])
    levels = list(statistics.levels)
    levels[g] = LevelStatistics(diagonal, A, level.basis)
    cells = dict(statistics.cells)
    blocks = [[products[max(a, b), min(a, b)] for b in range(q)] for a in range(q)]
    cells[g, g] = _cells([[sp.triu(sp.coo_array(x), 1) for x in row] for row in blocks])
    for (a, b), found in statistics.cells.items():
        if g not in (a, b) or a == b:
            continue
        shape = (statistics.sizes[a], statistics.sizes[b])
        matrices = [[sp.csr_array((w, (found.rows, found.cols)), shape=shape) for w in row] for row in found.W]
        if a == g:
            cells[a, b] = _cells([[sp.coo_array(L.T @ x) for x in row] for row in matrices])
        else:
            cells[a, b] = _cells([[sp.coo_array(x @ L) for x in row] for row in matrices])
    return CellStatistics(statistics.basis, tuple(levels), cells)


def _congruence(L: Any, w: Array) -> Any:
    """L' diag(w) L."""
    if sp.issparse(L):
        return sp.csr_array(L.T @ sp.diags_array(w) @ L)
    return (L.T * w) @ L


def _cells(blocks: list[list[Any]]) -> Cells:
    """Cells from one sparse matrix for each pair of columns: the union of their patterns."""
    size = blocks[0][0].shape[1]
    keys, values = [], []
    for row in blocks:
        for x in row:
            x = sp.coo_array(x)
            keys.append(x.row.astype(np.intp) * size + x.col)
            values.append(x.data)
    distinct = np.unique(np.concatenate(keys))
    W = np.zeros((len(blocks), len(blocks[0]), distinct.size))
    for (a, b), key, value in zip(
        itertools.product(range(len(blocks)), range(len(blocks[0]))), keys, values, strict=True
    ):
        np.add.at(W[a, b], np.searchsorted(distinct, key), value)
    return Cells(distinct // size, distinct % size, W)
