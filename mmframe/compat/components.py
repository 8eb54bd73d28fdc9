"""Variance components: designs given group by group, as one matrix over all rows, and back.

A component k gives each group i a design (n_i, q_ik) whose columns have independent random coefficients with one variance. Over
all rows it is one matrix (n, q) with q the largest q_ik: a column that a group lacks is zero there, and adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy import sparse

from mmframe.covariance.domain import Array
from mmframe.errors import DataError

Ints = NDArray[np.intp]


class VCSpec:
    """The variance components of a model.

    names: of each component.   colnames[k][i]: names of the columns of component k in group i.   mats[k][i]: its design in
    that group, (n_i, q_ik), dense or sparse. Groups are in sorted order.
    """

    def __init__(self, names: Sequence[str], colnames: Sequence[Any], mats: Sequence[Any]) -> None:
        self.names = names
        self.colnames = colnames
        self.mats = mats

    def __repr__(self) -> str:
        return f"VCSpec(names={list(self.names)})"


@frozen(eq=False)
class Component:
    """One variance component over all rows.

    Z (n, q): dense, or sparse by rows.   counts (groups,): how many of the columns each group has.   labels: their names, one
    group after the other.
    """

    name: str
    Z: Any
    counts: Ints
    labels: Any

    @property
    def width(self) -> int:
        return int(self.Z.shape[1])

    @cached_property
    def single(self) -> bool:
        """Whether a row has one column at most that is not zero."""
        nonzero = np.diff(self.Z.indptr) if sparse.issparse(self.Z) else np.count_nonzero(self.Z, axis=1)
        return bool(np.all(nonzero <= 1))

    @cached_property
    def dense(self) -> Array:
        return np.asarray(self.Z.toarray() if sparse.issparse(self.Z) else self.Z)

    def column_and_value(self) -> tuple[Ints, Array]:
        """For each row the column that is not zero, and what stands there; the first column, and 0, where there is none."""
        rows = self.Z if sparse.issparse(self.Z) else sparse.csr_array(self.Z)
        column, value = np.zeros(rows.shape[0], dtype=np.intp), np.zeros(rows.shape[0])
        has = np.diff(rows.indptr) > 0
        column[has], value[has] = rows.indices, rows.data
        return column, value

    def of_group(self, group: int) -> list[Any]:
        start = self._starts[group]
        return list(self.labels[start : start + self.counts[group]])

    @cached_property
    def _starts(self) -> Ints:
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.intp)

    def take(self, rows: NDArray[np.bool_], groups: NDArray[np.bool_]) -> Component:
        """The component of some rows, and of the groups that are left with any."""
        names = self.labels[np.repeat(groups, self.counts)]
        return Component(self.name, self.Z[rows], self.counts[groups], names)


def from_dict(given: Mapping[Any, Mapping[Any, Any]], groups: Sequence[Any]) -> VCSpec:
    """A dict of dicts {component: {group: design}}, components in sorted order; matched to the groups by their labels.

    Raises DataError where a group has no design.
    """
    names, colnames, mats = [], [], []
    for name in sorted(given):
        missing = [g for g in groups if g not in given[name]]
        if missing:
            raise DataError(
                f"exog_vc[{name!r}]: there is no design for the group {missing[0]!r} · allowed: one for each label of groups"
            )
        made = [_two_dimensional(given[name][g]) for g in groups]
        names.append(name)
        mats.append(made)
        colnames.append(
            [
                list(given[name][g].columns)
                if hasattr(given[name][g], "columns")
                else [str(j) for j in range(m.shape[1])]
                for g, m in zip(groups, made, strict=True)
            ]
        )
    return VCSpec(names, colnames, mats)


def _two_dimensional(design: Any) -> Any:
    """A Series or a vector is one column."""
    if sparse.issparse(design):
        return design
    array = np.asarray(design, dtype=float)
    return array[:, None] if array.ndim == 1 else array


def read_components(spec: VCSpec, rows: Sequence[Ints], n: int) -> tuple[Component, ...]:
    """Each component of a specification over all rows. rows: those of each group, in sorted order.

    Raises DataError where designs do not match the groups.
    """
    if not len(spec.names) == len(spec.colnames) == len(spec.mats):
        told = f"{len(spec.names)} names, {len(spec.colnames)} colnames and {len(spec.mats)} mats"
        raise DataError(f"exog_vc: {told} · allowed: one of each for every component")
    order = np.concatenate(rows)
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    sizes = [len(r) for r in rows]
    out = []
    every: NDArray[np.object_]
    for name, labels, mats in zip(spec.names, spec.colnames, spec.mats, strict=True):
        designs = [_two_dimensional(m) for m in mats]
        found = [m.shape[0] for m in designs]
        if found != sizes:
            at = next(
                (i for i, (a, b) in enumerate(zip(found, sizes, strict=False)) if a != b), min(len(found), len(sizes))
            )
            told = (
                f"its design for group number {at} has {found[at]} rows" if at < len(found) else f"{len(found)} designs"
            )
            wanted = f"{sizes[at]} rows" if at < len(sizes) else f"{len(sizes)} designs"
            raise DataError(f"exog_vc {name!r}: {told} · allowed: {wanted}, one design for each group in sorted order")
        counts = np.array([m.shape[1] for m in designs], dtype=np.intp)
        if [len(group) for group in labels] != counts.tolist():
            raise DataError(
                f"exog_vc {name!r}: colnames that do not fit its designs · allowed: a name for each column, by group"
            )
        width = int(counts.max(initial=0))
        if any(sparse.issparse(m) for m in designs):
            wide = [sparse.csr_array(m) for m in designs]
            for m in wide:
                m.resize((m.shape[0], width))
            Z: Any = sparse.csr_array(sparse.vstack(wide))
            Z.eliminate_zeros()
            Z = Z[place]
        else:
            Z = np.zeros((n, width))
            for q in np.unique(counts):  # groups with as many columns go together
                alike = np.flatnonzero(counts == q)
                at_rows = np.concatenate([rows[int(i)] for i in alike])
                Z[at_rows, :q] = np.concatenate([designs[int(i)] for i in alike])
        every = np.array([label for group in labels for label in group], dtype=object)
        out.append(Component(str(name), Z, counts, every))
    return tuple(out)


def write_components(components: tuple[Component, ...], rows: Sequence[Ints], *, as_sparse: bool) -> VCSpec:
    """The components group by group."""
    wholes = [sparse.csr_array(c.Z) if as_sparse else c.dense for c in components]
    mats = [
        [whole[r][:, :q] for r, q in zip(rows, c.counts.tolist(), strict=True)]
        for c, whole in zip(components, wholes, strict=True)
    ]
    colnames = [[c.of_group(g) for g in range(len(rows))] for c in components]
    return VCSpec([c.name for c in components], colnames, mats)


def indicator_component(name: str, levels: Any, names: Any, group: Ints, n_groups: int) -> Component:
    """The component that gives each level within a group a column: `0 + C(level)`.

    levels (n,): numbers of the levels, in sorted order, −1 where there is none.   names: what they are called.
    group (n,): number of each row's group.
    """
    known = levels >= 0
    pair = group[known] * max(len(names), 1) + levels[known]
    distinct, code = np.unique(pair, return_inverse=True)
    owner = distinct // max(len(names), 1)
    counts = np.bincount(owner, minlength=n_groups)
    first = np.concatenate([[0], np.cumsum(counts)])
    column = np.arange(len(distinct)) - first[owner]
    width = int(counts.max(initial=0))
    at = np.flatnonzero(known)
    Z = sparse.csr_array((np.ones(len(at)), (at, column[code])), shape=(len(levels), width))
    return Component(name, Z, counts.astype(np.intp), np.asarray(names, dtype=object)[distinct % max(len(names), 1)])


def rows_by_group(codes: Ints, n_groups: int) -> list[Ints]:
    """The rows of each group, in the order of the data."""
    order = np.argsort(codes, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=n_groups))])
    return [order[a:b] for a, b in pairwise(ends)]
