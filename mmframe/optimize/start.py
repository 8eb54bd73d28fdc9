"""Starting values from moments of the data: Fisher scoring in the entries of G_k and σ², where V is linear.

From V = V₀ the next estimate solves Σ_l tr(P V_j P V_l) θ_l = y'P V_j P y (MIVQUE; Rao 1971, J. Multivariate Anal. 1).
One round from a G of about the size of σ² in units of its basis, followed by a move into the interior of the cone, puts a
fit within a few Newton steps of the optimum, whatever the units; balanced designs start at the optimum. A second round
saves fewer Newton steps than it costs.
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array, vech_basis
from mmframe.covariance.model import CovarianceModel
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.information import sums

_ROUNDS = 1
# Entries of G beyond this number start from a multiple of the identity instead: the scoring system grows as q⁴.
_MAX_ENTRIES = 60


def moments(engine: Engine, widths: tuple[int, ...], *, reml: bool) -> tuple[tuple[Array, ...], float]:
    """(G_k, σ²) in data units, each G_k positive definite."""
    units = [np.where(u > 0, u, 1.0) for u in engine.unit_scales]
    relative = tuple(np.diag(1.0 / u**2) / max(1, len(widths)) for u in units)
    bases = [vech_basis(q) for q in widths]
    counts = [b.shape[0] for b in bases]
    total = sum(counts)
    sigma2 = 0.0
    for _ in range(_ROUNDS if total <= _MAX_ENTRIES else 0):
        tangents, place = [], 0
        for basis, unit in zip(bases, units, strict=True):
            directions = np.zeros((total, *basis.shape[1:]))
            directions[place : place + basis.shape[0]] = basis / np.outer(unit, unit)
            tangents.append(directions)
            place += basis.shape[0]
        answer = engine.curvature(relative, tuple(tangents), reml=reml)
        if answer is None:
            break
        found = sums(answer[0], reml=reml)
        # unknowns: entries of G beyond the current shape, and the multiple of V₀ itself (the last tangent)
        solution = np.linalg.lstsq(found.traces, found.linear, rcond=1e-10)[0]
        sigma2 = float(solution[-1])
        if not (np.all(np.isfinite(solution)) and sigma2 > 0):
            sigma2 = answer[1].sigma2
            solution = np.append(np.zeros(total), sigma2)
        relative = tuple(
            _inside(g + np.tensordot(solution[:total] / sigma2, t, axes=1), u)
            for g, t, u in zip(relative, tangents, units, strict=True)
        )
    if not sigma2 > 0.0:
        final = engine.evaluate(relative, reml=reml, score=False)
        sigma2 = final.sigma2 if final is not None else 1.0
    return tuple(g * sigma2 for g in relative), sigma2


def _inside(G: Array, unit: Array) -> Array:
    """G moved well inside the cone, in units of its basis."""
    scaled = np.outer(unit, unit) * 0.5 * (G + G.T)
    values, vectors = np.linalg.eigh(scaled)
    floor = max(0.02 * float(values[-1]), 1e-3)
    lifted = (vectors * np.maximum(values, floor)) @ vectors.T
    return np.asarray(lifted / np.outer(unit, unit))


def starting_point(engine: Engine, model: CovarianceModel, *, reml: bool) -> tuple[tuple[Array, ...], float]:
    """(flat φ of each term, σ²) in data units: the moments, projected onto the structures."""
    targets, sigma2 = moments(engine, tuple(t.points.size for t in model.terms), reml=reml)
    return tuple(t.project(g) for t, g in zip(model.terms, targets, strict=True)), sigma2
