"""Moment estimates of variances from quadratic forms of one grouping factor each: cheap, for starting values.

For factor g with V_g = I + Z_gG_0Z_g' and OLS residuals e, h_i = Z_i'V_g⁻¹e = F_iZ_i'e with F_i = (I + Z_i'Z_iG_0)⁻¹, and,
the fixed effects taken as known,

    E Σ h_i'dG_jh_i = σ² Σ tr(dG_jF_iZ_i'Z_iF_i') + Σ_h Σ_cells tr(dG_jF_iZ_i'Z_j G_h Z_j'Z_iF_i').

With E e'e these are linear equations in the entries of G_h and σ². It is Henderson's first method (1953, Biometrics 9)
with each level weighted by what it tells instead of by its size; sums over cells are all it needs. Levels whose K is
given by its inverse are taken as independent.
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array
from mmframe.likelihood import stack
from mmframe.likelihood.cells import CellStatistics


def level_moments(
    statistics: CellStatistics, G: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, float] | None:
    """(θ (k,), σ²) in data units with G_h = Σ θ_l dG_l; None where σ² is not positive.

    G: starting matrices relative to σ², (q, q) by factor.   tangents: (k, q, q) by factor.
    """
    k = tangents[0].shape[0]
    basis = statistics.basis
    matrix, right = np.zeros((k + 1, k + 1)), np.zeros(k + 1)
    matrix[k, k], right[k] = basis.n - basis.p, basis.residual_square
    F = []
    for level, g, dG in zip(statistics.levels, G, tangents, strict=True):
        W = stack.full(level.W)
        A = level.products
        inner = np.eye(len(g))[:, :, None] + stack.product(W, np.repeat(g[:, :, None], level.m, axis=2))
        shrink = np.moveaxis(np.linalg.inv(np.moveaxis(inner, -1, 0)), 0, -1)
        F.append(shrink)
        h = stack.product(shrink, A[:, -1:])[:, 0]
        right[:k] += np.einsum("kab,am,bm->k", dG, h, h, optimize=True)
        FW = stack.product(shrink, W)
        own = np.sum(stack.product(FW, stack.transposed(shrink)), axis=2)
        matrix[:k, k] += np.einsum("kab,ab->k", dG, own)
        matrix[:k, :k] += _paired(FW, dG, dG)
        left = np.sum(W, axis=2) - np.einsum("aim,bim->ab", A[:, :-1], A[:, :-1], optimize=True)
        matrix[k, :k] += np.einsum("kab,ab->k", dG, left)
    for (a, b), cells in statistics.cells.items():
        matrix[:k, :k] += _paired(stack.product(F[a][:, :, cells.rows], cells.W), tangents[a], tangents[b])
        back = stack.transposed(cells.W)
        matrix[:k, :k] += _paired(stack.product(F[b][:, :, cells.cols], back), tangents[b], tangents[a])
    solution = np.linalg.lstsq(matrix, right, rcond=1e-10)[0]
    sigma2 = float(solution[k])
    if not (np.all(np.isfinite(solution)) and sigma2 > 0):
        return None
    return solution[:k], sigma2


def _paired(FW: Array, left: Array, right: Array) -> Array:
    """Σ tr(dG_j FW dG_l FW') over cells: (k, k)."""
    q, s, _ = FW.shape
    flat = FW.reshape(q * s, -1)
    pairs = (flat @ flat.T).reshape(q, s, q, s)
    return np.asarray(np.einsum("jxu,xyuv,lyv->jl", left, pairs, right, optimize=True))
