"""The banded engine: residuals that are Markov chains, or independent with unequal variances, in O(rows).

With R⁻¹ = B'B, B bidiagonal (chain.py), rows are whitened, Z̃ = BZ and Ỹ = BY, and what follows is the algebra of levels
with independent residuals. Along a tangent of R with D_j = ∂B: BR_jB' = −(E_j + E_j'), E_j = D_jB⁻¹, so all that
derivatives need are D_j times columns and one bidiagonal solve (theory: docs/theory/banded.md).
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import ClassVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.linalg import block_diag

from mmframe.covariance.domain import Array, psd_root, unvech
from mmframe.design.design import Design
from mmframe.design.distinct import constant_within
from mmframe.likelihood import stack
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.chain import Chain, Links, applied, solved_transposed, transposed
from mmframe.likelihood.patterns import Patterns
from mmframe.likelihood.reduce import Adder
from mmframe.likelihood.residual_engine import Pulled, ResidualEngine, Scores, Second, basis_columns, not_for
from mmframe.likelihood.stack import vech_place

# Rows of a subject beyond which one matrix a pattern costs more whatever is shared; patterns to blocks below which they
# are shared; rows below which single matrices cost less, and how much more they may have beside random effects; how many
# subjects are looked at.
_LONG, _SHARED, _SHORT, _WITH_EFFECTS, _LOOKED_AT = 48, 0.3, 3.0, 4.0, 400


@frozen(eq=False)
class _State:
    """One point. b, o (n,): B.   Z, w: Z̃ (n, q) and BRV⁻¹E (n, c); plain: RV⁻¹E.   M (q, q, m), W (t, m) = Z̃'Z̃, N = Z'V⁻¹Z (t, m),
    H = Z'V⁻¹E and moved = GH (q, c, m)."""

    links: list[Links]
    b: Array
    o: Array
    Z: Array
    w: Array
    plain: Array
    M: Array
    W: Array
    N: Array
    H: Array
    moved: Array
    cross: Array
    logdet: float


