"""Single entries of a covariance matrix held, relative to σ²: coordinates in which each held entry stands for itself.

Row by row of the lower triangular L with LL' = Σ: where Σ_ij is free its coordinate is L_ij; where it is held its
coordinate is Σ_ij, and L_ij follows from the entries before it. So any pattern of held entries is kept exactly, zeros and
others, and a singular Σ is an ordinary point.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import Array, OutsideDomainError, PositiveDefinite, Psd, vech, vech_indices
from mmframe.covariance.matrix_bijections import lower_root
from mmframe.covariance.model import CovarianceModel

Mask = NDArray[np.bool_]
_ROUNDING = 1e-12  # relative to a held entry: what is left of it that counts as nothing


@frozen(eq=False)
class PatternedCholesky(Bijection):
    """A positive definite matrix by the entries of its Cholesky factor, and by its own entries where these are held.

    free (dim, dim): which entries of the lower triangle are free. With all of them free it is `CholeskyEntries`.
    Rows whose variance is held come first in the factor: a held variance leaves the rest of its row no room at a correlation
    of ±1, where the root that remains has no derivative, and the first row has no rest. Coordinates stand at the places of
    their entries in the matrix itself.
    """

    holds = True

    domain: PositiveDefinite
    free: Mask

    @property
    def size(self) -> int:
        return self.domain.count

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        """The rows of the matrix in the order of the factor."""
        return np.argsort(np.diag(self.free), kind="stable")

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        """(dim, dim): for each entry of the factor the place of its coordinate."""
        rows, cols = vech_indices(self.domain.dim)
        place = np.zeros((self.domain.dim, self.domain.dim), dtype=np.intp)
        place[rows, cols] = place[cols, rows] = np.arange(self.size)
        return place[np.ix_(self._order, self._order)]

    @cached_property
    def _loose(self) -> Mask:
        """Which coordinates are free: (size,)."""
        return self.free[vech_indices(self.domain.dim)]

    def _solve(self, theta: Array) -> tuple[Array, Array]:
        """L (dim, dim) in the order of the factor, and ∂L/∂θ (size, dim, dim). Raises OutsideDomainError where no L has the
        held entries."""
        dim = self.domain.dim
        L, dL = np.zeros((dim, dim)), np.zeros((self.size, dim, dim))
        for i, j in zip(*vech_indices(dim), strict=True):
            place = self._places[i, j]
            if self._loose[place]:
                L[i, j] = theta[place]
                dL[place, i, j] = 1.0
                continue
            rest = theta[place] - L[i, :j] @ L[j, :j]
            slope = -(dL[:, i, :j] @ L[j, :j] + dL[:, j, :j] @ L[i, :j])
            slope[place] += 1.0
            small = _ROUNDING * abs(theta[place])
            if i == j:
                if rest < -small:
                    raise OutsideDomainError("a held variance is less than what its covariances need")
                L[i, i] = np.sqrt(max(rest, 0.0))
                dL[:, i, i] = 0.5 * slope / L[i, i] if rest > small else 0.0
            elif L[j, j] != 0.0:
                L[i, j] = rest / L[j, j]
                dL[:, i, j] = (slope - L[i, j] * dL[:, j, j]) / L[j, j]
            elif abs(rest) > max(small, 1e-300):
                raise OutsideDomainError("a held covariance beside a variance of zero")
        return L, dL

    def forward(self, theta: Array) -> Psd:
        if not np.all(np.isfinite(theta)):
            raise OutsideDomainError("not finite")
        factor = np.empty((self.domain.dim, self.domain.dim))
        factor[self._order] = self._solve(theta)[0]
        return Psd(factor=factor)

    def inverse(self, value: Any) -> Array:
        matrix = value.matrix if isinstance(value, Psd) else np.asarray(value)
        root = lower_root(matrix[np.ix_(self._order, self._order)])
        rows, cols = vech_indices(self.domain.dim)
        theta = np.empty(self.size)
        theta[self._places[rows, cols]] = root[rows, cols]
        return np.where(self._loose, theta, vech(matrix))

    def jacobian(self, theta: Array) -> Array:
        L, dL = self._solve(theta)
        rows, cols = vech_indices(self.domain.dim)
        half = dL @ L.T
        back = np.argsort(self._order)
        whole = (half + half.swapaxes(1, 2))[:, back][:, :, back]
        return np.asarray(whole[:, rows, cols].T)

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        """By differences of the exact Jacobian along the free coordinates; the others do not move, and have none."""
        loose = self._loose
        sizes = np.abs(theta[loose])
        largest = float(np.max(sizes, initial=0.0))
        scale = 10.0 * np.where(sizes > 0.0, sizes, largest if largest > 0.0 else 1.0)

        def gradient(moved: Array) -> Array:
            whole = theta.copy()
            whole[loose] = moved
            return np.asarray((adjoint @ self.jacobian(whole))[loose])

        out = np.zeros((self.size, self.size))
        if np.any(loose):
            block = central_differences(gradient, theta[loose], scale)
            out[np.ix_(loose, loose)] = 0.5 * (block + block.T)
        return out


def hold_entries(model: CovarianceModel, term: int, free: Mask, values: Array) -> CovarianceModel:
    """The model with entries of one term's matrix held.

    free (dim, dim): 1 where an entry is free (its lower triangle counts).   values (dim, dim): where the others stand, on the
    model's own scale: relative to σ², or absolute. Of a term with one variance the first entries are those of it.
    """
    bound = model.terms[term]
    start = sum(t.size for t in model.terms[:term])
    domain = bound.params[0].domain
    held, mask = model.held.copy(), model.free.copy()
    if isinstance(domain, PositiveDefinite):
        rows, cols = vech_indices(domain.dim)
        chosen = np.asarray(free, dtype=bool)
        bijection: Bijection = PatternedCholesky(domain, chosen)
        if np.all(chosen[rows, cols]):
            return model
        place = slice(start, start + bijection.size)
        held[place], mask[place] = np.asarray(values, dtype=float)[rows, cols], chosen[rows, cols]
        bound = attrs.evolve(bound, bijections=(bijection, *bound.bijections[1:]))
    elif not np.asarray(free).ravel()[0]:
        bijection = bound.bijections[0]
        place = slice(start, start + bijection.size)
        value = domain.unflatten(np.full(domain.count, float(np.asarray(values).ravel()[0])))
        held[place], mask[place] = bijection.inverse(value), False
    terms = (*model.terms[:term], bound, *model.terms[term + 1 :])
    return attrs.evolve(model, terms=terms, held=held, free=mask)
