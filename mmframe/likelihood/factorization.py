"""One factorization of V at one G: the sparse rounds, then the core; solves and traces with it."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array, psd_root
from mmframe.likelihood.arrange import Arranged
from mmframe.likelihood.blocks import Plan
from mmframe.likelihood.core import Core, divisible
from mmframe.likelihood.eliminate import Eliminated, eliminate


@frozen(eq=False)
class Factorization:
    """diagonal: Z_i'Z_i by factor.   roots: Λ by factor, (q, q)."""

    plan: Plan
    diagonal: tuple[Array, ...]
    roots: tuple[Array, ...]
    rounds: Eliminated
    core: Core

    @classmethod
    def of(cls, data: Arranged, G: tuple[Array, ...], *, keep: bool = False) -> Factorization | None:
        """None where V is not positive definite. keep: the core's N stays, for second derivatives."""
        roots = tuple(psd_root(g) for g in G)
        rounds = eliminate(data, roots)
        core = Core.of(data.plan, rounds.N, roots, keep=keep)
        return None if core is None else cls(data.plan, data.diagonal, roots, rounds, core)

    @property
    def logdet(self) -> float:
        """log|V|."""
        return self.rounds.logdet + self.core.logdet

    def solve(self, H: list[Array]) -> tuple[Array, list[Array], list[Array]]:
        """For H = Z'Y by factor, (q, m, r) in the plan's order, used up: what Y'Y − Y'V⁻¹Y is, (r, r);
        t = (G⁻¹ + Z'Z)⁻¹H; and Z'V⁻¹Y, both like H."""
        taken = self.rounds.forward(H)
        t = [np.zeros_like(x) for x in H]
        if self.plan.core_size:
            rows = self._core_rows(H)
            half = self.core.half(rows)
            taken = taken + half.T @ half
            inner, tilde_core = self.core.solve(rows, half)
            self._put_core(t, inner)
        tilde = self.rounds.backward(H, t)
        if self.plan.core_size:
            self._put_core(tilde, tilde_core)
        return taken, t, tilde

    def traces(self) -> list[Array]:
        """Σ Z_i'V⁻¹Z_i by factor, (q, q): the score of log|V|."""
        sums, blocks = self.rounds.inverse(self.core.T)
        out = []
        for g, core in enumerate(self.core.scores()):
            own = self.divided(g, np.sum(blocks[g], axis=2))
            out.append((sums[g] if own is None else own[0]) + np.sum(core, axis=0))
        return out

    def divided(
        self, g: int, T: Array, moved_T: Array | None = None, dG: Array | None = None
    ) -> tuple[Array, Array] | None:
        """Σ Z_i'V⁻¹Z_i over the rounds' levels of g, and its derivative, from ΣT_ii; None where Λ is nearly singular.

        G⁻¹ − G⁻¹T_iiG⁻¹ keeps its digits where G is large beside σ² and N_ii − N_iiM_iN_ii − … would cancel.
        """
        done, root = self.plan.first_core[g], self.roots[g]
        if not done or not divisible(root, np.moveaxis(self.diagonal[g], -1, 0), 0.01):
            return None
        back = np.linalg.inv(root)
        C = back @ T @ back.T
        value = back.T @ (done * np.eye(len(root)) - C) @ back
        if moved_T is None or dG is None:
            return value, value
        E = back @ dG @ back.T
        return value, back.T @ (E @ C + C @ E - done * E - back @ moved_T @ back.T) @ back

    def blocks(self) -> list[Array]:
        """The diagonal blocks of (G⁻¹ + Z'Z)⁻¹ by factor, (q, q, m) in the plan's order."""
        T = self.core.T
        _, out = self.rounds.inverse(T)
        for g, mine in enumerate(out):
            at = self.plan.core_columns(g)
            mine[:, :, self.plan.first_core[g] :] = T[at[:, None, :], at[None, :, :]]
        return out

    def _core_rows(self, H: list[Array]) -> Array:
        """The core's part of (q, m, r) arrays by factor, (nc, r)."""
        plan = self.plan
        out = np.empty((plan.core_size, H[0].shape[2]))
        for g, mine in enumerate(H):
            out[plan.core_columns(g)] = mine[:, plan.first_core[g] :]
        return out

    def _put_core(self, into: list[Array], rows: Array) -> None:
        for g, mine in enumerate(into):
            mine[:, self.plan.first_core[g] :] = rows[self.plan.core_columns(g)]
