"""The boundary of the domains: which parameters stand on it, and putting them exactly there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmframe.covariance.derivative import parts
from mmframe.covariance.domain import Array, Box, PositiveDefinite, unvech, vech, vech_indices
from mmframe.covariance.structure import Param

# A variance (or an eigenvalue of G) this small relative to σ², per unit of its basis, is zero.
ZERO = 1e-8


def _scaled(param: Param, values: Array, sigma2: float, unit: Array) -> Array:
    """Scale parameters as variances relative to σ², free of the units of the basis."""
    size = unit if unit.size == values.size else np.full(values.size, float(np.sqrt(np.mean(unit**2))))
    return np.asarray((values ** (2 / param.scale_power)) * size**2 / sigma2)


def _null_space(domain: PositiveDefinite, flat: Array, sigma2: float, unit: Array) -> tuple[Array, Array]:
    """Whether each variance is zero beside σ² (or the correlations are singular), and the matrix with that cut.

    (dim,) of bool, and (dim, dim) relative to σ²: rows of zero variance emptied, tiny eigenvalues of the correlations cut.
    """
    matrix = unvech(flat) / sigma2
    D = unit if unit.size == domain.dim else np.ones(domain.dim)
    zero = np.diag(matrix) * D**2 <= ZERO
    sd = np.sqrt(np.where(zero, 1.0, np.diag(matrix)))
    empty = zero[:, None] | zero[None, :]
    corr = np.where(empty, np.eye(domain.dim), matrix / np.outer(sd, sd))
    values, vectors = np.linalg.eigh(corr)
    singular = bool(values[0] <= ZERO)
    if singular:
        corr = (vectors * np.where(values <= ZERO, 0.0, values)) @ vectors.T
    return zero | singular, np.where(empty, 0.0, corr * np.outer(sd, sd))


def on_boundary(params: tuple[Param, ...], flat: Array, sigma2: float, unit: Array) -> NDArray[np.bool_]:
    """Which entries of the flat φ stand on the boundary: of a matrix, those of its rows without variance, or all of them where
    its correlations are singular."""
    out = np.zeros(flat.size, dtype=bool)
    for param, part in parts(params):
        domain = param.domain
        if isinstance(domain, PositiveDefinite):
            null = _null_space(domain, flat[part], sigma2, unit)[0]
            rows, cols = vech_indices(domain.dim)
            out[part] = null[rows] | null[cols]
        elif isinstance(domain, Box) and param.scale_power:
            out[part] = _scaled(param, flat[part], sigma2, unit) <= ZERO
        elif isinstance(domain, Box) and np.isfinite(domain.low) and np.isfinite(domain.high):
            edge = ZERO * (domain.high - domain.low)
            out[part] = (flat[part] - domain.low <= edge) | (domain.high - flat[part] <= edge)
    return out


def at_boundary(params: tuple[Param, ...], flat: Array, sigma2: float, unit: Array) -> bool:
    return bool(np.any(on_boundary(params, flat, sigma2, unit)))


def settled(params: tuple[Param, ...], flat: Array, sigma2: float, unit: Array) -> Array:
    """The flat φ with what is on a boundary to within tolerance exactly there."""
    out = flat.copy()
    for param, part in parts(params):
        domain, values = param.domain, flat[part]
        if isinstance(domain, PositiveDefinite):
            singular, cut = _null_space(domain, values, sigma2, unit)
            if np.any(singular):
                out[part] = vech(cut * sigma2)
        elif isinstance(domain, Box) and param.scale_power:
            out[part] = np.where(_scaled(param, values, sigma2, unit) <= ZERO, 0.0, values)
        elif isinstance(domain, Box) and np.isfinite(domain.low) and np.isfinite(domain.high):
            edge = ZERO * (domain.high - domain.low)
            values = np.where(values - domain.low <= edge, domain.low, values)
            out[part] = np.where(domain.high - values <= edge, domain.high, values)
    return out


def into_the_cone(G: Array, unit: Array, most: float) -> Array:
    """G moved well inside the cone, and its largest eigenvalues to `most`, in units of its basis."""
    scaled = np.outer(unit, unit) * 0.5 * (G + G.T)
    values, vectors = np.linalg.eigh(scaled)
    values = np.minimum(values, most)
    floor = max(0.02 * float(values[-1]), 1e-3)
    lifted = (vectors * np.maximum(values, floor)) @ vectors.T
    return np.asarray(lifted / np.outer(unit, unit))
