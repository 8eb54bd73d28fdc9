"""Independent units of a design: sets of rows that share no random effect and no residual subject; and designs of some of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import evolve, frozen
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmframe.design.design import Design
from mmframe.design.grouping import Grouping
from mmframe.design.orthogonal import independent_columns, orthonormal
from mmframe.errors import DataError, Issue, SpecError, UnknownNameError, unknown
from mmframe.model import Model

Ints = NDArray[np.intp]


@frozen(eq=False)
class Units:
    """Rows by unit.   rows: all rows, those of a unit together; starts (units + 1,): where each begins.   name: in words."""

    name: str
    rows: Ints
    starts: Ints

    @property
    def count(self) -> int:
        return len(self.starts) - 1

    def of(self, chosen: Ints) -> tuple[Ints, Ints]:
        """(rows, the number of the copy that each belongs to) of chosen units, one as often as it is named."""
        sizes = np.diff(self.starts)[chosen]
        copy = np.repeat(np.arange(chosen.size), sizes)
        within = np.arange(copy.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.rows[np.repeat(self.starts[chosen], sizes) + within], copy


def units_of(design: Design, by: str | None) -> Units:
    """Those of a grouping factor that is named; else the smallest sets of rows that share nothing.

    Raises UnknownNameError; SpecError where all rows hang together, as with crossed factors.
    """
    shared = {g.name: g.codes for g in design.groupings}
    if design.residual is not None and design.residual.group:
        shared.setdefault(":".join(design.residual.group), design.residual.subject)
    if by is not None:
        if by not in shared:
            raise UnknownNameError(unknown("by", "grouping factor", by, shared))
        return _collected(by, shared[by])
    if design.residual is not None:
        shared["(residual)"] = design.residual.subject
    if not shared:
        return _collected("rows", np.arange(design.n))
    codes = list(shared.values())
    offsets = np.cumsum([design.n, *(int(c.max()) + 1 for c in codes)])
    ends = np.concatenate([c + start for c, start in zip(codes, offsets[:-1], strict=True)])
    links = coo_array((np.ones(ends.size), (np.tile(np.arange(design.n), len(codes)), ends)), shape=(offsets[-1],) * 2)
    component = connected_components(links, directed=False)[1][: design.n]
    if np.all(component == component[0]):
        given = f"no independent groups: all rows hang together by {', '.join(shared)}"
        raise SpecError(
            Issue(
                "cases", given, "a grouping factor by name", "say by= whose levels are drawn, or use kind='parametric'"
            )
        )
    return _collected(" x ".join(shared), np.unique(component, return_inverse=True)[1])


def _collected(name: str, codes: Ints) -> Units:
    counts = np.bincount(codes)
    return Units(name, np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(counts[counts > 0])]))


def with_units(model: Model, units: Units, chosen: Ints) -> Model:
    """The model of the rows of some units. A unit that is named twice counts as two: levels within it are not shared.

    Raises DataError where the fixed effects are collinear in these rows, SpecError where levels that would be copied are related.
    """
    design = model.design
    rows, copy = units.of(chosen)
    unit = np.empty(design.n, dtype=np.intp)
    unit[units.rows] = np.repeat(np.arange(units.count), np.diff(units.starts))
    taken = evolve(design, frame=None).take(rows)
    groupings = tuple(_grouping(g, unit, rows, copy) for g in design.groupings)
    residual = taken.residual
    if residual is not None and design.residual is not None:
        residual = residual.with_subjects(_copied(design.residual.subject, unit, rows, copy))
    taken = evolve(taken, groupings=groupings, residual=residual)
    if len(independent_columns(orthonormal(taken.weighted(taken.X))[1])) < design.p:
        raise DataError("fixed effects: columns depend on one another in these rows")
    engine = type(model.engine).reduce(taken)
    terms = model.covariance.terms
    n_random = model.covariance.n_random
    placed = tuple(evolve(t, at=at) for t, at in zip(terms[n_random:], engine.residual_index, strict=True))
    return evolve(
        model, design=taken, engine=engine, covariance=evolve(model.covariance, terms=terms[:n_random] + placed)
    )


def _grouping(grouping: Grouping, unit: Ints, rows: Ints, copy: Ints) -> Grouping:
    if grouping.relationship is not None:
        given = f"levels of {grouping.name!r} are related"
        raise SpecError(Issue("cases", given, "unrelated levels, which can be drawn twice", "use kind='parametric'"))
    codes = _copied(grouping.codes, unit, rows, copy)
    return evolve(grouping, codes=codes, levels=pd.RangeIndex(int(codes.max()) + 1))


def _copied(codes: Ints, unit: Ints, rows: Ints, copy: Ints) -> Ints:
    """New numbers of the levels in some rows: levels within units are apart in each copy, levels across units are shared."""
    first = np.empty(int(codes.max()) + 1, dtype=np.intp)
    first[codes] = unit
    within = bool(np.all(first[codes] == unit))
    named = codes[rows] + (copy * first.size if within else 0)
    return np.asarray(np.unique(named, return_inverse=True)[1], dtype=np.intp)
