"""The covariance model: all terms of a model in their coordinates, on one scale.

It translates between θ, which stages see, and the matrices G_k (relative to σ²), which engines see, and carries
derivatives along the same road. It holds no data.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from attrs import frozen

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.cover import cover
from mmframe.covariance.domain import Array, OutsideDomainError, Positive
from mmframe.covariance.matrix_bijections import StandardDeviationsCorrelations
from mmframe.covariance.parameterization import ABSOLUTE, RELATIVE, Scale
from mmframe.covariance.structure import Param
from mmframe.covariance.term import BoundTerm

SIGMA2 = Param("sigma2", Positive(), scale_power=2)


@frozen(eq=False)
class CovarianceModel:
    """All terms of a model with one scale, and the coordinates that are free.

    On the relative scale θ holds the coordinates of G_k/σ², and σ² is profiled by the engine. On the absolute scale it
    holds those of G_k, and one more for σ². `held` is a full θ whose entries stand where `free` is False.
    """

    terms: tuple[BoundTerm, ...]
    scale: Scale
    sigma_bijection: Bijection
    held: Array
    free: np.ndarray[Any, np.dtype[np.bool_]]

    @classmethod
    def bind(cls, terms: tuple[BoundTerm, ...], scale: Scale, sigma_bijection: Bijection) -> CovarianceModel:
        size = sum(t.size for t in terms) + (1 if scale is ABSOLUTE else 0)
        return cls(terms, scale, sigma_bijection, np.zeros(size), np.ones(size, dtype=bool))

    @cached_property
    def _places(self) -> tuple[slice, ...]:
        ends = np.cumsum([0, *(t.size for t in self.terms)])
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    @cached_property
    def size(self) -> int:
        return int(np.sum(self.free))

    @cached_property
    def names(self) -> tuple[str, ...]:
        full = [name for t in self.terms for name in t.coordinate_names]
        if self.scale is ABSOLUTE:
            full.append("sigma2")
        return tuple(name for name, free in zip(full, self.free, strict=True) if free)

    def _bounds(self, which: str) -> Array:
        parts = [np.asarray(getattr(b, which)) for t in self.terms for b in t.bijections]
        if self.scale is ABSOLUTE:
            parts.append(np.asarray(getattr(self.sigma_bijection, which)))
        return np.concatenate(parts)[self.free] if parts else np.zeros(0)

    @cached_property
    def lower(self) -> Array:
        return self._bounds("lower")

    @cached_property
    def upper(self) -> Array:
        return self._bounds("upper")

    def full(self, theta: Array) -> Array:
        """The full coordinate vector of free ones."""
        if self.size == self.free.size:
            return np.asarray(theta, dtype=float)
        out = self.held.copy()
        out[self.free] = theta
        return out

    def _sigma2(self, full: Array) -> float:
        value = float(self.sigma_bijection.forward(full[-1:]))
        if not value > 0.0:
            raise OutsideDomainError("the residual variance is not positive")
        return value

    def matrices(self, theta: Array) -> tuple[tuple[Array, ...], float | None]:
        """(G_k/σ², σ²); σ² is None where the engine profiles it. Raises OutsideDomainError."""
        full = self.full(theta)
        relative = tuple(t.covariance(full[s]) for t, s in zip(self.terms, self._places, strict=True))
        if self.scale is RELATIVE:
            return relative, None
        sigma2 = self._sigma2(full)
        return tuple(g / sigma2 for g in relative), sigma2

    def gradient(self, theta: Array, score: tuple[Array, ...], sigma2_score: float) -> Array:
        """∂/∂θ from the score matrices for G_k/σ² and ∂/∂σ² at fixed G_k/σ²: (size,)."""
        full = self.full(theta)
        parts = [t.pull(full[s], S) for t, s, S in zip(self.terms, self._places, score, strict=True)]
        if self.scale is ABSOLUTE:
            sigma2 = self._sigma2(full)
            parts = [part / sigma2 for part in parts]
            through = sum(
                float(np.sum(S * t.covariance(full[s])))
                for t, s, S in zip(self.terms, self._places, score, strict=True)
            )
            slope = float(self.sigma_bijection.jacobian(full[-1:])[0, 0])
            parts.append(np.array([(sigma2_score - through / sigma2**2) * slope]))
        return np.concatenate(parts)[self.free] if parts else np.zeros(0)

    def tangents(self, theta: Array) -> tuple[tuple[Array, ...], Array]:
        """For each free θ_j the directions of (G_k/σ², σ²): arrays (size, q_k, q_k), and (size,)."""
        full = self.full(theta)
        total = full.size
        sigma2 = self._sigma2(full) if self.scale is ABSOLUTE else 1.0
        out = []
        for term, place in zip(self.terms, self._places, strict=True):
            q = term.points.size
            directions = np.zeros((total, q, q))
            directions[place] = term.tangents(full[place]) / sigma2
            out.append(directions)
        dsigma2 = np.zeros(total)
        if self.scale is ABSOLUTE:
            dsigma2[-1] = float(self.sigma_bijection.jacobian(full[-1:])[0, 0])
            for directions, term, place in zip(out, self.terms, self._places, strict=True):
                directions[-1] = -term.covariance(full[place]) * dsigma2[-1] / sigma2**2
        return tuple(d[self.free] for d in out), dsigma2[self.free]

    def second(self, theta: Array, score: tuple[Array, ...], sigma2_score: float) -> Array:
        """The part of the Hessian that comes from the curvature of θ -> (G_k/σ², σ²) at fixed scores: (size, size)."""
        full = self.full(theta)
        out = np.zeros((full.size, full.size))
        for term, place, S in zip(self.terms, self._places, score, strict=True):
            out[place, place] = term.second(full[place], S)
        if self.scale is ABSOLUTE:
            # G/σ² with both moving: mixed and pure second derivatives in σ², then the curvature of σ² itself.
            sigma2 = self._sigma2(full)
            slope = float(self.sigma_bijection.jacobian(full[-1:])[0, 0])
            out /= sigma2
            pure = 0.0
            for term, place, S in zip(self.terms, self._places, score, strict=True):
                mixed = -term.pull(full[place], S) * slope / sigma2**2
                out[place, -1] = mixed
                out[-1, place] = mixed
                pure += float(np.sum(S * term.covariance(full[place])))
            bend = float(self.sigma_bijection.curvature(full[-1:], np.ones(1))[0, 0])
            out[-1, -1] = pure * (2 * slope**2 / sigma2**3 - bend / sigma2**2) + sigma2_score * bend
        return out[np.ix_(self.free, self.free)]

    def natural(self, theta: Array, sigma2: float) -> tuple[Array, ...]:
        """The flat φ of each term in data units, given the (profiled) σ²."""
        full = self.full(theta)
        flats = tuple(t.flat(full[s]) for t, s in zip(self.terms, self._places, strict=True))
        return flats if self.scale is ABSOLUTE else self.rescale(flats, np.sqrt(sigma2))

    def rescale(self, flats: tuple[Array, ...], c: float) -> tuple[Array, ...]:
        """φ with Σ multiplied by c²."""
        return tuple(f * c**t.scale_powers for t, f in zip(self.terms, flats, strict=True))

    def theta(self, flats: tuple[Array, ...], sigma2: float) -> Array:
        """The free coordinates of φ in data units."""
        inner = flats if self.scale is ABSOLUTE else self.rescale(flats, 1.0 / np.sqrt(sigma2))
        parts = [t.inverse(f) for t, f in zip(self.terms, inner, strict=True)]
        if self.scale is ABSOLUTE:
            parts.append(self.sigma_bijection.inverse(sigma2))
        return np.concatenate(parts)[self.free] if parts else np.zeros(0)

    def with_bijections(self, choose: Any, scale: Scale | None = None) -> CovarianceModel:
        """The same model in other coordinates: `choose(param, bijection)` gives those of each parameter."""
        terms = tuple(
            attrs.evolve(t, bijections=tuple(choose(p, b) for p, b in zip(t.params, t.bijections, strict=True)))
            for t in self.terms
        )
        sigma = choose(SIGMA2, self.sigma_bijection)
        if scale is not None and scale is not self.scale:
            return CovarianceModel.bind(terms, scale, sigma)
        return attrs.evolve(self, terms=terms, sigma_bijection=sigma)

    def cover(self, flats: tuple[Array, ...], sigma2: float) -> CovarianceModel:
        """This model in free coordinates that reach every boundary; what is held stays held.

        flats, sigma2: natural parameters at which the held coordinates are read.
        """

        def choose(param: Param, bijection: Bijection) -> Bijection:
            return bijection if isinstance(bijection, StandardDeviationsCorrelations) else cover(param.domain)

        if self._is_cover and np.all(self.free):
            return self

        covered = self.with_bijections(choose)
        everything = attrs.evolve(covered, free=np.ones_like(self.free))
        return attrs.evolve(covered, held=everything.theta(flats, sigma2))

    def absolute(self) -> CovarianceModel:
        """The same coordinates on the absolute scale, all free except those that are held."""
        if self.scale is ABSOLUTE:
            return self
        free = np.append(self.free, True)
        return CovarianceModel(self.terms, ABSOLUTE, self.sigma_bijection, np.append(self.held, 0.0), free)

    @cached_property
    def _is_cover(self) -> bool:
        pairs = [(p, b) for t in self.terms for p, b in zip(t.params, t.bijections, strict=True)]
        if self.scale is ABSOLUTE:
            pairs.append((SIGMA2, self.sigma_bijection))
        return all(type(b) is type(cover(p.domain)) for p, b in pairs)
