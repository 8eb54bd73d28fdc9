"""A picture of a variogram, by matplotlib, which is an optional package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_variogram(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Semivariances by distance, larger dots for more pairs, a colour for each direction; the fitted model as a line.

    table: what `variogram` returned; it has the line where that was given a model.   ax: where to draw, else a new figure.
    Returns the Axes. Raises ValueError for another table, ImportError without matplotlib.
    """
    missing = [name for name in ("distance", "semivariance", "pairs") if name not in table.columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(missing)}; give what variogram() returned")
    ax = _axes() if ax is None else ax
    parts: list[tuple[Any, pd.DataFrame]] = [(None, table)]
    if "direction" in table.columns:
        parts = list(table.groupby("direction", sort=False))
    most = float(table["pairs"].max())
    for k, (direction, part) in enumerate(parts):
        colour = f"C{k}"
        ax.scatter(
            part["distance"], part["semivariance"], s=8.0 + 40.0 * np.sqrt(part["pairs"] / most), color=colour,
            label="observed" if direction is None else f"{direction:g}°",
        )  # fmt: skip
        if "model" in part.columns:
            ax.plot(part["distance"], part["model"], color=colour, label="model" if direction is None else None)
    ax.set_xlim(left=0.0)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("distance")
    ax.set_ylabel("semivariance")
    if len(parts) > 1 or "model" in table.columns:
        ax.legend()
    return ax


def _axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as problem:
        raise ImportError(
            f"plot_variogram draws by matplotlib, which cannot be imported ({problem}); pip install 'mmframe-spatial[plot]'"
        ) from problem
    return pyplot.subplots(figsize=(6.0, 4.2), layout="constrained")[1]
