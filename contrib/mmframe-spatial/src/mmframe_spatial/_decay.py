"""How correlations fall with a distance: rho(u) and u · rho'(u), at u = distance / range.

The definitions are those of mmframe's own spatial structures: exp(−u), exp(−u²), 1 − 1.5u + 0.5u³ up to u = 1, and Matérn's
with z = √(2ν) · u.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmframe_spatial._bessel import matern

Array = NDArray[Any]
DECAYS = ("exponential", "gaussian", "spherical", "matern")
MOST_SMOOTH = 50.0  # above it the Bessel function overflows at near points


def fall(decay: str, smoothness: float, u: Array) -> tuple[Array, Array]:
    """rho(u) and u · rho'(u), of the shape of u ≥ 0."""
    if decay == "exponential":
        rho = np.exp(-u)
        return rho, -u * rho
    if decay == "gaussian":
        squared = np.minimum(u, 1e3) ** 2  # beyond, exp(−u²) is zero, and u² may overflow
        rho = np.exp(-squared)
        return rho, -2.0 * squared * rho
    if decay == "spherical":
        near = np.minimum(u, 1.0)  # both are zero at 1, and stay so
        return 1.0 - 1.5 * near + 0.5 * near**3, -1.5 * near * (1.0 - near * near)
    return matern(smoothness, np.sqrt(2.0 * smoothness) * u)


def check_decay(decay: str, allowed: tuple[str, ...], remedy: str = "") -> None:
    """Raises ValueError for a name that is not among these."""
    if decay not in allowed:
        raise ValueError(f"decay={decay!r}; allowed: {', '.join(map(repr, allowed))}{remedy}")


def check_smoothness(smoothness: float, most: float, remedy: str) -> None:
    """Raises ValueError outside (0, most]."""
    if not 0.0 < smoothness <= most:
        raise ValueError(f"smoothness={smoothness}; allowed: above 0, up to {most:g}. {remedy}")
