"""One term: a structure at its points, with coordinates for each natural parameter, and the chain rule between them."""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np
from attrs import frozen

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.derivative import (
    FEW,
    DerivativeMethod,
    central_differences,
    choose_method,
    constant_jacobian,
    flatten_phi,
    jacobian,
    make_phi,
    typical_sizes,
)
from mmframe.covariance.domain import Array
from mmframe.covariance.parameterization import Parameterization, resolve_bijection
from mmframe.covariance.project import project
from mmframe.covariance.sound import check_matrix, checked_params
from mmframe.covariance.structure import CovarianceStructure, Param, Phi, Points
from mmframe.errors import Issue, PluginError, SpecError


@lru_cache(maxsize=256)
def _derivatives(
    structure: CovarianceStructure, params: tuple[Param, ...], index_bytes: bytes, shape: tuple[int, ...]
) -> tuple[DerivativeMethod, Array | None]:
    points = Points(tuple(str(i) for i in range(shape[0])), np.frombuffer(index_bytes).reshape(shape))
    method = choose_method(structure, params, points)
    return method, constant_jacobian(method, structure, params, points)


def derivative_method(
    structure: CovarianceStructure, params: tuple[Param, ...], index: Array
) -> tuple[DerivativeMethod, Array | None]:
    """The derivative method, and ∂Σ/∂φ where Σ is linear in φ; remembered for structures that can be hashed."""
    index = np.ascontiguousarray(index, dtype=float)
    try:
        return _derivatives(structure, params, index.tobytes(), index.shape)
    except TypeError:  # an option that cannot be hashed
        points = Points(tuple(str(i) for i in range(len(index))), index)
        method = choose_method(structure, params, points)
        return method, constant_jacobian(method, structure, params, points)


