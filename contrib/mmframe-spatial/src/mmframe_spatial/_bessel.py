"""The Matérn correlation, its slope in the distance, and its derivative in the smoothness.

rho(z) = 2^(1−ν)/Γ(ν) · z^ν K_ν(z) (Matérn 1960; Stein 1999, Interpolation of Spatial Data), with z = √(2ν) · d / range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, kv

Array = NDArray[Any]

# exp(−700) is the last that a float holds.
_FAR = 700.0
# exp(−40) is below the rounding of the largest term.
_NEGLIGIBLE = 40.0
_BLOCK = 1 << 20  # nodes of the quadrature that are held at a time


def matern(nu: float, z: Array) -> tuple[Array, Array]:
    """rho(z) and z · rho'(z) for z ≥ 0 of any shape. ν = 1/2, 3/2, 5/2 have closed forms."""
    if nu in _CLOSED:
        rho, slope = _CLOSED[nu](z)
        return np.asarray(rho), np.asarray(slope)
    # Bessel functions are slow, and distances come twice at least.
    distinct, place = np.unique(z, return_inverse=True)
    rho, slope = _by_bessel(nu, distinct)
    return rho[place].reshape(z.shape), slope[place].reshape(z.shape)


def matern_in_order(nu: float, z: Array) -> Array:
    """∂rho/∂ν at a fixed z ≥ 0 of any shape.

    ∂K_ν/∂ν is the integral ∫ exp(−z cosh t) t sinh(νt) dt over t > 0 (DLMF 10.32.9, under the integral sign), by the
    trapezoidal rule: the integrand is even, analytic and falls double exponentially, so the rule converges exponentially
    (Trefethen & Weideman 2014, SIAM Review 56). Differences in ν would lose half of the digits.
    """
    distinct, place = np.unique(z, return_inverse=True)
    out = np.zeros(distinct.size)
    wanted = np.flatnonzero((distinct > 1e-300) & (distinct < _FAR))
    if wanted.size:
        near = distinct[wanted]
        own = matern(nu, near)[0] * (np.log(near / 2.0) - digamma(nu))
        out[wanted] = own + _integral(nu, near)
    return np.asarray(out[place].reshape(z.shape))


def _integral(nu: float, z: Array) -> Array:
    """2^(1−ν)/Γ(ν) · z^ν ∂K_ν(z)/∂ν, for z > 0 in one dimension."""
    log_scale = (1.0 - nu) * np.log(2.0) - gammaln(nu) + nu * np.log(z) - z
    end = np.arccosh(1.0 + _NEGLIGIBLE / z)
    for _ in range(4):  # where z (cosh t − 1) − νt has grown to the negligible
        end = np.arccosh(1.0 + (_NEGLIGIBLE + nu * end) / z)
    # The peak is 1/√z wide; where z is small, the strip of analyticity, π/2, rules.
    step = np.minimum(0.2, 0.6 / np.sqrt(z))
    nodes = int(np.ceil(np.max(end / step)))
    out = np.empty(z.size)
    for part in np.array_split(np.arange(z.size), max(1, z.size * nodes // _BLOCK)):
        t = end[part, None] / nodes * np.arange(1, nodes + 1)
        fall = log_scale[part, None] - 2.0 * z[part, None] * np.sinh(0.5 * t) ** 2
        terms = 0.5 * t * (np.exp(fall + nu * t) - np.exp(fall - nu * t))
        out[part] = end[part] / nodes * np.sum(terms, axis=1)
    return out


def _by_bessel(nu: float, z: Array) -> tuple[Array, Array]:
    near = np.minimum(z, _FAR)
    value, below = kv(nu, near), kv(nu - 1.0, near)
    apart = np.isfinite(value) & np.isfinite(below)  # else z is zero, or as good as zero
    power = np.exp((1.0 - nu) * np.log(2.0) - gammaln(nu)) * near**nu
    rho = np.where(apart, power * np.where(apart, value, 0.0), 1.0)
    slope = np.where(apart, -power * near * np.where(apart, below, 0.0), 0.0)
    return np.where(z < _FAR, rho, 0.0), np.where(z < _FAR, slope, 0.0)


def _rough(z: Array) -> tuple[Array, Array]:
    rho = np.exp(-z)
    return rho, -z * rho


def _once(z: Array) -> tuple[Array, Array]:
    falling = np.exp(-z)
    return (1.0 + z) * falling, -z * z * falling


def _twice(z: Array) -> tuple[Array, Array]:
    falling = np.exp(-z)
    return (1.0 + z + z * z / 3.0) * falling, -z * z * (1.0 + z) * falling / 3.0


_CLOSED = {0.5: _rough, 1.5: _once, 2.5: _twice}
