"""Models of some units of a design, each as often as it is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import evolve
from numpy.typing import NDArray

from mmframe.design.distinct import constant_within, leaders
from mmframe.design.grouping import Grouping
from mmframe.design.orthogonal import independent_columns, orthonormal
from mmframe.design.units import Units
from mmframe.errors import DataError, Issue, SpecError
from mmframe.model import Model

Ints = NDArray[np.intp]


def with_units(model: Model, units: Units, chosen: Ints) -> Model:
    """The model of the rows of some units. A unit that is named twice counts as two: levels within it are not shared.

    Raises DataError where the fixed effects are collinear in these rows, SpecError where levels that would be copied are related.
    """
    design = model.design
    rows, copy = units.of(chosen)
    taken = design.take(rows)
    groupings = tuple(_grouping(g, units.number, rows, copy) for g in design.groupings)
    residual = taken.residual
    if residual is not None and design.residual is not None:
        residual = residual.with_subjects(_copied(design.residual.subject, units.number, rows, copy))
    taken = evolve(taken, groupings=groupings, residual=residual)
    if len(independent_columns(orthonormal(taken.weighted(taken.X))[1])) < design.p:
        raise DataError("fixed effects: columns depend on one another in these rows")
    engine = model.engine.of(taken)
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
    first = leaders(codes, int(codes.max()) + 1)
    return evolve(grouping, codes=codes, levels=_named(grouping.levels.take(grouping.codes[rows[first]]), copy[first]))


def _named(levels: pd.Index, copy: Ints) -> pd.Index:
    """Levels with the number of their copy where one stands several times."""
    again = levels.duplicated(keep=False)
    if not again.any():
        return levels
    parts = [levels.get_level_values(k) for k in range(levels.nlevels)]
    own = parts[-1].astype(object)
    parts[-1] = own.where(~again, own.astype(str) + " (copy " + pd.Index(copy).astype(str) + ")").rename(
        levels.names[-1]
    )
    return parts[-1] if levels.nlevels == 1 else pd.MultiIndex.from_arrays(parts, names=levels.names)


def _copied(codes: Ints, unit: Ints, rows: Ints, copy: Ints) -> Ints:
    """New numbers of the levels in some rows: levels within units are apart in each copy, levels across units are shared."""
    named = codes[rows]
    if constant_within(unit, codes):
        named = named + copy * (int(codes.max()) + 1)
    return np.asarray(np.unique(named, return_inverse=True)[1], dtype=np.intp)
