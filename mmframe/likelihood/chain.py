"""Residuals that are Markov chains: R⁻¹ = B'B with B bidiagonal, from the covariances of neighbours alone.

Of a chain in the order of its points, each point given all before it depends on the last one only: with
a = R_{i,i−1}/R_{i−1,i−1} and s² = R_ii − a R_{i,i−1} the rows of B are (−a/s, 1/s), the first one 1/√R_11. A structure is
therefore asked for Σ at the first points and at the pairs of neighbours, however long the chain is. Derivatives go along
the same pairs (theory: docs/theory/chain.md).
"""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.linalg import lapack

from mmframe.covariance.domain import Array
from mmframe.design.distinct import leaders, number_rows
from mmframe.design.residual import ResidualDesign

Ints = NDArray[np.intp]


@frozen(eq=False)
class Chain:
    """The rows in an order in which each subject's come together, by place.

    order (n,): rows of the design.   stacks: by stratum the distinct first points (patterns, 1, d) and the distinct pairs
    (patterns, 2, d), the earlier point first.   rows, member: for each stack the places in the order, and their patterns.
    """

    order: Ints
    stacks: tuple[tuple[Array, ...], ...]
    rows: tuple[Ints, ...]
    member: tuple[Ints, ...]

    @classmethod
    def of(cls, residual: ResidualDesign, order: Ints) -> Chain:
        subject, index = residual.subject[order], residual.index[order]
        first = np.concatenate([[True], subject[1:] != subject[:-1]])
        stratum = residual.stratum[order]
        stacks, rows, member = [], [], []
        for k in range(len(residual.strata)):
            own = []
            for width, places in (
                (1, np.flatnonzero(first & (stratum == k))),
                (2, np.flatnonzero(~first & (stratum == k))),
            ):
                if not places.size:
                    continue
                points = np.stack([index[places - shift] for shift in range(width - 1, -1, -1)], axis=1)
                flat = points.reshape(places.size, -1)
                code, patterns = number_rows(flat.T, places.size)
                own.append(points[leaders(code, patterns)])
                rows.append(places)
                member.append(code)
            stacks.append(tuple(own))
        return cls(order, tuple(stacks), tuple(rows), tuple(member))

    def spread(self, by_stack: list[Array]) -> Array:
        """Values of patterns (..., patterns) to the rows (..., n), in the order."""
        out = np.zeros((*by_stack[0].shape[:-1], self.order.size))
        for values, rows, member in zip(by_stack, self.rows, self.member, strict=True):
            out[..., rows] = values[..., member]
        return out

    def gathered(self, values: Array) -> list[Array]:
        """Sums of values of rows (n,) over each pattern."""
        return [
            np.bincount(member, weights=values[rows], minlength=int(member.max()) + 1)
            for rows, member in zip(self.rows, self.member, strict=True)
        ]


@frozen(eq=False)
class Links:
    """B of the patterns of one stack: b = 1/s and o = −a/s.   a, before: R_{i,i−1}/R_{i−1,i−1} and R_{i−1,i−1} (1 for firsts)."""

    b: Array
    o: Array
    a: Array
    before: Array
    own: Array

    @classmethod
    def of(cls, R: Array) -> Links | None:
        """From the stack (patterns, 1 or 2, same); None where one is not positive definite."""
        own = R[:, -1, -1]
        pair = R.shape[1] == 2
        before = R[:, 0, 0] if pair else np.ones(len(R))
        if not np.all(before > 0.0):
            return None
        a = R[:, 1, 0] / before if pair else np.zeros(len(R))
        left = own - a * a * before
        if not np.all(left > 1e-14 * own):
            return None
        b = 1.0 / np.sqrt(left)
        return cls(b, -a * b, a, before, own)

    def _directions(self, dR: Array) -> tuple[Array, Array, Array]:
        """Along tangents (k, patterns, ...): d(s²), da and d R_{i−1,i−1}, each (k, patterns)."""
        d_own = dR[:, :, -1, -1]
        if dR.shape[2] == 1:
            return d_own, np.zeros_like(d_own), np.zeros_like(d_own)
        d_cross, d_before = dR[:, :, 1, 0], dR[:, :, 0, 0]
        slope = (d_cross - self.a * d_before) / self.before
        return d_own - 2.0 * self.a * d_cross + self.a**2 * d_before, slope, d_before

    def tangents(self, dR: Array) -> tuple[Array, Array]:
        """(db, do), each (k, patterns)."""
        d_left, d_a, _ = self._directions(dR)
        db = -0.5 * self.b**3 * d_left
        return db, np.asarray(-d_a * self.b - self.a * db)

    def curved(self, dR: Array, on_b: Array, on_o: Array) -> Array:
        """Σ on_b ∂²b + on_o ∂²o along pairs of tangents, R linear: (k, k)."""
        d_left, d_a, d_before = self._directions(dR)
        db = -0.5 * self.b**3 * d_left
        on_b, on_a = on_b - self.a * on_o, -self.b * on_o  # o = −a b
        out = (0.75 * self.b**5 * on_b * d_left) @ d_left.T
        out += (self.b**3 * on_b * self.before * d_a) @ d_a.T  # ∂²s² = −2 R_{i−1,i−1} da da
        mixed = -(on_a * d_a / self.before) @ d_before.T - (on_o * d_a) @ db.T
        total: Array = out + mixed + mixed.T
        return total

    def score(self, on_b: Array, on_o: Array, pair: bool) -> Array:
        """∂/∂R of the patterns from ∂/∂b and ∂/∂o, symmetric."""
        through = -0.5 * self.b**3 * (on_b - self.a * on_o)  # ∂/∂s²
        if not pair:
            return np.asarray(through[:, None, None])
        slope = -self.b * on_o / self.before  # ∂/∂a, over R_{i−1,i−1}
        out = np.empty((self.b.size, 2, 2))
        out[:, 1, 1] = through
        out[:, 0, 1] = out[:, 1, 0] = 0.5 * (-2.0 * self.a * through + slope)
        out[:, 0, 0] = self.a**2 * through - self.a * slope
        return out


def applied(b: Array, o: Array, columns: Array) -> Array:
    """B C for columns (n, c): row i from rows i and i − 1. b, o (n,), o zero at firsts."""
    out = b[:, None] * columns
    out[1:] += o[1:, None] * columns[:-1]
    return np.asarray(out)


def transposed(b: Array, o: Array, columns: Array) -> Array:
    """B'C for columns (n, c): row i from rows i and i + 1."""
    out = b[:, None] * columns
    out[:-1] += o[1:, None] * columns[1:]
    return np.asarray(out)


def solved_transposed(b: Array, o: Array, columns: Array) -> Array:
    """B'⁻¹C for columns (n, c), in O(n)."""
    return _solved(b, o, columns, "T")


def solved(b: Array, o: Array, columns: Array) -> Array:
    """B⁻¹C for columns (n, c), in O(n)."""
    return _solved(b, o, columns, "N")


def _solved(b: Array, o: Array, columns: Array, trans: str) -> Array:
    bands = np.zeros((2, b.size))
    bands[0] = b
    bands[1, :-1] = o[1:]
    out, failed = lapack.dtbtrs(bands, columns, uplo="L", trans=trans)
    if failed:
        raise np.linalg.LinAlgError("a chain with a zero link")
    return np.asarray(out)
