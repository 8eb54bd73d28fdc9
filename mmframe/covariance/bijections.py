"""Bijections: coordinates on one domain, with their first and second derivatives; here those of plain numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import (
    Array,
    Box,
    OutsideDomainError,
)


class Bijection(ABC):
    """Coordinates on one domain. `lower` and `upper` (size,) bound the coordinates; ±inf where they are free.

    holds: each entry that users may hold is a coordinate of its own, so that no other coordinates can take their place.
    """

    holds: ClassVar[bool] = False

    @property
    @abstractmethod
    def size(self) -> int:
        """How many coordinates there are: as many as the domain counts."""

    @property
    def lower(self) -> Array:
        return np.full(self.size, -np.inf)

    @property
    def upper(self) -> Array:
        return np.full(self.size, np.inf)

    @abstractmethod
    def forward(self, theta: Array) -> Any:
        """θ (size,) -> float, (size,) or Psd. Raises OutsideDomainError outside."""

    @abstractmethod
    def inverse(self, value: Any) -> Array:
        """The coordinates of a value; values on the boundary are moved inside where they have no coordinates."""

    def jacobian(self, theta: Array) -> Any:
        """∂(flat value)/∂θ: (count, size), a matrix by its vech. NotImplemented selects differences."""
        return NotImplemented

    def curvature(self, theta: Array, adjoint: Array) -> Any:
        """Σ_r adjoint_r ∂²(flat value)_r/∂θ²: (size, size). NotImplemented selects differences."""
        return NotImplemented


# Values on the boundary of a domain have no logarithm: coordinates that are open there start this far inside.
EDGE = 1e-10


@frozen(eq=False)
class Identity(Bijection):
    """The number itself, in a box."""

    domain: Box

    @property
    def size(self) -> int:
        return self.domain.count

    @property
    def lower(self) -> Array:
        return np.full(self.size, self.domain.low)

    @property
    def upper(self) -> Array:
        return np.full(self.size, self.domain.high)

    def forward(self, theta: Array) -> Any:
        value = self.domain.unflatten(theta)
        if not self.domain.contains(value):
            raise OutsideDomainError("outside the box")
        return value

    def inverse(self, value: Any) -> Array:
        return np.asarray(self.domain.flatten(value), dtype=float)

    def jacobian(self, theta: Array) -> Array:
        return np.eye(self.size)

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        return np.zeros((self.size, self.size))


@frozen(eq=False)
class _Elementwise(Bijection):
    """A free coordinate for each number; subclasses give the map and its first two derivatives."""

    domain: Box

    @property
    def size(self) -> int:
        return self.domain.count

    @abstractmethod
    def _map(self, theta: Array) -> tuple[Array, Array, Array]:
        """Value, first and second derivative, each (size,)."""

    @abstractmethod
    def _unmap(self, flat: Array) -> Array: ...

    def forward(self, theta: Array) -> Any:
        with np.errstate(over="ignore"):
            flat = self._map(np.asarray(theta, dtype=float))[0]
        if not np.all(np.isfinite(flat)):
            raise OutsideDomainError("overflow")
        return self.domain.unflatten(flat)

    def inverse(self, value: Any) -> Array:
        return self._unmap(np.asarray(self.domain.flatten(value), dtype=float))

    def jacobian(self, theta: Array) -> Array:
        return np.diag(self._map(theta)[1])

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        return np.diag(adjoint * self._map(theta)[2])


@frozen(eq=False)
class LogElementwise(_Elementwise):
    """θ = log(value − low) for a half-line, logit for an interval, the number itself on the line.

    The boundary is at infinity: good for the interior, slow at a zero variance.
    """

    def _map(self, theta: Array) -> tuple[Array, Array, Array]:
        low, high = self.domain.low, self.domain.high
        if np.isfinite(low) and np.isfinite(high):
            p = 0.5 * (1.0 + np.tanh(0.5 * theta))
            width = high - low
            return low + width * p, width * p * (1 - p), width * p * (1 - p) * (1 - 2 * p)
        if np.isfinite(low):
            e = np.exp(theta)
            return low + e, e, e
        if np.isfinite(high):
            e = np.exp(theta)
            return high - e, -e, -e
        return theta, np.ones_like(theta), np.zeros_like(theta)

    def _unmap(self, flat: Array) -> Array:
        low, high = self.domain.low, self.domain.high
        if np.isfinite(low) and np.isfinite(high):
            p = np.clip((flat - low) / (high - low), EDGE, 1 - EDGE)
            return np.asarray(np.log(p / (1 - p)))
        if np.isfinite(low):
            return np.asarray(np.log(np.maximum(flat - low, EDGE)))
        if np.isfinite(high):
            return np.asarray(np.log(np.maximum(high - flat, EDGE)))
        return flat


@frozen(eq=False)
class RootElementwise(_Elementwise):
    """θ² + low for a half-line (a signed root), a sine for an interval: free, and the boundary is an ordinary point."""

    def _map(self, theta: Array) -> tuple[Array, Array, Array]:
        low, high = self.domain.low, self.domain.high
        if np.isfinite(low) and np.isfinite(high):
            half = 0.5 * (high - low)
            return low + half * (1 + np.sin(theta)), half * np.cos(theta), -half * np.sin(theta)
        if np.isfinite(low):
            return low + theta**2, 2 * theta, np.full_like(theta, 2.0)
        if np.isfinite(high):
            return high - theta**2, -2 * theta, np.full_like(theta, -2.0)
        return theta, np.ones_like(theta), np.zeros_like(theta)

    def _unmap(self, flat: Array) -> Array:
        low, high = self.domain.low, self.domain.high
        if np.isfinite(low) and np.isfinite(high):
            return np.asarray(np.arcsin(np.clip(2 * (flat - low) / (high - low) - 1, -1.0, 1.0)))
        if np.isfinite(low):
            return np.asarray(np.sqrt(np.maximum(flat - low, 0.0)))
        if np.isfinite(high):
            return np.asarray(np.sqrt(np.maximum(high - flat, 0.0)))
        return flat
