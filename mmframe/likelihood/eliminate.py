"""Elimination of levels from Z'V⁻¹Z, round by round, and the way back: the selected inverse.

State: N = Z'V₀⁻¹Z and H = Z'V₀⁻¹Y over the levels that are left, V₀ = I + Σ Z_iGZ_i' over those eliminated. Eliminating
the levels i of a round, which are not joined to each other, with M_i = (G⁻¹ + N_ii)⁻¹ = Λ(Λ'N_iiΛ + I)⁻¹Λ':

    log|V| += log|Λ'N_iiΛ + I|,  Y'V⁻¹Y −= H_i'M_iH_i,  N_jk −= N_ji M_i N_ik,  H_j −= N_ji M_i H_i.

On the way back, T = (G⁻¹ + N)⁻¹ is needed only where N has entries (Takahashi, Fagan & Chin 1973; Erisman & Tinney 1975):

    R_ij = Σ_k N_ik T_kj,  Q_i = Σ_j R_ij N_ji,  T_ij = −M_iR_ij,  T_ii = M_i + M_iQ_iM_i,
    Z_i'V⁻¹Z_i = N_ii − N_iiM_iN_ii − F_iQ_iF_i',  F_i = I − N_iiM_i.

No G is inverted. Numbers may be complex with an imaginary part so small that its square vanishes: that carries an exact
first derivative along (the complex step; Squire & Trapp 1998, SIAM Review 40).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood import stack
from mmframe.likelihood.arrange import Arranged, Constant
from mmframe.likelihood.blocks import Plan, Round
from mmframe.likelihood.core import Core
from mmframe.likelihood.products import dense_products, dense_quadratics
from mmframe.likelihood.threads import wide_blas

_CHUNK = 1 << 19  # pairs at a time, so that temporaries stay in the cache


@frozen(eq=False)
class Step:
    """One round's numbers: N_ii, M_i = K_i'K_i and K_i (q, q, n) at its turn; the entries N_ij by neighbouring factor.

    Products go through K_i, whose condition is the root of that of M_i. It is None where numbers are complex.
    """

    round: Round
    constant: Constant | None
    D: Array
    M: Array
    K: Array | None
    N: dict[int, Array]

    def matrix(self, plan: Plan, h: int, x: int, c: int) -> sp.csr_array:
        """Entries [x, c] of the neighbours in factor h, as a matrix (n, m_h)."""
        return self.round.edges[h].matrix(self.N[h][x, c], plan.sizes[h])


@frozen(eq=False)
class Eliminated:
    """What the rounds leave: steps; N over the core (upper triangle, real or complex); log|V| so far."""

    plan: Plan
    steps: tuple[Step, ...]
    N: Array
    logdet: float

    def forward(self, H: list[Array]) -> Array:
        """Take the rounds' levels out of H (in place; for each factor (q, m, r)); Σ H_i'M_iH_i, (r, r)."""
        r = H[0].shape[2]
        taken = np.zeros((r, r))
        for step in self.steps:
            g, rows = step.round.g, slice(step.round.start, step.round.stop)
            mine = H[g][:, rows]
            assert step.K is not None
            half = _apply(step.K, mine)
            moved = _apply(stack.transposed(step.K), half)
            for x in range(mine.shape[0]):
                taken += half[x].T @ half[x]
            for h in step.round.edges:
                for x in range(mine.shape[0]):
                    for c in range(self.plan.widths[h]):
                        H[h][c] -= step.matrix(self.plan, h, x, c).T @ moved[x]
        return taken

    def backward(self, H: list[Array], t: list[Array]) -> list[Array]:
        """Z'V⁻¹Y of the rounds' levels, given H after `forward` and t = TH of the core; completes t in place.

        Entries of the core in what is returned are zero.
        """
        out = [np.zeros_like(x) for x in H]
        for step in reversed(self.steps):
            g, rows = step.round.g, slice(step.round.start, step.round.stop)
            left = H[g][:, rows].copy()
            for h in step.round.edges:
                for x in range(left.shape[0]):
                    for c in range(self.plan.widths[h]):
                        left[x] -= step.matrix(self.plan, h, x, c) @ t[h][c]
            t[g][:, rows] = _apply(step.M, left)
            out[g][:, rows] = left - _apply(step.D, t[g][:, rows])
        return out

    def inverse(
        self, core: Core, T: Array, keep: tuple[tuple[int, int], ...] = ()
    ) -> tuple[list[Array], list[Array], dict[tuple[int, int], Array]]:
        """(Σ over the rounds' levels of Z_i'V⁻¹Z_i (q, q), T_ii (q, q, m)) by factor, and T_ij of the entries in `keep`,
        given T over the core (its own, or with a derivative).

        T_ii of core levels is zero in what is returned.
        """
        plan = self.plan
        dtype = np.result_type(T, self.N)
        entries = {
            pair: np.zeros((plan.widths[pair[0]], plan.widths[pair[1]], e.rows.size), dtype)
            for pair, e in plan.edges.items()
            if pair in plan.touched or pair in keep
        }
        diagonal = [np.zeros((q, q, m), dtype) for q, m in zip(plan.widths, plan.sizes, strict=True)]
        sums = [np.zeros((q, q), dtype) for q in plan.widths]
        for step in reversed(self.steps):
            Q = self._quadratics(step, entries, diagonal, core, T)
            g, rows = step.round.g, slice(step.round.start, step.round.stop)
            M, D = step.M, step.D
            DM = stack.product(D, M)
            inner = D - stack.product(DM, D)
            FQ = Q - stack.product(DM, Q)
            inner -= FQ - stack.product(FQ, stack.transposed(DM))
            sums[g] += np.sum(inner, axis=2)
            diagonal[g][:, :, rows] = M + stack.product(stack.product(M, Q), M)
        return sums, diagonal, entries

    def _quadratics(
        self, step: Step, entries: dict[tuple[int, int], Array], diagonal: list[Array], core: Core, T: Array
    ) -> Array:
        """Q_i of a round (q, q, n), and T_ij of its entries where earlier rounds want them."""
        plan, rnd = self.plan, step.round
        q, n = plan.widths[rnd.g], rnd.stop - rnd.start
        dtype = T.dtype if not step.N else np.result_type(T, *step.N.values())
        if rnd.kind == "dense":
            return dense_quadratics(plan, step, core, T)
        if step.constant is not None:
            # each pair counts twice, those of a neighbour with itself once
            pairs, squares = step.constant.pairs, step.constant.squares
            return np.asarray(2.0 * (pairs.T @ T.reshape(-1)) - squares.T @ T.diagonal())[None, None]
        R = {h: np.zeros(N.shape, dtype) for h, N in step.N.items()}
        for pairs in rnd.pairs:
            for lo in range(0, pairs.a.size, _CHUNK):
                part = slice(lo, lo + _CHUNK)
                a, b, target = pairs.a[part], pairs.b[part], pairs.target[part]
                if pairs.where == "edge":
                    at = entries[pairs.h, pairs.k][:, :, target]
                elif pairs.where == "diagonal":
                    at = diagonal[pairs.h][:, :, target]
                else:
                    at = _from_core(T, target, plan.widths[pairs.h], plan.widths[pairs.k])
                _add_at(R[pairs.h], a, stack.product(step.N[pairs.k][:, :, b], stack.transposed(at)))
                if pairs.where in ("edge", "core"):
                    _add_at(R[pairs.k], b, stack.product(step.N[pairs.h][:, :, a], at))
        Q = np.zeros((q, q, n), dtype)
        for h, N in step.N.items():
            near = rnd.edges[h]
            _add_at(Q, near.owner, stack.product(R[h], stack.transposed(N)))
            if (rnd.g, h) in entries:
                entries[rnd.g, h][:, :, near.place] = -stack.product(step.M[:, :, near.owner], R[h])
        return 0.5 * (Q + stack.transposed(Q))


def eliminate(
    data: Arranged,
    roots: tuple[Array, ...],
    tangent: tuple[Array, ...] | None = None,
    flat: tuple[int, ...] = (),
) -> Eliminated:
    """All rounds at the roots Λ of each factor's G.

    flat: factors whose statistics hold their prior precision already, M_i = N_ii⁻¹ (related.py).
    tangent: directions (q, q) of G, as the imaginary parts that all numbers then carry along.
    """
    kind: Any = float if tangent is None else complex
    plan = data.plan
    entries = {
        pair: e.astype(kind) if tangent is not None or pair in plan.touched else e for pair, e in data.entries.items()
    }
    blocks = [d.astype(kind) for d in data.diagonal]
    N = data.core.astype(kind)
    logdet = 0.0
    steps = []
    for rnd, constant in zip(plan.rounds, data.constant, strict=True):
        D = blocks[rnd.g][:, :, rnd.start : rnd.stop]
        M, K, more = _shrunk(D, roots[rnd.g], None if tangent is None else tangent[rnd.g], rnd.g in flat)
        logdet += more
        mine = {h: entries[rnd.g, h][:, :, near.place] for h, near in rnd.edges.items()}
        step = Step(rnd, constant, D, M, K, mine)
        steps.append(step)
        if rnd.kind == "dense":
            with wide_blas(plan.core_size):
                dense_products(plan, step, N)
            continue
        if constant is not None:
            N -= (constant.pairs @ M[0, 0]).reshape(N.shape)
            continue
        # N_ji M_i N_ik as (K_iN_ij)'(K_iN_ik)
        left, right = {}, {}
        for h, entry in mine.items():
            right[h] = stack.product((M if K is None else K)[:, :, rnd.edges[h].owner], entry)
            left[h] = stack.transposed(entry if K is None else right[h])
        for pairs in rnd.pairs:
            for lo in range(0, pairs.a.size, _CHUNK):
                part = slice(lo, lo + _CHUNK)
                a, b, target = pairs.a[part], pairs.b[part], pairs.target[part]
                values = stack.product(left[pairs.h][:, :, a], right[pairs.k][:, :, b])
                np.negative(values, out=values)
                if pairs.where == "edge":
                    _add_at(entries[pairs.h, pairs.k], target, values)
                elif pairs.where == "diagonal":
                    _add_at(blocks[pairs.h], target, values)
                else:
                    _to_core(N, target, values)
    return Eliminated(plan, tuple(steps), N, logdet)


def _shrunk(D: Array, root: Array, tangent: Array | None, flat: bool) -> tuple[Array, Array | None, float]:
    """M = Λ(Λ'DΛ + I)⁻¹Λ' = K'K of each level, K, and Σ log|Λ'DΛ + I|; flat: M = D⁻¹ and Σ log|D|."""
    q, n = D.shape[0], D.shape[2]
    real = np.real(D)
    rows, cols = np.tril_indices(q)
    if flat:
        root, inner = np.eye(q), real[rows, cols]
    else:
        inner = stack.congruence(root) @ real[rows, cols]
        inner[stack.diagonal_places(q)] += 1.0
    L = stack.cholesky(inner, q)
    K = stack.solve_lower(L, np.repeat(root.T[:, :, None], n, axis=2))
    M = stack.product(stack.transposed(K), K)
    logdet = float(np.sum(stack.log_determinant(L)))
    if tangent is None:
        return M, K, logdet
    G = np.repeat((root @ root.T)[:, :, None], n, axis=2)
    F = np.moveaxis(np.linalg.inv(np.moveaxis(stack.product(real, G), -1, 0) + np.eye(q)), 0, -1)  # I − DM
    moved = stack.product(stack.transposed(F), stack.product(np.repeat(tangent[:, :, None], n, axis=2), F))
    moved = moved - stack.product(M, stack.product(np.imag(D), M))
    return M + 1j * moved, None, logdet


def _apply(M: Array, X: Array) -> Array:
    """M_i X_i: (q, q, n), (q, n, r) -> (q, n, r)."""
    q = M.shape[0]
    out = np.empty(X.shape, dtype=np.result_type(M, X))
    for x in range(q):
        total = M[x, 0][:, None] * X[0]
        for y in range(1, q):
            total += M[x, y][:, None] * X[y]
        out[x] = total
    return out


def _add_at(into: Array, at: Any, values: Array) -> None:
    """into[:, :, at] += values, where places may repeat."""
    size = into.shape[2]
    few = 4 * at.size < size
    for x in range(into.shape[0]):
        for y in range(into.shape[1]):
            if few:
                np.add.at(into[x, y], at, values[x, y])
            elif np.iscomplexobj(values):
                into[x, y] += np.bincount(at, values[x, y].real, size) + 1j * np.bincount(at, values[x, y].imag, size)
            else:
                into[x, y] += np.bincount(at, values[x, y], size)


def _to_core(N: Array, at: Any, values: Array) -> None:
    """The same into blocks of the core whose first place is `at`."""
    flat, size = N.reshape(1, 1, -1), N.shape[0]
    for x in range(values.shape[0]):
        for y in range(values.shape[1]):
            _add_at(flat, at + (x * size + y), values[x : x + 1, y : y + 1])


def _from_core(T: Array, at: Any, q: int, r: int) -> Array:
    """The blocks (q, r) of the core whose first place is `at`: (q, r, pairs)."""
    flat, size = T.reshape(-1), T.shape[0]
    out = np.empty((q, r, at.size), dtype=T.dtype)
    for x in range(q):
        for y in range(r):
            np.take(flat, at + (x * size + y), out=out[x, y])
    return out
