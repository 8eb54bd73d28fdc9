"""The rows of each subject of the residual, as stacks of subjects of one size, and the patterns of their points."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.distinct import leaders, number_rows
from mmframe.design.residual import ResidualDesign

Ints = NDArray[np.intp]


@frozen(eq=False)
class SubjectRows:
    """Subjects with m rows each.

    rows (count, m): in the order of their places.   member (count,): the pattern of each.   index (patterns, m, d).
    """

    rows: Ints
    member: Ints
    index: Array


def rows_of_subjects(residual: ResidualDesign) -> tuple[tuple[SubjectRows, ...], ...]:
    """By stratum, then by size."""
    order = residual.order
    subject = residual.subject[order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(subject)) + 1])
    sizes = np.diff(np.append(starts, order.size))
    stratum = residual.stratum[order[starts]]
    found = []
    for k in range(len(residual.strata)):
        mine = stratum == k
        stacks = []
        for size in np.unique(sizes[mine]):
            rows = order[starts[mine & (sizes == size)][:, None] + np.arange(size)]
            index = residual.index[rows]
            flat = index.reshape(len(rows), -1)
            member, patterns = number_rows(flat.T, len(rows))
            stacks.append(SubjectRows(rows, member, index[leaders(member, patterns)]))
        found.append(tuple(stacks))
    return tuple(found)
