"""What a model is given by arrays: checked, completed, named, and laid out."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from attrs import evolve, frozen
from numpy.typing import NDArray
from scipy import sparse

from mmframe.builder import ModelBuilder
from mmframe.compat.components import Component, Ints, VCSpec, from_dict, read_components, rows_by_group
from mmframe.compat.layout import Layout, lay_out
from mmframe.compat.names import array_names, safe_names
from mmframe.covariance.domain import Array
from mmframe.design.grouping import factorize
from mmframe.errors import DataError

MISSING = ("none", "drop", "raise")
GROUP = "Group"


@frozen(eq=False)
class Groups:
    """The grouping of the rows: numbers `codes` (n,) of the sorted `labels`."""

    codes: Ints
    labels: list[Any]

    @classmethod
    def of(cls, values: Any) -> Groups:
        codes, levels = factorize(pd.Series(values, name=GROUP))
        return cls(codes, list(levels))

    @cached_property
    def rows(self) -> list[Ints]:
        """The rows of each group."""
        return rows_by_group(self.codes, len(self.labels))

    @cached_property
    def sizes(self) -> Ints:
        return np.bincount(self.codes, minlength=len(self.labels)).astype(np.intp)


@frozen(eq=False)
class Inputs:
    """endog (n,), exog (n, k_fe), exog_re (n, k_re; no column: none), variance components and groups, with their names.

    index: the labels of rows where the data are pandas; else None, and results are arrays.   vc: the components group by group.
    """

    endog: Array
    exog: Array
    exog_re: Array
    components: tuple[Component, ...]
    groups: Groups
    endog_name: str
    exog_names: list[str]
    exog_re_names: list[str]
    layout: Layout
    index: pd.Index | None
    vc: VCSpec | None = None
    formula: str | None = None
    given: tuple[Any, Any] = (None, None)  # endog and exog as they came


def check_missing(missing: str) -> None:
    """Raises ValueError for an unknown treatment of missing values."""
    if missing not in MISSING:
        raise ValueError(f"missing: {missing!r} · allowed: {', '.join(map(repr, MISSING))}")


def refuse_holes(holes: dict[str, NDArray[np.bool_]], missing: str) -> NDArray[np.bool_]:
    """The rows to keep. Raises DataError where values are missing and none may go."""
    bad = np.logical_or.reduce(list(holes.values()))
    if bad.any() and missing != "drop":
        told = ", ".join(f"{what} ({int(mask.sum())})" for what, mask in holes.items() if mask.any())
        raise DataError(
            f"data: {int(bad.sum())} of {len(bad)} rows have missing values: {told}"
            " · drop or fill them, or use missing='drop'"
        )
    return np.asarray(~bad)


def _columns(values: Any, what: str) -> tuple[Array, list[str] | None]:
    """A matrix (n, k) of numbers, and the names of its columns where it has any."""
    names = None
    if isinstance(values, pd.DataFrame):
        names = [str(c) for c in values.columns]
    elif isinstance(values, pd.Series) and values.name is not None:
        names = [str(values.name)]
    try:
        matrix = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        remedy = "make indicator columns of categories, or use a formula"
        raise DataError(f"{what}: values that are not numbers · allowed: numbers · {remedy}") from None
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2:
        raise DataError(f"{what}: an array with {matrix.ndim} dimensions · allowed: one or two")
    return matrix, names


def _labels(groups: Any) -> Any:
    """One label a row, of any kind: tuples too. Raises DataError."""
    if isinstance(groups, pd.DataFrame) and groups.shape[1] == 1:
        groups = groups.iloc[:, 0]
    if isinstance(groups, (list, tuple)) and any(isinstance(label, tuple) for label in groups):
        out = np.empty(len(groups), dtype=object)
        out[:] = groups
        return out
    labels = np.asarray(groups)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or (labels.dtype.kind == "O" and labels.shape == (1,) and labels[0] is None):
        raise DataError(f"groups: an array of shape {labels.shape} · allowed: one label for each row")
    return labels


def _holes(Z: Any) -> NDArray[np.bool_]:
    """The rows of a matrix, dense or sparse, that have a missing value."""
    if not sparse.issparse(Z):
        return np.asarray(np.isnan(Z).any(axis=1))
    out = np.zeros(Z.shape[0], dtype=bool)
    out[np.repeat(np.arange(Z.shape[0]), np.diff(Z.indptr))[np.isnan(Z.data)]] = True
    return out


def from_arrays(endog: Any, exog: Any, groups: Any, exog_re: Any, exog_vc: Any, missing: str) -> Inputs:
    """Arrays or pandas objects, matched by position. Raises DataError, ValueError."""
    check_missing(missing)
    y, y_names = _columns(endog, "endog")
    if y.shape[1] != 1:
        raise DataError(f"endog: {y.shape[1]} columns · allowed: one")
    n = len(y)
    X, X_names = _columns(np.zeros((n, 0)) if exog is None else exog, "exog")
    labels = _labels(groups)
    if len(labels) != n:
        raise DataError(f"groups: {len(labels)} rows · allowed: those of endog, {n}")
    unknown = np.asarray(pd.isna(labels))
    spec = exog_vc
    if exog_vc is not None and not isinstance(exog_vc, dict) and not hasattr(exog_vc, "names"):
        raise DataError(
            f"exog_vc: a {type(exog_vc).__name__} · allowed: a VCSpec, or a dict {{component: {{group: design}}}}"
        )
    if exog_vc is not None and len(exog_vc if isinstance(exog_vc, dict) else exog_vc.names):
        refuse_holes({"groups": unknown}, "raise")  # components are given by group
        every = Groups.of(labels)
        spec = from_dict(exog_vc, every.labels) if isinstance(exog_vc, dict) else exog_vc
    has_components = spec is not None and bool(spec.names)
    default = exog_re is None and not has_components
    if default:
        Z, Z_names = np.ones((n, 1)), [GROUP]
    else:
        Z, Z_names = _columns(np.zeros((n, 0)) if exog_re is None else exog_re, "exog_re")  # type: ignore[assignment]
    for what, rows in (("exog", len(X)), ("exog_re", len(Z))):
        if rows != n:
            raise DataError(f"{what}: {rows} rows · allowed: those of endog, {n}")
    components = read_components(spec, every.rows, n) if has_components else ()
    holes = {"endog": _holes(y), "exog": _holes(X), "exog_re": _holes(Z), "groups": unknown}
    keep = refuse_holes({**holes, **{f"exog_vc {c.name!r}": _holes(c.Z) for c in components}}, missing)
    if not keep.all():
        y, X, Z, labels = y[keep], X[keep], Z[keep], labels[keep]
        if components:
            left = np.bincount(every.codes[keep], minlength=len(every.labels)) > 0
            components, spec = tuple(c.take(keep, left) for c in components), None
    index = next((v.index[keep] for v in (endog, exog) if isinstance(v, (pd.Series, pd.DataFrame))), None)
    endog_name, exog_names = y_names[0] if y_names else "y", X_names or array_names(X)
    re_names = Z_names or [f"x_re{k + 1}" for k in range(Z.shape[1])]
    found = restored(y[:, 0], X, Z, labels, components, endog_name, exog_names, re_names)
    return evolve(found, index=index, vc=spec, given=(endog, exog))


def restored(
    y: Array, X: Array, Z: Array, labels: Any, components: tuple[Component, ...], endog_name: str, exog_names: list[str],
    re_names: list[str],
) -> Inputs:  # fmt: skip
    """Complete arrays as columns of a table, by their own names wherever a formula can hold them."""
    default = re_names == [GROUP] and bool(np.all(Z == 1.0))
    taken = {GROUP}
    response = safe_names([endog_name], "y", taken)[0]
    columns, effects = safe_names(exog_names, "x", taken), safe_names([] if default else re_names, "x_re", taken)
    table = {response: y, **dict(zip(columns, X.T, strict=True)), GROUP: labels}
    builder = ModelBuilder().fixed(" + ".join([f"`{response}` ~ 0", *(f"`{c}`" for c in columns)]))
    if default:
        builder = builder.random(f"1 | {GROUP}")
    elif effects:
        table |= dict(zip(effects, Z.T, strict=True))
        builder = builder.random(" + ".join(["0", *(f"`{c}`" for c in effects)]) + f" | {GROUP}")
    layout = lay_out(builder, pd.DataFrame(table), components, GROUP, by_formula=False)
    return Inputs(y, X, Z, components, Groups.of(labels), endog_name, exog_names, re_names, layout, None)
