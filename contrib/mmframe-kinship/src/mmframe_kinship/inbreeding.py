"""Inbreeding coefficients of a sorted pedigree, by the decomposition A = T D T'.

Row i of T holds how much of each ancestor's genes animal i has, D the variances of Mendelian sampling, and the relationship of
two animals is Σ_k T_ik D_k T_jk (Quaas 1976, Biometrics 32:949-953; Meuwissen & Luo 1992, Genet. Sel. Evol. 24:305-313). An
animal's inbreeding is half the relationship of its parents. There are two ways to the relationships of all pairs of parents:

- by rows, Meuwissen and Luo's: the rows of T of both parents, which have entries at ancestors only. The work is the number of
  (parent, ancestor) pairs; their loop over animals is done for many pairs at once, by products of sparse matrices;
- by columns, Colleau's (2002, Genet. Sel. Evol. 34:409-421) with the idea of Sargolzaei, Iwaisaki & Colleau (2005, J. Anim. Breed.
  Genet. 122:325-331): the column A e_s = T D T'e_s of a sire has its relationships with all its mates, in one pass up the pedigree
  and one down. The work is the number of sires times that of parents; deep pedigrees with few sires are where it is the less.

Which one is the less work is estimated beforehand, from the rows of some parents.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from attrs import frozen
from numpy.typing import NDArray
from scipy.sparse.linalg import spsolve_triangular

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

_ENTRIES = 4_000_000  # of the rows of T, or of columns of A, that are held at a time
_FIRST = 256  # pairs of parents in the first block, before the size of rows is known
_SAMPLE = 64  # parents whose rows of T are looked at to choose the way
# Seconds, roughly: what an entry of a row and of a column costs, and what a step between generations costs whatever its size.
_OF_ROW, _OF_COLUMN, _OF_STEP = 1e-7, 6e-9, 1e-4


def transmission(sire: Codes, dam: Codes) -> sp.csr_array:
    """H (n, n): ½ at the parents of each animal (1 where one plant is both); -1 codes an unknown parent."""
    n = sire.size
    own = np.arange(n)
    rows = np.concatenate([own[sire >= 0], own[dam >= 0]])
    cols = np.concatenate([sire[sire >= 0], dam[dam >= 0]])
    return sp.csr_array(sp.coo_array((np.full(rows.size, 0.5), (rows, cols)), shape=(n, n)))


def mendelian_variance(sire: Codes, dam: Codes, F: Array) -> Array:
    """D: 1 − ¼(1 + F_sire) − ¼(1 + F_dam), a parent that is unknown left out (Quaas 1976). F by place, of all animals."""
    out: Array = np.ones(sire.size)
    for parent in (sire, dam):
        out -= np.where(parent >= 0, 0.25 * (1.0 + F[parent]), 0.0)
    return out


@frozen(eq=False)
class Pairs:
    """The pairs of parents of a pedigree, the earlier ones first, and the parents by themselves, who alone are anybody's ancestors.

    low, high (q,): places of a pair among the parents, high being the later one.   sire, dam (m,): the parents' own parents among
    the parents, -1 unknown.   pair (m,): the pair that each parent comes from, -1 where it has not two known parents.
    generations (m,): of the parents, ascending.
    """

    low: Codes
    high: Codes
    sire: Codes
    dam: Codes
    pair: Codes
    generations: Codes


def inbreeding(sire: Codes, dam: Codes, generations: Codes, way: str | None = None) -> Array:
    """F (n,) of animals in the order of their generations; -1 codes an unknown parent.

    way: "rows" or "columns"; None for the one that is estimated to be less work.
    """
    n = sire.size
    F: Array = np.zeros(n)
    both = np.flatnonzero((sire >= 0) & (dam >= 0))
    if not both.size:
        return F
    # one pair of parents for each family of full sibs; a reciprocal cross of plants is the same pair
    key = np.maximum(sire[both], dam[both]) * n + np.minimum(sire[both], dam[both])
    unique, family = np.unique(key, return_inverse=True)
    pair = np.full(n, -1)
    pair[both] = family
    parents = np.unique(np.concatenate([sire[sire >= 0], dam[dam >= 0]]))
    number = np.full(n + 1, -1)  # the last is the unknown parent
    number[parents] = np.arange(parents.size)
    pairs = Pairs(
        number[unique % n],
        number[unique // n],
        number[sire[parents]],
        number[dam[parents]],
        pair[parents],
        generations[parents],
    )
    if way is None:
        way = _less_work(pairs)
    F[both] = (by_rows if way == "rows" else by_columns)(pairs)[family]
    return F


def _less_work(pairs: Pairs) -> str:
    m, depth = pairs.sire.size, int(pairs.generations[-1])
    some = np.unique(np.linspace(0, m - 1, min(_SAMPLE, m)).astype(np.intp))
    entries = _rows_of_T(transmission(pairs.sire, pairs.dam), some).nnz / some.size
    blocks = 1 + entries * m / _ENTRIES
    rows = _OF_ROW * entries * m + _OF_STEP * blocks * depth
    columns = np.unique(_column_of(pairs))
    batches = np.unique(pairs.generations[columns]).size + columns.size * m / _ENTRIES
    return "rows" if rows <= _OF_COLUMN * columns.size * m + _OF_STEP * batches * depth else "columns"


def by_rows(pairs: Pairs) -> Array:
    """F of the offspring of each pair, (q,)."""
    H = transmission(pairs.sire, pairs.dam)
    q = pairs.low.size
    f: Array = np.zeros(q)
    start, size = 0, _FIRST
    while start < q:
        stop = min(start + size, q)
        ends = np.concatenate([pairs.low[start:stop], pairs.high[start:stop]])
        rows, where = np.unique(ends, return_inverse=True)
        T = _rows_of_T(H, rows)
        common = sp.csr_array(T[where[: stop - start]].multiply(T[where[stop - start :]]))
        f[start:stop] = _solve(common, f, start, stop, pairs)
        size = int(np.clip(size * _ENTRIES / max(T.nnz, 1), 1, 4 * size))
        start = stop
    return f


def _rows_of_T(H: sp.csr_array, rows: Codes) -> sp.csr_array:
    """Rows of T = (I − H)⁻¹ = I + H + H² + ..., one power a generation back; H is nilpotent."""
    step = sp.csr_array((np.ones(rows.size), rows, np.arange(rows.size + 1)), shape=(rows.size, H.shape[0]))
    parts: list[Any] = []
    while step.nnz:
        parts.append(step.tocoo())
        step = step @ H
    values = np.concatenate([p.data for p in parts])
    at = (np.concatenate([p.row for p in parts]), np.concatenate([p.col for p in parts]))
    return sp.csr_array(sp.coo_array((values, at), shape=step.shape))


def _solve(common: sp.csr_array, f: Array, start: int, stop: int, pairs: Pairs) -> Array:
    """f of pairs start to stop: f = ½ W D with W = `common`, where D of a common ancestor may take f of earlier pairs of the
    same block. D = c − ¼ Σ F_parent, so f solves a triangular system, (I + M) f = ½ W c."""
    m = pairs.sire.size
    D: Array = np.ones(m)
    ancestors, to = [], []  # whose D takes the f of which pair in this block
    for parent in (pairs.sire, pairs.dam):
        known = parent >= 0
        pair = np.where(known, pairs.pair[parent], -1)
        inside = (pair >= start) & (pair < stop)
        settled = np.where((pair >= 0) & ~inside, f[pair], 0.0)
        D -= np.where(known, 0.25 * (1.0 + settled), 0.0)
        ancestors.append(np.flatnonzero(inside))
        to.append(pair[inside] - start)
    right = 0.5 * (common @ D)
    at = (np.concatenate(ancestors), np.concatenate(to))
    takes = sp.coo_array((np.full(at[0].size, 0.125), at), shape=(m, stop - start))
    M = sp.csr_array(common @ sp.csr_array(takes))
    if not M.nnz:
        return np.asarray(right)
    return np.asarray(spsolve_triangular(sp.csr_array(M + sp.eye_array(stop - start)), right, lower=True))


def _column_of(pairs: Pairs) -> Codes:
    """Of each pair the parent with more mates, (q,), so that few columns have them all."""
    mates = np.bincount(np.concatenate([pairs.low, pairs.high]), minlength=pairs.sire.size)
    return np.where(mates[pairs.low] >= mates[pairs.high], pairs.low, pairs.high)


def by_columns(pairs: Pairs) -> Array:
    """F of the offspring of each pair, (q,)."""
    m, depth = pairs.sire.size, int(pairs.generations[-1])
    edge = np.searchsorted(pairs.generations, np.arange(depth + 2))  # generations are contiguous
    H = transmission(pairs.sire, pairs.dam)
    down = [sp.csr_array(H[edge[g] : edge[g + 1], : edge[g]]) for g in range(depth + 1)]
    up = [sp.csr_array(h.T) for h in down]
    column = _column_of(pairs)
    mate = pairs.low + pairs.high - column
    order = np.argsort(column, kind="stable")
    f: Array = np.zeros(pairs.low.size)
    F, D = np.zeros(m), np.zeros(m)
    for g in range(
        depth + 1
    ):  # D of a generation takes F of earlier ones, whose pairs have columns in earlier ones still
        own = slice(edge[g], edge[g + 1])
        F[own] = np.where(pairs.pair[own] >= 0, f[pairs.pair[own]], 0.0)
        D[own] = mendelian_variance(pairs.sire[own], pairs.dam[own], F)
        low, high = np.searchsorted(column[order], [edge[g], edge[g + 1]])
        here = order[low:high]
        columns, which = np.unique(column[here], return_inverse=True)
        batch = max(1, _ENTRIES // m)
        for start in range(0, columns.size, batch):
            inside = (which >= start) & (which < start + batch)
            chosen, at = here[inside], which[inside] - start
            last = int(pairs.generations[mate[chosen]].max())
            W = _columns_of_A(columns[start : start + batch], g, max(g, last), edge, up, down, D)
            f[chosen] = 0.5 * W[mate[chosen], at]
    return f


def _columns_of_A(
    columns: Codes, g: int, last: int, edge: Codes, up: list[sp.csr_array], down: list[sp.csr_array], D: Array
) -> Array:
    """Columns of A of parents in generation g, as far as generation `last`: A e = T (D (T'e)), up the pedigree and down."""
    W: Array = np.zeros((edge[last + 1], columns.size))
    W[columns, np.arange(columns.size)] = 1.0
    for h in range(g, 0, -1):
        W[: edge[h]] += up[h] @ W[edge[h] : edge[h + 1]]
    W[: edge[g + 1]] *= D[: edge[g + 1], None]
    for h in range(1, last + 1):
        W[edge[h] : edge[h + 1]] += down[h] @ W[: edge[h]]
    return W
