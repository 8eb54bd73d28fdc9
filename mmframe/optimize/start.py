"""Starting values from moments of the data: quadratic forms whose expectations are linear in the entries of G_k and σ².

One round from a G of about the size of σ² in units of its basis (`Engine.moments`), followed by a move into the interior
of the cone, puts a fit within a few Newton steps of the optimum, whatever the units; balanced designs start at the
optimum. A second round saves fewer Newton steps than it costs.
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array, vech_basis
from mmframe.covariance.model import CovarianceModel
from mmframe.design.design import Design
from mmframe.likelihood.engine import Engine
from mmframe.optimize.boundary import into_the_cone
from mmframe.optimize.residual_start import residual_start

# Entries of G beyond this number start from a multiple of the identity instead: the equations grow as q⁴.
_MAX_ENTRIES = 60
# Variances of effects beyond this many times the residual mean square of least squares are not believed.
_MOST = 100.0


def moments(
    engine: Engine, widths: tuple[int, ...], *, reml: bool, R: tuple[Array, ...] = ()
) -> tuple[tuple[Array, ...], float]:
    """(G_k, σ²) in data units, each G_k positive definite. R: that of a structured residual, relative to σ²."""
    units = [np.where(u > 0, u, 1.0) for u in engine.unit_scales]
    relative = tuple(np.diag(1.0 / u**2) / max(1, len(widths)) for u in units)
    total = sum(q * (q + 1) // 2 for q in widths)
    if 0 < total <= _MAX_ENTRIES:
        bases = [vech_basis(q) for q in widths]
        tangents, place = [], 0
        for basis, unit in zip(bases, units, strict=True):
            directions = np.zeros((total, *basis.shape[1:]))
            directions[place : place + len(basis)] = basis / np.outer(unit, unit)
            tangents.append(directions)
            place += len(basis)
        found = engine.moments(relative, tuple(tangents), reml=reml, R=R)
        if found is not None:
            G, sigma2 = found
            # effects do not vary more than the response: a factor that X explains has no moments of its own
            most = _MOST * engine.residual_square / (engine.n * sigma2)
            return tuple(sigma2 * into_the_cone(g / sigma2, u, most) for g, u in zip(G, units, strict=True)), sigma2
    final = engine.evaluate(relative, reml=reml, score=False, R=R)
    sigma2 = final.sigma2 if final is not None else 1.0
    return tuple(g * sigma2 for g in relative), sigma2


def starting_point(
    engine: Engine, model: CovarianceModel, design: Design, *, reml: bool
) -> tuple[tuple[Array, ...], float]:
    """(flat φ of each term, σ²) in data units: the moments, projected onto the structures."""
    independent = tuple(
        np.broadcast_to(np.eye(index.shape[-2]), (*index.shape[:-1], index.shape[-2]))
        for term in model.residual
        for index in term.at
    )
    targets, sigma2 = moments(engine, tuple(t.points.size for t in model.random), reml=reml, R=independent)
    random = tuple(t.project(g) for t, g in zip(model.random, targets, strict=True))
    if not model.residual:
        return random, sigma2
    flats = residual_start(engine, model, design, random, sigma2, reml=reml)
    return flats, model.residual_variance(flats)
