"""Kenward and Roger's term in the second derivatives of Σ, which depends on the parameters in which Σ is written.

With M = X'Σ⁻¹X, ∂²M/∂j∂l = Q_jl + Q_lj − R_jl, where R_jl = X'Σ⁻¹(∂²Σ/∂j∂l)Σ⁻¹X. So Σ_jl W_jl R_jl is twice that of Q less D²M[W],
the second derivatives of M along W, for which M alone is evaluated: whatever engine gives Φ = M⁻¹ gives this too.

The parameters are the customary ones ψ of each structure (covariance/structure.py), where the stages and we move in others, φ:
D²_ψ M[W] = D²_φ M[W] − ∂M along e, with e = (∂ψ/∂φ)⁻¹ D²ψ[W].
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable

import numpy as np
from attrs import frozen

from mmframe.covariance.derivative import central_differences, parts, typical_sizes
from mmframe.covariance.domain import Array, OutsideDomainError
from mmframe.covariance.structure import CovarianceStructure
from mmframe.covariance.term import BoundTerm
from mmframe.likelihood.engine import Engine
from mmframe.results.uncertainty import Uncertainty

_STEP = 0.02  # along a direction one standard error long
_HALVINGS = 25
_SMALL = 1e-12  # of the largest eigenvalue of W in units of standard errors
# Twelve times the second derivative, and the first, to the fourth order.
_SECOND = ((-2, -1.0), (-1, 16.0), (0, -30.0), (1, 16.0), (2, -1.0))
_FIRST = ((-2, 1.0), (-1, -8.0), (1, 8.0), (2, -1.0))


def written_linearly(term: BoundTerm) -> bool:
    """Whether Σ is linear in φ, and φ customary: there the term is zero."""
    plain = type(term.structure).customary is CovarianceStructure.customary and not any(p.reading for p in term.params)
    return plain and term.constant is not None


def customary(term: BoundTerm, flat: Array) -> Array:
    """ψ of a flat φ: as many numbers."""
    found = term.structure.customary(term.phi_of(flat), term.points)
    if found is not NotImplemented:
        return np.asarray(found, dtype=float)
    out = np.array(flat, dtype=float)
    for param, place in parts(term.params):
        if param.reading is not None:
            out[place] = param.reading.to(flat[place])
    return out


@frozen(eq=False)
class Moving:
    """M as a function of the natural parameters of all terms, one after another, and σ² where it is apart, in data units."""

    engine: Engine
    known: Uncertainty

    @property
    def places(self) -> list[slice]:
        ends = np.cumsum([0, *(t.scale_powers.size for t in self.known.cover.terms)])
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]

    def flat(self, theta: Array) -> Array:
        cover = self.known.cover
        sigma2 = cover.matrices(theta)[2] if cover.has_sigma2 else 1.0
        assert sigma2 is not None
        return np.concatenate([*cover.natural(theta, sigma2), [sigma2] if cover.has_sigma2 else []])

    def precision(self, flat: Array) -> Array:
        """X'Σ⁻¹X (p, p). Raises OutsideDomainError, LinAlgError."""
        cover = self.known.cover
        sigma2 = float(flat[-1]) if cover.has_sigma2 else 1.0
        if not sigma2 > 0.0:
            raise OutsideDomainError("the residual variance is not positive")
        G, R = cover.matrices_at(tuple(flat[s] for s in self.places))
        with np.errstate(all="ignore"):
            relative = tuple(g / sigma2 for g in G)
            found = self.engine.evaluate(relative, reml=True, score=False, sigma2=sigma2, R=R)
        if found is None or not np.all(np.isfinite(found.beta_cov)):
            raise OutsideDomainError("−2 log L is not finite there")
        return np.asarray(np.linalg.inv(found.beta_cov))


def second_term(engine: Engine, known: Uncertainty, phi: Array, W: Array, within: Array) -> Array:
    """Φ Σ_jl W_jl R_jl Φ (p, p).   phi (p, p): Φ.   W (k, k): the covariance of the coordinates.   within (p, p): the same of Q_jl."""
    cover = known.cover
    if all(written_linearly(t) for t in cover.terms) or not W.size or not phi.size:
        return np.zeros_like(within)
    moving = Moving(engine, known)
    flat = moving.flat(known.theta)
    scale = np.maximum(np.abs(known.theta), np.sqrt(np.maximum(np.diag(W), 0.0)))
    J = central_differences(moving.flat, known.theta, np.maximum(scale, 1e-300)).T
    directions = _directions(J @ W @ J.T)
    curved = _along(moving.precision, flat, directions, _SECOND, 12.0)
    bend = np.zeros(flat.size)
    for term, place in zip(cover.terms, moving.places, strict=True):
        if np.array_equal(customary(term, flat[place]), flat[place]):
            continue
        own = [d[place] for d in directions]

        def psi(part: Array, term: BoundTerm = term) -> Array:
            return customary(term, part)

        second = _along(psi, flat[place], own, _SECOND, 12.0)
        size = np.sqrt(np.sum(np.square(own), axis=0))
        first = central_differences(
            psi, flat[place], np.where(size > 0, size, typical_sizes(term.params, flat[place]))
        ).T
        bend[place] = np.linalg.lstsq(first, second, rcond=None)[0]
    size = np.sqrt(np.sum(np.square(directions), axis=0))
    length = float(np.max(np.abs(bend) / np.maximum(size, 1e-300), initial=0.0, where=size > 0))
    if length > 0.0:  # a step of it as long as the others
        slope = _along(moving.precision, flat, [bend / length], _FIRST, 12.0)
        curved = curved - slope * length
    return np.asarray(2.0 * within - phi @ curved @ phi)


def _directions(W: Array) -> list[Array]:
    """d_k with Σ d_k d_k' = W, of about one standard error each."""
    error = np.sqrt(np.maximum(np.diag(W), 0.0))
    unit = np.where(error > 0, error, 1.0)
    values, vectors = np.linalg.eigh(W / np.outer(unit, unit))
    return [unit * v * np.sqrt(x) for x, v in zip(values, vectors.T, strict=True) if x > _SMALL * values[-1]]


def _along(
    function: Callable[[Array], Array],
    point: Array,
    directions: list[Array],
    stencil: tuple[tuple[int, float], ...],
    divisor: float,
) -> Array:
    """The sum of derivatives along directions, with steps that stay in the domain."""
    power = 2 if stencil is _SECOND else 1
    total: Array = np.zeros_like(np.asarray(function(point)))
    for direction in directions:
        step = _STEP
        found = np.full_like(total, np.nan)
        for _ in range(_HALVINGS):
            with contextlib.suppress(OutsideDomainError, np.linalg.LinAlgError):
                found = np.sum([w * function(point + k * step * direction) for k, w in stencil], axis=0)
            if np.all(np.isfinite(found)):
                break
            step /= 2.0
        total = total + found / (divisor * step**power)
    return total
