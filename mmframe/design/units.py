"""Independent units of a design: sets of rows that share no random effect and no residual subject."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmframe.design.design import Design
from mmframe.errors import Issue, SpecError, UnknownNameError, unknown

Ints = NDArray[np.intp]


@frozen(eq=False)
class Units:
    """Rows by unit.   rows: all rows, those of a unit together; starts (units + 1,): where each begins.   name: in words."""

    name: str
    rows: Ints
    starts: Ints

    @cached_property
    def number(self) -> Ints:
        """The unit of each row, (n,)."""
        out = np.empty(self.rows.size, dtype=np.intp)
        out[self.rows] = np.repeat(np.arange(self.count), np.diff(self.starts))
        return out

    @property
    def count(self) -> int:
        return len(self.starts) - 1

    def of(self, chosen: Ints) -> tuple[Ints, Ints]:
        """(rows, the number of the copy that each belongs to) of chosen units, one as often as it is named."""
        sizes = np.diff(self.starts)[chosen]
        copy = np.repeat(np.arange(chosen.size), sizes)
        within = np.arange(copy.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.rows[np.repeat(self.starts[chosen], sizes) + within], copy


def units_of(design: Design, by: str | None, where: str = "cases") -> Units:
    """Those of a grouping factor that is named; else the smallest sets of rows that share nothing.

    Raises UnknownNameError; SpecError where all rows hang together, as with crossed factors.
    """
    related = [g.name for g in design.groupings if g.relationship is not None]
    if related:
        given = f"levels of {', '.join(related)} are related"
        raise SpecError(Issue(where, given, "groups that are independent of one another"))
    shared = {g.name: g.codes for g in design.groupings}
    if design.residual is not None and design.residual.group:
        shared.setdefault(":".join(design.residual.group), design.residual.subject)
    if by is not None:
        if by not in shared:
            raise UnknownNameError(unknown(where, "grouping factor", by, shared))
        return collected(by, shared[by])
    if design.residual is not None:
        shared["(residual)"] = design.residual.subject
    if not shared:
        return collected("rows", np.arange(design.n))
    codes = list(shared.values())
    offsets = np.cumsum([design.n, *(int(c.max()) + 1 for c in codes)])
    ends = np.concatenate([c + start for c, start in zip(codes, offsets[:-1], strict=True)])
    links = coo_array((np.ones(ends.size), (np.tile(np.arange(design.n), len(codes)), ends)), shape=(offsets[-1],) * 2)
    component = connected_components(links, directed=False)[1][: design.n]
    if np.all(component == component[0]):
        given = f"no independent groups: all rows hang together by {', '.join(shared)}"
        raise SpecError(Issue(where, given, "a grouping factor by name, whose levels are then the units"))
    return collected(" x ".join(shared), np.unique(component, return_inverse=True)[1])


def collected(name: str, codes: Ints) -> Units:
    """Units by their number for each row, (n,)."""
    counts = np.bincount(codes)
    return Units(name, np.argsort(codes, kind="stable"), np.concatenate([[0], np.cumsum(counts[counts > 0])]))
