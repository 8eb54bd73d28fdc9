"""The pattern engine: a structured residual, with random effects of the same subjects or without.

Blocks of rows whose points and rows of Z agree share V_P = R_P + Σ_k (same level) ∘ Z_k G_k Z_k', m x m, its inverse and
its determinant; what their data say is kept as vec(Y_i) of each block, or, of a pattern with many blocks, as the R of
the QR of all of them, at most m(p+1) rows, since only Σ vec(Y_i) vec(Y_i)' enters (theory: docs/theory/pattern.md):

    log|V| = Σ count log|V_P|,   Y'V⁻¹Y = Σ Y_i'V_P⁻¹Y_i,   S_P = count V_P⁻¹ − V_P⁻¹ (Σ Y_i D Y_i') V_P⁻¹,
    ∂/∂R = S_P where the rows are of one subject,   ∂/∂G_k = Σ Z_k'(same ∘ S_P)Z_k.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.pattern_effects import pattern_effects
from mmframe.likelihood.patterns import Blocks, Patterns, first_seen, largest_block, rows_per_pattern
from mmframe.likelihood.residual_engine import (
    Pulled,
    ResidualEngine,
    Scores,
    Second,
    basis_columns,
    levels_of_terms,
    not_for,
    units_of_terms,
)
from mmframe.likelihood.residual_inverse import inverse

# Rows of one block beyond which its matrices do not fit a usual memory.
MAX_BLOCK = 6000
# Rows of one block beyond which other engines are looked for.
_LARGE = 300
# A pattern is compressed when it has this many times more blocks than the rows that replace them.
_WORTH = 2


@frozen(eq=False)
class PatternStack:
    """Patterns of m rows.

    place (P, m, m): entries of R.   count (P,): blocks of each.   Z: for each term (P, m, q).   same: for each term
    whether two rows have one level (P, m, m), or None where all have.   Y (rows, m, p+1): data of the blocks or what
    stands for them, in the order of patterns; member (rows,): the pattern of each.
    """

    place: NDArray[np.intp]
    count: Array
    Z: tuple[Array, ...]
    same: tuple[Array | None, ...]
    Y: Array
    member: NDArray[np.intp]

    @classmethod
    def of(cls, blocks: Blocks, design: Design, columns: Array) -> PatternStack:
        lead = blocks.rows[blocks.leader]
        same: list[Array | None] = []
        for term in design.terms:
            local = first_seen(design.groupings[term.grouping].codes[lead])
            same.append((local[:, :, None] == local[:, None, :]).astype(float) if np.any(local) else None)
        Z = tuple(design.weighted(t.Z)[lead] for t in design.terms)
        Y, member = _compressed(blocks, columns[blocks.rows])
        count = np.bincount(blocks.member, minlength=blocks.patterns).astype(float)
        return cls(blocks.place, count, Z, tuple(same), Y, member)

    def V(self, G: tuple[Array, ...], R: Array) -> Array:
        """(..., P, m, m) from the entries of R (..., all) and matrices G (..., q, q)."""
        out = R[..., self.place]
        for Z, same, g in zip(self.Z, self.same, G, strict=True):
            part = Z @ g[..., None, :, :] @ Z.swapaxes(-1, -2)
            out = out + (part if same is None else part * same)
        return np.asarray(out)

    def sums(self, values: Array) -> Array:
        """Sums over the rows of each pattern: (rows, ...) -> (P, ...)."""
        if len(self.member) == len(self.count):
            return values
        starts = np.searchsorted(self.member, np.arange(len(self.count)))
        return np.asarray(np.add.reduceat(values, starts, axis=0))


def _compressed(blocks: Blocks, Y: Array) -> tuple[Array, NDArray[np.intp]]:
    """vec(Y) of the blocks, or the triangular factor of those of a pattern with many."""
    B, m, r = Y.shape
    if _WORTH * m * r >= B:
        return Y, blocks.member
    parts, member = [], []
    for k, mine in rows_per_pattern(blocks):
        part = Y[mine]
        if len(part) > _WORTH * m * r:
            part = np.asarray(np.linalg.qr(part.reshape(len(part), m * r), mode="r")).reshape(-1, m, r)
        parts.append(part)
        member.append(np.full(len(part), k, dtype=np.intp))
    return np.concatenate(parts), np.concatenate(member)


@frozen(eq=False)
class _State:
    """One point: for each stack V⁻¹ and V⁻¹E, and what follows from all of them."""

    inverses: list[Array]
    white: list[Array]
    cross: Array
    logdet: float


@frozen(eq=False)
class PatternEngine(ResidualEngine):
    """Patterns of blocks, with their columns.

    index: where R is wanted.   stacks: patterns by size of block.   levels: m_k of each term.   units: see `unit_scales`.
    columns: how many there are.   further (n, c): columns of the design's rows beyond the basis.
    """

    name: ClassVar[str] = "pattern"

    basis: Basis
    index: tuple[tuple[Array, ...], ...]
    stacks: tuple[PatternStack, ...]
    levels: tuple[int, ...]
    units: tuple[Array, ...]
    blocks: int
    columns: int
    further: Array | None = None

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        reason = not_for(design)
        if reason is not None:
            return reason
        largest = largest_block(design)
        if largest > MAX_BLOCK:
            return f"it writes out the covariance of rows that are tied together, and {largest} of them are more than {MAX_BLOCK}"
        return None

    @classmethod
    def suits(cls, design: Design) -> bool:
        return largest_block(design) <= _LARGE

    @classmethod
    def reduce(cls, design: Design) -> PatternEngine:
        return cls.with_columns(design)

    @classmethod
    def with_columns(cls, design: Design, further: Array | None = None) -> PatternEngine:
        """further (n, c): weighted columns that stand beside those of the basis."""
        basis, E = basis_columns(design)
        if further is not None:
            E = np.hstack([E, further])
        patterns = Patterns.of(design)
        stacks = tuple(PatternStack.of(b, design, E) for b in patterns.blocks)
        levels, units = levels_of_terms(design), units_of_terms(design)
        blocks = sum(len(b.rows) for b in patterns.blocks)
        return cls(basis, patterns.index, stacks, levels, units, blocks, E.shape[1], further)

    @property
    def residual_index(self) -> tuple[tuple[Array, ...], ...]:
        return self.index

    def describe(self) -> str:
        patterns = sum(len(s.count) for s in self.stacks)
        widest = max(s.place.shape[1] for s in self.stacks)
        shared = " (blocks with equal points and rows of Z share one)" if patterns < self.blocks else ""
        return f"{self.blocks:,} blocks of up to {widest} rows; factorizations an evaluation: {patterns:,}{shared}"

    def _entries(self, R: tuple[Array, ...]) -> Array:
        """All entries of R in a row, with a zero at the end; tangents (k, ...) likewise."""
        lead = R[0].shape[:-3]
        flat = [r.reshape(*lead, -1) for r in R]
        return np.concatenate([*flat, np.zeros((*lead, 1))], axis=-1)

    def at(self, G: tuple[Array, ...], R: tuple[Array, ...]) -> _State | None:
        entries = self._entries(R)
        cross, logdet = np.zeros((self.columns, self.columns)), 0.0
        inverses, white = [], []
        for stack in self.stacks:
            inv, logdets = inverse(stack.V(G, entries))
            logdet += float(stack.count @ logdets)
            W = inv[stack.member] @ stack.Y
            cross += stack.Y.reshape(-1, self.columns).T @ W.reshape(-1, self.columns)
            inverses.append(inv)
            white.append(W)
        return _State(inverses, white, cross, logdet)

    def scores(self, state: _State, weight: Array) -> Scores:
        G_scores = [np.zeros((z.shape[-1], z.shape[-1])) for z in self.stacks[0].Z]
        entries = np.zeros(sum(s.shape[0] * s.shape[1] ** 2 for stratum in self.index for s in stratum) + 1)
        for stack, inv, W in zip(self.stacks, state.inverses, state.white, strict=True):
            S = stack.count[:, None, None] * inv - stack.sums((W @ weight) @ W.swapaxes(1, 2))
            entries += np.bincount(stack.place.ravel(), weights=S.ravel(), minlength=entries.size)
            for total, Z, same in zip(G_scores, stack.Z, stack.same, strict=True):
                total += np.sum(Z.swapaxes(1, 2) @ (S if same is None else S * same) @ Z, axis=0)
        sizes = [s.shape[:2] for stratum in self.index for s in stratum]
        parts = np.split(entries[:-1], np.cumsum([c * m * m for c, m in sizes])[:-1])
        residual = tuple(part.reshape(c, m, m) for part, (c, m) in zip(parts, sizes, strict=True))
        return tuple(G_scores), residual

    def second(
        self, state: _State, tangents: tuple[Array, ...], R_tangents: tuple[Array, ...], weight: Array
    ) -> Second:
        c, k = self.columns, R_tangents[0].shape[0]
        moved = self._entries(R_tangents)
        P, T, trace = np.zeros((k, c, c)), np.zeros((k, k)), np.zeros(k)
        inner = np.zeros((k * c, k * c))
        for stack, inv, W in zip(self.stacks, state.inverses, state.white, strict=True):
            V_j = stack.V(tangents, moved)  # (k, P, m, m)
            left = inv @ V_j
            weighted = (left * stack.count[:, None, None]).reshape(k, -1)
            T += weighted @ left.swapaxes(-1, -2).reshape(k, -1).T
            trace += np.einsum("p,jpmm->j", stack.count, left)
            half = V_j[:, stack.member] @ W  # V_jV⁻¹E, (k, rows, m, c)
            wide = half.transpose(1, 2, 0, 3).reshape(-1, k * c)
            P += (W.reshape(-1, c).T @ wide).reshape(c, k, c).transpose(1, 0, 2)
            solved = (inv[stack.member] @ half).transpose(1, 2, 0, 3).reshape(-1, k * c)
            inner += wide.T @ solved
        return Second(P, inner.reshape(k, c, k, c).transpose(0, 2, 1, 3), T, trace)

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return self.levels

    @property
    def unit_scales(self) -> tuple[Array, ...]:
        return self.units

    def pulled(self, design: Design, G: tuple[Array, ...], R: tuple[Array, ...]) -> Pulled:
        _, E = basis_columns(design)
        if self.further is not None:
            E = np.hstack([E, self.further])
        return pattern_effects(design, G, self._entries(R), E)
