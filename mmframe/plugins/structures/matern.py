"""The Matérn correlation: how smooth the field is, is an option."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen
from scipy.special import gamma, kv

from mmframe.api import CovarianceStructure, Points, hookimpl
from mmframe.plugins.structures._spatial import Spatial

# exp(−700) is the last that a float holds; above this smoothness the Bessel function overflows at near points.
_FAR, _MOST = 700.0, 50.0


@frozen
class Matern(Spatial):
    """Σ_ij = variance · 2^(1−ν)/Γ(ν) · z^ν K_ν(z), z = √(2ν) · d_ij / range, ν the smoothness.

    With nugget=True times (1 − nugget) off the diagonal. Rasmussen & Williams (2006), Gaussian Processes for Machine
    Learning, eq. 4.14, whose range this is: 0.5 is spatial_exponential, and ν → ∞ exp(−½(d/range)²), which is
    spatial_gaussian with the range times √2. Others take z = d / range (geoR, SP(MATERN) of SAS) or z = 2√ν · d / range
    (SP(MATHSW) of SAS).
    """

    name = "matern"
    smoothness: float = field(default=1.5)

    @smoothness.validator
    def _usable(self, _: object, value: float) -> None:
        if not 0.0 < value <= _MOST:
            raise ValueError(f"smoothness={value}; allowed: above 0, up to {_MOST:g}. Beyond, use spatial_gaussian")

    def decay(self, ratio: Any) -> tuple[Any, Any]:
        nu = self.smoothness
        z = np.sqrt(2.0 * nu) * ratio
        if nu in _CLOSED:
            return _CLOSED[nu](z)
        # Bessel functions are slow, and distances come twice at least.
        distinct, place = np.unique(z, return_inverse=True)
        rho, slope = _bessel(nu, distinct)
        return rho[place].reshape(z.shape), slope[place].reshape(z.shape)

    def markov(self, points: Points) -> bool:
        return self.smoothness == 0.5 and points.index.shape[1] == 1 and not self.nugget


def _bessel(nu: float, z: Any) -> tuple[Any, Any]:
    near = np.minimum(z, _FAR)
    value, below = kv(nu, near), kv(nu - 1.0, near)
    apart = np.isfinite(value) & np.isfinite(below)  # else z is zero, or as good as zero
    power = 2.0 ** (1.0 - nu) / gamma(nu) * near**nu
    rho = np.where(apart, power * np.where(apart, value, 0.0), 1.0)
    slope = np.where(apart, -power * near * np.where(apart, below, 0.0), 0.0)
    return np.where(z < _FAR, rho, 0.0), np.where(z < _FAR, slope, 0.0)


def _rough(z: Any) -> tuple[Any, Any]:
    rho = np.exp(-z)
    return rho, -z * rho


def _once(z: Any) -> tuple[Any, Any]:
    falling = np.exp(-z)
    return (1.0 + z) * falling, -z * z * falling


def _twice(z: Any) -> tuple[Any, Any]:
    falling = np.exp(-z)
    return (1.0 + z + z * z / 3.0) * falling, -z * z * (1.0 + z) * falling / 3.0


_CLOSED = {0.5: _rough, 1.5: _once, 2.5: _twice}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Matern]
