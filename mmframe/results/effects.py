"""Random effects by grouping factor: conditional means and covariances, labelled by level and basis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import UnknownNameError, unknown
from mmframe.likelihood.effects import Effects
from mmframe.results.estimates import Estimates


def find_grouping(estimates: Estimates, name: str, where: str = "group") -> int:
    """The place of a grouping factor that an argument named; an interaction is found in either order."""
    wanted = sorted(name.split(":"))
    for place, columns in enumerate(estimates.grouping_columns):
        if estimates.grouping_names[place] == name or sorted(columns) == wanted:
            return place
    raise UnknownNameError(unknown(where, "grouping factor", name, estimates.grouping_names))


def basis_labels(estimates: Estimates, grouping: int) -> list[str]:
    """The columns of a grouping factor over all its terms."""
    return [c for t in estimates.terms if t.grouping == grouping for c in t.columns]


def covariance(estimates: Estimates, name: str) -> pd.DataFrame:
    """G in data units over all terms of a grouping factor, block-diagonal."""
    place = find_grouping(estimates, name)
    blocks = [t.G for t in estimates.terms if t.grouping == place]
    total = sum(len(b) for b in blocks)
    out, start = np.zeros((total, total)), 0
    for block in blocks:
        out[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    labels = basis_labels(estimates, place)
    return pd.DataFrame(out, index=labels, columns=labels)


def random_effects(estimates: Estimates, effects: Effects) -> dict[str, pd.DataFrame]:
    """For each grouping factor a table levels x basis."""
    return {
        name: pd.DataFrame(b, index=levels, columns=basis_labels(estimates, place))
        for place, (name, levels, b) in enumerate(
            zip(estimates.grouping_names, estimates.grouping_levels, effects.b, strict=True)
        )
    }


@frozen(eq=False)
class ConditionalCovariances(Mapping[object, pd.DataFrame]):
    """The conditional covariance of the random effects by level; a table is made when it is asked for."""

    levels: pd.Index
    labels: tuple[str, ...]
    matrices: Array

    def __getitem__(self, level: object) -> pd.DataFrame:
        place = self.levels.get_loc(level)
        return pd.DataFrame(self.matrices[place], index=list(self.labels), columns=list(self.labels))

    def __iter__(self) -> Iterator[object]:
        return iter(self.levels)

    def __len__(self) -> int:
        return len(self.levels)


def random_effects_cov(estimates: Estimates, effects: Effects) -> dict[str, ConditionalCovariances]:
    """Var(b | y) by level, at fixed β and variances (lme4's `condVar`)."""
    return {
        name: ConditionalCovariances(levels, tuple(basis_labels(estimates, place)), estimates.sigma2 * cov)
        for place, (name, levels, cov) in enumerate(
            zip(estimates.grouping_names, estimates.grouping_levels, effects.cov, strict=True)
        )
    }
