"""Inverses and determinants of many positive definite matrices of one size: in a batch while they are small."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from mmframe.covariance.domain import Array

_BATCHED = 48  # rows up to which many are inverted at once


def inverse(V: Array) -> tuple[Array, Array]:
    """V⁻¹ (P, m, m) and log|V| (P,). Raises LinAlgError where one is not positive definite."""
    P, m, _ = V.shape
    if m > _BATCHED:
        out, logdet = np.empty_like(V), np.empty(P)
        for k in range(P):
            root, failed = lapack.dpotrf(V[k], lower=1)
            if failed:
                raise np.linalg.LinAlgError("not positive definite")
            logdet[k] = 2.0 * np.sum(np.log(root.diagonal()))
            half = np.tril(lapack.dpotri(root, lower=1)[0])
            out[k] = half + np.tril(half, -1).T
        return out, logdet
    root = np.linalg.cholesky(V)
    logdet = 2.0 * np.sum(np.log(np.diagonal(root, axis1=1, axis2=2)), axis=1)
    half = np.linalg.inv(root)
    return half.swapaxes(1, 2) @ half, logdet
