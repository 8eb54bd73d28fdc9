"""The orthonormal basis Y of [X, y − Xβ₀] in which statistics are held, and the way between it and the data's columns.

The columns of Y are X orthonormalised and the part of y outside their span, so that no cross-product of raw columns,
which would cancel when y or a covariate has a large mean, is ever formed. [X, y − Xβ₀] = Y T carries the way back.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.likelihood.criterion import Solution, solve
from mmframe.likelihood.evaluation import Evaluation


@frozen(eq=False)
class Basis:
    """T (r, p+1): the triangular factor of [X, y − Xβ₀], whose Gram matrix is T'T.   beta0 (p,).   n rows.

    r is p + 1, or less for a part of the data with fewer rows than columns.
    """

    T: Array
    beta0: Array
    n: int
    log_weights: float

    @classmethod
    def of(cls, design: Design) -> tuple[Basis, list[Array]]:
        """The basis of a design's rows, and its r columns (n,)."""
        Q, R = design.orthonormal_X
        y = design.weighted(design.y)
        rank = Q.shape[1]
        # Least squares in data units first, its residual exactly as rows see it, then what is left along Q: when y has
        # a large mean the subtraction is exact where one product in the basis would lose the small digits.
        if rank == design.p and rank:
            # a part of the data may lack a column's variation
            full = np.all(np.abs(np.diag(R)) > 1e-10 * np.max(np.abs(R)))
            beta0 = np.linalg.solve(R, Q.T @ y) if full else np.linalg.lstsq(R, Q.T @ y, rcond=None)[0]
            y = design.weighted(design.y - design.X @ beta0)
        else:
            beta0 = np.zeros(design.p)
        along = Q.T @ y
        rest = y - Q @ along
        size = float(np.linalg.norm(rest))
        unit = rest / size if size > 0 else rest
        T = np.zeros((rank + 1, design.p + 1))
        T[:rank, :-1], T[:rank, -1], T[rank, -1] = R, along, size
        return cls(T, beta0, design.n, design.log_weights), [*(Q[:, j] for j in range(rank)), unit]

    def _rebased(self, beta0: Array) -> Array:
        """T for the residual of another β₀."""
        T = self.T.copy()
        T[:, -1] += T[:, :-1] @ (self.beta0 - beta0)
        return T

    def merge(self, other: Basis) -> tuple[Basis, Array, Array]:
        """The basis of both parts of the data, and the matrices that carry each part's own basis to it."""
        # [T1; T2] = Q T: the blocks of Q carry each part's basis to the merged one.
        Q, T = np.linalg.qr(np.vstack([self.T, other._rebased(self.beta0)]))
        r = self.T.shape[0]
        merged = Basis(T, self.beta0, self.n + other.n, self.log_weights + other.log_weights)
        return merged, Q[:r], Q[r:]

    @property
    def p(self) -> int:
        return int(self.T.shape[1]) - 1

    @property
    def residual_square(self) -> float:
        """The (weighted) sum of squares that ordinary least squares leaves."""
        return float(self.T[self.p, self.p] ** 2) if self.T.shape[0] > self.p else 0.0

    @cached_property
    def full(self) -> Array:
        """T (p+1, p+1) with the last column of Y the residual itself: its last entry is 1."""
        T = np.zeros((self.p + 1, self.p + 1))
        T[: self.T.shape[0]] = self.T
        T[self.p, self.p] = 1.0
        return T

    def products(self, A: Array) -> Array:
        """Z'Y (q, r, m) with the last column of Y the residual itself: (q, p+1, m)."""
        q, r, m = A.shape
        out = np.zeros((q, self.p + 1, m))
        out[:, :r] = A
        out[:, self.p] *= self.T[self.p, self.p] if r > self.p else 0.0
        return out

    @cached_property
    def cross(self) -> Array:
        """Y'Y."""
        cross = np.eye(self.p + 1)
        cross[self.p, self.p] = self.residual_square
        return cross

    @cached_property
    def inverse(self) -> Array:
        R = self.full[:-1, :-1]
        return np.linalg.inv(R) if self.p else R

    @cached_property
    def _logdet(self) -> float:
        return 2.0 * float(np.sum(np.log(np.abs(np.diag(self.full)[: self.p]))))

    def inward(self, beta: Array | None) -> Array | None:
        """β of the data's columns to that of the basis."""
        if beta is None:
            return None
        return np.asarray(self.full[:-1, :-1] @ (beta - self.beta0) - self.full[:-1, -1])

    def outward(self, beta: Array) -> Array:
        """β of the basis to that of the data's columns."""
        return np.asarray(self.beta0 + self.inverse @ (self.full[:-1, -1] + beta))

    def gamma(self, beta: Array) -> Array:
        """(−β, 1) in the basis: Yγ is the residual of β (p,) in data units."""
        inside = self.inward(np.asarray(beta, dtype=float))
        return np.ones(1) if inside is None else np.append(-inside, 1.0)

    def solve(
        self, cross: Array, logdet: float, *, reml: bool, sigma2: float | None, beta: Array | None
    ) -> Solution | None:
        """Generalised least squares from Y'V⁻¹Y (p+1, p+1) and log|V|, in this basis."""
        return solve(
            cross,
            logdet - self.log_weights,
            self.n,
            reml=reml,
            logdet_basis=self._logdet,
            sigma2=sigma2,
            beta=self.inward(beta),
        )

    def evaluation(
        self, found: Solution, scores: tuple[Array, ...], residual_scores: tuple[Array, ...] = ()
    ) -> Evaluation:
        """The evaluation in the data's columns."""
        return Evaluation(
            found.value,
            self.outward(found.beta),
            found.sigma2,
            found.sigma2 * self.inverse @ found.xvx_inverse @ self.inverse.T,
            scores,
            found.sigma2_score,
            self.full[:-1, :-1].T @ found.beta_score,
            residual_scores,
        )
