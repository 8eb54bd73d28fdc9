"""What a fit with a structured residual remembers of its rows, so that new rows can be predicted from them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.design.distinct import constant_within
from mmframe.design.residual import FITTED, ResidualDesign
from mmframe.errors import DataError
from mmframe.results.kriging import Covariance, NewRows, Observed, Weights
from mmframe.results.levels import match_levels


@frozen(eq=False)
class ResidualMemory:
    """The rows that were fitted.

    X (n, p), Z of each term (n, q), codes of each grouping (n,): the design.   error (n,): y minus the fitted values.
    """

    residual: ResidualDesign
    covariance: Covariance
    root_weights: Array | None
    X: Array
    Z: tuple[Array, ...]
    codes: tuple[NDArray[np.intp], ...]
    error: Array

    @property
    def columns(self) -> set[str]:
        """The columns of new data that say where rows stand."""
        own = {c for s in self.residual.strata for leaf in s.layout.leaves for c in leaf.spec.columns}
        by = set() if self.residual.by is None else {self.residual.by}
        return {*self.residual.group, *by, *own} - {FITTED}

    @property
    def nested(self) -> bool:
        """Whether the rows of a subject have one level of each grouping factor."""
        return all(constant_within(codes, self.residual.subject) for codes in self.codes)

    def place(self, frame: pd.DataFrame, mean: Array, weights: Array | None) -> NewRows:
        """New rows where the structures find them; mean: what a variance function of fitted values takes.

        Raises DataError for a stratum, or a point that needs a parameter, that was not fitted.
        """
        residual, n = self.residual, len(frame)
        frame = frame.assign(**{FITTED: mean})
        if residual.group:
            subject = np.asarray(match_levels(residual.levels, residual.group, frame), dtype=np.intp)
        else:  # all rows are one subject, or each its own: new ones are never among these
            subject = np.full(n, 0 if residual.m == 1 else -1, dtype=np.intp)
        if any(not leaf.spec.columns for s in residual.strata for leaf in s.layout.leaves):
            subject[:] = -1  # the number of a row within its subject says nothing of a new one
        stratum = np.zeros(n, dtype=np.intp)
        if residual.by is not None:
            names = [s.label for s in residual.strata]
            found = frame[residual.by].astype(str)
            if not found.isin(names).all():
                bad = found[~found.isin(names)].iloc[0]
                raise DataError(
                    f"new data: {residual.by!r} holds {bad!r}, which has no residual covariance ({', '.join(names)})"
                )
            stratum = np.array([names.index(v) for v in found], dtype=np.intp)
        index = np.zeros((n, residual.index.shape[1]))
        for k, s in enumerate(residual.strata):
            rows = np.flatnonzero(stratum == k)
            if rows.size:
                index[rows] = s.layout.index(frame.iloc[rows], np.zeros(rows.size, dtype=np.intp))
        return NewRows(subject, stratum, index, weights)

    def weights_for(self, new: NewRows) -> Weights:
        return Observed(self.residual, self.covariance, self.root_weights).weights_for(new)

    def own_variance(self) -> Array:
        """The residual's variance of each row that was fitted: (n,)."""
        out = np.empty(self.error.size)
        for k in range(len(self.residual.strata)):
            rows = self.residual.stratum == k
            out[rows] = self.covariance(k, self.residual.index[rows][:, None, :])[:, 0, 0]
        return out if self.root_weights is None else out / self.root_weights**2
