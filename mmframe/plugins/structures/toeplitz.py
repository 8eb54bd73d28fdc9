"""A correlation for each lag in whole steps, or for the first few."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from attrs import field, frozen

from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Phi, Points, Positive, hookimpl
from mmframe.plugins.structures._positions import whole_lags, whole_positions

_PARTIAL = "partial_"
# Lags beyond this number of steps make a recursion of that length for every evaluation.
_MOST = 2000
_STEP = 1e-30


@frozen
class Toeplitz(CovarianceStructure):
    """Σ_ij = variance · rho_k at lag k = |t_i − t_j|, for positions a whole number apart.

    bands: 0, a correlation for each lag; b, for the lags below b of the shortest step (the diagonal counts, as in
    TOEP(b) of SAS PROC MIXED), and zero from there on.

    The coordinates are the partial autocorrelations partial_k in (−1, 1): every choice of them is positive definite, and
    every positive definite sequence has one (Barndorff-Nielsen & Schou 1973, J. Multivariate Anal. 3; the recursion is
    Durbin & Levinson's). A lag that no two points have gets no parameter, and the partial 0. With bands=b the rho are
    those of an invertible moving average of order b − 1, its coefficients spanned by partials in the same way (Monahan
    1984, Biometrika 71): that is what is positive definite for any number of points, slightly less than for these.
    """

    name = "toeplitz"
    aliases = ("toep",)
    index_kind = POSITION
    bands: int = field(default=0)

    @bands.validator
    def _counts(self, _: object, value: int) -> None:
        if value < 0:
            raise ValueError(f"bands={value}; allowed: 0 (all lags), or how many diagonals are not zero: 1, 2, ...")

    def params(self, points: Points) -> tuple[Param, ...]:
        partials = (Param(f"{_PARTIAL}{lag}", Interval(-1.0, 1.0), shown=False) for lag in self._lags(points))
        return Param("variance", Positive(), scale_power=2), *partials

    def _lags(self, points: Points) -> list[int]:
        """The lags that two points have."""
        steps = whole_positions(points, self.name)
        if points.size == 1:
            return []
        unit = int(np.gcd.reduce(steps))
        steps = steps // unit
        longest = min(int(steps[-1]), self.bands - 1) if self.bands else int(steps[-1])
        if longest > _MOST:
            raise ValueError(
                f"{self.name} would count {longest} lags of {unit}. Use car1, give bands=2 or 3, or make the positions a"
                " categorical, of which the order counts"
            )
        return [k * unit for k in range(1, longest + 1) if np.isin(steps + k, steps).any()]

    def covariance(self, phi: Phi, index: Any) -> Any:
        layout = _Layout.of(tuple(phi))
        by_lag = self._by_lag(layout, layout.values(phi))
        return phi.variance * by_lag[_within(index, by_lag)]

    def jacobian(self, phi: Phi, index: Any) -> Any:
        layout = _Layout.of(tuple(phi))
        # The recursion has no branches: an imaginary step for each partial gives all derivatives in one pass. The first
        # row has none.
        count = len(layout.lags)
        moved = self._by_lag(layout, layout.values(phi) + 1j * _STEP * np.eye(count + 1, count, -1))
        within = _within(index, moved)
        correlation, slopes = moved[0].real[within], phi.variance * moved[1:].imag[:, within] / _STEP
        return {"variance": correlation[None], **dict(zip(layout.names, slopes[:, None], strict=True))}

    def customary(self, phi: Phi, points: Points) -> Any:
        """The variance and the covariances by lag."""
        layout = _Layout.of(tuple(phi))
        by_lag = self._by_lag(layout, layout.values(phi))
        return phi.variance * by_lag[[0, *layout.lags]]

    def report(self, phi: Phi, points: Points) -> Any:
        layout = _Layout.of(tuple(phi))
        by_lag = self._by_lag(layout, layout.values(phi))
        return {f"rho[{lag}]": by_lag[lag] for lag in layout.lags}

    def _by_lag(self, layout: _Layout, partials: Any) -> Any:
        """rho_0, rho_1, ... up to the longest lag with a parameter, then one 0 for all beyond: (..., longest + 2)."""
        steps = np.zeros((*partials.shape[:-1], layout.order), dtype=partials.dtype)
        steps[..., layout.places] = partials
        rho = moving_average_correlations(steps) if self.bands else autocorrelations(steps)
        out = np.zeros((*rho.shape[:-1], layout.unit * layout.order + 2), dtype=rho.dtype)
        out[..., : -1 : layout.unit] = rho
        return out


@frozen
class _Layout:
    """Which lags have a partial: the lag is in the name, since Σ is asked for at some of the points only.

    unit: what all lags are multiples of.   order: the longest lag, in units.   places: of each partial among the units.
    """

    names: tuple[str, ...]
    lags: list[int]
    unit: int
    order: int
    places: list[int]

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, parameters: tuple[str, ...]) -> _Layout:
        names = tuple(name for name in parameters if name.startswith(_PARTIAL))
        lags = [int(name.removeprefix(_PARTIAL)) for name in names]
        unit = int(np.gcd.reduce(lags)) if lags else 1
        return cls(names, lags, unit, max(lags, default=0) // unit, [lag // unit - 1 for lag in lags])

    def values(self, phi: Phi) -> Any:
        return np.array([phi[name] for name in self.names])


def _within(index: Any, by_lag: Any) -> Any:
    return np.minimum(whole_lags(index), by_lag.shape[-1] - 1)


def autocorrelations(partials: Any) -> Any:
    """rho_0 = 1, rho_1, ..., rho_p of partial autocorrelations: (..., p) -> (..., p + 1)."""
    return _levinson(partials)[0]


def moving_average_correlations(partials: Any) -> Any:
    """rho_0 = 1, ..., rho_q of the invertible moving average with these partials: (..., q) -> (..., q + 1)."""
    # 1 − Σ a_k z^k has no root inside the unit circle; the signs make a positive partial a positive correlation.
    a = _levinson(-partials)[1]
    weights = np.concatenate([np.ones((*a.shape[:-1], 1)), -a], axis=-1)
    q = a.shape[-1]
    moments = [np.sum(weights[..., : q + 1 - k] * weights[..., k:], axis=-1) for k in range(q + 1)]
    return np.stack(moments, axis=-1) / moments[0][..., None]


def _levinson(partials: Any) -> tuple[Any, Any]:
    """Durbin's recursion upwards: the correlations, and the coefficients that predict a point from the p before it."""
    p = partials.shape[-1]
    rho = np.ones((*partials.shape[:-1], p + 1), dtype=partials.dtype)
    a = np.zeros_like(partials)
    error = np.ones_like(partials[..., 0]) if p else None
    for k in range(p):
        last = partials[..., k]
        rho[..., k + 1] = last * error + np.sum(a[..., :k] * rho[..., k:0:-1], axis=-1)
        a[..., :k] = a[..., :k] - last[..., None] * a[..., :k][..., ::-1]
        a[..., k] = last
        error = error * (1.0 - last**2)
    return rho, a


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [Toeplitz]
