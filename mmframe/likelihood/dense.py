"""The dense engine: V written out, n x n. Slow, and readable on one screen: the oracle that all others must match.

It takes any number of grouping factors, and is also the engine of last resort for small designs that no other takes.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from attrs import frozen
from scipy.linalg import block_diag

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.criterion import Solution, solve
from mmframe.likelihood.effects import Effects, TabledEffects
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.evaluation import Curvature, Evaluation
from mmframe.likelihood.subjects import SubjectRows, rows_of_subjects

MAX_ROWS = 3000


@frozen(eq=False)
class DenseEngine(Engine):
    """V/σ² = R + Σ_k (same level of k, or K of the levels) ∘ Z_k G_k Z_k', and its inverse, as matrices (n, n).

    subjects: those of the residual, by stratum and size.
    """

    name: ClassVar[str] = "dense"

    X: Array
    y: Array
    Z: tuple[Array, ...]
    same: tuple[Array, ...]
    levels: tuple[int, ...]
    log_weights: float
    n: int
    subjects: tuple[tuple[SubjectRows, ...], ...] = ()

    @classmethod
    def refuses(cls, design: Design) -> str | None:
        if design.n > MAX_ROWS:
            return f"it builds n x n matrices, and {design.n} rows are more than {MAX_ROWS}"
        return None

    @classmethod
    def reduce(cls, design: Design) -> DenseEngine:
        codes = [design.groupings[t.grouping].codes for t in design.terms]
        related = [design.groupings[t.grouping].relationship for t in design.terms]
        return cls(
            design.weighted(design.X),
            design.weighted(design.y),
            tuple(design.weighted(t.Z) for t in design.terms),
            tuple(
                (c[:, None] == c[None, :]).astype(float) if k is None else k.covariance[np.ix_(c, c)]
                for c, k in zip(codes, related, strict=True)
            ),
            tuple(design.groupings[t.grouping].size for t in design.terms),
            design.log_weights,
            design.n,
            () if design.residual is None else rows_of_subjects(design.residual),
        )

    @property
    def residual_index(self) -> tuple[tuple[Array, ...], ...]:
        return tuple(tuple(s.index for s in stratum) for stratum in self.subjects)

    @property
    def _stacks(self) -> list[SubjectRows]:
        return [s for stratum in self.subjects for s in stratum]

    def describe(self) -> str:
        return f"V as one matrix of {self.n:,} x {self.n:,}"

    def _residual(self, R: tuple[Array, ...]) -> Array:
        """R (n, n), or a stack of tangents of it (k, n, n), from the stacks of subjects."""
        if not R:
            return np.eye(self.y.size)
        out = np.zeros((*R[0].shape[:-3], self.y.size, self.y.size))
        for stack, r in zip(self._stacks, R, strict=True):
            out[..., stack.rows[:, :, None], stack.rows[:, None, :]] = r[..., stack.member, :, :]
        return out

    def _inverse(self, G: tuple[Array, ...], R: tuple[Array, ...]) -> tuple[Array, float]:
        V = self._residual(R)
        for Z, same, g in zip(self.Z, self.same, G, strict=True):
            V += same * (Z @ g @ Z.T)
        return np.linalg.inv(V), float(np.linalg.slogdet(V)[1])

    def _solve(
        self, G: tuple[Array, ...], reml: bool, sigma2: float | None, beta: Array | None, R: tuple[Array, ...]
    ) -> tuple[Array, Array, Solution | None]:
        inverse, logdet = self._inverse(G, R)
        Y = np.column_stack([self.X, self.y])
        cross = Y.T @ inverse @ Y
        found = solve(
            cross, logdet - self.log_weights, self.y.size, reml=reml, logdet_basis=0.0, sigma2=sigma2, beta=beta
        )
        return inverse, Y, found

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
        inverse, Y, found = self._solve(G, reml, sigma2, beta, R)
        return None if found is None else self._evaluation(inverse, Y, found, score)

    def _evaluation(self, inverse: Array, Y: Array, found: Solution, score: bool) -> Evaluation:
        whole = inverse - inverse @ Y @ found.weight @ Y.T @ inverse
        scores = tuple(Z.T @ (same * whole) @ Z for Z, same in zip(self.Z, self.same, strict=True)) if score else ()
        return Evaluation(
            found.value,
            found.beta,
            found.sigma2,
            found.sigma2 * found.xvx_inverse,
            scores,
            found.sigma2_score,
            found.beta_score,
            tuple(_by_pattern(s, whole) for s in self._stacks) if score else (),
        )

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
        inverse, Y, found = self._solve(G, reml, sigma2, beta, R)
        if found is None:
            return None
        k = (*tangents, *R_tangents)[0].shape[0] if tangents or R_tangents else 0
        moved = self._residual(R_tangents) if R_tangents else np.zeros((k, self.y.size, self.y.size))
        for Z, same, dG in zip(self.Z, self.same, tangents, strict=True):
            moved += same * (Z @ dG @ Z.T)
        V = np.linalg.inv(inverse)
        moved = np.concatenate([moved, V[None]])
        left = inverse @ moved  # V⁻¹V_j
        white = inverse @ Y
        P = np.einsum("nx,jnm,my->jxy", white, moved, white)
        half = moved @ white
        Q = np.einsum("jnx,nm,lmy->jlxy", half, inverse, half)
        T = np.einsum("jnm,lmn->jl", left, left)
        trace = np.einsum("jnn->j", left)
        curvature = Curvature(P, Q, T, trace, Y.T @ white, np.eye(Y.shape[1]), self.y.size, found)
        return curvature, self._evaluation(inverse, Y, found, True)

    @property
    def residual_square(self) -> float:
        if not self.X.shape[1]:
            return float(self.y @ self.y)
        return float(np.sum((self.y - self.X @ np.linalg.lstsq(self.X, self.y, rcond=None)[0]) ** 2))

    @property
    def levels_per_term(self) -> tuple[int, ...]:
        return self.levels

    @property
    def unit_scales(self) -> tuple[Array, ...]:
        return tuple(np.sqrt(np.mean(Z**2, axis=0)) for Z in self.Z)

    def effects(self, design: Design, G: tuple[Array, ...], beta: Array, R: tuple[Array, ...] = ()) -> Effects:
        if not design.groupings:
            return TabledEffects((), (), ())
        inverse, _ = self._inverse(G, R)
        wide, priors, shapes = [], [], []
        for number, grouping in enumerate(design.groupings):
            Z, prior = grouping_blocks(design, number, G)
            member = np.zeros((design.n, grouping.size))
            member[np.arange(design.n), grouping.codes] = 1.0
            wide.append((member[:, :, None] * design.weighted(Z)[:, None, :]).reshape(design.n, -1))
            known = grouping.relationship
            priors.append(np.kron(np.eye(grouping.size) if known is None else known.covariance, prior))
            shapes.append((grouping.size, len(prior)))
        Z_all = np.column_stack(wide)
        prior = np.asarray(block_diag(*priors))
        back = prior @ Z_all.T @ inverse
        b, shift = back @ (self.y - self.X @ beta), back @ self.X
        joint = prior - back @ Z_all @ prior
        ends = np.cumsum([m * q for m, q in shapes])[:-1]
        cov = []
        for (m, q), block in zip(shapes, np.split(np.arange(len(b)), ends), strict=True):
            own = joint[np.ix_(block, block)].reshape(m, q, m, q)
            cov.append(np.einsum("lalb->lab", own))
        return TabledEffects(
            tuple(x.reshape(s) for x, s in zip(np.split(b, ends), shapes, strict=True)),
            tuple(cov),
            tuple(x.reshape(*s, -1) for x, s in zip(np.split(shift, ends), shapes, strict=True)),
            joint,
        )


def _by_pattern(stack: SubjectRows, whole: Array) -> Array:
    """The parts of a matrix (n, n) that belong to one subject each, summed over those of one pattern."""
    out = np.zeros((len(stack.index), stack.rows.shape[1], stack.rows.shape[1]))
    np.add.at(out, stack.member, whole[stack.rows[:, :, None], stack.rows[:, None, :]])
    return out


def grouping_blocks(design: Design, number: int, G: tuple[Array, ...]) -> tuple[Array, Array]:
    """Z (n, q) and block-diagonal G (q, q) over all terms of one grouping factor."""
    mine = [k for k, term in enumerate(design.terms) if term.grouping == number]
    return np.column_stack([design.terms[k].Z for k in mine]), np.asarray(block_diag(*(G[k] for k in mine)))
