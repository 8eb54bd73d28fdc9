"""The random effects at one point (G, β): conditional means, covariances, and what an error in β does to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.errors import StoreError

Ints = NDArray[np.intp]
JOINT = 1000  # random effects up to which their whole joint covariance is written out


class Effects(ABC):
    """The random effects of all grouping factors, each with m levels and q basis columns over all its terms."""

    @property
    @abstractmethod
    def b(self) -> tuple[Array, ...]:
        """(m, q) for each factor: conditional means given y."""

    @property
    @abstractmethod
    def cov(self) -> tuple[Array, ...]:
        """(m, q, q) for each factor: conditional covariances by level, relative to σ², β held."""

    @property
    @abstractmethod
    def shift(self) -> tuple[Array, ...]:
        """(m, q, p) for each factor: G Z'V⁻¹X, by which an error in β moves b."""

    @property
    @abstractmethod
    def joint(self) -> Array | None:
        """The covariance of all effects, level by level and factor by factor, where there are at most JOINT of them."""

    @abstractmethod
    def variance(self, codes: tuple[Ints, ...], Z: tuple[Array, ...]) -> Array:
        """Var(Σ z'b | y)/σ² of rows (n,), β held: for each factor the rows' levels (−1: none) and Z (n, q)."""


@frozen(eq=False)
class TabledEffects(Effects):
    """Everything written out. `whole` is the joint covariance of all effects, which rows of several factors need."""

    b: tuple[Array, ...]
    covariances: tuple[Array, ...]
    shifts: tuple[Array, ...]
    whole: Array | None = None

    @property
    def cov(self) -> tuple[Array, ...]:
        return self.covariances

    @property
    def shift(self) -> tuple[Array, ...]:
        return self.shifts

    @property
    def joint(self) -> Array | None:
        return self.whole if self.whole is not None and len(self.whole) <= JOINT else None

    @cached_property
    def _starts(self) -> Ints:
        return np.concatenate([[0], np.cumsum([b.size for b in self.b])]).astype(np.intp)

    def variance(self, codes: tuple[Ints, ...], Z: tuple[Array, ...]) -> Array:
        total = np.zeros(len(codes[0]) if codes else 0)
        for c, z, cov in zip(codes, Z, self.covariances, strict=True):
            own = np.einsum("nq,nqr,nr->n", z, cov[np.maximum(c, 0)], z)
            total += np.where(c >= 0, own, 0.0)
        for g in range(len(self.b)):
            for h in range(g):
                if self.whole is None:
                    raise StoreError(
                        f"a saved fit holds the joint covariance of its random effects up to {JOINT} of them"
                        " · use level='population' or interval=None, or predict with the fit itself"
                    )
                at = [
                    self._starts[f] + np.maximum(codes[f], 0)[:, None] * Z[f].shape[1] + np.arange(Z[f].shape[1])
                    for f in (g, h)
                ]
                cross = self.whole[at[0][:, :, None], at[1][:, None, :]]
                both = (codes[g] >= 0) & (codes[h] >= 0)
                total += np.where(both, 2.0 * np.einsum("nq,nqr,nr->n", Z[g], cross, Z[h]), 0.0)
        return total
