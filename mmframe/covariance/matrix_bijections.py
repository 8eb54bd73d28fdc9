"""Coordinates of positive definite matrices: entries, Cholesky factors, standard deviations and correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.covariance.bijections import EDGE, Bijection
from mmframe.covariance.domain import (
    Array,
    OutsideDomainError,
    PositiveDefinite,
    Psd,
    pair_indices,
    psd_root,
    unvech,
    vech,
    vech_indices,
)


@frozen(eq=False)
class MatrixEntries(Bijection):
    """A positive definite matrix by the entries of its lower triangle."""

    domain: PositiveDefinite

    @property
    def size(self) -> int:
        return self.domain.count

    @property
    def lower(self) -> Array:
        rows, cols = vech_indices(self.domain.dim)
        return np.where(rows == cols, 0.0, -np.inf)

    def forward(self, theta: Array) -> Psd:
        value = Psd(unvech(theta))
        _ = value.factor  # raises outside the cone; the engine wants a factor anyway
        return value

    def inverse(self, value: Any) -> Array:
        return np.asarray(self.domain.flatten(value), dtype=float)

    def jacobian(self, theta: Array) -> Array:
        return np.eye(self.size)

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        return np.zeros((self.size, self.size))


def lower_root(value: Any) -> Array:
    """The lower triangular square root with a diagonal ≥ 0, of a singular matrix too (by QR of any root)."""
    given = value if isinstance(value, Psd) else Psd(np.asarray(value))
    try:
        root = given.factor
    except OutsideDomainError:  # by rounding, on the way between units: the nearest matrix of the cone
        root = PositiveDefinite(len(given.matrix)).clip(given).factor
    if root.shape[0] == root.shape[1] and not np.any(np.triu(root, 1)):
        lower = root
    else:
        lower = np.asarray(np.linalg.qr(root.T, mode="r")).T
        if lower.shape[1] < lower.shape[0]:
            lower = np.pad(lower, ((0, 0), (0, lower.shape[0] - lower.shape[1])))
    signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
    return np.asarray(lower * signs)


@frozen(eq=False)
class CholeskyEntries(Bijection):
    """A positive definite matrix by the lower triangular L with LL' = the matrix; the diagonal of L is free.

    Pinheiro & Bates (1996), Unconstrained parametrizations for variance-covariance matrices, section 2.1.
    """

    domain: PositiveDefinite

    @property
    def size(self) -> int:
        return self.domain.count

    def _root(self, theta: Array) -> Array:
        root = np.zeros((self.domain.dim, self.domain.dim))
        root[vech_indices(self.domain.dim)] = theta
        return root

    def forward(self, theta: Array) -> Psd:
        if not np.all(np.isfinite(theta)):
            raise OutsideDomainError("not finite")
        return Psd(factor=self._root(theta))

    def inverse(self, value: Any) -> Array:
        return np.asarray(vech(lower_root(value)))

    def jacobian(self, theta: Array) -> Array:
        # d(LL') in direction E_ab is E_ab L' + L E_ba: row a gains column b of L, and its mirror.
        rows, cols = vech_indices(self.domain.dim)
        root = self._root(theta)
        diff = np.zeros((self.size, self.domain.dim, self.domain.dim))
        which = np.arange(self.size)
        diff[which, rows, :] = root[:, cols].T
        diff = diff + diff.swapaxes(1, 2)
        return np.asarray(diff[:, rows, cols].T)

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        # Σ S_ij (LL')_ij is quadratic in L: its second derivative joins entries of one column, 2 S_ac for L_ab, L_cb.
        rows, cols = vech_indices(self.domain.dim)
        score = unvech(adjoint) * (0.5 + 0.5 * np.eye(self.domain.dim))
        return np.where(cols[:, None] == cols[None, :], 2.0 * score[rows[:, None], rows[None, :]], 0.0)


@frozen(eq=False)
class LogCholeskyEntries(Bijection):
    """As `CholeskyEntries`, with the logarithm of the diagonal of L: one θ for each positive definite matrix.

    Pinheiro & Bates (1996), section 2.2.
    """

    domain: PositiveDefinite

    @property
    def size(self) -> int:
        return self.domain.count

    @property
    def _plain(self) -> CholeskyEntries:
        return CholeskyEntries(self.domain)

    def _entries(self, theta: Array) -> tuple[Array, Array]:
        rows, cols = vech_indices(self.domain.dim)
        on_diagonal = rows == cols
        with np.errstate(over="ignore"):
            entries = np.where(on_diagonal, np.exp(np.where(on_diagonal, theta, 0.0)), theta)
        return entries, np.where(on_diagonal, entries, 1.0)

    def forward(self, theta: Array) -> Psd:
        return self._plain.forward(self._entries(theta)[0])

    def inverse(self, value: Any) -> Array:
        entries = self._plain.inverse(value)
        rows, cols = vech_indices(self.domain.dim)
        floor = EDGE * max(float(np.max(np.abs(entries))), 1e-300)
        return np.where(rows == cols, np.log(np.maximum(np.abs(entries), floor)), entries)

    def jacobian(self, theta: Array) -> Array:
        entries, slope = self._entries(theta)
        return np.asarray(self._plain.jacobian(entries) * slope)

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        entries, slope = self._entries(theta)
        rows, cols = vech_indices(self.domain.dim)
        second = self._plain.curvature(entries, adjoint) * slope[:, None] * slope[None, :]
        first = self._plain.jacobian(entries).T @ adjoint
        return np.asarray(second + np.diag(np.where(rows == cols, first * slope, 0.0)))


@frozen(eq=False)
class StandardDeviationsCorrelations(Bijection):
    """A positive definite matrix by its standard deviations and then its correlations, row by row.

    Used where single entries are held at a value: each is a coordinate of its own.
    """

    holds = True

    domain: PositiveDefinite

    @property
    def size(self) -> int:
        return self.domain.count

    @property
    def lower(self) -> Array:
        return np.concatenate([np.zeros(self.domain.dim), np.full(self.size - self.domain.dim, -1.0)])

    @property
    def upper(self) -> Array:
        return np.concatenate([np.full(self.domain.dim, np.inf), np.ones(self.size - self.domain.dim)])

    def forward(self, theta: Array) -> Psd:
        dim = self.domain.dim
        sd = theta[:dim]
        if np.any(sd < 0) or not np.all(np.isfinite(theta)):
            raise OutsideDomainError("a negative standard deviation")
        corr = np.eye(dim)
        rows, cols = pair_indices(dim)
        corr[rows, cols] = corr[cols, rows] = theta[dim:]
        root = psd_root(corr)
        return Psd(factor=sd[:, None] * root)

    def inverse(self, value: Any) -> Array:
        matrix = value.matrix if isinstance(value, Psd) else np.asarray(value)
        sd = np.sqrt(np.diag(matrix))
        rows, cols = pair_indices(self.domain.dim)
        scale = sd[rows] * sd[cols]
        corr = np.divide(matrix[rows, cols], scale, out=np.zeros(rows.size), where=scale > 0)
        return np.concatenate([sd, np.clip(corr, -1.0, 1.0)])

    def _parts(self, theta: Array) -> tuple[Array, Array, Array, Array, Array]:
        """sd, the correlation of each entry of vech (1 on the diagonal), rows, cols, and its coordinate (-1: none)."""
        dim = self.domain.dim
        rows, cols = vech_indices(dim)
        off = rows != cols
        which = np.full(rows.size, -1)
        which[off] = dim + np.arange(int(off.sum()))
        return theta[:dim], np.where(off, theta[which], 1.0), rows, cols, which

    def jacobian(self, theta: Array) -> Array:
        sd, corr, rows, cols, which = self._parts(theta)
        out = np.zeros((self.size, self.size))
        entry = np.arange(self.size)
        out[entry, rows] += corr * sd[cols]
        out[entry, cols] += corr * sd[rows]
        off = which >= 0
        out[entry[off], which[off]] = (sd[rows] * sd[cols])[off]
        return out

    def curvature(self, theta: Array, adjoint: Array) -> Array:
        sd, corr, rows, cols, which = self._parts(theta)
        out = np.zeros((self.size, self.size))
        np.add.at(out, (rows, cols), adjoint * corr)
        np.add.at(out, (cols, rows), adjoint * corr)
        off = which >= 0
        for a, b in ((rows, cols), (cols, rows)):
            np.add.at(out, (which[off], a[off]), (adjoint * sd[b])[off])
            np.add.at(out, (a[off], which[off]), (adjoint * sd[b])[off])
        return out
