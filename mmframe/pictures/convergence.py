"""The way to the optimum: how far −2 log L was above its end, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmframe.pictures.canvas import LINE, axes
from mmframe.pictures.subject import fit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of −2 log L, below which differences are its rounding; what is nearer to the end is drawn there.
_ROUNDING = 1e-12


def trace(fit: Any, ax: Axes | None = None) -> Axes:
    """−2 log L above its end (log scale) by evaluations of the criterion, a colour a stage.

    The end is the lowest value of the trace and of the fit. Points at the end itself are drawn at the size of its rounding.
    Raises SpecError, MissingPackageError.
    """
    fit = fit_of(fit)
    table = fit.trace
    end = min(table["value"].min(), fit.deviance)
    above = np.maximum(table["value"] - end, _ROUNDING * max(abs(end), 1.0))
    stage = (table["stage"] != table["stage"].shift()).cumsum()  # the same stage may run twice
    ax = axes(ax)
    ax.set_yscale("log")
    ax.plot(table["evaluations"], above, **LINE)
    for _, rows in table.groupby(stage):
        at = rows.index
        ax.plot(rows["evaluations"], above[at], marker="o", markersize=4.5, label=rows["stage"].iloc[0])
    ax.set_xlabel("evaluations")
    ax.set_ylabel("−2 log L above its end")
    ax.set_title("Trace")
    ax.legend()
    return ax
