"""Sufficient statistics by level of one grouping factor, in one pass over the rows.

With R = σ²I the likelihood sees the data only through Z_i'Z_i, Z_i'Y and Y'Y. They are held in an orthonormal basis: the
columns of Y are X orthonormalised and the part of y outside their span, so that no cross-product of raw columns, which
would cancel when y or a covariate has a large mean, is ever formed. [X, y − Xβ₀] = Y T carries the way back.

Statistics of parts of the data, cut at any row, merge: each part brings its basis, the merged basis comes from the
triangular factors alone, and the per-level sums are re-based and added.
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.stack import vech_place


@frozen(eq=False)
class LevelStatistics:
    """Statistics of the rows seen so far, by level.

    W (q(q+1)/2, m): lower triangles of Z_i'Z_i.   A (q, r, m): Z_i'Y in the part's own basis of r columns.
    T (r, p+1): the triangular factor of [X, y − Xβ₀], whose Gram matrix is T'T.   beta0 (p,).   n rows.
    """

    W: Array
    A: Array
    T: Array
    beta0: Array
    n: int
    log_weights: float

    @property
    def q(self) -> int:
        return int(self.A.shape[0])

    @property
    def m(self) -> int:
        return int(self.W.shape[1])

    @classmethod
    def of(cls, design: Design, grouping: int = 0) -> LevelStatistics:
        """All terms of one grouping factor."""
        codes, m = design.groupings[grouping].codes, design.groupings[grouping].size
        Q, R = design.orthonormal_X
        y = design.weighted(design.y)
        rank = Q.shape[1]
        # Least squares in data units first, its residual exactly as rows see it, then what is left along Q: when y has
        # a large mean the subtraction is exact where one product in the basis would lose the small digits.
        if rank == design.p and rank:
            # a part of the data may lack a column's variation
            full = np.all(np.abs(np.diag(R)) > 1e-10 * np.max(np.abs(R)))
            beta0 = np.linalg.solve(R, Q.T @ y) if full else np.linalg.lstsq(R, Q.T @ y, rcond=None)[0]
            y = design.weighted(design.y - design.X @ beta0)
        else:
            beta0 = np.zeros(design.p)
        along = Q.T @ y
        rest = y - Q @ along
        size = float(np.linalg.norm(rest))
        unit = rest / size if size > 0 else rest
        T = np.zeros((rank + 1, design.p + 1))
        T[:rank, :-1], T[:rank, -1], T[rank, -1] = R, along, size
        columns = [Q[:, j] for j in range(rank)] + [unit]
        bases = [term.Z[:, j] for term in design.terms if term.grouping == grouping for j in range(term.width)]
        bases = [design.weighted(z) for z in bases]
        q = len(bases)
        add = _Adder(codes, m)
        W = np.empty((q * (q + 1) // 2, m))
        A = np.empty((q, rank + 1, m))
        for a, z in enumerate(bases):
            for b in range(a + 1):
                W[vech_place(a, b)] = add(z * bases[b])
            for j, column in enumerate(columns):
                A[a, j] = add(z * column)
        return cls(W, A, T, beta0, design.n, design.log_weights)

    def _rebased(self, beta0: Array) -> Array:
        """T for the residual of another β₀."""
        T = self.T.copy()
        T[:, -1] += T[:, :-1] @ (self.beta0 - beta0)
        return T

    def merge(self, other: LevelStatistics) -> LevelStatistics:
        """Statistics of both parts; levels are matched by their number."""
        mine, theirs = self._rebased(self.beta0), other._rebased(self.beta0)
        # [T1; T2] = Q T: the blocks of Q carry each part's basis to the merged one.
        Q, T = np.linalg.qr(np.vstack([mine, theirs]))
        r = self.T.shape[0]
        A = np.tensordot(self.A, Q[:r], axes=(1, 0)) + np.tensordot(other.A, Q[r:], axes=(1, 0))
        return LevelStatistics(
            self.W + other.W,
            np.ascontiguousarray(np.moveaxis(A, -1, 1)),
            T,
            self.beta0,
            self.n + other.n,
            self.log_weights + other.log_weights,
        )

    def __add__(self, other: LevelStatistics) -> LevelStatistics:
        return self.merge(other)

    def normalised(self) -> tuple[Array, Array]:
        """(A, T) with the last column of Y the residual itself: T (p+1, p+1) upper triangular with a last entry 1."""
        p = self.T.shape[1] - 1
        A, T = self.A, self.T
        if T.shape[0] < p + 1:
            pad = p + 1 - T.shape[0]
            T = np.pad(T, ((0, pad), (0, 0)))
            A = np.pad(A, ((0, 0), (0, pad), (0, 0)))
        size = T[p, p]
        T, A = T.copy(), A.copy()
        T[p, p] = 1.0
        A[:, p] *= size
        return A, T

    @property
    def residual_square(self) -> float:
        p = self.T.shape[1] - 1
        return float(self.T[p, p] ** 2) if self.T.shape[0] > p else 0.0


class _Adder:
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
