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


@frozen(eq=False)
class BlockedEffects(Effects):
    """t: for each factor (G⁻¹ + Z'Z)⁻¹Z'Y, (q, m, p+1) in the plan's order; what is not at hand is computed when asked for."""

    plan: Plan
    basis: Basis
    factorization: Factorization
    t: tuple[Array, ...]
    beta: Array

    def _levels(self, values: Array, g: int) -> Array:
        """(q, m, ...) in the plan's order to (m, q, ...) in the data's."""
        return np.ascontiguousarray(np.moveaxis(values[:, self.plan.place[g]], 0, 1))

    @cached_property
    def b(self) -> tuple[Array, ...]:  # type: ignore[override]
        gamma = self.basis.gamma(self.beta)
        return tuple(self._levels(t @ gamma, g) for g, t in enumerate(self.t))

    @cached_property
    def shift(self) -> tuple[Array, ...]:
        back = self.basis.full[:-1, :-1]
        return tuple(self._levels(t[:, :, :-1] @ back, g) for g, t in enumerate(self.t))

    @cached_property
    def cov(self) -> tuple[Array, ...]:
        blocks = self.factorization.blocks()
        return tuple(
            np.ascontiguousarray(np.moveaxis(m[:, :, self.plan.place[g]], -1, 0)) for g, m in enumerate(blocks)
        )

    def _covariances_with(self, z: list[Array]) -> list[Array]:
        """Var(b | y) z by factor, (q, m, r), used up."""
        return self.factorization.solve(z)[1]

    @cached_property
    def joint(self) -> Array | None:
        plan = self.plan
        if plan.columns > JOINT:
            return None
        ends = np.cumsum([m * q for m, q in zip(plan.sizes, plan.widths, strict=True)])[:-1]
        unit = [
            np.moveaxis(x.reshape(m, q, -1)[order], 1, 0).copy()
            for x, m, q, order in zip(
                np.split(np.eye(plan.columns), ends), plan.sizes, plan.widths, plan.order, strict=True
            )
        ]
        solved = self._covariances_with(unit)
        return np.concatenate([self._levels(t, g).reshape(-1, plan.columns) for g, t in enumerate(solved)])

    def variance(self, codes: tuple[Ints, ...], Z: tuple[Array, ...]) -> Array:
        plan, n = self.plan, len(codes[0])
        size = max(16, 4_000_000 // max(plan.columns, 1))
        out = np.empty(n)
        for lo in range(0, n, size):
            rows = slice(lo, min(lo + size, n))
            count = rows.stop - lo
            z = [np.zeros((q, m, count)) for q, m in zip(plan.widths, plan.sizes, strict=True)]
            for g, (code, mine) in enumerate(zip(codes, Z, strict=True)):
                seen = np.flatnonzero(code[rows] >= 0)
                z[g][:, plan.place[g][code[rows][seen]], seen] = mine[rows][seen].T
            moved = self._covariances_with([x.copy() for x in z])
            out[rows] = sum(np.einsum("amr,amr->r", x, y) for x, y in zip(z, moved, strict=True))
        return out
