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
from mmframe.covariance.parameterization import ABSOLUTE, RELATIVE, Scale
from mmframe.covariance.structure import Param
from mmframe.covariance.term import BoundTerm

SIGMA2 = Param("sigma2", Positive(), scale_power=2)


@frozen(eq=False)
class CovarianceModel:
    """All terms of a model with one scale, and the coordinates that are free.

    On the relative scale θ holds the coordinates of G_k/σ², and σ² is profiled by the engine. On the absolute scale it
    holds those of G_k, and one more for σ². `held` is a full θ whose entries stand where `free` is False; `source` says
    which entry each one copies: itself, or the one that it is tied to.
    terms: those of the random effects, then those of the residual (`n_random` and up). A structured residual has the scale
    among its own parameters: θ is then on the absolute scale, without σ².
    """

    terms: tuple[BoundTerm, ...]
    n_random: int
    scale: Scale
    sigma_bijection: Bijection
    held: Array
    free: np.ndarray[Any, np.dtype[np.bool_]]
    source: np.ndarray[Any, np.dtype[np.intp]]

    @classmethod
    def bind(
        cls, terms: tuple[BoundTerm, ...], scale: Scale, sigma_bijection: Bijection, n_random: int | None = None
    ) -> CovarianceModel:
        n_random = len(terms) if n_random is None else n_random
        structured = n_random < len(terms)
        scale = ABSOLUTE if structured else scale
        size = sum(t.size for t in terms) + (1 if scale is ABSOLUTE and not structured else 0)
        return cls(terms, n_random, scale, sigma_bijection, np.zeros(size), np.ones(size, dtype=bool), np.arange(size))

    @property
    def random(self) -> tuple[BoundTerm, ...]:
        return self.terms[: self.n_random]

    @property
    def residual(self) -> tuple[BoundTerm, ...]:
        return self.terms[self.n_random :]

    @property
    def has_sigma2(self) -> bool:
        """Whether the last coordinate is that of σ²."""
        return self.scale is ABSOLUTE and not self.residual

    @cached_property
    def of_residual(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which free coordinates are the structured residual's: (size,)."""
        start = sum(t.size for t in self.random) if self.residual else self.free.size
        return np.flatnonzero(self.free) >= start

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
        if self.has_sigma2:
            full.append("sigma2")
        return tuple(name for name, free in zip(full, self.free, strict=True) if free)

    def _bounds(self, which: str) -> Array:
        parts = [np.asarray(getattr(b, which)) for t in self.terms for b in t.bijections]
        if self.has_sigma2:
            parts.append(np.asarray(getattr(self.sigma_bijection, which)))
        return np.concatenate(parts)[self.free] if parts else np.zeros(0)

    @cached_property
    def lower(self) -> Array:
        return self._bounds("lower")

    @cached_property
    def upper(self) -> Array:
        return self._bounds("upper")

    @cached_property
    def _spread(self) -> Array:
        """What each free coordinate moves: (size, full size), 0 or 1."""
        moved: Array = (self.source[None, :] == np.flatnonzero(self.free)[:, None]).astype(float)
        return moved

    def full(self, theta: Array) -> Array:
        """The full coordinate vector of free ones."""
        if self.size == self.free.size:
            return np.asarray(theta, dtype=float)
        out = self.held.copy()
        out[self.free] = theta
        return np.asarray(out[self.source])

    def _sigma2(self, full: Array) -> float:
        value = float(self.sigma_bijection.forward(full[-1:]))
        if not value > 0.0:
            raise OutsideDomainError("the residual variance is not positive")
        return value

    def matrices(self, theta: Array) -> tuple[tuple[Array, ...], tuple[Array, ...], float | None]:
        """(G_k/σ², R/σ² at each index that the engine wants, σ²); σ² is None where the engine profiles it, and 1 where R
        carries the scale. Raises OutsideDomainError."""
        full = self.full(theta)
        found = [t.covariances(full[s]) for t, s in zip(self.terms, self._places, strict=True)]
        G = tuple(f[0] for f in found[: self.n_random])
        R = tuple(r for f in found[self.n_random :] for r in f)
        if self.residual:
            return G, R, 1.0
        if self.scale is RELATIVE:
            return G, R, None
        sigma2 = self._sigma2(full)
        return tuple(g / sigma2 for g in G), R, sigma2

    def _by_term(self, score: tuple[Array, ...], residual_score: tuple[Array, ...]) -> list[tuple[Array, ...]]:
        """The score matrices that belong to each term."""
        out: list[tuple[Array, ...]] = [(S,) for S in score]
        rest = iter(residual_score)
        return out + [tuple(next(rest) for _ in t.at) for t in self.residual]

    def gradient(
        self, theta: Array, score: tuple[Array, ...], sigma2_score: float, residual_score: tuple[Array, ...] = ()
    ) -> Array:
        """∂/∂θ from the score matrices for G_k/σ² and R/σ², and ∂/∂σ² at fixed G_k/σ²: (size,)."""
        full = self.full(theta)
        scores = self._by_term(score, residual_score)
        parts = [t.pull(full[s], S) for t, s, S in zip(self.terms, self._places, scores, strict=True)]
        if self.has_sigma2:
            sigma2 = self._sigma2(full)
            parts = [part / sigma2 for part in parts]
            through = sum(
                float(np.sum(S[0] * t.covariances(full[s])[0]))
                for t, s, S in zip(self.terms, self._places, scores, strict=True)
            )
            slope = float(self.sigma_bijection.jacobian(full[-1:])[0, 0])
            parts.append(np.array([(sigma2_score - through / sigma2**2) * slope]))
        return self._gathered(np.concatenate(parts)) if parts else np.zeros(0)

    def _gathered(self, over_full: Array) -> Array:
        """Derivatives along free coordinates from those along all: sums over what is tied."""
        return over_full if self.size == self.free.size else np.asarray(self._spread @ over_full)

    def tangents(self, theta: Array) -> tuple[tuple[Array, ...], tuple[Array, ...], Array]:
        """For each free θ_j the directions of (G_k/σ², R/σ², σ²): arrays (size, ..., m, m), and (size,)."""
        full = self.full(theta)
        total = full.size
        sigma2 = self._sigma2(full) if self.has_sigma2 else 1.0
        out: list[list[Array]] = []
        for term, place in zip(self.terms, self._places, strict=True):
            found: list[Array] = []
            for tangent in term.tangents(full[place]):
                directions = np.zeros((total, *tangent.shape[1:]))
                directions[place] = tangent / sigma2
                found.append(directions)
            out.append(found)
        dsigma2 = np.zeros(total)
        if self.has_sigma2:
            dsigma2[-1] = float(self.sigma_bijection.jacobian(full[-1:])[0, 0])
            for moved, term, place in zip(out, self.terms, self._places, strict=True):
                moved[0][-1] = -term.covariances(full[place])[0] * dsigma2[-1] / sigma2**2
        G = tuple(self._along(d[0]) for d in out[: self.n_random])
        R = tuple(self._along(d) for directions in out[self.n_random :] for d in directions)
        return G, R, self._along(dsigma2)

    def _along(self, directions: Array) -> Array:
        if self.size == self.free.size:
            return directions
        return np.asarray(np.tensordot(self._spread, directions, axes=1))

    def second(
        self, theta: Array, score: tuple[Array, ...], sigma2_score: float, residual_score: tuple[Array, ...] = ()
    ) -> Array:
        """The part of the Hessian that comes from the curvature of θ -> (G_k/σ², R/σ², σ²) at fixed scores: (size, size)."""
        full = self.full(theta)
        out = np.zeros((full.size, full.size))
        scores = self._by_term(score, residual_score)
        for term, place, S in zip(self.terms, self._places, scores, strict=True):
            out[place, place] = term.second(full[place], S)
        if self.has_sigma2:
            # G/σ² with both moving: mixed and pure second derivatives in σ², then the curvature of σ² itself.
            sigma2 = self._sigma2(full)
            slope = float(self.sigma_bijection.jacobian(full[-1:])[0, 0])
            out /= sigma2
            pure = 0.0
            for term, place, S in zip(self.terms, self._places, scores, strict=True):
                mixed = -term.pull(full[place], S) * slope / sigma2**2
                out[place, -1] = mixed
                out[-1, place] = mixed
                pure += float(np.sum(S[0] * term.covariances(full[place])[0]))
            bend = float(self.sigma_bijection.curvature(full[-1:], np.ones(1))[0, 0])
            out[-1, -1] = pure * (2 * slope**2 / sigma2**3 - bend / sigma2**2) + sigma2_score * bend
        if self.size == self.free.size:
            return out
        return np.asarray(self._spread @ out @ self._spread.T)

    def matrices_at(self, flats: tuple[Array, ...]) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """(G_k, R at each index that the engine wants) of natural parameters."""
        found = [
            tuple(t.covariance_at(flat, index) for index in t.at) for t, flat in zip(self.terms, flats, strict=True)
        ]
        return tuple(f[0] for f in found[: self.n_random]), tuple(r for f in found[self.n_random :] for r in f)

    def residual_variance(self, flats: tuple[Array, ...]) -> float:
        """σ² of a structured residual in data units: its one variance, else that of its first point."""
        term, flat = self.residual[0], flats[self.n_random]
        own = term.scale_parameter
        if own is not None:
            return float(np.maximum(flat[own], 0.0) ** (2.0 / term.scale_powers[own]))
        return float(term.covariance_at(flat, term.points.index[:1])[0, 0])

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
        if self.has_sigma2:
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
            return CovarianceModel.bind(terms, scale, sigma, self.n_random)
        return attrs.evolve(self, terms=terms, sigma_bijection=sigma)

    def cover(self, flats: tuple[Array, ...], sigma2: float) -> CovarianceModel:
        """This model in free coordinates that reach every boundary; what is held stays held.

        flats, sigma2: natural parameters at which the held coordinates are read.
        """

        def choose(param: Param, bijection: Bijection) -> Bijection:
            return bijection if bijection.holds else cover(param.domain)

        if self._is_cover and np.all(self.free):
            return self

        covered = self.with_bijections(choose)
        everything = attrs.evolve(covered, free=np.ones_like(self.free), source=np.arange(self.free.size))
        return attrs.evolve(covered, held=everything.theta(flats, sigma2))

    def absolute(self) -> CovarianceModel:
        """The same coordinates on the absolute scale, all free except those that are held."""
        if self.scale is ABSOLUTE:
            return self
        free = np.append(self.free, True)
        source = np.append(self.source, self.source.size)
        held = np.append(self.held, 0.0)
        return CovarianceModel(self.terms, self.n_random, ABSOLUTE, self.sigma_bijection, held, free, source)

    @cached_property
    def _is_cover(self) -> bool:
        pairs = [(p, b) for t in self.terms for p, b in zip(t.params, t.bijections, strict=True)]
        if self.has_sigma2:
            pairs.append((SIGMA2, self.sigma_bijection))
        return all(type(b) is type(cover(p.domain)) for p, b in pairs)
