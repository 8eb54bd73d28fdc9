"""Geometric anisotropy: correlations whose contours are ellipses.

Isaaks & Srivastava (1989), An Introduction to Applied Geostatistics, ch. 16; Chilès & Delfiner (2012), Geostatistics, 2nd ed.,
ch. 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import Box, CovarianceStructure, Interval, Param, Phi, Points, Positive, distances, hookimpl
from mmframe_spatial._decay import DECAYS, MOST_SMOOTH, check_decay, check_smoothness, fall
from mmframe_spatial._field import TINY, Array, Field, half_median, nearest

# The most of `stretch` and `shear`: a ratio of 1/55. Beyond it the correlation is of strips rather than of ellipses.
_MOST = 4.0
# Points are on one line where they miss it by this share of their spread.
_LINE = 1e-9


@frozen
class Anisotropic(Field):
    """Σ_ij = variance · rho(u_ij), u² = (along/range)² + (across/(ratio · range))², over two coordinates.

    `along` and `across` are the parts of the displacement in the direction `angle`, in degrees anticlockwise from the axis of
    the first coordinate, and at right angles to it. With nugget=True times (1 − nugget) off the diagonal.

    decay: "exponential", "gaussian", "spherical" or "matern" (with `smoothness`), as the isotropic structures have them.

    With neither `angle` nor `ratio` given, both are estimated. Range, ratio and angle are then no good parameters: at ratio 1
    the angle is flat, an angle has no ends, and (range · ratio, 1/ratio, angle + 90°) is the same matrix. The natural ones
    are those of the symmetric matrix A, [[stretch, shear], [shear, −stretch]], whose exponential exp(A) · mean_range² is that
    of the ellipse: every ellipse has one, and the circle is an inner point, stretch = shear = 0. What is reported is range
    (of the longer axis), ratio (0 < ratio ≤ 1) and angle (−90° < angle ≤ 90°).

    With `angle` given, the parameters are range, along the angle, and ratio, which may then be above 1. With `ratio` given
    too, it is range alone.
    """

    name = "anisotropic"
    aliases = ("aniso",)
    decay: str = field(default="exponential")
    smoothness: float = field(default=1.5)
    angle: float | None = None
    ratio: float | None = field(default=None)

    @decay.validator
    def _known(self, _: object, value: str) -> None:
        check_decay(value, DECAYS)

    @smoothness.validator
    def _usable(self, _: object, value: float) -> None:
        check_smoothness(value, MOST_SMOOTH, "Beyond, use decay='gaussian'")

    @ratio.validator
    def _possible(self, _: object, value: float | None) -> None:
        if value is not None and not 0.0 < value < np.inf:
            raise ValueError(f"ratio={value}; allowed: above 0, the range across over the range along")
        if value is not None and self.angle is None:
            raise ValueError(f"ratio={value} without an angle; give angle= too, or neither")

    def check(self, points: Points) -> None:
        if points.index.shape[1] != 2:
            raise ValueError(
                f"anisotropic takes two coordinates, x + y, and these points have {points.index.shape[1]}. In other dimensions"
                " use sp_exp, matern or matern_nu; or kronecker of structures with one coordinate each"
            )

    def shapes(self, points: Points, between: Array) -> tuple[Param, ...]:
        half = half_median(between)
        low = nearest(between) if self.decay == "spherical" else 0.0
        reach = Positive() if low == 0.0 else Box(low, np.inf)
        centred = points.index - points.index.mean(axis=0)
        spread = np.linalg.svd(centred, compute_uv=False)
        plane = spread.size > 1 and spread[1] > _LINE * spread[0]  # points on a line see one direction only
        if self.angle is None:
            start = Param("mean_range", reach, start=low + half, shown=False)
            if not plane:
                return (start,)
            entries = tuple(Param(n, Interval(-_MOST, _MOST), start=0.0, shown=False) for n in ("stretch", "shear"))
            return (start, *entries)
        along = Param("range", reach, start=low + half)
        return (along,) if self.ratio is not None or not plane else (along, Param("ratio", Positive(), start=1.0))

    def apart(self, index: Array) -> Array:
        return distances(index)

    def correlation(self, phi: Phi, index: Array) -> tuple[Array, Mapping[str, Array]]:
        gap = index[..., :, None, :] - index[..., None, :, :]
        x, y = gap[..., 0], gap[..., 1]
        if self.angle is None:
            return self._free(phi, x, y)
        return self._turned(phi, x, y)

    def report(self, phi: Phi, points: Points) -> Any:
        """range of the longer axis, in the units of the coordinates; ratio of the shorter to it; angle of the longer, degrees."""
        if "mean_range" not in phi:
            return {}
        return ellipse(phi.mean_range, phi.get("stretch", 0.0), phi.get("shear", 0.0))

    def _free(self, phi: Phi, x: Array, y: Array) -> tuple[Array, Mapping[str, Array]]:
        """u² = h' exp(−A) h / mean_range², exp(−A) = cosh l · I − (sinh l / l) · A, l² = stretch² + shear²."""
        reach, c, s = max(phi.get("mean_range", 1.0), TINY), phi.get("stretch", 0.0), phi.get("shear", 0.0)
        length = float(np.hypot(c, s))
        cosh, sinhc, growth = _hyperbolic(length)
        round_part, c_part, s_part = x * x + y * y, x * x - y * y, 2.0 * x * y
        along = c * c_part + s * s_part
        squared = np.maximum(cosh * round_part - sinhc * along, 0.0)
        with np.errstate(over="ignore"):  # at a range of zero all is far
            rho, slope = fall(self.decay, self.smoothness, np.sqrt(squared) / reach)
        half = np.divide(0.5 * slope, squared, out=np.zeros_like(squared), where=squared > 0.0)
        # d cosh l / dc = c · sinh l / l, and d (sinh l / l) / dc = c · growth
        common = sinhc * round_part - growth * along
        slopes = {
            "mean_range": -slope / reach,
            "stretch": half * (c * common - sinhc * c_part),
            "shear": half * (s * common - sinhc * s_part),
        }
        return rho, {name: value for name, value in slopes.items() if name in phi}

    def _turned(self, phi: Phi, x: Array, y: Array) -> tuple[Array, Mapping[str, Array]]:
        assert self.angle is not None
        turn = np.deg2rad(self.angle)
        reach = max(phi.get("range", 1.0), TINY)
        ratio = max(phi.get("ratio", 1.0 if self.ratio is None else self.ratio), TINY)
        with np.errstate(over="ignore"):
            along = (x * np.cos(turn) + y * np.sin(turn)) / reach
            across = (y * np.cos(turn) - x * np.sin(turn)) / reach / ratio
            u = np.hypot(along, across)
            rho, slope = fall(self.decay, self.smoothness, u)
        slopes = {"range": -slope / reach}
        if "ratio" in phi:
            share = np.divide(across, u, out=np.zeros_like(u), where=(u > 0.0) & np.isfinite(u)) ** 2
            slopes["ratio"] = -slope * share / ratio
        return rho, {name: value for name, value in slopes.items() if name in phi}


