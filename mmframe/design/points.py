"""Points of structures: columns to the index that a structure, or each piece of a combination, reads.

The pieces of a combination stand side by side in one index, each with columns of its own.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import UNORDERED, IndexKind, Points
from mmframe.design.distinct import distinct_rows, rows_among
from mmframe.design.index import PointSet
from mmframe.errors import DataError


@frozen
class LeafSpec:
    """What one structure wants of its columns; no columns: the number of the row within its group.

    plain: whether labels are the values alone, without the column's name.
    """

    columns: tuple[str, ...]
    kind: IndexKind
    numbered: bool = False
    plain: bool = True


@frozen(eq=False)
class Leaf:
    """The distinct points of one structure. points: as the structure reads them.   known: the columns' own places."""

    spec: LeafSpec
    known: PointSet | None
    points: Points

    @classmethod
    def of(cls, spec: LeafSpec, frame: pd.DataFrame, within: NDArray[np.intp]) -> Leaf:
        if not spec.columns:
            known = None
            size = int(within.max(initial=0)) + 1
            labels, places = tuple(str(k + 1) for k in range(size)), np.arange(1.0, size + 1)[:, None]
        else:
            known = PointSet.of(spec.columns, frame, plain=spec.plain)
            labels, places = known.points.labels, known.points.index
        numbers = np.arange(len(labels), dtype=float)[:, None]
        return cls(spec, known, Points(labels, cls._layout(spec, places, numbers)))

    @staticmethod
    def _layout(spec: LeafSpec, places: Array, numbers: Array) -> Array:
        index = numbers if spec.kind is UNORDERED else places
        return np.hstack([index, numbers]) if spec.numbered else index

    def index(self, frame: pd.DataFrame, within: NDArray[np.intp]) -> Array:
        """The index of rows, (n, d). Raises DataError where a number is wanted of a point that was not there."""
        if self.known is None:
            places, numbers = within + 1.0, within
            places = places[:, None]
        else:
            places = self.known.places(frame)
            wanted = self.spec.kind is UNORDERED or self.spec.numbered
            numbers = rows_among(places, self.known.points.index) if wanted else np.zeros(len(places), dtype=np.intp)
        if np.any(numbers < 0) or (self.known is None and np.any(numbers >= self.points.size)):
            bad = (
                frame[list(self.spec.columns)].iloc[int(np.flatnonzero(numbers < 0)[0])].tolist()
                if self.known
                else "row"
            )
            raise DataError(
                f"the point {bad} of {', '.join(self.spec.columns) or 'the rows'} was not in the data that were fitted"
            )
        return self._layout(self.spec, places, numbers.astype(float)[:, None])


@frozen(eq=False)
class Layout:
    """Leaves side by side."""

    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, specs: tuple[LeafSpec, ...], frame: pd.DataFrame, within: NDArray[np.intp]) -> Layout:
        return cls(tuple(Leaf.of(spec, frame, within) for spec in specs))

    @property
    def columns(self) -> tuple[slice, ...]:
        """The columns of the index that belong to each leaf."""
        ends = np.cumsum([0, *(leaf.points.index.shape[1] for leaf in self.leaves)])
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))

    def index(self, frame: pd.DataFrame, within: NDArray[np.intp]) -> Array:
        return np.hstack([leaf.index(frame, within) for leaf in self.leaves])

    def points(self, index: Array) -> tuple[Points, NDArray[np.intp]]:
        """The distinct points among rows, and the number of the point of each row."""
        if len(self.leaves) == 1:
            return self.leaves[0].points, rows_among(index, self.leaves[0].points.index)
        distinct, number = distinct_rows(index)
        labels: list[tuple[str, ...]] = []
        for leaf, columns in zip(self.leaves, self.columns, strict=True):
            labels.append(tuple(leaf.points.labels[k] for k in rows_among(distinct[:, columns], leaf.points.index)))
        joined = tuple(", ".join(dict.fromkeys(row)) for row in zip(*labels, strict=True))
        return Points(joined, distinct), number
