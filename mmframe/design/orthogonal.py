"""Orthonormal bases of tall matrices, and which of their columns depend on earlier ones."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from mmframe.covariance.domain import Array

# Columns whose part outside the span of the earlier ones is smaller than this share are dropped: lme4's and R's `lm`.
RANK_TOLERANCE = 1e-7
_TALL = 100_000


def orthonormal(X: Array) -> tuple[Array, Array]:
    """Q (n, r) with orthonormal columns and upper triangular R (r, p) with QR = X, r = min(n, p).

    Large well-conditioned matrices go through Cholesky QR, applied twice (Yamamoto et al. 2015, ETNA 44: orthogonal to
    rounding while the condition is below 1e8); all others through Householder QR.
    """
    n, p = X.shape
    if n * p > _TALL and n > 4 * p:
        scale = np.sqrt(np.einsum("ij,ij->j", X, X))
        if np.all(scale > 0):
            gram = X.T @ X / np.outer(scale, scale)
            try:
                first = np.linalg.cholesky(gram).T
                if np.min(np.diag(first)) > 1e-6:
                    Q = _divide(X, first * scale)
                    second = np.linalg.cholesky(Q.T @ Q).T
                    return _divide(Q, second), second @ first * scale
            except np.linalg.LinAlgError:
                pass
    Q, R = np.linalg.qr(X)
    return np.asfortranarray(Q), R


def _divide(X: Array, R: Array) -> Array:
    """X R⁻¹ with contiguous columns."""
    inverse = solve_triangular(R, np.eye(R.shape[0]), lower=False)
    return np.asarray((inverse.T @ X.T).T)


def independent_columns(R: Array) -> list[int]:
    """Which columns of a matrix with triangular factor R are independent of the ones before them.

    Columns are taken from the left, as R's `lm` does: a column is dropped when less than RANK_TOLERANCE of its length
    is outside the span of those kept so far. The loop is over columns.
    """
    lengths = np.sqrt(np.sum(R**2, axis=0))
    if R.shape[0] == R.shape[1] and np.all(np.abs(np.diag(R)) > RANK_TOLERANCE * lengths):
        return list(range(R.shape[1]))  # the diagonal is what each column adds to the ones before it
    kept: list[int] = []
    basis = np.zeros((R.shape[0], 0))
    for j in range(R.shape[1]):
        rest = R[:, j]
        for _ in range(2):  # twice is enough for orthogonality to rounding
            rest = rest - basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if lengths[j] > 0 and size > RANK_TOLERANCE * lengths[j]:
            kept.append(j)
            basis = np.column_stack([basis, rest / size])
    return kept
