"""The pooled engine: one grouping factor, any number of terms on it, independent residuals.

With W = Z_i'Z_i, A = Z_i'Y and Λ a root of G (theory: docs/theory/pooled.md):

    LL' = Λ'WΛ + I,  B = L⁻¹Λ'A,  U = L⁻¹Λ'W,     log|V| = Σ 2 log|L|,  Y'V⁻¹Y = Y'Y − Σ B'B,
    N = Z'V⁻¹Z = W − U'U,  H = Z'V⁻¹Y = A − U'B,   ∂/∂G = Σ N − Σ H D H'.

Groups of equal W form a pool: they share one factorization, and since only Σ vec(A) vec(A)' enters, the R of the QR of
their stacked vec(A), at most q(p+1) rows, replaces them all. The group is the last axis of every array, and groups are
taken in chunks that stay in the cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray
from scipy.linalg import block_diag

from mmframe.covariance.domain import Array, psd_root, unvech, vech_indices
from mmframe.design.design import Design
from mmframe.likelihood import stack
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.criterion import Solution
from mmframe.likelihood.effects import Effects, TabledEffects
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Curvature, Evaluation
from mmframe.likelihood.reduce import LevelStatistics, too_wide

CHUNK = 8192
_ENTRIES = 4_000_000
# A pool is compressed when it has this many times more groups than the rows that replace them.
_WORTH = 2


@frozen(eq=False)
class _Chunk:
    """What one chunk of groups contributes at one Λ."""

    logdet: float
    N: Array
    count: Array
    H: Array
    B: Array
    L: Array
    member: NDArray[np.intp] | None


@frozen(eq=False)
class PooledEngine(Engine):
    """Statistics of one grouping factor, pooled.

    W (q(q+1)/2, pools); count (pools,) groups in each; A (q, p+1, k) rows of all pools, in the order of pools;
    first (pools+1,): where the rows of each pool start; widths: q_k of each term; m levels.
    """

    name: ClassVar[str] = "pooled"

    W: Array
    count: Array
    A: Array
    first: NDArray[np.intp]
    basis: Basis
    widths: tuple[int, ...]
    m: int

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        if design.residual is not None:
            return "it takes independent residuals with one variance"
        if len(design.groupings) > 1:
            names = ", ".join(g.name for g in design.groupings)
            return f"it takes one grouping factor, and this design has {len(design.groupings)} ({names})"
        related = [g.name for g in design.groupings if g.relationship is not None]
        if related:
            return f"it takes levels that are independent, and those of {related[0]} are related"
        if not design.terms:
            return "it takes a design with random effects, and this one has none"
        return too_wide(design)

    @classmethod
    def reduce(cls, design: Design) -> PooledEngine:
        return cls.from_statistics(LevelStatistics.of(design), tuple(t.width for t in design.terms))

    @classmethod
    def from_statistics(
        cls, statistics: LevelStatistics, widths: tuple[int, ...], *, pool: bool = True
    ) -> PooledEngine:
        """Pool statistics by level; `pool=False` keeps one pool a level, in their order."""
        A, W, m = statistics.products, statistics.W, statistics.m
        if pool:
            W, count, A, first = _pool(W, A)
        else:
            count, first = np.ones(m), np.arange(m + 1)
        return cls(W, count, A, first, statistics.basis, widths, m)

    def describe(self) -> str:
        pools = self.W.shape[1]
        shared = " (levels with equal Z'Z share one)" if pools < self.m else ""
        return (
            f"{self.m:,} levels, a block of {self.q} x {self.q} each; factorizations an evaluation: {pools:,}{shared}"
        )

    @property
    def n(self) -> int:
        return self.basis.n

    @property
    def q(self) -> int:
        return int(self.A.shape[0])

    @property
    def p(self) -> int:
        return int(self.A.shape[1]) - 1

    @cached_property
    def _blocks(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *self.widths])
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    @cached_property
    def _pool_of(self) -> NDArray[np.intp]:
        """The pool of each row of A."""
        return np.repeat(np.arange(self.W.shape[1]), np.diff(self.first))

    @cached_property
    def _single(self) -> bool:
        return bool(self.A.shape[2] == self.W.shape[1])

    def _chunks(self, root: Array, size: int = CHUNK) -> Iterator[_Chunk]:
        q, pools = self.q, self.W.shape[1]
        gram_map, left_map = stack.congruence(root), stack.left_product(root)
        diagonal = stack.diagonal_places(q)
        for lo in range(0, pools, size):
            hi = min(lo + size, pools)
            W, count = self.W[:, lo:hi], self.count[lo:hi]
            inner = gram_map @ W
            inner[diagonal] += 1.0
            L = stack.cholesky(inner, q)
            logdet = float(count @ stack.log_determinant(L))
            U = stack.solve_lower(L, (left_map @ W).reshape(q, q, hi - lo))
            N = stack.minus_gram(W, U)
            start, stop = int(self.first[lo]), int(self.first[hi])
            A = self.A[:, :, start:stop]
            B = (root.T @ A.reshape(q, -1)).reshape(A.shape)
            member = None
            if not self._single:
                member = self._pool_of[start:stop] - lo
                L, U = L[:, :, member], U[:, :, member]
            B = stack.solve_lower(L, B)
            yield _Chunk(logdet, N, count, stack.minus_product(A, U, B), B, L, member)

    def _root(self, G: tuple[Array, ...]) -> Array:
        roots = [psd_root(g) for g in G]
        return roots[0] if len(roots) == 1 else np.asarray(block_diag(*roots))

    def evaluate(
        self,
        G: tuple[Array, ...],
        *,
        reml: bool,
        score: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
        R: tuple[Array, ...] = (),
    ) -> Evaluation | None:
        q, r = self.q, self.p + 1
        cross, logdet = self.basis.cross.copy(), 0.0
        N_sum, H_gram = np.zeros(self.W.shape[0]), np.zeros((q * r, q * r))
        for chunk in self._chunks(self._root(G)):
            logdet += chunk.logdet
            along = np.ascontiguousarray(chunk.B.transpose(1, 0, 2)).reshape(r, -1)
            cross -= along @ along.T
            if score:
                N_sum += chunk.N @ chunk.count
                H = chunk.H.reshape(q * r, -1)
                H_gram += H @ H.T
        found = self.basis.solve(cross, logdet, reml=reml, sigma2=sigma2, beta=beta)
        if found is None:
            return None
        return self._evaluation(found, N_sum, H_gram, score)

    def _evaluation(self, found: Solution, N_sum: Array, H_gram: Array, score: bool) -> Evaluation:
        q, r = self.q, self.p + 1
        scores: tuple[Array, ...] = ()
        if score:
            S = unvech(N_sum) - (_by_entries(H_gram, q, r) @ found.weight.ravel()).reshape(q, q)
            scores = tuple(S[b, b] for b in self._blocks)
        return self.basis.evaluation(found, scores)

    def curvature(
        self,
        G: tuple[Array, ...],
        tangents: tuple[Array, ...],
        *,
        reml: bool,
        sigma2: float | None = None,
        beta: Array | None = None,
        R: tuple[Array, ...] = (),
        R_tangents: tuple[Array, ...] = (),
    ) -> tuple[Curvature, Evaluation] | None:
        q, r, k = self.q, self.p + 1, tangents[0].shape[0]
        moved = np.zeros((k, q, q))
        for block, dG in zip(self._blocks, tangents, strict=True):
            moved[:, block, block] = dG
        cross, logdet = self.basis.cross.copy(), 0.0
        rows, _cols = vech_indices(q)
        # tr(V⁻¹V_jV⁻¹V_l) = Σ tr(N dG_j N dG_l) needs only Σ N ⊗ N; likewise P needs only Σ H ⊗ H.
        N_sum, N_gram = np.zeros(rows.size), np.zeros((rows.size, rows.size))
        H_gram, Q_inner = np.zeros((q * r, q * r)), np.zeros((k * r, k * r))
        size = max(64, min(CHUNK, _ENTRIES // max(1, k * q * r)))
        for chunk in self._chunks(self._root(G), size):
            logdet += chunk.logdet
            along = np.ascontiguousarray(chunk.B.transpose(1, 0, 2)).reshape(r, -1)
            cross -= along @ along.T
            N_sum += chunk.N @ chunk.count
            N_gram += (chunk.N * chunk.count) @ chunk.N.T
            H = chunk.H.reshape(q * r, -1)
            H_gram += H @ H.T
            DH = (moved.reshape(k * q, q) @ chunk.H.reshape(q, -1)).reshape(k, q, r, -1)
            N = chunk.N if chunk.member is None else chunk.N[:, chunk.member]
            NDH = stack.symmetric_product(N, DH)
            for a in range(q):
                Q_inner += DH[:, a].reshape(k * r, -1) @ NDH[:, a].reshape(k * r, -1).T
        found = self.basis.solve(cross, logdet, reml=reml, sigma2=sigma2, beta=beta)
        if found is None:
            return None
        P = np.empty((k + 1, r, r))
        flat = moved.reshape(k, q * q)
        P[:k] = (flat @ _by_entries(H_gram, q, r)).reshape(k, r, r)
        P[k] = cross
        Q = np.empty((k + 1, k + 1, r, r))
        Q[:k, :k] = Q_inner.reshape(k, r, k, r).transpose(0, 2, 1, 3)
        Q[:k, k] = P[:k]
        Q[k] = P
        T = np.empty((k + 1, k + 1))
        NN = stack.full(stack.full(N_gram).transpose(2, 0, 1)).transpose(2, 3, 0, 1)  # Σ N_ab N_cd
        T[:k, :k] = flat @ NN.transpose(1, 2, 3, 0).reshape(q * q, q * q) @ flat.T
        trace = np.append(flat @ unvech(N_sum).ravel(), float(self.n))
        T[k], T[:, k] = trace, trace
        curvature = Curvature(P, Q, T, trace, cross, self.basis.full, self.n, found)
        return curvature, self._evaluation(found, N_sum, H_gram, True)

    @property
    def residual_square(self) -> float:
        return self.basis.residual_square

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return (self.m,) * len(self.widths)

    @cached_property
    def unit_scales(self) -> tuple[Array, ...]:
        scale = np.sqrt(self.W[stack.diagonal_places(self.q)] @ self.count / self.n)
        return tuple(scale[b] for b in self._blocks)

    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        engine = PooledEngine.from_statistics(LevelStatistics.of(design), self.widths, pool=False)
        q, p = engine.q, engine.p
        gamma = engine.basis.gamma(beta)
        b, cov, shift = np.empty((q, engine.m)), np.empty((engine.m, q, q)), np.empty((engine.m, q, p))
        root = engine._root(G)
        for number, chunk in enumerate(engine._chunks(root)):
            lo = number * CHUNK
            hi = lo + chunk.N.shape[1]
            # Λ(LL')⁻¹Λ' and what it multiplies, as products: G − G N G would cancel where G is large beside σ².
            inverse = np.linalg.inv(chunk.L.transpose(2, 0, 1))
            half = inverse @ root.T
            back = half.transpose(0, 2, 1)
            B = chunk.B.transpose(2, 0, 1)
            b[:, lo:hi] = (back @ (B @ gamma)[:, :, None])[:, :, 0].T
            cov[lo:hi] = back @ half
            shift[lo:hi] = back @ B[:, :, :p] @ engine.basis.full[:-1, :-1]
        return TabledEffects((b.T,), (cov,), (shift,))


def _by_entries(gram: Array, q: int, r: int) -> Array:
    """Σ H_ax H_by, (q r, q r), with the entries (a, b) as rows: (q², r²)."""
    return gram.reshape(q, r, q, r).transpose(0, 2, 1, 3).reshape(q * q, r * r)


def _pool(W: Array, A: Array) -> tuple[Array, Array, Array, NDArray[np.intp]]:
    """Collect groups of equal W: (W, count, A, first)."""
    q, r, m = A.shape
    if m < stack.FEW:  # there is nothing to gain
        return W, np.ones(m), A, np.arange(m + 1)
    # One number a group stands for its W; equal W give equal numbers, and the check below catches a coincidence.
    key = np.zeros(m)
    for k, row in enumerate(W):
        key += row * (1.0 + (k * 0.6180339887498949) % 1.0)
    member, distinct = pd.factorize(key)
    pools = len(distinct)
    if pools == m:
        return W, np.ones(m), A, np.arange(m + 1)
    leader = np.empty(pools, dtype=np.intp)
    leader[member[::-1]] = np.arange(m)[::-1]
    if not np.array_equal(W, W[:, leader[member]]):
        return W, np.ones(m), A, np.arange(m + 1)
    count = np.bincount(member, minlength=pools)
    order = np.argsort(member, kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)])
    rows = A[:, :, order].reshape(q * r, m)
    large = count > _WORTH * q * r
    kept = np.where(large, q * r, count)
    first = np.concatenate([[0], np.cumsum(kept)])
    out = np.empty((q * r, int(first[-1])))
    keep_small = ~large[member[order]]
    out[:, ~np.repeat(large, kept)] = rows[:, keep_small]
    for size in np.unique(count[large]):  # pools of one size go through one batched QR
        alike = np.flatnonzero(large & (count == size))
        columns = starts[alike][:, None] + np.arange(size)
        triangles = np.asarray(np.linalg.qr(np.moveaxis(rows[:, columns], 0, -1), mode="r"))
        target = first[alike][:, None] + np.arange(q * r)
        out[:, target] = np.moveaxis(triangles, -1, 0)
    return np.ascontiguousarray(W[:, leader]), count.astype(float), out.reshape(q, r, -1), first
