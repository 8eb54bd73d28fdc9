"""The parameterization `matrix_log`: a positive definite matrix by the entries of its matrix logarithm.

Leonard & Hsu (1992), Bayesian inference for a covariance matrix, Ann. Statist. 20; Pinheiro & Bates (1996), Unconstrained
parametrizations for variance-covariance matrices, Stat. Comput. 6, section 2.4.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations
from typing import Any

import numpy as np
from attrs import frozen
from scipy.linalg import expm

from mmframe.api import (
    RELATIVE,
    Bijection,
    Box,
    LogElementwise,
    OutsideDomainError,
    Param,
    Parameterization,
    PositiveDefinite,
    Psd,
    hookimpl,
    unvech,
    vech,
    vech_basis,
    vech_indices,
)

# A singular matrix has no logarithm: its square root starts with singular values this far from zero, beside the largest.
EDGE = 1e-10


@frozen(eq=False)
class MatrixLogEntries(Bijection):
    """M = exp(L), and θ (dim (dim + 1) / 2,) is the lower triangle of the symmetric L, row by row. No bounds, and one θ
    for each positive definite M."""

    domain: PositiveDefinite

    @property
    def size(self) -> int:
        return self.domain.count

    def forward(self, theta: Any) -> Psd:
        """Raises OutsideDomainError where θ is not finite, or an eigenvalue of M would overflow."""
        values, vectors = _spectrum(theta)
        return Psd(factor=vectors * np.exp(0.5 * values))

    def inverse(self, value: Any) -> Any:
        given = value if isinstance(value, Psd) else Psd(np.asarray(value, dtype=float))
        try:
            root = given.factor
        except OutsideDomainError:  # by rounding: the nearest matrix of the cone
            root = self.domain.clip(given).factor
        # by the root, since the matrix itself holds small eigenvalues only to 1e-16 of the largest
        vectors, sizes, _ = np.linalg.svd(root)
        sizes = np.pad(sizes, (0, self.domain.dim - sizes.size))
        floor = EDGE * sizes[0] if sizes[0] > 0.0 else np.sqrt(EDGE)
        return vech((vectors * (2.0 * np.log(np.maximum(sizes, floor)))) @ vectors.T)

    def jacobian(self, theta: Any) -> Any:
        """Daleckii & Krein (1965): with L = V diag(λ) V', dM = V (f[λi, λj] ∘ V'dL V) V', f[.] divided differences of exp."""
        values, vectors = _spectrum(theta)
        turned = vectors.T @ vech_basis(self.domain.dim) @ vectors
        rows, cols = vech_indices(self.domain.dim)
        return (vectors @ (_first(values) * turned) @ vectors.T)[:, rows, cols].T

    def curvature(self, theta: Any, adjoint: Any) -> Any:
        """d²M along A and B is V (Σ_k f[λi, λk, λj] (A_ik B_kj + B_ik A_kj)) V' (Bhatia 1997, Matrix Analysis, chapter V)."""
        dim = self.domain.dim
        values, vectors = _spectrum(theta)
        turned = vectors.T @ vech_basis(dim) @ vectors
        # adjoint' vech(M) = tr(S M): an entry below the diagonal is in S twice
        S = vectors.T @ (unvech(adjoint) * (0.5 + 0.5 * np.eye(dim))) @ vectors
        weighted = np.einsum("ij,ikj,aik->akj", S, _second(values), turned, optimize=True)
        half = weighted.reshape(self.size, -1) @ turned.reshape(self.size, -1).T
        return half + half.T


def _spectrum(theta: Any) -> tuple[Any, Any]:
    """Eigenvalues (dim,) and eigenvectors (dim, dim) of L."""
    if not np.all(np.isfinite(theta)):
        raise OutsideDomainError("not finite")
    values, vectors = np.linalg.eigh(unvech(theta))
    if values.size and values[-1] > 700.0:
        raise OutsideDomainError("overflow")
    return values, vectors


def _first(values: Any) -> Any:
    """f[λi, λj] = (exp λi − exp λj) / (λi − λj), exp λi where they are equal: (dim, dim), to the last digits."""
    gap = np.abs(values[:, None] - values)
    share = np.divide(-np.expm1(-gap), gap, out=np.ones_like(gap), where=gap > 0.0)
    return np.exp(np.maximum(values[:, None], values)) * share


def _second(values: Any) -> Any:
    """f[λi, λk, λj], symmetric in all three: (dim, dim, dim). The corner of the exponential of a bidiagonal matrix is it, without
    a difference of near numbers (Opitz 1964, Z. Angew. Math. Mech. 44)."""
    triples = np.array(list(combinations_with_replacement(range(values.size), 3)))
    steps = np.zeros((len(triples), 3, 3))
    steps[:, [0, 1, 2], [0, 1, 2]] = values[triples] - values[-1]  # values ascend: nothing overflows
    steps[:, [0, 1], [1, 2]] = 1.0
    corner = np.exp(values[-1]) * expm(steps)[:, 0, 2]
    out = np.empty((values.size,) * 3)
    for order in permutations(range(3)):
        out[tuple(triples[:, order].T)] = corner
    return out


class MatrixLog(Parameterization):
    """The matrix logarithm of G/σ²; the logarithm of a variance, which is the same in one dimension; a logit for an interval."""

    name = "matrix_log"
    scale = RELATIVE

    def bijection(self, param: Param) -> Any:
        if isinstance(param.domain, PositiveDefinite):
            return MatrixLogEntries(param.domain)
        return LogElementwise(param.domain) if isinstance(param.domain, Box) else NotImplemented


@hookimpl
def mmframe_parameterizations() -> list[type[Parameterization]]:
    return [MatrixLog]
