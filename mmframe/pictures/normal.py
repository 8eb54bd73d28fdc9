"""Normal quantiles: are residuals, or random effects, as a normal law has them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import beta, norm

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.pictures.canvas import LINE, QUIET, axes, plain
from mmframe.pictures.subject import column_of, fit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = 0.95


def quantiles(fit: Any, ax: Axes | None = None, *, of: str = "residuals", column: str | None = None) -> Axes:
    """Ordered values against the medians of a normal law's, with a pointwise 95 % band.

    of: "residuals", the normalized ones; or a grouping factor, the conditional means of a column of its random effects (the
    first where none is named), in data units. The line and the band are those of a normal law with the values' own mean and
    standard deviation. Effects of levels with few rows are drawn to zero more than others: where rows are very unequal, they
    are not quite normal even if the model is right. Raises SpecError, UnknownNameError, MissingPackageError.
    """
    fit = fit_of(fit)
    if of != "residuals":
        shown = column_of(fit, of, column, "of")
        values, title = shown.mean, f"{shown.name} | {shown.group}"
    elif column is None:
        values, title = fit.residuals("normalized").to_numpy(), "Normalized residuals"
    else:
        raise SpecError(Issue("column", f"{column!r}, of residuals", "a column of a grouping factor", "name it by of="))
    n = len(values)
    rank, few = np.arange(1, n + 1), some_ranks(n)
    middle = normal_order(n, few, 0.5)
    lower, upper = (normal_order(n, few, p) for p in (0.5 - 0.5 * BAND, 0.5 + 0.5 * BAND))
    mean, sd = values.mean(), values.std()
    ax = axes(ax, (4.8, 4.2))
    ax.fill_between(middle, mean + sd * lower, mean + sd * upper, color=QUIET, alpha=0.25, linewidth=0, label="95 %")
    ax.plot(middle, mean + sd * middle, **LINE)
    ax.plot(normal_order(n, rank, 0.5), np.sort(values), label=of, linestyle="none", marker="o", markersize=3.6, mew=0)
    ax.set_xlabel("standard normal quantile")
    ax.set_ylabel("conditional mean" if of != "residuals" else "residual")
    ax.set_title(plain(title))
    return ax


def normal_order(n: int, rank: Array, p: float) -> Array:
    """The p-quantile of the ordered standard normals of these ranks, from 1, among n: a uniform's law is Beta(i, n + 1 − i)."""
    return np.asarray(norm.ppf(beta.ppf(p, rank, n + 1 - rank)))


def some_ranks(n: int) -> Array:
    """All of up to 200 ranks; of more the first, the last, and ever fewer towards the middle, where a band hardly bends."""
    if n <= 200:
        return np.arange(1, n + 1)
    first = np.unique(np.geomspace(1, n / 2, 100).round())
    return np.concatenate([first, (n + 1 - first)[::-1]])
