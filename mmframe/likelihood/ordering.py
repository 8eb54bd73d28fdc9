"""The order of elimination, from the pattern of the cells and the widths of the bases.

Levels of all grouping factors are the nodes of a graph; two are joined when some row has both. A *round* eliminates
levels of one factor that are not joined to each other, so that all of them go at once: a whole factor while its own
block is (block) diagonal, the largest first; then, while the rest stays sparse, independent sets of small degree
(a parallel minimum-degree order; Liu 1985, ACM TOMS 11). Eliminating a level joins all its neighbours: the fill. What
is left when that no longer pays is the *core*, one dense block.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmframe.likelihood.cells import Cells, Ints

SMALL = 200  # columns that go into the core without more ado: LAPACK beats any bookkeeping
DENSE = 400  # columns up to which a rest with fill is not worth more rounds
MAX_PAIRS = 10_000_000  # pairs of neighbours that a round lists
MAX_PRODUCTS = (
    40_000_000  # products of pairs that a round of one-column bases holds; levels beyond go by dense products
)
_FULL = 0.15  # density beyond which a rest is dense


def elimination_order(
    factor: Ints, columns: Ints, offset: Ints, cells: dict[tuple[int, int], Cells]
) -> tuple[list[Ints], list[bool], list[tuple[Ints, Ints]], Ints]:
    """The rounds as sets of nodes, whether each goes through dense products, the edges (node, later neighbour) of each,
    and the nodes of the core."""
    n = factor.size
    u = np.concatenate([np.zeros(0, dtype=np.intp), *(offset[g] + c.rows for (g, _), c in cells.items())])
    v = np.concatenate([np.zeros(0, dtype=np.intp), *(offset[h] + c.cols for (_, h), c in cells.items())])
    A = _pattern(np.concatenate([u, v]), np.concatenate([v, u]), n)
    alive = np.arange(n)  # the node of each row of A
    sets: list[Ints] = []
    dense: list[bool] = []
    joined: list[tuple[Ints, Ints]] = []
    while alive.size and int(np.sum(columns[alive])) > SMALL:
        own = factor[alive]
        chosen = _whole_factor(A, own, columns[alive])
        if chosen is None:
            left = int(np.sum(columns[alive]))
            if left <= DENSE or A.nnz > _FULL * alive.size**2:
                break
            chosen = _independent_set(A)
        degree = np.diff(A.indptr)[chosen].astype(float)
        heavy = float(degree @ (degree + 1)) > 2 * MAX_PAIRS
        parts = [(chosen[own[chosen] == g], False) for g in np.unique(own[chosen])]
        if heavy:  # the levels with many neighbours go through dense products, and all that is left is the core
            limit = MAX_PRODUCTS if np.all(columns[alive] == 1) else MAX_PAIRS
            by_degree = np.argsort(degree, kind="stable")
            listed = np.zeros(chosen.size, dtype=bool)
            listed[by_degree[np.cumsum(degree[by_degree] * (degree[by_degree] + 1)) <= 2 * limit]] = True
            parts = [(p[listed[np.searchsorted(chosen, p)]], False) for p, _ in parts]
            parts += [(chosen[~listed & (own[chosen] == g)], True) for g in np.unique(own[chosen])]
        for nodes, by_products in parts:
            if nodes.size:
                B = A[nodes]
                sets.append(alive[nodes])
                dense.append(by_products)
                joined.append((np.repeat(alive[nodes], np.diff(B.indptr)), alive[B.indices]))
        keep = np.ones(alive.size, dtype=bool)
        keep[chosen] = False
        rest = alive[keep]
        if heavy or int(np.sum(columns[rest])) <= SMALL:
            alive = rest
            break
        B = A[chosen][:, keep]
        inner = A[keep][:, keep]
        filled = (B.T @ B).tocoo()
        off = filled.row != filled.col
        inner = inner.tocoo()
        A = _pattern(
            np.concatenate([inner.row, filled.row[off]]), np.concatenate([inner.col, filled.col[off]]), rest.size
        )
        alive = rest
    return sets, dense, joined, alive[np.argsort(factor[alive], kind="stable")]


def _pattern(rows: Ints, cols: Ints, n: int) -> sp.csr_array:
    made = sp.coo_array((np.ones(rows.size, dtype=np.int32), (rows, cols)), shape=(n, n)).tocsr()
    made.sort_indices()
    made.data[:] = 1
    return made


def _whole_factor(A: sp.csr_array, own: Ints, columns: Ints) -> Ints | None:
    """The nodes of the largest factor none of whose nodes are joined to each other, or None."""
    rows = np.repeat(own, np.diff(A.indptr))
    tied = set(np.unique(rows[rows == own[A.indices]]).tolist())
    free = [(int(np.sum(columns[own == g])), -int(g)) for g in np.unique(own) if int(g) not in tied]
    if not free:
        return None
    return np.flatnonzero(own == -max(free)[1])


def _independent_set(A: sp.csr_array) -> Ints:
    """Nodes whose degree is smaller than that of all their neighbours (ties by a fixed shuffle), and not large."""
    n = A.shape[0]
    degree = np.diff(A.indptr)
    rank = degree.astype(np.int64) * n + np.random.default_rng(n).permutation(n)
    least = np.full(n, np.iinfo(np.intp).max)
    full = degree > 0
    least[full] = np.minimum.reduceat(rank[A.indices], A.indptr[:-1][full])
    return np.flatnonzero((rank < least) & (degree <= 1.5 * degree.min() + 4))
