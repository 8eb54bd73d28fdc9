"""Positions that discrete-time structures count in whole steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmframe.api import Points, lags

# Positions that were computed, 0.1 * 30, miss whole numbers by rounding.
_ROUNDING = 1e-6


def whole_lags(index: Any) -> Any:
    """Absolute differences of positions, as integers: (..., m, 1) -> (..., m, m)."""
    return np.rint(lags(index)).astype(int)


def powers(base: float, exponents: Any) -> Any:
    """base^exponent for whole exponents: numpy's own power is ten times slower where the base is negative."""
    size = abs(base) ** exponents
    return np.where(exponents % 2, -size, size) if base < 0 else size


def whole_positions(points: Points, who: str) -> Any:
    """The positions in ascending order, as whole steps from the first of them.

    Raises ValueError where two are not a whole number apart: `who` names the structure.
    """
    place = np.sort(points.index[:, 0])
    steps = place - place[0]
    whole = np.rint(steps)
    astray = np.flatnonzero(np.abs(steps - whole) > _ROUNDING)
    if astray.size:
        raise ValueError(
            f"{who} needs positions a whole number apart: {place[astray[0]]:g} is {steps[astray[0]]:g} from {place[0]:g}."
            " Use car1, which takes any positions; or a categorical, of which the order counts"
        )
    return whole.astype(int)


def usual_gap(points: Points) -> float:
    """The median distance between neighbours; 1 where there is but one point."""
    gaps = np.diff(np.sort(points.index[:, 0]))
    return float(np.median(gaps)) if gaps.size else 1.0