@frozen(eq=False)
class BoundTerm:
    """One structure at the points of one term, with coordinates for each natural parameter.

    label: `1 + Days | Subject`.   group: the grouping factor, or `residual`.   at: the indices (..., m, d) at which an engine
    wants Σ: of a random-effects term its points; of a residual the patterns of its subjects.   stratum: the level of `by`.
    """

    label: str
    group: str
    structure: CovarianceStructure
    points: Points
    params: tuple[Param, ...]
    bijections: tuple[Bijection, ...]
    method: DerivativeMethod
    constant: Array | None  # ∂Σ/∂φ where Σ is linear in φ
    at: tuple[Array, ...]
    stratum: str = ""

    @classmethod
    def bind(
        cls,
        label: str,
        group: str,
        structure: CovarianceStructure,
        points: Points,
        parameterization: Parameterization,
        stratum: str = "",
        at: tuple[Array, ...] | None = None,
    ) -> BoundTerm:
        """at: None for the points themselves. Raises SpecError where the structure cannot take its points."""
        try:
            params = checked_params(structure, points)
        except ValueError as problem:
            raise SpecError(Issue(f"{label} ({group})", str(problem))) from None
        bijections = tuple(resolve_bijection(parameterization, param) for param in params)
        if not type(structure).__module__.startswith("mmframe."):
            rng = np.random.default_rng(20240302)
            inside = flatten_phi(params, {p.name: p.domain.sample(rng) for p in params})
            check_matrix(structure, params, inside, points.index[:FEW])
        if at is None:
            method, constant = derivative_method(structure, params, points.index)
            return cls(label, group, structure, points, params, bijections, method, constant, (points.index,), stratum)
        method, _ = derivative_method(structure, params, points.index[:FEW])
        return cls(label, group, structure, points, params, bijections, method, None, at, stratum)

    @cached_property
    def size(self) -> int:
        return sum(b.size for b in self.bijections)

    @cached_property
    def _slices(self) -> tuple[tuple[slice, slice], ...]:
        """For each parameter its place in θ and in the flat φ."""
        out, i, j = [], 0, 0
        for param, bijection in zip(self.params, self.bijections, strict=True):
            out.append((slice(i, i + bijection.size), slice(j, j + param.domain.count)))
            i, j = i + bijection.size, j + param.domain.count
        return tuple(out)

    @cached_property
    def scale_powers(self) -> Array:
        """The scale power of each entry of the flat φ."""
        return np.concatenate([np.zeros(0), *(np.full(p.domain.count, float(p.scale_power)) for p in self.params)])

    @cached_property
    def scale_parameter(self) -> int | None:
        """The place in the flat φ of the one number that carries the scale; None where there are several."""
        places = np.flatnonzero(self.scale_powers)
        return int(places[0]) if places.size == 1 else None

    @cached_property
    def coordinate_names(self) -> tuple[str, ...]:
        return tuple(
            f"{self.label}: {p.name}" + (f"[{i}]" if b.size > 1 else "")
            for p, b in zip(self.params, self.bijections, strict=True)
            for i in range(b.size)
        )

    def phi(self, theta: Array) -> Phi:
        return Phi(
            {
                p.name: b.forward(theta[s])
                for p, b, (s, _) in zip(self.params, self.bijections, self._slices, strict=True)
            }
        )

    def phi_of(self, flat: Array) -> Phi:
        return make_phi(self.params, flat)

    def flat(self, theta: Array) -> Array:
        return flatten_phi(self.params, self.phi(theta))

    def inverse(self, flat: Array) -> Array:
        """θ of a flat φ."""
        phi = make_phi(self.params, flat)
        return np.concatenate([b.inverse(phi[p.name]) for p, b in zip(self.params, self.bijections, strict=True)])

    def covariances(self, theta: Array) -> tuple[Array, ...]:
        """Σ at each index of `at`: (..., m, m)."""
        phi = self.phi(theta)
        return tuple(self._sigma(phi, index) for index in self.at)

    def _sigma(self, phi: Phi, index: Array) -> Array:
        """Σ at an index (..., m, d). Raises PluginError for another shape than (..., m, m), which might broadcast unseen."""
        sigma = np.asarray(self.structure.covariance(phi, index), dtype=float)
        wanted = (*index.shape[:-1], index.shape[-2])
        if sigma.shape != wanted:
            name = self.structure.name
            raise PluginError(
                f"the covariance structure {name!r} gave Σ of shape {sigma.shape} for an index {index.shape}"
                f"; allowed: {wanted} · mmframe conformance checks it"
            )
        return sigma

    def covariance_of(self, flat: Array) -> Array:
        """Σ over the points themselves."""
        return self.covariance_at(flat, self.points.index)

    def covariance_at(self, flat: Array, index: Array) -> Array:
        return self._sigma(make_phi(self.params, flat), index)

    def _inner_jacobian(self, theta: Array) -> Array:
        """∂ flat φ / ∂θ, block by block: (count, size)."""
        total = sum(p.domain.count for p in self.params)
        out = np.zeros((total, self.size))
        for param, bijection, (s, t) in zip(self.params, self.bijections, self._slices, strict=True):
            block = bijection.jacobian(theta[s])
            if block is NotImplemented:
                block = central_differences(
                    lambda u, p=param, b=bijection: np.asarray(p.domain.flatten(b.forward(u)), dtype=float),  # type: ignore[misc]
                    np.asarray(theta[s], dtype=float),
                ).T
            out[t, s] = block
        return out

    def natural_jacobians(self, flat: Array) -> tuple[Array, ...]:
        """∂Σ/∂φ at each index of `at`: (count, ..., m, m)."""
        return tuple(jacobian(self.method, self.structure, self.params, flat, index) for index in self.at)

    def _outer(self, theta: Array) -> tuple[Array, ...]:
        return self.natural_jacobians(self.flat(theta)) if self.constant is None else (self.constant,)

    def tangents(self, theta: Array) -> tuple[Array, ...]:
        """∂Σ/∂θ at each index of `at`: (size, ..., m, m)."""
        inner = self._inner_jacobian(theta).T
        return tuple(
            np.asarray((inner @ outer.reshape(outer.shape[0], -1)).reshape(-1, *outer.shape[1:]))
            for outer in self._outer(theta)
        )

    def natural_pull(self, outer: tuple[Array, ...], scores: tuple[Array, ...]) -> Array:
        """∂/∂φ of the sum of score * Σ(φ) over all of `at`: (count,)."""
        return np.asarray(
            sum(j.reshape(j.shape[0], -1) @ score.ravel() for j, score in zip(outer, scores, strict=True))
        )

    def pull(self, theta: Array, scores: tuple[Array, ...]) -> Array:
        """∂/∂θ of the sum of score * Σ(θ) over all of `at`: (size,)."""
        return np.asarray(self.natural_pull(self._outer(theta), scores) @ self._inner_jacobian(theta))

    def second(self, theta: Array, scores: tuple[Array, ...]) -> Array:
        """∂²/∂θ² of the sum of score * Σ(θ) over all of `at`, for fixed score matrices: (size, size)."""
        inner = self._inner_jacobian(theta)
        natural = self.natural_pull(self._outer(theta), scores)
        out = np.zeros((self.size, self.size))
        if self.constant is None:
            flat = self.flat(theta)
            # differences of differences need a longer step than differences of an exact Jacobian
            step = 30.0 if self.method is DerivativeMethod.DIFFERENCES else 1.0
            curved = central_differences(
                lambda v: self.natural_pull(self.natural_jacobians(v), scores),
                flat,
                step * typical_sizes(self.params, flat),
            )
            out += inner.T @ (0.5 * (curved + curved.T)) @ inner
        for param, bijection, (s, t) in zip(self.params, self.bijections, self._slices, strict=True):
            block = bijection.curvature(theta[s], natural[t])
            if block is NotImplemented:
                block = self._curvature_by_differences(param, bijection, theta[s], natural[t])
            out[s, s] += block
        return out

    def _curvature_by_differences(self, param: Param, bijection: Bijection, theta: Array, adjoint: Array) -> Array:
        def gradient(u: Array) -> Array:
            block = bijection.jacobian(u)
            if block is NotImplemented:
                block = central_differences(
                    lambda w: np.asarray(param.domain.flatten(bijection.forward(w)), dtype=float), u
                ).T
            return np.asarray(adjoint @ block)

        block = central_differences(gradient, np.asarray(theta, dtype=float), np.full(theta.size, 10.0))
        return np.asarray(0.5 * (block + block.T))

    def project(self, target: Array) -> Array:
        """The flat φ of the structure nearest to a positive definite (q, q) target."""
        return project(self.structure, self.params, self.method, self.points.index, target)
