"""Random effects of several grouping factors, from one blocked factorization; each part is computed when asked for."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood.basis import Basis
from mmframe.likelihood.blocks import Plan
from mmframe.likelihood.effects import JOINT, Effects, Ints
from mmframe.likelihood.factorization import Factorization
from mmframe.likelihood.related import Related

_NUMBERS = 4_000_000  # right-hand sides times levels that are solved for at a time


@frozen(eq=False)
class BlockedEffects(Effects):
    """t: for each factor (G⁻¹ + Z'Z)⁻¹Z'Y, (q, m, p+1) in the plan's order; what is not at hand is computed when asked for."""

    plan: Plan
    basis: Basis
    related: Related
    factorization: Factorization
    t: tuple[Array, ...]
    beta: Array

    def _levels(self, values: Array, g: int) -> Array:
        """(q, m, ...) in the plan's order to (m, q, ...) by the data's levels."""
        return np.ascontiguousarray(np.moveaxis(self.related.outward(g, values[:, self.plan.place[g]]), 0, 1))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of the data's levels of each factor."""
        return tuple(m if r is None else r.size for m, r in zip(self.plan.sizes, self.related.relations, strict=True))

    @cached_property
    def b(self) -> tuple[Array, ...]:
        gamma = self.basis.gamma(self.beta)
        return tuple(self._levels((t @ gamma)[:, :, None], g)[:, :, 0] for g, t in enumerate(self.t))

    @cached_property
    def shift(self) -> tuple[Array, ...]:
        back = self.basis.full[:-1, :-1]
        return tuple(self._levels(t[:, :, :-1] @ back, g) for g, t in enumerate(self.t))

    @cached_property
    def cov(self) -> tuple[Array, ...]:
        blocks = self.factorization.blocks()
        return tuple(
            np.ascontiguousarray(np.moveaxis(m[:, :, self.plan.place[g]], -1, 0))
            if self.related.rooted(g) is None
            else self._rooted_cov(g)
            for g, m in enumerate(blocks)
        )

    def _rooted_cov(self, g: int) -> Array:
        """By solves, some levels at a time: levels are combinations of the columns of L."""
        m, q = self.sizes[g], self.plan.widths[g]
        out = np.empty((m, q, q))
        size = max(1, _NUMBERS // (max(self.plan.columns, 1) * q))
        for lo in range(0, m, size):
            levels = np.arange(lo, min(lo + size, m))
            z = [np.zeros((s, n, levels.size * q)) for s, n in zip(self.plan.widths, self.sizes, strict=True)]
            for a in range(q):
                z[g][a, levels, np.arange(levels.size) * q + a] = 1.0
            solved = self._covariances_with(z)[g][levels]  # (levels, q, levels q)
            own = solved.reshape(levels.size, q, levels.size, q)
            out[levels] = own[np.arange(levels.size), :, np.arange(levels.size)]
        return out

    def _covariances_with(self, z: list[Array]) -> list[Array]:
        """Var(b | y) z for z (q, m, r) by the data's levels: (m, q, r) by factor."""
        inside = [
            self.related.inward(g, x)[:, order] for g, (x, order) in enumerate(zip(z, self.plan.order, strict=True))
        ]
        return [self._levels(t, g) for g, t in enumerate(self.factorization.solve(inside)[1])]

    @cached_property
    def joint(self) -> Array | None:
        counts = [m * q for m, q in zip(self.sizes, self.plan.widths, strict=True)]
        total = sum(counts)
        if total > JOINT:
            return None
        unit = [
            np.moveaxis(x.reshape(m, q, total), 1, 0).copy()
            for x, m, q in zip(
                np.split(np.eye(total), np.cumsum(counts)[:-1]), self.sizes, self.plan.widths, strict=True
            )
        ]
        return np.concatenate([t.reshape(-1, total) for t in self._covariances_with(unit)])

    def variance(self, codes: tuple[Ints, ...], Z: tuple[Array, ...]) -> Array:
        n = len(codes[0])
        size = max(16, _NUMBERS // max(self.plan.columns, 1))
        out = np.empty(n)
        for lo in range(0, n, size):
            rows = slice(lo, min(lo + size, n))
            z = [np.zeros((q, m, rows.stop - lo)) for q, m in zip(self.plan.widths, self.sizes, strict=True)]
            for g, (code, mine) in enumerate(zip(codes, Z, strict=True)):
                seen = np.flatnonzero(code[rows] >= 0)
                z[g][:, code[rows][seen], seen] = mine[rows][seen].T
            moved = self._covariances_with(z)
            out[rows] = sum(np.einsum("amr,mar->r", x, y) for x, y in zip(z, moved, strict=True))
        return out
