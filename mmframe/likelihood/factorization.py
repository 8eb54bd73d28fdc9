"""One factorization of V at one G: the sparse rounds, then the core; solves and traces with it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from attrs import frozen

from mmframe.covariance.domain import Array, psd_root
from mmframe.likelihood.arrange import Arranged
from mmframe.likelihood.blocks import Plan
from mmframe.likelihood.core import Core, divisible
from mmframe.likelihood.eliminate import Eliminated, eliminate

# A singular Λ of a factor whose K⁻¹ was given is moved by this much, in units of the data relative to σ².
_LIFT = 1e-10


@frozen(eq=False)
class Prior:
    """K⁻¹ of one factor in the plan's order: as a matrix, as it is arranged, and its log-determinant."""

    matrix: sp.csr_array
    arranged: Arranged
    logdet: float


@frozen(eq=False)
class Factorization:
    """diagonal: Z_i'Z_i by factor.   roots: Λ by factor, (q, q).   priors: of the factors whose K⁻¹ was given; for these
    rounds and core work in c, b = (I ⊗ Λ)c."""

    plan: Plan
    diagonal: tuple[Array, ...]
    roots: tuple[Array, ...]
    rounds: Eliminated
    core: Core
    priors: dict[int, Prior]

    @classmethod
    def of(
        cls, data: Arranged, G: tuple[Array, ...], priors: dict[int, Prior] | None = None, *, keep: bool = False
    ) -> Factorization | None:
        """None where V is not positive definite. keep: the core's N stays, for second derivatives."""
        priors = priors or {}
        flat = tuple(priors)
        roots = tuple(psd_root(_lifted(g, data.diagonal[f]) if f in priors else g) for f, g in enumerate(G))
        inside = roots
        if flat:
            data = data.scaled({g: roots[g] for g in flat}, {g: p.arranged for g, p in priors.items()})
            inside = tuple(np.eye(len(r)) if g in priors else r for g, r in enumerate(roots))
        rounds = eliminate(data, inside, flat=flat)
        core = Core.of(data.plan, rounds.N, inside, keep=keep, flat=flat)
        return None if core is None else cls(data.plan, data.diagonal, roots, rounds, core, priors)

    @property
    def logdet(self) -> float:
        """log|V|."""
        prior = sum(self.plan.widths[g] * p.logdet for g, p in self.priors.items())
        return self.rounds.logdet + self.core.logdet - prior

    def solve(self, H: list[Array]) -> tuple[Array, list[Array], list[Array], list[Array]]:
        """For H = Z'Y by factor, (q, m, r) in the plan's order, used up: what Y'Y − Y'V⁻¹Y is, (r, r);
        t = (G⁻¹ + Z'Z)⁻¹H; Z'V⁻¹Y; and (K ⊗ I)Z'V⁻¹Y, all like H."""
        for g in self.priors:
            H[g] = _times(self.roots[g].T, H[g])
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
        spread = list(tilde)
        for g, prior in self.priors.items():
            back = np.linalg.inv(self.roots[g]).T
            spread[g] = _times(back, t[g])
            tilde[g] = _times(back, np.stack([prior.matrix @ x for x in t[g]]))
            t[g] = _times(self.roots[g], t[g])
        return taken, t, tilde, spread

    def traces(self) -> list[Array]:
        """Σ Z_i'V⁻¹Z_i by factor, (q, q): the score of log|V|."""
        sums, blocks, entries = self.rounds.inverse(self.core, self.core.T, tuple((g, g) for g in self.priors))
        out = []
        for g, core in enumerate(self.core.scores()):
            if g in self.priors:
                out.append(self._related_trace(g, blocks[g], entries.get((g, g))))
                continue
            own = self.divided(g, np.sum(blocks[g], axis=2)) if self.divides(g) else sums[g]
            out.append(own + np.sum(core, axis=0))
        return out

    def _related_trace(self, g: int, blocks: Array, entries: Array | None) -> Array:
        """Σ_ij k_ij Z_i'V⁻¹Z_j = Λ⁻'(mI − Σ_ij k^ij Cov(c_i, c_j))Λ⁻¹, from the entries of T where K⁻¹ has any."""
        prior, q, place = self.priors[g].arranged, self.plan.widths[g], self.plan.core_slice(g)
        first = self.plan.first_core[g]
        # k^ij I is held as a block: its first entry is the number
        taken = blocks[:, :, :first] @ prior.diagonal[g][0, 0, :first]
        if entries is not None:
            half = entries @ prior.entries[g, g][0, 0]
            taken = taken + half + half.T
        if place.stop > place.start:
            weight = prior.core[place, place][::q, ::q]
            T = self.core.whole_T[place, place].reshape(len(weight), q, len(weight), q)
            taken = taken + np.einsum("iajb,ij->ab", T, weight, optimize=True)
        back = np.linalg.inv(self.roots[g])
        return np.asarray(back.T @ (self.plan.sizes[g] * np.eye(q) - 0.5 * (taken + taken.T)) @ back)

    def divides(self, g: int) -> bool:
        """Whether the scores of the rounds' levels of g are better had from T_ii, by division by Λ.

        G⁻¹ − G⁻¹T_iiG⁻¹ keeps its digits where G is large beside σ² and N_ii − N_iiM_iN_ii − … would cancel.
        """
        blocks = np.moveaxis(self.diagonal[g], -1, 0)
        return self.plan.first_core[g] > 0 and divisible(self.roots[g], blocks, 0.01)

    def divided(self, g: int, T: Array) -> Array:
        """Σ Z_i'V⁻¹Z_i over the rounds' levels of g from T = ΣT_ii, (q, q)."""
        back = np.linalg.inv(self.roots[g])
        return np.asarray(back.T @ (self.plan.first_core[g] * np.eye(len(T)) - back @ T @ back.T) @ back)

    def divided_change(self, g: int, T: Array, moved_T: Array, dG: Array) -> Array:
        """Its derivative along dG, with that of T."""
        back = np.linalg.inv(self.roots[g])
        C, E = back @ T @ back.T, back @ dG @ back.T
        inner = E @ C + C @ E - self.plan.first_core[g] * E - back @ moved_T @ back.T
        return np.asarray(back.T @ inner @ back)

    def blocks(self) -> list[Array]:
        """The diagonal blocks of (G⁻¹ + Z'Z)⁻¹ by factor, (q, q, m) in the plan's order."""
        T = self.core.T
        _, out, _ = self.rounds.inverse(self.core, T)
        for g, mine in enumerate(out):
            at = self.plan.core_columns(g)
            mine[:, :, self.plan.first_core[g] :] = T[at[:, None, :], at[None, :, :]]
            if g in self.priors:
                out[g] = np.einsum("ax,xyn,by->abn", self.roots[g], mine, self.roots[g])
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


def _times(matrix: Array, X: Array) -> Array:
    """A matrix (q, q) times each level's (q, r): X (q, m, r)."""
    return np.tensordot(matrix, X, axes=1)


def _lifted(G: Array, diagonal: Array) -> Array:
    """G, moved into the interior of the cone where it is singular: K⁻¹ ⊗ G⁻¹ must exist."""
    blocks = np.moveaxis(diagonal, -1, 0)
    if divisible(psd_root(G), blocks, _LIFT):
        return G
    size = np.einsum("axx->x", blocks) / len(blocks)
    return G + np.diag(_LIFT / np.maximum(size, 1e-300))
