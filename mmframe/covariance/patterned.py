"""Single entries of a covariance matrix held, relative to σ²: coordinates in which each held entry stands for itself.

Row by row of the lower triangular L with LL' = Σ: where Σ_ij is free its coordinate is L_ij; where it is held its
coordinate is Σ_ij, and L_ij follows from the entries before it. So any pattern of held entries is kept exactly, zeros and
others, and a singular Σ is an ordinary point.
"""

from __future__ import annotations

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
_ROUNDING = 1e-12  # of an entry that must be zero, relative to its row's variance


@frozen(eq=False)
class PatternedCholesky(Bijection):
    """A positive definite matrix by the entries of its Cholesky factor, and by its own entries where these are held.

    free (dim, dim): which entries of the lower triangle are free. With all of them free it is `CholeskyEntries`.
    """

    holds = True

    domain: PositiveDefinite
    free: Mask

    @property
    def size(self) -> int:
        return self.domain.count

    def _solve(self, theta: Array) -> tuple[Array, Array]:
        """L (dim, dim) and ∂L/∂θ (size, dim, dim). Raises OutsideDomainError where no L has the held entries."""
        dim = self.domain.dim
        L, dL = np.zeros((dim, dim)), np.zeros((self.size, dim, dim))
        for place, (i, j) in enumerate(zip(*vech_indices(dim), strict=True)):
            if self.free[i, j]:
                L[i, j] = theta[place]
                dL[place, i, j] = 1.0
                continue
            rest = theta[place] - L[i, :j] @ L[j, :j]
            slope = -(dL[:, i, :j] @ L[j, :j] + dL[:, j, :j] @ L[i, :j])
            slope[place] += 1.0
            if i == j:
                if rest < 0.0:
                    raise OutsideDomainError("a held variance is less than what its covariances need")
                L[i, i] = np.sqrt(rest)
                dL[:, i, i] = 0.5 * slope / L[i, i] if rest > 0.0 else 0.0
            elif L[j, j] != 0.0:
                L[i, j] = rest / L[j, j]
                dL[:, i, j] = (slope - L[i, j] * dL[:, j, j]) / L[j, j]
            elif abs(rest) > _ROUNDING * max(abs(theta[place]), 1e-300):
                raise OutsideDomainError("a held covariance beside a variance of zero")
        return L, dL

    def forward(self, theta: Array) -> Psd:
        if not np.all(np.isfinite(theta)):
            raise OutsideDomainError("not finite")
        return Psd(factor=self._solve(theta)[0])

    def inverse(self, value: Any) -> Array:
        root = lower_root(value)
        rows, cols = vech_indices(self.domain.dim)
        return np.asarray(np.where(self.free[rows, cols], vech(root), vech(root @ root.T)))

    def jacobian(self, theta: Array) -> Array:
        L, dL = self._solve(theta)
        rows, cols = vech_indices(self.domain.dim)
        half = dL @ L.T
        return np.asarray((half + half.swapaxes(1, 2))[:, rows, cols].T)

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        """By differences of the exact Jacobian along the free coordinates; the others do not move, and have none."""
        rows, cols = vech_indices(self.domain.dim)
        loose = self.free[rows, cols]
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
