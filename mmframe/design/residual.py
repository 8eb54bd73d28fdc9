"""The residual's design: who belongs together, at which points, and in which stratum."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import CovarianceStructure, IndexKind, Points
from mmframe.covariance.tree import Tree
from mmframe.design.grouping import factorize, make_grouping
from mmframe.design.points import Layout, LeafSpec
from mmframe.errors import DataError, Issue, SpecError
from mmframe.spec.model import ModelSpec
from mmframe.spec.residual import FITTED as WORD
from mmframe.spec.residual import columns

FITTED = "(fitted)"  # the column of a variance function of the model's own fitted values


@frozen(eq=False)
class Stratum:
    """Rows that share parameters.   label: the level of `by` ("" without one).   points: the distinct joint points."""

    label: str
    layout: Layout
    points: Points

    @property
    def leaves(self) -> tuple[tuple[Points, slice], ...]:
        """The points of each leaf, and its columns of the index."""
        return tuple(
            (leaf.points, columns) for leaf, columns in zip(self.layout.leaves, self.layout.columns, strict=True)
        )


@frozen(eq=False)
class ResidualDesign:
    """The rows of the residual.

    label: how the user wrote it.   group: its columns; none for all rows as one subject, or each row alone.
    subject (n,): the number of each row's subject, 0 .. m−1; levels: their names.   stratum (n,), point (n,): numbers.
    index (n, d): the rows' places, as structures read them.   order: the rows by subject, then by place.
    banded: whether R⁻¹ is tridiagonal in that order.
    """

    label: str
    group: tuple[str, ...]
    by: str | None
    subject: NDArray[np.intp]
    levels: pd.Index
    strata: tuple[Stratum, ...]
    stratum: NDArray[np.intp]
    point: NDArray[np.intp]
    index: Array
    order: NDArray[np.intp]
    banded: bool = False

    @property
    def m(self) -> int:
        return len(self.levels)

    def take(self, rows: NDArray[np.intp]) -> ResidualDesign:
        """That of some of the rows; subjects and points keep their numbers."""
        parts = {f: getattr(self, f)[rows] for f in ("subject", "stratum", "point", "index")}
        return attrs.evolve(self, **parts, order=_in_order(parts["index"], parts["subject"]))

    def with_subjects(self, subject: NDArray[np.intp]) -> ResidualDesign:
        """The same rows in other subjects (n,), numbered 0 .. m−1 and without names."""
        levels = pd.RangeIndex(int(subject.max()) + 1)
        return attrs.evolve(self, subject=subject, levels=levels, order=_in_order(self.index, subject))


def wanted_points(residual: Tree | None, variances: tuple[CovarianceStructure, ...]) -> tuple[LeafSpec, ...] | None:
    """What each leaf of the residual's structure, then each variance function, wants of its columns; None without any."""
    if residual is None:
        return None
    found = []
    for leaf in residual.leaves:
        assert leaf.structure is not None
        names, kind = columns(leaf.basis, "residual"), leaf.structure.index_kind
        if (kind is IndexKind.POSITION and len(names) != 1) or (kind is IndexKind.COORDINATES and not names):
            wanted = "one column of ordered points" if kind is IndexKind.POSITION else "coordinates"
            example = "visit" if kind is IndexKind.POSITION else "x + y"
            who = leaf.structure.name
            raise SpecError(Issue("residual", f"{who}({leaf.basis})", wanted, f"write {who}({example} | subject)"))
        found.append(LeafSpec(names, kind, leaf.structure.numbered))
    for variance in variances:
        covariate: str = getattr(variance, "covariate", "")
        names = (FITTED,) if covariate == WORD else tuple(covariate.split(":"))
        found.append(LeafSpec(names, variance.index_kind, variance.numbered))
    return tuple(found)


def residual_columns(spec: ModelSpec, specs: tuple[LeafSpec, ...] | None) -> set[str]:
    """The columns of the data that the residual uses."""
    group = (
        set() if spec.residual is None else {*spec.residual.group, *([spec.residual.by] if spec.residual.by else [])}
    )
    return group | {c for leaf in specs or () for c in leaf.columns} - {FITTED}


def residual_design(spec: ModelSpec, specs: tuple[LeafSpec, ...], frame: pd.DataFrame) -> ResidualDesign:
    """The residual of the rows of a table. Raises DataError."""
    asked = spec.residual
    group, by = (None, None) if asked is None else (asked.group, asked.by)
    label = "variance" if asked is None else asked.label
    n = len(frame)
    subject, levels = _subjects(group, frame)
    stratum, names = np.zeros(n, dtype=np.intp), [""]
    if by is not None:
        stratum, found = factorize(frame[by])
        names = [str(v) for v in found]
        _check_strata(subject, stratum, levels, names, by)
    within = number_within(subject) if group is not None else np.zeros(n, dtype=np.intp)
    strata, index, point = [], None, np.zeros(n, dtype=np.intp)
    for k, name in enumerate(names):
        rows = np.flatnonzero(stratum == k)
        part = frame.iloc[rows]
        layout = Layout.of(specs, part, within[rows])
        _check_numeric(layout)
        own = layout.index(part, within[rows])
        points, number = layout.points(own)
        index = np.zeros((n, own.shape[1])) if index is None else index
        index[rows], point[rows] = own, number
        strata.append(Stratum(name, layout, points))
    assert index is not None
    order = _in_order(index, subject)
    return ResidualDesign(label, group or (), by, subject, levels, tuple(strata), stratum, point, index, order)


def _in_order(index: Array, subject: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows by subject, then by place."""
    return np.lexsort((*index.T[::-1], subject))


def _subjects(group: tuple[str, ...] | None, frame: pd.DataFrame) -> tuple[NDArray[np.intp], pd.Index]:
    if group is None:
        return np.arange(len(frame)), pd.RangeIndex(len(frame))
    if not group:
        return np.zeros(len(frame), dtype=np.intp), pd.RangeIndex(1)
    grouping = make_grouping(group, frame)
    return grouping.codes, grouping.levels


def number_within(codes: NDArray[np.intp]) -> NDArray[np.intp]:
    """0, 1, ... along the rows of each level, in the order of the rows."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    out = np.empty(codes.size, dtype=np.intp)
    out[order] = np.arange(codes.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return out


def _check_numeric(layout: Layout) -> None:
    """Coordinates are numbers or times: the ranks of categories have no distances."""
    for leaf in layout.leaves:
        if leaf.known is None or leaf.spec.kind is not IndexKind.COORDINATES:
            continue
        for column, levels in zip(leaf.known.columns, leaf.known.categories, strict=True):
            if levels is not None:
                raise DataError(
                    f"residual: {column!r} has categories such as {levels[0]!r} · allowed: numbers or times, where a structure"
                    ' or a variance function takes coordinates · for a variance of each category use variance="ident('
                    f'{column})"'
                )


def _check_strata(subject: NDArray[np.intp], stratum: NDArray[np.intp], levels: Any, names: list[str], by: str) -> None:
    first = np.empty(int(subject.max()) + 1, dtype=np.intp)
    first[subject[::-1]] = stratum[::-1]
    mixed = np.flatnonzero(first[subject] != stratum)
    if mixed.size:
        row = int(mixed[0])
        pair = f"{names[first[subject[row]]]} and {names[stratum[row]]}"
        raise DataError(
            f"residual: by={by!r}: the subject {levels[subject[row]]!s} has rows in {pair}"
            f' · allowed: one level of {by} in each subject · for another variance by row use variance="ident({by})"'
        )
