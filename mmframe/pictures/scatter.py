"""Residuals against fitted values: does the mean fit, and is the spread the same everywhere?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmframe.pictures.canvas import LINE, axes, dots, plain
from mmframe.pictures.local_line import local_line
from mmframe.pictures.subject import fit_of, response_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def residuals(fit: Any, ax: Axes | None = None, *, kind: str = "pearson", smooth: bool = True) -> Axes:
    """Residuals of a kind (`fit.residuals`) against the fitted values, with a line at zero.

    smooth: draws their local mean too, a locally linear fit to the nearest two thirds of the rows.
    Response residuals are in units of the response, the others in standard deviations.
    Raises SpecError, MissingPackageError.
    """
    fit = fit_of(fit)
    fitted, values = fit.fitted.to_numpy(), fit.residuals(kind).to_numpy()
    response = plain(response_of(fit))
    ax = axes(ax)
    ax.axhline(0.0, **LINE)
    ax.plot(fitted, values, label="residuals", **dots(len(values)))
    if smooth:
        ax.plot(*local_line(fitted, values), color="C1", linewidth=1.8, label="local mean")
    ax.set_xlabel(f"fitted {response}")
    ax.set_ylabel(f"residual {response}" if kind == "response" else f"{kind.capitalize()} residual")
    ax.set_title("Residuals")
    return ax
