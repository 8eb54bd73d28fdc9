"""Prediction: population and conditional, for the data and for new data, with standard errors and intervals.

With b̂ the conditional means, the error of x'β̂ + z'b̂ has the variance (Henderson 1975, Biometrics 31)

    z'C z + (x − s'z)' Var(β̂) (x − s'z),   C = Var(b | y), s = G Z'V⁻¹X,

for levels that were seen, and x'Var(β̂)x + z'Gz for new ones; an observation adds σ²/w, or what a structured residual leaves
when the same subject's rows are known (kriging.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import evolve, frozen
from scipy.stats import norm

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.design.frame import recode, to_pandas
from mmframe.design.kept import Encoding
from mmframe.errors import DataError, Issue, SpecError, StoreError
from mmframe.likelihood.effects import Effects
from mmframe.results.kriging import Weights
from mmframe.results.levels import match_levels
from mmframe.results.memory import ResidualMemory

if TYPE_CHECKING:
    from mmframe.results.estimates import Estimates

LEVELS = ("conditional", "population")
NEW_LEVELS = ("raise", "population")
INTERVALS = (None, "confidence", "prediction")


@frozen(eq=False)
class Rows:
    """Data encoded for prediction: X (n, p), Z of each term, level numbers of each grouping (−1: new), offset.

    frame: new data; None for the rows that were fitted.
    """

    X: Array
    Z: tuple[Array, ...]
    codes: tuple[Any, ...]
    offset: Array | None
    weights: Array | None
    index: pd.Index
    frame: pd.DataFrame | None = None

    @classmethod
    def of_design(cls, design: Design) -> Rows:
        return cls(
            design.X,
            tuple(t.Z for t in design.terms),
            tuple(g.codes for g in design.groupings),
            design.offset,
            design.weights,
            design.index,
        )


def check_confidence(confidence: float) -> None:
    """Raises SpecError unless it is strictly between 0 and 1."""
    if not 0.0 < confidence < 1.0:
        raise SpecError(Issue("confidence", repr(confidence), "a number between 0 and 1, such as 0.95"))


def _choose(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise SpecError(Issue(name, repr(value), ", ".join(repr(a) for a in allowed)))


def encode_rows(
    encoding: Encoding,
    estimates: Estimates,
    data: Any,
    *,
    bases: bool,
    groups: bool,
    weights: str | None,
    further: set[str],
) -> tuple[Rows, Any]:
    """New data as the model's matrices, and which of its rows are complete (bool). further: columns that the residual needs."""
    used = set(encoding.fixed_columns) | further
    if encoding.offset is not None:
        if encoding.offset.startswith("("):
            raise DataError(
                "new data: the offset was given as an array · fit with offset= a column's name to predict new data"
            )
        used.add(encoding.offset)
    if groups:
        used |= {c for t in encoding.terms for c in t.group}
    if bases:
        used |= {c for columns in encoding.term_columns for c in columns}
    table = to_pandas(data, used, "new data")
    frame = table.copy(deep=False)
    for name, levels in encoding.categorical.items():
        if name in used:
            frame[name] = recode(frame[name], list(levels))
    complete = ~frame[sorted(used)].isna().any(axis=1).to_numpy() if used else np.ones(len(frame), dtype=bool)
    frame = frame.loc[complete]
    X = encoding.fixed.apply(frame, encoding.transforms)[:, list(encoding.kept)]
    offset = None if encoding.offset is None else frame[encoding.offset].to_numpy(dtype=float)
    w = frame[weights].to_numpy(dtype=float) if weights is not None and weights in frame.columns else None
    if w is not None and not np.all(w > 0):
        raise DataError(
            f"new data: weights {weights!r}: some values are not positive · drop these rows, or give other weights"
        )
    Z: list[Array] = []
    places: list[Any] = []
    if bases:
        for term in encoding.terms:
            matrix = term.basis.apply(frame, encoding.transforms)
            if term.by is not None:
                matrix = matrix * (frame[term.by[0]].astype(object) == term.by[1]).to_numpy(dtype=float)[:, None]
            Z.append(matrix)
    if groups:
        for group, known in zip(estimates.grouping_columns, estimates.grouping_levels, strict=True):
            places.append(match_levels(known, group, frame))
    return Rows(X, tuple(Z), tuple(places), offset, w, frame.index, frame), complete