@frozen(eq=False)
class BandedEngine(ResidualEngine):
    """Rows in the order of the chain. Y (n, c): the columns; Z (n, q) over all terms; codes (n,): the level."""

    name: ClassVar[str] = "banded"

    basis: Basis
    chain: Chain
    Y: Array
    Z: Array
    codes: NDArray[np.intp]
    m: int
    widths: tuple[int, ...]

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        reason, residual = not_for(design), design.residual
        if reason is not None or residual is None:
            return reason
        if not residual.banded:
            return "it takes residuals that are Markov chains, and those of this structure depend on more than their neighbours"
        if len(design.groupings) > 1:
            return f"it takes one grouping factor, and this design has {len(design.groupings)}"
        for grouping in design.groupings:
            if not constant_within(grouping.codes, residual.subject):
                return f"it takes subjects that have one level of {grouping.name} each"
        return None

    @classmethod
    def suits(cls, design: Design) -> bool:
        """Where subjects are long, or so different that patterns would share little (looked at in some of them)."""
        assert design.residual is not None
        sizes = np.bincount(design.residual.subject)
        if sizes.max() > _LONG:
            return True
        some = design.take(np.flatnonzero(design.residual.subject < _LOOKED_AT))
        blocks = Patterns.of(some).blocks
        shared = sum(b.patterns for b in blocks) < _SHARED * sum(len(b.rows) for b in blocks)
        # levels of random effects cost this engine more than a pattern
        return not shared and float(np.mean(sizes)) > (_WITH_EFFECTS if design.terms else 1.0) * _SHORT

    @classmethod
    def reduce(cls, design: Design) -> BandedEngine:
        return cls.with_columns(design)

    @classmethod
    def with_columns(cls, design: Design, further: Array | None = None) -> BandedEngine:
        """further (n, c): weighted columns that stand beside those of the basis."""
        assert design.residual is not None
        order = design.residual.order
        codes, m = np.zeros(design.n, dtype=np.intp), 0
        if design.groupings:
            codes, m = design.groupings[0].codes, design.groupings[0].size
            order = order[np.argsort(codes[order], kind="stable")]
        basis, E = basis_columns(design)
        if further is not None:
            E = np.hstack([E, further])
        Z = np.column_stack([np.zeros((design.n, 0)), *(design.weighted(t.Z) for t in design.terms)])[order]
        chain = Chain.of(design.residual, order)
        return cls(basis, chain, E[order], Z, codes[order], m, tuple(t.width for t in design.terms))

    @property
    def residual_index(self) -> tuple[tuple[Array, ...], ...]:
        return self.chain.stacks

    @property
    def q(self) -> int:
        return int(self.Z.shape[1])

    def describe(self) -> str:
        pairs = sum(len(s) for stratum in self.chain.stacks for s in stratum)
        levels = f"; {self.m:,} levels, a block of {self.q} x {self.q} each" if self.m else ""
        return f"{self.n:,} rows whitened by their neighbours, {pairs:,} different pairs and first points{levels}"

    @cached_property
    def _blocks(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *self.widths])
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    @cached_property
    def _add(self) -> Adder:
        return Adder(self.codes, max(self.m, 1))

    def _products(self, left: Array, right: Array) -> Array:
        """Σ over the rows of each level of left'right: (n, x), (n, y) -> (x, y, m)."""
        out = np.empty((left.shape[1], right.shape[1], max(self.m, 1)))
        for a in range(left.shape[1]):
            for c in range(right.shape[1]):
                out[a, c] = self._add(left[:, a] * right[:, c])
        return out

    def _by_row(self, columns: Array, matrices: Array) -> Array:
        """Each row of columns (n, x) times its level's matrix (x, y, m): (n, y)."""
        out = np.zeros((self.n, matrices.shape[1]))
        for a in range(columns.shape[1]):
            out += columns[:, a : a + 1] * matrices[a].T[self.codes]
        return out

    def _root(self, G: tuple[Array, ...]) -> Array:
        return np.asarray(block_diag(*(psd_root(g) for g in G))) if G else np.zeros((0, 0))

    def at(self, G: tuple[Array, ...], R: tuple[Array, ...]) -> _State | None:
        links = [Links.of(r) for r in R]
        if any(link is None for link in links):
            return None
        known = [link for link in links if link is not None]
        b, o = self.chain.spread([k.b for k in known]), self.chain.spread([k.o for k in known])
        white = applied(b, o, self.Y)
        cross, logdet, q = white.T @ white, -2.0 * float(np.sum(np.log(b))), self.q
        Z = applied(b, o, self.Z)
        m, r = max(self.m, 1), self.Y.shape[1]
        W, N = np.zeros((q * (q + 1) // 2, m)), np.zeros((q * (q + 1) // 2, m))
        M, H, moved, plain = np.zeros((q, q, m)), np.zeros((q, r, m)), np.zeros((q, r, m)), self.Y
        if q:
            for a in range(q):
                for c in range(a + 1):
                    W[vech_place(a, c)] = self._add(Z[:, a] * Z[:, c])
            A = self._products(Z, white)
            root = self._root(G)
            inner = stack.congruence(root) @ W
            inner[stack.diagonal_places(q)] += 1.0
            L = stack.cholesky(inner, q)
            logdet += float(np.sum(stack.log_determinant(L)))
            U = stack.solve_lower(L, (stack.left_product(root) @ W).reshape(q, q, m))
            N = stack.minus_gram(W, U)
            half = stack.solve_lower(L, np.repeat(root.T[:, :, None], m, axis=2))
            M = stack.product(stack.transposed(half), half)
            white_A = stack.solve_lower(L, (root.T @ A.reshape(q, -1)).reshape(A.shape))
            H = stack.minus_product(A, U, white_A)
            along = np.ascontiguousarray(white_A.transpose(1, 0, 2)).reshape(r, -1)
            cross = cross - along @ along.T
            moved = stack.product(M, A)
            plain = self.Y - self._by_row(self.Z, moved)
        return _State(known, b, o, Z, applied(b, o, plain), plain, M, W, N, H, moved, cross, logdet)

    def _adjoint(self, state: _State, weight: Array) -> tuple[Array, Array]:
        """∂/∂b and ∂/∂o of each row, (n,): of −tr(RSR ∂(B'B)), RSR = R − ZMZ' − RV⁻¹E D E'V⁻¹R."""
        weighted = state.w @ weight
        on_b = -2.0 / state.b + 2.0 * np.einsum("nr,nr->n", weighted, state.plain)
        on_o = np.zeros(self.n)
        on_o[1:] = 2.0 * np.einsum("nr,nr->n", weighted[1:], state.plain[:-1])
        if self.q:
            spread = self._by_row(state.Z, state.M)
            on_b += 2.0 * np.einsum("nq,nq->n", spread, self.Z)
            on_o[1:] += 2.0 * np.einsum("nq,nq->n", spread[1:], self.Z[:-1])
        return on_b, on_o

    def scores(self, state: _State, weight: Array) -> Scores:
        on_b, on_o = (self.chain.gathered(v) for v in self._adjoint(state, weight))
        G_scores: tuple[Array, ...] = ()
        if self.q:
            H = state.H.reshape(self.q, -1)
            S = unvech(state.N.sum(axis=1)) - H @ np.einsum("rs,qsm->qrm", weight, state.H).reshape(self.q, -1).T
            G_scores = tuple(S[block, block] for block in self._blocks)
        residual = tuple(
            link.score(x, y, stack_.shape[1] == 2)
            for link, x, y, stack_ in zip(state.links, on_b, on_o, self._stacks, strict=True)
        )
        return G_scores, residual

    @property
    def _stacks(self) -> list[Array]:
        return [s for stratum in self.chain.stacks for s in stratum]

    def second(
        self, state: _State, tangents: tuple[Array, ...], R_tangents: tuple[Array, ...], weight: Array
    ) -> Second:
        k, q, r = R_tangents[0].shape[0], self.q, self.Y.shape[1]
        moved = np.zeros((k, q, q))
        for block, dG in zip(self._blocks, tangents, strict=True):
            moved[:, block, block] = dG
        parts = [link.tangents(dR) for link, dR in zip(state.links, R_tangents, strict=True)]
        db, do = (self.chain.spread([part[i] for part in parts]) for i in range(2))
        d_link, e, h, x, g, u, a, N_j, F_sum = [], [], [], [], [], [], [], [], []
        both = np.hstack([state.w, state.Z])
        W = stack.full(state.W) if q else np.zeros((0, 0, 1))
        for j in range(k):
            forward = applied(db[j], do[j], np.hstack([state.plain, self.Z]))
            backward = np.zeros_like(both)
            if np.any(db[j]) or np.any(do[j]):
                backward = solved_transposed(state.b, state.o, transposed(db[j], do[j], both))
            x.append(forward[:, :r])
            g.append(backward[:, :r])
            e.append(forward[:, r:])
            h.append(backward[:, r:])
            inside = np.tensordot(moved[j], state.H, axes=1)  # G_jH, (q, r, m)
            u.append(self._by_row(state.Z, inside) - x[j] - g[j])
            a.append(self._by_row(state.Z, np.tensordot(moved[j], W, axes=1)) - e[j] - h[j])
            N_j.append(self._products(state.Z, a[j]))
            F_sum.append(-self._products(state.Z, e[j] + h[j]).sum(axis=2))
            d_link.append(db[j] / state.b)
        return self._assembled(state, weight, moved, parts, R_tangents, (d_link, e, h, x, g, u, a, N_j, F_sum), W)

    def _assembled(
        self,
        state: _State,
        weight: Array,
        moved: Array,
        parts: list[tuple[Array, Array]],
        R_tangents: tuple[Array, ...],
        pieces: tuple[list[Array], ...],
        W: Array,
    ) -> Second:
        """P, Q, T and the bend from what each tangent gives."""
        d_link, e, h, x, g, u, a, N_j, F_sum = pieces
        k, q, r = len(u), self.q, self.Y.shape[1]
        P = np.zeros((k, r, r))
        T, trace, bend = np.zeros((k, k)), np.zeros(k), np.zeros((k, k))
        Zu = [self._products(state.Z, one) for one in u]
        MZu = [stack.product(state.M, one) for one in Zu]
        MN = [stack.product(state.M, one) for one in N_j]
        GW = [np.tensordot(G, W, axes=1) for G in moved]
        Ma, Me, Mh = ([self._by_row(one, state.M) for one in many] for many in (a, e, h))
        xw, gw = ([one @ weight for one in many] for many in (x, g))
        W_sum = W.sum(axis=2)
        together = self._links_together(state, parts)
        on_b, on_o = (self.chain.gathered(v) for v in self._adjoint(state, weight))
        for link, dR, on_b_, on_o_ in zip(state.links, R_tangents, on_b, on_o, strict=True):
            bend += link.curved(dR, on_b_, on_o_)
        wide, left, right = np.hstack(u), _as_columns(Zu), _as_columns(MZu)
        Q = (wide.T @ wide - left.T @ right).reshape(k, r, k, r).transpose(0, 2, 1, 3)
        for j in range(k):
            P[j] = state.w.T @ u[j]
            traces = np.trace(moved[j] @ W_sum) - 2.0 * np.sum(d_link[j])
            trace[j] = traces - (np.einsum("aam->", MN[j]) if q else 0.0)
            for i in range(j + 1):
                own = 2.0 * float(d_link[j] @ d_link[i])
                T[j, i] = own + 2.0 * together[j, i]
                bend[j, i] += 2.0 * own + 2.0 * together[j, i]
                bend[j, i] -= 2.0 * float(np.sum(xw[i] * g[j]) + np.sum(xw[j] * g[i]) + np.sum(gw[j] * g[i]))
                if q:
                    T[j, i] += np.sum(moved[i] * F_sum[j].T) + np.sum(moved[j] * F_sum[i].T)
                    T[j, i] += float(np.einsum("abm,bam->", GW[j], GW[i]) + np.einsum("abm,bam->", MN[j], MN[i]))
                    T[j, i] -= 2.0 * float(np.sum(Ma[j] * a[i]))
                    bend[j, i] -= 2.0 * float(np.sum(Mh[j] * e[i]) + np.sum(Me[j] * h[i]) + np.sum(Mh[j] * h[i]))
                T[i, j], bend[i, j] = T[j, i], bend[j, i]
        return Second(P, Q, T, trace, bend)

    def _links_together(self, state: _State, parts: list[tuple[Array, Array]]) -> Array:
        """tr(E_j'E_l) = Σ over rows of D_j R D_l' on the band: (k, k)."""
        k = parts[0][0].shape[0]
        out = np.zeros((k, k))
        for link, (db, do), member in zip(state.links, parts, self.chain.member, strict=True):
            count = np.bincount(member, minlength=link.b.size)
            cross = link.a * link.before
            mixed = (db * count * cross) @ do.T
            out += (db * count * link.own) @ db.T + mixed + mixed.T + (do * count * link.before) @ do.T
        return out

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return (self.m,) * len(self.widths)

    @cached_property
    def unit_scales(self) -> tuple[Array, ...]:
        scale = np.sqrt(np.mean(self.Z**2, axis=0))
        return tuple(scale[block] for block in self._blocks)

    def pulled(self, design: Design, G: tuple[Array, ...], R: tuple[Array, ...]) -> Pulled:
        if not self.q:
            return Pulled((), ())
        state = self.at(G, R)
        if state is None:
            raise np.linalg.LinAlgError("the residual covariance is not positive definite")
        return Pulled((state.M.transpose(2, 0, 1),), (state.moved.transpose(2, 0, 1),))


def _as_columns(products: list[Array]) -> Array:
    """Products by level (q, r, m) of k tangents, side by side: (q m, k r)."""
    return np.hstack([one.transpose(0, 2, 1).reshape(-1, one.shape[1]) for one in products])
