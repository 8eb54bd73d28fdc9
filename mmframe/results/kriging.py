"""What a subject's observed rows say of its rows at other points: the residual's correlation in prediction.

With a = R_oo⁻¹R_on the weights of the observed rows o for a new row n, the best linear unbiased prediction of y_n is
x*'β̂ + z*'b̂ + a'y_o with x* = x − X_o'a and z* = z − Z_o'a, and what is left of the residual has the variance
R_nn − R_no R_oo⁻¹R_on (Goldberger 1962, JASA 57). A row at a point where its subject was observed is predicted by its mean,
as PROC MIXED does: the fitted value.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.distinct import leaders, number_rows
from mmframe.design.residual import ResidualDesign

Ints = NDArray[np.intp]
Covariance = Callable[[int, Array], Array]  # Σ of a stratum at indices (..., m, d), in data units
_ENTRIES = 4_000_000  # entries of matrices that are worked at a time


@frozen(eq=False)
class NewRows:
    """Rows to be predicted: their subject (−1: new), stratum, index, and weight."""

    subject: Ints
    stratum: Ints
    index: Array
    weights: Array | None


@frozen(eq=False)
class Weights:
    """For each new row its observed rows (n, m), −1 for none, their weights (n, m), and what is left of its variance (n,)."""

    rows: Ints
    a: Array
    left: Array

    def apply(self, values: Array) -> Array:
        """Σ_o a_o values_o: (n, ...)."""
        taken = values[np.maximum(self.rows, 0)]
        a = np.where(self.rows >= 0, self.a, 0.0)
        return np.asarray(np.einsum("nm,nm...->n...", a, taken))


@frozen(eq=False)
class Observed:
    """The rows that were fitted, by subject.   root_weights (n,) or None."""

    residual: ResidualDesign
    covariance: Covariance
    root_weights: Array | None

    @cached_property
    def _starts(self) -> tuple[Ints, Ints]:
        """Where the rows of each subject start in the order of the design, and how many there are."""
        counts = np.bincount(self.residual.subject, minlength=self.residual.m)
        return (np.cumsum(counts) - counts).astype(np.intp), counts.astype(np.intp)

    def weights_for(self, new: NewRows) -> Weights:
        starts, counts = self._starts
        n = new.subject.size
        size = np.where(new.subject >= 0, counts[np.maximum(new.subject, 0)], 0)
        # of a chain only the nearest points on both sides matter
        width = int(min(2, size.max(initial=0)) if self.residual.banded else size.max(initial=0))
        rows, a, left = np.full((n, width), -1, dtype=np.intp), np.zeros((n, width)), np.empty(n)
        for k in np.unique(new.stratum):
            own = new.index[new.stratum == k][:, None, :]
            left[new.stratum == k] = self.covariance(int(k), own)[:, 0, 0]
        for m in np.unique(size[size > 0]):
            alike = np.flatnonzero(size == m)
            for part in np.array_split(alike, max(1, alike.size * int(m) * new.index.shape[1] // _ENTRIES)):
                at = self.residual.order[starts[new.subject[part]][:, None] + np.arange(m)]
                places = self.residual.index[at]
                seen = np.any(np.all(places == new.index[part][:, None, :], axis=2), axis=1)
                part, at, places = part[~seen], at[~seen], places[~seen]
                if self.residual.banded and part.size:
                    at, places = _nearest(at, places, new.index[part])
                self._solve(new, part, at, places, rows, a, left)
        left = np.maximum(left, 0.0)
        if self.root_weights is not None:  # R = W^-½ Σ W^-½ of the observed rows
            a = a * np.where(rows >= 0, self.root_weights[np.maximum(rows, 0)], 0.0)
        if new.weights is not None:
            a, left = a / np.sqrt(new.weights)[:, None], left / new.weights
        return Weights(rows, a, left)

    def _solve(self, new: NewRows, which: Ints, at: Ints, places: Array, rows: Ints, a: Array, left: Array) -> None:
        """Weights of rows with equally many observed ones; those with equal points share one solution."""
        if not which.size:
            return
        m = at.shape[1]
        joined = np.concatenate([places, new.index[which][:, None, :]], axis=1)
        flat = np.column_stack([joined.reshape(len(which), -1), new.stratum[which]])
        member, patterns = number_rows(flat.T, len(which))
        leader = leaders(member, patterns)
        weights, rest = np.empty((patterns, m)), np.empty(patterns)
        for part in np.array_split(np.arange(patterns), max(1, patterns * (m + 1) ** 2 // _ENTRIES)):
            for k in np.unique(new.stratum[which[leader[part]]]):
                mine = part[new.stratum[which[leader[part]]] == k]
                sigma = self.covariance(int(k), joined[leader[mine]])
                cross = sigma[:, :m, m]
                weights[mine] = _solved(sigma[:, :m, :m], cross)
                rest[mine] = sigma[:, m, m] - np.einsum("pm,pm->p", weights[mine], cross)
        rows[which, :m], a[which, :m], left[which] = at, weights[member], rest[member]


def _solved(sigma: Array, cross: Array) -> Array:
    """Σ⁻¹c for each, by the pseudoinverse where Σ is singular: (P, m)."""
    try:
        return np.asarray(np.linalg.solve(sigma, cross[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        return np.asarray(np.einsum("pij,pj->pi", np.linalg.pinv(sigma, hermitian=True), cross))


def _nearest(at: Ints, places: Array, new: Array) -> tuple[Ints, Array]:
    """The observed rows next to each new one in the order of places: the last before it and the first after."""
    later = np.zeros(at.shape, dtype=bool)
    decided = np.zeros(at.shape, dtype=bool)
    for d in range(places.shape[2]):
        gap = places[:, :, d] - new[:, None, d]
        later |= ~decided & (gap > 0)
        decided |= gap != 0
    first = np.where(later.any(axis=1), later.argmax(axis=1), at.shape[1] - 1)
    pick = np.column_stack([np.maximum(first - 1, 0), first])
    if at.shape[1] == 1:
        pick = pick[:, :1]
    else:  # two different rows, also at the ends, where the farther of them gets no weight
        pick[:, 0] = np.where(pick[:, 0] == pick[:, 1], pick[:, 1] - 1, pick[:, 0])
        pick = np.where(pick < 0, pick + 2, pick)
    line = np.arange(len(at))[:, None]
    return at[line, pick], places[line, pick]
