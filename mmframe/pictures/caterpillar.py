"""The caterpillar: random effects level by level, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from mmframe.pictures.canvas import LINE, axes, plain
from mmframe.pictures.subject import column_of, fit_of, response_of
from mmframe.results.predict import check_confidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEGIBLE = 6.0  # points from one level to the next, below which labels would run into each other


def random_effects(
    fit: Any,
    group: str | None = None,
    column: str | None = None,
    ax: Axes | None = None,
    *,
    confidence: float = 0.95,
    order: bool = True,
) -> Axes:
    """Conditional means of the random effects by level, upwards, with intervals.

    group, column: which, the first of each where none is named.   confidence: of the intervals, mean ± z conditional standard
    deviations, at fixed β and variances.   order: by mean; otherwise in the order of the levels.
    Levels are labelled where there is room. Raises SpecError, UnknownNameError, MissingPackageError.
    """
    fit = fit_of(fit)
    check_confidence(confidence)
    shown = column_of(fit, group, column)
    first = np.argsort(shown.mean, kind="stable") if order else np.arange(len(shown.mean))
    mean, half = shown.mean[first], norm.ppf(0.5 + 0.5 * confidence) * shown.sd[first]
    place = np.arange(len(mean))
    ax = axes(ax, (6.0, min(max(1.3 + 0.18 * len(mean), 2.6), 9.0)))
    room = ax.get_window_extent().height / ax.figure.dpi * 72.0 / len(mean)
    ax.axvline(0.0, **LINE)
    width = min(max(0.3 * room, 0.5), 1.6)
    light = 0.6 * min(1.0, room / width)  # where lines overlap, they are together as light as one
    ax.hlines(place, mean - half, mean + half, color="C0", linewidth=width, alpha=light, snap=False)
    ax.plot(mean, place, linestyle="none", marker="o", color="C0", markersize=min(max(0.6 * room, 2.0), 5.0), mew=0)
    margin = 0.8 + 0.01 * len(mean)
    ax.set_ylim(-margin, len(mean) - 1 + margin)
    if room >= _LEGIBLE:
        ax.set_yticks(place, [plain(shown.labels[k]) for k in first], fontsize=min(room, 10.0))
        ax.set_ylabel(plain(shown.group))
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(mean)} levels of {plain(shown.group)}")
    ax.set_xlabel(f"effect on {plain(response_of(fit))}, with {100 * confidence:g} % intervals")
    ax.set_title(plain(f"{shown.name} | {shown.group}"))
    return ax