def predict(
    rows: Rows,
    estimates: Estimates,
    effects: Effects | None,
    memory: ResidualMemory | None,
    *,
    level: str,
    new_levels: str,
    interval: str | None,
    confidence: float,
) -> pd.Series | pd.DataFrame:
    """Predictions of encoded rows. Raises SpecError for an unknown choice, DataError for new levels."""
    _choose("level", level, LEVELS)
    _choose("new_levels", new_levels, NEW_LEVELS)
    _choose("interval", interval, INTERVALS)
    check_confidence(confidence)
    conditional = level == "conditional" and effects is not None
    mean = rows.X @ estimates.beta
    if rows.offset is not None:
        mean = mean + rows.offset
    left: Array | float = estimates.sigma2 / (1.0 if rows.weights is None else rows.weights)
    known: Weights | None = None
    if conditional:
        assert effects is not None
        _check_levels(rows, estimates, new_levels)
        mean = mean + conditional_part(rows, estimates, effects)
    if memory is not None and rows.frame is None:
        left = memory.own_variance()
    elif memory is not None and rows.frame is not None and (conditional or interval == "prediction"):
        new = memory.place(rows.frame, mean, rows.weights)
        if not conditional:
            new = evolve(new, subject=np.full_like(new.subject, -1))
        known = memory.weights_for(new)
        mean, left = mean + known.apply(memory.error), known.left
    if interval is None:
        return pd.Series(mean, index=rows.index, name="estimate")
    if conditional:
        assert effects is not None
        shift_X, spread = conditional_spread(_less_known(rows, memory, known), estimates, effects)
    else:
        shift_X, spread = rows.X, np.zeros(len(mean))
        if interval == "prediction":
            spread = spread + _prior_variance(rows, estimates)
    variance = np.einsum("np,pq,nq->n", shift_X, estimates.beta_cov, shift_X) + spread
    if interval == "prediction":
        variance = variance + left
    error = np.sqrt(np.maximum(variance, 0.0))
    z = norm.ppf(0.5 + confidence / 2)
    return pd.DataFrame(
        {"estimate": mean, "std_error": error, "lower": mean - z * error, "upper": mean + z * error}, index=rows.index
    )


def _less_known(rows: Rows, memory: ResidualMemory | None, known: Weights | None) -> Rows:
    """The rows x − X_o'a, z − Z_o'a, whose errors remain when the residual is predicted from observed rows."""
    if memory is None or known is None or not np.any(known.rows >= 0):
        return rows
    if memory.Z and not memory.nested:
        raise StoreError(
            "intervals of new rows of subjects whose random effects change within them are not in this version"
            " · use interval=None, or level='population'"
        )
    X = rows.X - known.apply(memory.X)
    Z = tuple(new - known.apply(old) for new, old in zip(rows.Z, memory.Z, strict=True))
    return evolve(rows, X=X, Z=Z)


def put_back(made: pd.Series | pd.DataFrame, kept: Any, data: Any) -> pd.Series | pd.DataFrame:
    """Predictions of the complete rows among all rows of the data; NaN for the others."""
    if np.all(kept):
        return made
    index = data.index if isinstance(data, pd.DataFrame) else pd.RangeIndex(kept.size)
    out = np.full((kept.size, *np.shape(made)[1:]), np.nan)
    out[kept] = made
    if isinstance(made, pd.DataFrame):
        return pd.DataFrame(out, index, made.columns)
    return pd.Series(out, index, name=made.name)


def _check_levels(rows: Rows, estimates: Estimates, new_levels: str) -> None:
    if new_levels == "population":
        return
    for name, codes in zip(estimates.grouping_names, rows.codes, strict=True):
        unseen = codes < 0
        if np.any(unseen):
            first = rows.index[int(np.flatnonzero(unseen)[0])]
            raise DataError(
                f"new data: {int(unseen.sum())} rows (the first is {first!r}) have levels of {name!r} that were not fitted"
                " · use new_levels='population' to predict them without a random effect, or level='population' for all"
            )


def _grouped_Z(rows: Rows, estimates: Estimates, grouping: int) -> Array:
    return np.column_stack([Z for Z, t in zip(rows.Z, estimates.terms, strict=True) if t.grouping == grouping])


def conditional_part(rows: Rows, estimates: Estimates, effects: Effects) -> Array:
    """Z b̂, zero for new levels: (n,)."""
    total = np.zeros(rows.X.shape[0])
    for k, (codes, b) in enumerate(zip(rows.codes, effects.b, strict=True)):
        part = np.einsum("nq,nq->n", _grouped_Z(rows, estimates, k), b[codes])
        total += np.where(codes >= 0, part, 0.0)
    return total


def conditional_spread(rows: Rows, estimates: Estimates, effects: Effects) -> tuple[Array, Array]:
    """x − s'z (n, p), by which an error in β̂ moves the conditional mean, and the variance (n,) of its error with β held."""
    factors = range(len(rows.codes))
    if not factors:
        return rows.X, np.zeros(len(rows.X))
    grouped = tuple(_grouped_Z(rows, estimates, k) for k in factors)
    X, spread = rows.X, effects.variance(rows.codes, grouped) * estimates.sigma2
    for k, codes, Z, shift in zip(factors, rows.codes, grouped, effects.shift, strict=True):
        seen = codes >= 0
        X = X - np.where(seen[:, None], np.einsum("nq,nqp->np", Z, shift[codes]), 0.0)
        spread = spread + np.where(seen, 0.0, _prior_variance(rows, estimates, k))
    return X, spread


def _prior_variance(rows: Rows, estimates: Estimates, grouping: int | None = None) -> Array:
    """z'Gz of new levels, of one grouping factor or of all: (n,)."""
    total = np.zeros(rows.X.shape[0])
    if not rows.Z and estimates.terms:
        raise StoreError("the rows were encoded without their random effects")
    for Z, term in zip(rows.Z, estimates.terms, strict=True):
        if grouping is None or term.grouping == grouping:
            total += np.einsum("nq,qr,nr->n", Z, term.G, Z)
    return total
