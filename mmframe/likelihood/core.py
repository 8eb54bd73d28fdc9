"""The core of a blocked factorization: what is left after the sparse rounds, as one dense block.

With N = Z'V₀⁻¹Z and H = Z'V₀⁻¹Y over the core's columns (V₀: everything eliminated before) and Λ the block-diagonal root:

    LL' = Λ'NΛ + I,  C = (LL')⁻¹,  T = (G⁻¹ + N)⁻¹ = ΛCΛ',  w = CΛ'H,  t = TH = Λw,  Z'V⁻¹Y = Λ⁻'w,
    Z'V⁻¹Z = Λ⁻'(I − C)Λ⁻¹.

Where a factor's Λ is singular, or nearly so, nothing is divided by it: N is kept, and
Z'V⁻¹Y = H − Nt, Z'V⁻¹Z = N − R'R with R = L⁻¹Λ'N.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen
from scipy.linalg import lapack, solve_triangular

from mmframe.covariance.domain import Array
from mmframe.likelihood.blocks import Plan, blockwise
from mmframe.likelihood.threads import wide_blas

# Below this square of (smallest singular value of Λ in units of the data), I − C loses more than 1e-9 of its digits.
_DIVISIBLE = 1e-6


@frozen(eq=False)
class Core:
    """plan; roots: Λ_g (q, q) of each factor; N (nc, nc) symmetric, where it was kept; blocks: its diagonal blocks by
    factor; L: lower factor."""

    plan: Plan
    roots: tuple[Array, ...]
    N: Array | None
    blocks: tuple[Array, ...]  # diagonal blocks of N by factor, (levels, q, q)
    L: Array
    logdet: float

    @classmethod
    def of(
        cls, plan: Plan, N: Array, roots: tuple[Array, ...], *, keep: bool = False, flat: tuple[int, ...] = ()
    ) -> Core | None:
        """Factorize; N (nc, nc) holds the upper triangle and is used up. None where it is not positive definite.

        flat: factors whose prior precision N holds already; their root is the identity.
        """
        whole = keep or max(plan.widths) > 1
        if whole:
            N = symmetric(N)
        blocks = tuple(_blocks(N, plan.core_columns(g)) for g in range(len(plan.sizes)))
        singular = any(len(b) and not divisible(root, b) for b, root in zip(blocks, roots, strict=True))
        if singular and not whole:
            N = symmetric(N)
        kept = N if keep or singular else None
        scaled = _congruence(plan, N.copy() if kept is not None else N, roots)
        prior = np.ones(plan.core_size)
        for g in flat:
            prior[plan.core_slice(g)] = 0.0
        scaled[np.diag_indices_from(scaled)] += prior
        with wide_blas(plan.core_size):
            L, failed = lapack.dpotrf(scaled.T, lower=1, clean=0, overwrite_a=1)
        if failed:
            return None
        return cls(plan, roots, kept, blocks, L, 2.0 * float(np.sum(np.log(L.diagonal()))))

    def half(self, H: Array) -> Array:
        """L⁻¹Λ'H (nc, r), whose Gram matrix is what the core takes out of Y'V₀⁻¹Y."""
        return np.asarray(
            solve_triangular(
                self.L, by_blocks(self.plan, H, tuple(r.T for r in self.roots)), lower=True, check_finite=False
            )
        )

    def solve(self, H: Array, half: Array | None = None) -> tuple[Array, Array]:
        """(t = TH, Z'V⁻¹Y), each (nc, r)."""
        B = self.half(H) if half is None else half
        w = solve_triangular(self.L, B, lower=True, trans="T", check_finite=False)
        t = by_blocks(self.plan, w, self.roots)
        out = np.empty_like(H)
        for g, root in enumerate(self.roots):
            place = self.plan.core_slice(g)
            if place.stop == place.start:
                continue
            if divisible(root, self.blocks[g]):
                back = np.linalg.inv(root).T
                out[place] = blockwise(back, w[place])
            else:
                assert self.N is not None
                out[place] = H[place] - self.N[place] @ t
        return t, out

    @cached_property
    def _inverted(self) -> tuple[tuple[Array, ...], Array]:
        """The diagonal blocks (levels, q, q) of C = (Λ'NΛ + I)⁻¹ by factor, and T."""
        plan = self.plan
        places = [plan.core_columns(g) for g in range(len(plan.sizes))]
        if not plan.core_size:
            return tuple(_blocks(np.zeros((0, 0)), at) for at in places), np.zeros((0, 0))
        with wide_blas(plan.core_size):
            inverse, _ = lapack.dpotri(self.L, lower=1)
        C = np.asarray(inverse.T if max(plan.widths) == 1 else symmetric(inverse.T))
        blocks = tuple(_blocks(C, at) for at in places)
        return blocks, _congruence(plan, C, tuple(r.T for r in self.roots))

    @property
    def T(self) -> Array:
        """(G⁻¹ + N)⁻¹ = ΛCΛ', (nc, nc); upper triangle, and whole diagonal blocks."""
        return self._inverted[1]

    @cached_property
    def whole_T(self) -> Array:
        """T with both triangles."""
        return symmetric(self.T) if max(self.plan.widths) == 1 else self.T

    def scores(self) -> tuple[Array, ...]:
        """The diagonal blocks of Z'V⁻¹Z by factor, (levels, q, q)."""
        out = []
        for g, root in enumerate(self.roots):
            at, q = self.plan.core_columns(g), self.plan.widths[g]
            if not at.size:
                out.append(np.zeros((0, q, q)))
            elif divisible(root, self.blocks[g]):
                back = np.linalg.inv(root)
                out.append(back.T @ (np.eye(q) - self._inverted[0][g]) @ back)
            else:
                assert self.N is not None
                R = self.half(np.asfortranarray(self.N[:, self.plan.core_slice(g)])).reshape(self.plan.core_size, -1, q)
                out.append(self.blocks[g] - np.einsum("nax,nay->axy", R, R))
        return tuple(out)

    def gram(self, rows: Array) -> Array:
        """Σ n_a'T n_b of the rows n_a of each level: (levels, q, nc) -> (levels, q, q)."""
        flat = rows.reshape(-1, self.plan.core_size)
        with wide_blas(self.plan.core_size):
            half = self.half(flat.T)
        return np.asarray(np.einsum("xla,xlb->lab", *(half.reshape(-1, *rows.shape[:2]),) * 2, optimize=True))

    def inner(self) -> Array:
        """Z'V⁻¹Z over all columns of the core, (nc, nc). Needs `keep`."""
        assert self.N is not None
        R = self.half(self.N)
        return np.asarray(self.N - R.T @ R)


def symmetric(upper: Array) -> Array:
    """The whole matrix from its upper triangle."""
    out = np.triu(upper)
    out += np.triu(upper, 1).T
    return np.asarray(out)


def divisible(root: Array, blocks: Array, least: float = _DIVISIBLE) -> bool:
    """Whether (I − C) can be divided by Λ: its smallest singular value in units of the mean block of N is not tiny."""
    size = np.sqrt(np.maximum(np.einsum("axx->x", blocks) / max(len(blocks), 1), 1e-300))
    return bool(np.linalg.svd(size[:, None] * root, compute_uv=False)[-1] ** 2 > least)


def _blocks(N: Array, at: Array) -> Array:
    """Diagonal blocks (levels, q, q); at: (q, levels)."""
    return np.ascontiguousarray(np.moveaxis(N[at[:, None, :], at[None, :, :]], -1, 0))


def _congruence(plan: Plan, N: Array, roots: tuple[Array, ...]) -> Array:
    """Λ'NΛ; N is used up."""
    if max(plan.widths) == 1:
        scale = np.concatenate([np.full(plan.core_columns(g).size, float(r[0, 0])) for g, r in enumerate(roots)])
        if scale.size and np.all(scale == scale[0]):
            N *= scale[0] ** 2
        else:
            N *= scale
            N *= scale[:, None]
        return N
    turned = tuple(r.T for r in roots)
    return by_blocks(plan, by_blocks(plan, N, turned).T, turned)


def by_blocks(plan: Plan, B: Array, matrices: tuple[Array, ...]) -> Array:
    """Each factor's matrix (q, q) times each of its levels' rows of B (nc, r)."""
    out = np.empty_like(B)
    for g, matrix in enumerate(matrices):
        place = plan.core_slice(g)
        out[place] = blockwise(matrix, B[place])
    return out
