"""A profiled parameter: ζ, the signed root of the rise of the deviance, which is a straight line where Wald's interval is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator
from scipy.stats import norm

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.pictures.canvas import LINE, QUIET, axes, plain
from mmframe.results.predict import check_confidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, ATTRIBUTES = ("value", "deviance", "zeta"), ("name", "estimate")
_STEPS = 400


def profile(profile_table: pd.DataFrame, ax: Axes | None = None, *, confidence: float = 0.95) -> Axes:
    """ζ against the values of a parameter, with the interval where |ζ| is below the normal quantile.

    profile_table: value, deviance (−2 log L there, all else optimised again), zeta (the root of its rise, negative below the
    estimate), a row a value; its `attrs` hold the parameter's name and estimate. An end of the interval is drawn where the
    table reaches it. Raises SpecError, MissingPackageError.
    """
    check_confidence(confidence)
    name, estimate, value, zeta = _read(profile_table)
    level = norm.ppf(0.5 + 0.5 * confidence)
    fine = np.linspace(value[0], value[-1], _STEPS)
    curve = PchipInterpolator(value, zeta)(fine)
    ax = axes(ax)
    ax.axhline(0.0, **LINE)
    ax.axvline(estimate, **LINE)
    for end in (-level, level):
        ax.axhline(end, color=QUIET, linewidth=1.0, linestyle="--")
        for at in crossings(fine, curve, end):
            ax.plot([at, at], [0.0, end], color="C1", linewidth=1.6)
    ax.plot(fine, curve, color="C0")
    ax.plot(value, zeta, linestyle="none", marker="o", color="C0", markersize=3.5)
    ax.set_xlabel(plain(name))
    ax.set_ylabel("ζ")
    ax.set_title(f"Profile, {100 * confidence:g} % interval")
    return ax


def crossings(x: Array, y: Array, level: float) -> Array:
    """Where the broken line through (x, y) meets a level, (k,)."""
    off = y - level
    k = np.flatnonzero((off[:-1] < 0) != (off[1:] < 0))
    return np.asarray(x[k] - off[k] * (x[k + 1] - x[k]) / (off[k + 1] - off[k]))


def _read(table: pd.DataFrame) -> tuple[str, float, Array, Array]:
    """Name, estimate, and the finite rows: values (m,), increasing, and ζ (m,)."""
    if not isinstance(table, pd.DataFrame):
        raise SpecError(Issue("profile_table", f"a {type(table).__name__}", "a DataFrame"))
    missing = [f"no column {c!r}" for c in COLUMNS if c not in table]
    missing += [f"no {a!r} in attrs" for a in ATTRIBUTES if a not in table.attrs]
    if missing:
        allowed = f"columns {', '.join(COLUMNS)}; attrs {', '.join(ATTRIBUTES)}"
        raise SpecError(Issue("profile_table", ", ".join(missing), allowed))
    rows = table[list(COLUMNS)].to_numpy(dtype=float)
    rows = rows[np.isfinite(rows).all(axis=1)]
    value, first = np.unique(rows[:, 0], return_index=True)
    if len(value) < 2:
        raise SpecError(Issue("profile_table", f"{len(value)} finite rows", "two or more values of the parameter"))
    return str(table.attrs["name"]), float(table.attrs["estimate"]), value, rows[first, 2]
