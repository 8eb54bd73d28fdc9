"""Starting values of a structured residual: moments where they tell, else variances of single rows and a few values of each shape."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
from scipy.optimize import minimize

from mmframe.covariance.bijections import LogElementwise
from mmframe.covariance.derivative import flatten_phi, parts
from mmframe.covariance.domain import Array, Box, OutsideDomainError, PositiveDefinite, vech
from mmframe.covariance.model import CovarianceModel
from mmframe.covariance.term import BoundTerm
from mmframe.design.design import Design
from mmframe.likelihood.engine import Engine
from mmframe.optimize.boundary import into_the_cone

# Points up to which it starts from the moments of all their pairs.
_MAX_POINTS = 60


def residual_start(
    engine: Engine, model: CovarianceModel, design: Design, random: tuple[Array, ...], sigma2: float, *, reml: bool
) -> tuple[Array, ...]:
    """The flat φ of all terms in data units, from those of the random effects and the residual variance."""
    residual = []
    for k, term in enumerate(model.residual):
        target = None if model.n_random else _residual_moments(design, k)
        projected = None if target is None else term.structure.project(target, term.points.index)
        if projected is None or projected is NotImplemented:
            plain = _plain_start(term, sigma2)
            residual.append(_by_variances(term, plain, *_mean_squares(design, k), sigma2))
        else:
            residual.append(flatten_phi(term.params, projected))
    return _best_shapes(engine, model, (*random, *residual), reml)


def _best_shapes(engine: Engine, model: CovarianceModel, flats: tuple[Array, ...], reml: bool) -> tuple[Array, ...]:
    """Each single shape of the residual at the best of a few values, σ² profiled: ranges have units that no moment tells,
    and their criterion may have a local optimum, or be flat, far from the best one."""
    best = _profiled(engine, model, flats, reml)
    for k in range(model.n_random, len(flats)):
        for param, part in parts(model.terms[k].params):
            if param.scale_power or param.domain.count != 1 or not isinstance(param.domain, Box):
                continue
            for candidates in _candidates(param.domain):
                here = float(flats[k][part][0])
                for value in candidates(here):
                    trial = flats[k].copy()
                    trial[part] = value
                    moved = (*flats[:k], trial, *flats[k + 1 :])
                    found = _profiled(engine, model, moved, reml)
                    if found < best:
                        best, flats = found, moved
    return flats


def _candidates(domain: Box) -> list[Callable[[float], list[float]]]:
    """Rounds of values to try, from the best so far: over all of an interval, over orders of magnitude of a half-line."""
    low, high = domain.low, domain.high
    if np.isfinite(low) and np.isfinite(high):
        return [lambda _: [low + (high - low) * share for share in (0.9, 0.65, 0.35, 0.1)]]
    if np.isfinite(low):
        return [
            lambda here: [low + (here - low) * 16.0**k for k in (-3, -2, -1, 1, 2, 3, 4)],
            lambda here: [low + (here - low) * factor for factor in (0.25, 0.5, 2.0, 4.0)],
            lambda here: [low + (here - low) * factor for factor in (0.7, 0.85, 1.2, 1.4)],
        ]
    return [lambda here: [here - 1.0, here - 0.3, here + 0.3, here + 1.0]]


def _profiled(engine: Engine, model: CovarianceModel, flats: tuple[Array, ...], reml: bool) -> float:
    """−2 log L with everything in proportion to σ², which is at its best."""
    try:
        with np.errstate(all="ignore"):
            G, R = model.matrices_at(flats)
            found = engine.evaluate(G, reml=reml, score=False, R=R)
    except (OutsideDomainError, np.linalg.LinAlgError):
        return np.inf
    return np.inf if found is None or not np.isfinite(found.value) else found.value


def _plain_start(term: BoundTerm, sigma2: float) -> Array:
    """Scales of the size of σ², shapes where they say, or in the middle of their domains."""
    values = {}
    for param in term.params:
        domain = param.domain
        if isinstance(domain, PositiveDefinite):
            values[param.name] = domain.unflatten(vech(sigma2 * np.eye(domain.dim)))
            continue
        assert isinstance(domain, Box)
        bounded = np.isfinite(domain.low) and np.isfinite(domain.high)
        plain = 0.5 * (domain.low + domain.high) if bounded else (1.0 if domain.low == 0.0 else 0.0)
        value = plain if param.start is None else param.start
        scale = sigma2 ** (param.scale_power / 2)
        values[param.name] = domain.unflatten(np.full(domain.count, value * scale))
    return flatten_phi(term.params, values)


def _mean_squares(design: Design, stratum: int) -> tuple[Array, Array]:
    """The mean square of least-squares residuals at each point of a stratum, and the number of its rows."""
    residual = design.residual
    assert residual is not None
    mine = residual.stratum == stratum
    points = residual.strata[stratum].points.size
    counts = np.bincount(residual.point[mine], minlength=points)
    squares = np.bincount(residual.point[mine], weights=design.least_squares_residual[mine] ** 2, minlength=points)
    return squares / np.maximum(counts, 1), counts.astype(float)


def _by_variances(term: BoundTerm, flat: Array, squares: Array, counts: Array, sigma2: float) -> Array:
    """Parameters that the variances of single rows depend on, at their best for these mean squares (rows taken as
    independent), scaled to σ² in all."""
    if not term.params or any(isinstance(p.domain, PositiveDefinite) for p in term.params):
        return flat
    maps = [LogElementwise(p.domain) for p in term.params if isinstance(p.domain, Box)]
    index = term.points.index[:, None, :]
    single = attrs.evolve(term, bijections=tuple(maps), at=(index,), constant=None)

    def objective(u: Array) -> tuple[float, Array]:
        try:
            variance = single.covariances(u)[0][:, 0, 0]
        except OutsideDomainError:
            return 1e300, np.zeros_like(u)
        if not np.all(np.isfinite(variance) & (variance > 0.0)):
            return 1e300, np.zeros_like(u)
        value = float(counts @ (np.log(variance) + squares / variance))
        slope = counts * (1.0 / variance - squares / variance**2)
        return value, single.pull(u, (slope[:, None, None],))

    with np.errstate(all="ignore"):
        found = minimize(objective, single.inverse(flat), jac=True, method="L-BFGS-B", options={"maxiter": 50})
        if not np.isfinite(found.fun) or found.fun >= 1e300:
            return flat
        best = single.flat(found.x)
        variance = term.covariance_at(best, index)[:, 0, 0]
    total = float(counts @ squares / np.sum(counts))
    scaled = best * np.sqrt(sigma2 / total) ** term.scale_powers
    return scaled if np.all(np.isfinite(variance)) and np.all(np.isfinite(scaled)) else flat


def _residual_moments(design: Design, stratum: int) -> Array | None:
    """The mean products of least-squares residuals over subjects by pairs of points, moved well inside the cone; None where
    there are many points, or a pair that no subject has."""
    residual = design.residual
    assert residual is not None
    points = residual.strata[stratum].points.size
    if points > _MAX_POINTS:
        return None
    mine = residual.stratum == stratum
    subject, m = np.unique(residual.subject[mine], return_inverse=True)[1], residual.m
    table, seen = np.zeros((m, points)), np.zeros((m, points))
    table[subject, residual.point[mine]] = design.least_squares_residual[mine]
    seen[subject, residual.point[mine]] = 1.0
    counts = seen.T @ seen
    if np.min(counts) < 2:
        return None
    matrix = (table.T @ table) / counts
    unit = np.sqrt(np.diag(matrix))
    if not np.all(unit > 0):
        return None
    return into_the_cone(matrix, 1.0 / unit, np.inf)
