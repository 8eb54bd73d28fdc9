"""Starting values from moments of the data: quadratic forms whose expectations are linear in the entries of G_k and σ².

One round from a G of about the size of σ² in units of its basis (`Engine.moments`), followed by a move into the interior
of the cone, puts a fit within a few Newton steps of the optimum, whatever the units; balanced designs start at the
optimum. A second round saves fewer Newton steps than it costs.
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array, vech_basis
from mmframe.covariance.model import CovarianceModel
from mmframe.likelihood.engine import Engine

# Entries of G beyond this number start from a multiple of the identity instead: the equations grow as q⁴.
_MAX_ENTRIES = 60
# Variances of effects beyond this many times the residual mean square of least squares are not believed.
_MOST = 100.0


def moments(engine: Engine, widths: tuple[int, ...], *, reml: bool) -> tuple[tuple[Array, ...], float]:
    """(G_k, σ²) in data units, each G_k positive definite."""
    units = [np.where(u > 0, u, 1.0) for u in engine.unit_scales]
    relative = tuple(np.diag(1.0 / u**2) / max(1, len(widths)) for u in units)
    bases = [vech_basis(q) for q in widths]
    total = sum(len(b) for b in bases)
    if total <= _MAX_ENTRIES:
        tangents, place = [], 0
        for basis, unit in zip(bases, units, strict=True):
            directions = np.zeros((total, *basis.shape[1:]))
            directions[place : place + len(basis)] = basis / np.outer(unit, unit)
            tangents.append(directions)
            place += len(basis)
        found = engine.moments(relative, tuple(tangents), reml=reml)
        if found is not None:
            G, sigma2 = found
            # effects do not vary more than the response: a factor that X explains has no moments of its own
            most = _MOST * engine.residual_square / (engine.n * sigma2)
            return tuple(sigma2 * _inside(g / sigma2, u, most) for g, u in zip(G, units, strict=True)), sigma2
    final = engine.evaluate(relative, reml=reml, score=False)
    sigma2 = final.sigma2 if final is not None else 1.0
    return tuple(g * sigma2 for g in relative), sigma2


def _inside(G: Array, unit: Array, most: float) -> Array:
    """G moved well inside the cone, and its largest eigenvalues to `most`, in units of its basis."""
    scaled = np.outer(unit, unit) * 0.5 * (G + G.T)
    values, vectors = np.linalg.eigh(scaled)
    values = np.minimum(values, most)
    floor = max(0.02 * float(values[-1]), 1e-3)
    lifted = (vectors * np.maximum(values, floor)) @ vectors.T
    return np.asarray(lifted / np.outer(unit, unit))


def starting_point(engine: Engine, model: CovarianceModel, *, reml: bool) -> tuple[tuple[Array, ...], float]:
    """(flat φ of each term, σ²) in data units: the moments, projected onto the structures."""
    targets, sigma2 = moments(engine, tuple(t.points.size for t in model.terms), reml=reml)
    return tuple(t.project(g) for t, g in zip(model.terms, targets, strict=True)), sigma2
