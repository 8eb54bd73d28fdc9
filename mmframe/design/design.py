"""The design: everything about the data that a likelihood needs, as matrices. Frozen; made by `assemble`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import attrs
import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import Points
from mmframe.design.grouping import Grouping
from mmframe.design.orthogonal import orthonormal
from mmframe.design.residual import ResidualDesign


@frozen(eq=False)
class DesignTerm:
    """One random-effects term: Z (n, q) by columns, the grouping that it belongs to, and its points.

    source: its place among the terms that were asked for.   stratum: the level of `by` that it is for; elsewhere Z is zero.
    layout: which columns of the index belong to each leaf of a combination.
    """

    label: str
    grouping: int
    Z: Array
    columns: tuple[str, ...]
    points: Points
    source: int = 0
    stratum: str = ""
    leaves: tuple[tuple[Points, slice], ...] = ()

    @property
    def width(self) -> int:
        return int(self.Z.shape[1])


@frozen(eq=False)
class Design:
    """One model's data.

    X (n, p) with full column rank, y (n,) after the offset, both by rows of the data that are kept; `weights` (n,) or
    None; `rows` (n,) the positions of the kept rows in the data; `index` their labels.   residual: who correlates with
    whom; None where residuals are independent with one variance.
    """

    X: Array
    y: Array
    columns: tuple[str, ...]
    dropped: tuple[str, ...]
    response: str
    terms: tuple[DesignTerm, ...]
    groupings: tuple[Grouping, ...]
    weights: Array | None
    offset: Array | None
    index: pd.Index
    rows: NDArray[np.intp]
    n_missing: int = 0
    encoding: Any = None  # what prediction needs to encode new data the same way (design/encoding.py)
    basis: tuple[Array, Array] | None = None  # Q and R of √w X, where they are known
    residual: ResidualDesign | None = None
    frame: pd.DataFrame | None = None  # the columns of the fixed effects, by the rows that are kept

    @property
    def n(self) -> int:
        return int(self.y.shape[0])

    @property
    def p(self) -> int:
        return int(self.X.shape[1])

    @cached_property
    def root_weights(self) -> Array | None:
        return None if self.weights is None else np.sqrt(self.weights)

    @cached_property
    def log_weights(self) -> float:
        return 0.0 if self.weights is None else float(np.sum(np.log(self.weights)))

    def weighted(self, matrix: Array) -> Array:
        """Rows times the square root of their weight."""
        if self.root_weights is None:
            return matrix
        return matrix * (self.root_weights if matrix.ndim == 1 else self.root_weights[:, None])

    @cached_property
    def orthonormal_X(self) -> tuple[Array, Array]:
        """Q (n, r) and R (r, p) with QR = √w X."""
        if self.basis is not None:
            return self.basis
        return orthonormal(self.weighted(self.X))

    @cached_property
    def least_squares_residual(self) -> Array:
        """What (weighted) least squares leaves of √w y, (n,)."""
        Q, _ = self.orthonormal_X
        y = self.weighted(self.y)
        return np.asarray(y - Q @ (Q.T @ y))

    def take(self, rows: Any) -> Design:
        """The design of some of the rows; levels keep their numbers, so that statistics of parts can merge."""
        pick = np.asarray(rows)
        if pick.dtype == bool:
            pick = np.flatnonzero(pick)
        return attrs.evolve(
            self,
            X=self.X[pick],
            y=self.y[pick],
            terms=tuple(attrs.evolve(t, Z=self.terms[k].Z[pick]) for k, t in enumerate(self.terms)),
            groupings=tuple(attrs.evolve(g, codes=g.codes[pick]) for g in self.groupings),
            weights=None if self.weights is None else self.weights[pick],
            offset=None if self.offset is None else self.offset[pick],
            index=self.index[pick],
            rows=self.rows[pick],
            basis=None,
            residual=None if self.residual is None else self.residual.take(pick),
            frame=None if self.frame is None else self.frame.iloc[pick],
        )

    def with_response(self, y: Array) -> Design:
        """The same design with another response (n,), as simulation and the bootstrap need it."""
        return attrs.evolve(self, y=np.asarray(y, dtype=float))