def ellipse(mean_range: float, stretch: float, shear: float) -> dict[str, float]:
    """range, ratio and angle of the natural parameters. Of a circle the angle is 0."""
    length = float(np.hypot(stretch, shear))
    turn = 0.5 * np.arctan2(shear, stretch)
    return {
        "range": float(mean_range * np.exp(0.5 * length)),
        "ratio": float(np.exp(-length)),
        "angle": float(np.rad2deg(turn)),
    }


def natural(range: float, ratio: float, angle: float) -> dict[str, float]:
    """The natural parameters of an ellipse, for `start=` and `fix=`: mean_range, stretch and shear.

    range: of the axis in the direction of the angle, in the units of the coordinates.   ratio: the range across over it.
    angle: in degrees, anticlockwise from the first coordinate. Raises ValueError for a range or ratio that is not positive.
    """
    if not (range > 0.0 and ratio > 0.0):
        raise ValueError(f"range={range}, ratio={ratio}; allowed: above 0")
    length, twice = 0.0 - np.log(ratio), 2.0 * np.deg2rad(angle)  # 0, and not -0, of a circle
    return {
        "mean_range": float(range * np.sqrt(ratio)),
        "stretch": float(length * np.cos(twice)),
        "shear": float(length * np.sin(twice)),
    }


def _hyperbolic(length: float) -> tuple[float, float, float]:
    """cosh l, sinh l / l, and (cosh l − sinh l / l) / l²: even functions of l, smooth at zero."""
    if length < 1e-2:  # the differences lose digits; the next terms of the series are below 1e-13
        square = length * length
        return (
            float(np.cosh(length)),
            1.0 + square / 6.0 + square**2 / 120.0,
            1.0 / 3.0 + square / 30.0 + square**2 / 840.0,
        )
    sinhc = float(np.sinh(length)) / length
    return float(np.cosh(length)), sinhc, (float(np.cosh(length)) - sinhc) / length**2


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Anisotropic]
