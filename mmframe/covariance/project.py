"""Projection onto a structure: the φ that minimises log|Σ(φ)| + tr(Σ(φ)⁻¹ T) for a positive definite target T.

It is the M-step of EM for a structured matrix, and makes starting values out of moments.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from mmframe.covariance.bijections import LogElementwise
from mmframe.covariance.derivative import DerivativeMethod, flatten_phi, jacobian, make_phi
from mmframe.covariance.domain import Array, Box, PositiveDefinite
from mmframe.covariance.matrix_bijections import LogCholeskyEntries
from mmframe.covariance.sound import checked_mapping
from mmframe.covariance.structure import CovarianceStructure, Param


def divergence(covariance: Array, target: Array) -> float:
    """log|Σ| + tr(Σ⁻¹ T); +inf where Σ is not positive definite."""
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return np.inf
    white = np.linalg.solve(root, np.linalg.solve(root, target).T)
    return float(2 * np.sum(np.log(np.diag(root))) + np.trace(white))


def project(
    structure: CovarianceStructure, params: tuple[Param, ...], method: DerivativeMethod, index: Array, target: Array
) -> Array:
    """The flat φ of the member of the structure that is nearest to the target (q, q)."""
    given = structure.project(target, index)
    if given is not NotImplemented:
        names = tuple(p.name for p in params)
        flat = flatten_phi(params, checked_mapping(structure, "project", given, names))
        if np.all(np.isfinite(flat)):
            return flat  # else there is none: a search finds what there is
    return project_numerically(structure, params, method, index, target)


def project_numerically(
    structure: CovarianceStructure, params: tuple[Param, ...], method: DerivativeMethod, index: Array, target: Array
) -> Array:
    """The general fallback: a quasi-Newton search in free coordinates of each parameter's interior."""
    maps = [
        LogCholeskyEntries(p.domain) if isinstance(p.domain, PositiveDefinite) else LogElementwise(p.domain)  # type: ignore[arg-type]
        for p in params
    ]
    ends = np.cumsum([m.size for m in maps])
    size = float(np.trace(target)) / target.shape[0]

    def flat(u: Array) -> Array:
        parts = np.split(u, ends[:-1])
        return np.concatenate(
            [p.domain.flatten(m.forward(part)) for p, m, part in zip(params, maps, parts, strict=True)]
        )

    def objective(u: Array) -> tuple[float, Array]:
        phi = flat(u)
        sigma = structure.covariance(make_phi(params, phi), index)
        try:
            inverse = np.linalg.inv(np.linalg.cholesky(sigma))
        except np.linalg.LinAlgError:
            return 1e12, np.zeros_like(u)
        precision = inverse.T @ inverse
        score = precision - precision @ target @ precision
        natural = np.einsum("kab,ab->k", jacobian(method, structure, params, phi, index), score)
        gradient, start = [], 0
        for m, part in zip(maps, np.split(u, ends[:-1]), strict=True):
            inner = m.jacobian(part)
            gradient.append(inner.T @ natural[start : start + inner.shape[0]])
            start += inner.shape[0]
        return divergence(sigma, target), np.concatenate(gradient)

    start = []
    for param, m in zip(params, maps, strict=True):
        domain = param.domain
        if isinstance(domain, PositiveDefinite):
            value: object = target if domain.dim == target.shape[0] else size * np.eye(domain.dim)
        elif isinstance(domain, Box) and param.scale_power:
            # a scale in proportion to the target: the diagonal where there is one entry a point
            diagonal = np.diag(target) if domain.count == target.shape[0] else np.full(domain.count, size)
            value = domain.unflatten(diagonal ** (param.scale_power / 2))
        elif isinstance(domain, Box) and np.isfinite(domain.low) and np.isfinite(domain.high):
            value = domain.unflatten(np.full(domain.count, 0.5 * (domain.low + domain.high)))
        else:
            value = domain.sample(np.random.default_rng(0))
        start.append(m.inverse(value))
    found = minimize(objective, np.concatenate(start), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return flat(found.x)
