"""Correlations on the globe: over longitude and latitude in degrees, with ranges in kilometres.

With great-circle distances most families of the plane are not positive definite. Gneiting (2013), Strictly and non-strictly
positive definite functions on spheres, Bernoulli 19, Table 1, lists those that are, with their parameters: Matérn's for
ν ≤ 1/2 (the exponential among them) and the spherical. Distances through the ball, chords, are Euclidean distances in three
dimensions, and every family of these is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import Box, CovarianceStructure, Param, Phi, Points, Positive, hookimpl
from mmframe_spatial._decay import MOST_SMOOTH, check_decay, check_smoothness, fall
from mmframe_spatial._field import TINY, Array, Field, half_median, nearest

# The mean radius of the Earth, (2a + b)/3 of the ellipsoid GRS 80, in kilometres (Moritz 2000, J. Geodesy 74).
EARTH = 6371.0088
_SMOOTHEST_ON_SPHERE = 0.5


def great_circle(index: Any, radius: float = EARTH) -> Array:
    """Great-circle distances in the unit of the radius: (..., m, 2) longitudes and latitudes in degrees -> (..., m, m).

    The haversine of the angle, and that of its supplement in the same way, since the first alone loses half of the digits
    for places that are nearly opposite. Raises ValueError for latitudes beyond ±90.
    """
    near, far = _haversines(_checked(index))
    return np.asarray(2.0 * radius * np.arctan2(np.sqrt(near), np.sqrt(far)))


def chord(index: Any, radius: float = EARTH) -> Array:
    """Straight distances through the ball, 2 · radius · sin(angle / 2), as `great_circle` takes and gives them."""
    return np.asarray(2.0 * radius * np.sqrt(_haversines(_checked(index))[0]))


def _haversines(index: Array) -> tuple[Array, Array]:
    """sin²(angle/2) and cos²(angle/2) of all pairs, each a sum of what is not negative."""
    place = np.deg2rad(index)
    longitude, latitude = place[..., 0], place[..., 1]
    half = 0.5 * (longitude[..., :, None] - longitude[..., None, :])
    gap = 0.5 * (latitude[..., :, None] - latitude[..., None, :])
    middle = 0.5 * (latitude[..., :, None] + latitude[..., None, :])
    shrink = np.maximum(np.cos(latitude), 0.0)
    both = shrink[..., :, None] * shrink[..., None, :]
    return np.sin(gap) ** 2 + both * np.sin(half) ** 2, np.sin(middle) ** 2 + both * np.cos(half) ** 2


def _checked(index: Any) -> Array:
    place = np.asarray(index, dtype=float)
    if place.shape[-1] != 2:
        raise ValueError(f"longitude and latitude are two coordinates, and these points have {place.shape[-1]}")
    latitude = place[..., 1]
    beyond = np.abs(latitude) > 90.0
    if np.any(beyond):
        worst = latitude[beyond].flat[0]
        raise ValueError(
            f"a latitude of {worst:g}; allowed: -90 to 90 degrees. Longitude comes first: (longitude + latitude | ...)"
        )
    return place


@frozen
class _OnSphere(Field):
    """What both have: a range in the unit of the radius, kilometres of the Earth unless another is given."""

    smoothness: float = 0.5
    radius: float = field(default=EARTH)

    @radius.validator
    def _possible(self, _: object, value: float) -> None:
        if not 0.0 < value < np.inf:
            raise ValueError(f"radius={value}; allowed: above 0, in the unit of the range")

    def check(self, points: Points) -> None:
        _checked(points.index)

    def shapes(self, points: Points, between: Array) -> tuple[Param, ...]:
        low = nearest(between) if self._decay == "spherical" else 0.0
        reach = Positive() if low == 0.0 else Box(low, np.inf)
        return (Param("range", reach, start=low + half_median(between)),)

    def correlation(self, phi: Phi, index: Array) -> tuple[Array, Mapping[str, Array]]:
        reach = max(phi.get("range", 1.0), TINY)
        with np.errstate(over="ignore"):
            rho, slope = fall(self._decay, self.smoothness, self.apart(index) / reach)
        return rho, {"range": -slope / reach} if "range" in phi else {}

    @property
    def _decay(self) -> str:
        return "matern"


@frozen
class GreatCircle(_OnSphere):
    """Σ_ij = variance · rho(d_ij / range), d the great-circle distance of two places (longitude + latitude, in degrees).

    decay: "exponential", exp(−u); "spherical", 1 − 1.5u + 0.5u³ up to u = 1; or "matern" with smoothness ≤ 0.5, which alone
    of its kind is positive definite here (Gneiting 2013, Table 1). The range is in the unit of `radius`, the mean radius of
    the Earth in kilometres. With nugget=True times (1 − nugget) off the diagonal. Raises ValueError for latitudes beyond ±90.
    """

    name = "great_circle"
    aliases = ("gc",)
    decay: str = field(default="exponential", kw_only=True)

    @decay.validator
    def _valid(self, _: object, value: str) -> None:
        check_decay(
            value,
            ("exponential", "spherical", "matern"),
            ". Others are not positive definite with great-circle distances: use chordal_matern, of any smoothness",
        )
        check_smoothness(
            self.smoothness,
            _SMOOTHEST_ON_SPHERE,
            "Above 0.5 Matérn's is not positive definite with great-circle distances: use chordal_matern",
        )

    @property
    def _decay(self) -> str:
        return self.decay

    def apart(self, index: Array) -> Array:
        return great_circle(index, self.radius)


@frozen
class ChordalMatern(_OnSphere):
    """Σ_ij = variance · matern(c_ij / range), c the chord between two places (longitude + latitude, in degrees).

    A Matérn field in the space around the globe, seen on its surface: valid for every smoothness (Gneiting 2013; Yadrenko
    1983). Places that are near have chords like their great-circle distances. `smoothness` up to 50; the range is in the
    unit of `radius`, kilometres. With nugget=True times (1 − nugget) off the diagonal. Raises ValueError for latitudes
    beyond ±90.
    """

    name = "chordal_matern"
    smoothness: float = field(default=1.5)

    @smoothness.validator
    def _usable(self, _: object, value: float) -> None:
        check_smoothness(value, MOST_SMOOTH, "Fields as smooth as that do not tell it")

    def apart(self, index: Array) -> Array:
        return chord(index, self.radius)


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [GreatCircle, ChordalMatern]
