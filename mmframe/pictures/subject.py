"""What a picture shows: a fit, its response by name, and one column of the random effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError, UnknownNameError, unknown
from mmframe.results.effects import basis_labels, find_grouping
from mmframe.results.result import FitResult


def fit_of(given: Any) -> FitResult:
    """A fit, or that of a result that holds one (as those of MixedLM). Raises SpecError."""
    found = getattr(given, "mmframe", given)
    if not isinstance(found, FitResult):
        raise SpecError(Issue("fit", f"a {type(given).__name__}", "a FitResult", "fit a model first, by mm.fit"))
    return found


def response_of(fit: FitResult) -> str:
    """The left side of the formula."""
    return fit.spec.formula.split("~", 1)[0].strip().replace("`", "")


@frozen(eq=False)
class Column:
    """One column of the random effects of a factor with m levels, in data units.

    mean (m,): conditional means.   sd (m,): conditional standard deviations, at fixed β and variances.
    """

    group: str
    name: str
    levels: pd.Index
    mean: Array
    sd: Array

    @property
    def labels(self) -> list[str]:
        """The levels as text; those of an interaction as a:b."""
        return [":".join(map(str, level)) if isinstance(level, tuple) else str(level) for level in self.levels]


def column_of(fit: FitResult, group: str | None, column: str | None, where: str = "group") -> Column:
    """A column of a factor's random effects, the first of each where none is named.

    where: the argument that named the factor. Raises SpecError without random effects, UnknownNameError.
    """
    estimates = fit.estimates
    if not estimates.grouping_names:
        given = f"the model {fit.formula!r} has no random effects"
        raise SpecError(Issue(where, given, "a model with a term (... | group)"))
    place = find_grouping(estimates, estimates.grouping_names[0] if group is None else group, where)
    name = estimates.grouping_names[place]
    labels = basis_labels(estimates, place)
    at = labels[0] if column is None else column
    if at not in labels:
        raise UnknownNameError(unknown(f"column of {name!r}", "column", str(at), labels))
    k = labels.index(at)
    table, covariances = fit.random_effects[name], fit.random_effects_cov[name]
    variance = np.maximum(covariances.matrices[:, k, k], 0.0)  # a zero may be off by its rounding
    return Column(name, at, table.index, table.iloc[:, k].to_numpy(), np.sqrt(variance))
