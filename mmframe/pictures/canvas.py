"""What the pictures share: the axes to draw on, and marks that stay legible when there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmframe.errors import Issue, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INSTALL = "pip install 'mmframe[plot]'"
QUIET = "0.55"  # of lines that only help to read: seen on white and on black
LINE: dict[str, Any] = {"color": QUIET, "linewidth": 1.0, "zorder": 1}


def axes(ax: Axes | None, size: tuple[float, float] = (6.0, 4.2)) -> Axes:
    """The axes that were given, or those of a new figure of this size in inches. Raises MissingPackageError."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as problem:
        raise MissingPackageError(
            Issue("mmframe.pictures", f"matplotlib cannot be imported ({problem})", "3.8 or later", INSTALL)
        ) from problem
    return pyplot.subplots(figsize=size, layout="constrained")[1]


def dots(n: int) -> dict[str, Any]:
    """The style of n points: smaller and more transparent the more there are."""
    crowd = min(max(n / 200.0, 1.0), 100.0)
    return {"linestyle": "none", "marker": "o", "markersize": 4.5 / crowd**0.25, "alpha": 0.8 / crowd**0.3, "mew": 0}


def plain(text: Any) -> str:
    """A name of the data as it is; matplotlib reads what stands between dollar signs as mathematics."""
    return str(text).replace("$", r"\$")
