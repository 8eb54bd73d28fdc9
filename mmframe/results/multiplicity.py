"""Several tests at once: adjusted p-values and intervals that hold together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import chi2, f, qmc, studentized_range, t

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError

METHODS = ("none", "tukey", "bonferroni", "holm", "sidak", "mvt")
_DIRECTIONS = 14  # as a power of two
_NODES = 8  # of an interpolation in 1/df


def check_adjustment(adjust: str) -> None:
    """Raises SpecError for an unknown name."""
    if adjust not in METHODS:
        raise SpecError(Issue("adjust", repr(adjust), ", ".join(repr(m) for m in METHODS)))


def adjusted(
    statistic: Array, df: Array, correlation: Array, *, means: int, adjust: str, confidence: float
) -> tuple[Array, Array]:
    """(p-values (m,), half-widths of the intervals in standard errors (m,)) of a family of m two-sided t tests.

    correlation (m, m): of the estimates.   means: how many means the pairwise differences are of (Tukey's).
    tukey: the studentized range (Tukey 1949, Kramer 1956).   mvt: the largest of correlated t variables, exact but for an error
    of about 1e-4 of itself.   holm: Holm's step-down p-values (1979, Scand. J. Stat. 6); no interval goes with them, and
    Bonferroni's are given, as emmeans does.
    """
    m, size = len(statistic), np.abs(statistic)
    df = np.round(df, 8)  # equal degrees of freedom are one integral
    alpha = 1.0 - confidence
    single = 2.0 * t.sf(size, df)
    if adjust == "none" or m == 0:
        return single, t.ppf(1 - alpha / 2, df)
    if adjust == "tukey":
        root = np.sqrt(2.0)
        half = _smooth(lambda d: studentized_range.ppf(confidence, means, d) / root, df)
        p = np.array([studentized_range.sf(s * root, means, d) for s, d in zip(size, df, strict=True)])
        return np.clip(p, 0.0, 1.0), half
    if adjust == "mvt":
        heights = _heights(correlation)
        p = np.array([heights.tail(s, d) for s, d in zip(size, df, strict=True)])
        return p, _smooth(lambda d: heights.quantile(confidence, d), df)
    if adjust == "sidak":
        return -np.expm1(m * np.log1p(-single)), t.ppf(0.5 + (1 - alpha) ** (1 / m) / 2, df)
    half = t.ppf(1 - alpha / (2 * m), df)
    if adjust == "bonferroni":
        return np.minimum(m * single, 1.0), half
    order = np.argsort(single, kind="stable")
    p = np.empty(m)
    p[order] = np.minimum(np.maximum.accumulate(np.arange(m, 0, -1) * single[order]), 1.0)
    return p, half


def _smooth(quantile: Callable[[float], float], df: Array) -> Array:
    """Quantiles at many degrees of freedom: they are smooth in 1/df, so a few of them give all."""
    distinct, back = np.unique(df, return_inverse=True)
    if distinct.size <= _NODES:
        return np.array([quantile(d) for d in distinct])[back]
    inverse = 1.0 / distinct
    middle, reach = 0.5 * (inverse[0] + inverse[-1]), 0.5 * (inverse[0] - inverse[-1])
    nodes = middle + reach * np.cos(np.pi * np.arange(_NODES) / (_NODES - 1))
    values = [quantile(1.0 / v if v > 1e-300 else np.inf) for v in nodes]
    return np.asarray(BarycentricInterpolator(nodes, values)(inverse))[back]


class _Heights:
    """P(max |T_i| > c) for T multivariate t, by its radius: T = r h(d) along a uniform direction d, h the largest |coordinate|, and
    r² over the rank has an F law. The mean over quasi-random directions is smooth in c and keeps its relative accuracy in the tail
    (Somerville 1998, J. Comput. Graph. Stat. 7:529-544)."""

    def __init__(self, root: Array) -> None:
        self.rank = root.shape[1]
        self.height = np.max(np.abs(root @ _directions(self.rank)), axis=0)

    def tail(self, c: float, df: float) -> float:
        if not np.isfinite(c):
            return 0.0 if c > 0 else np.nan
        radius = (c / self.height) ** 2
        beyond = chi2.sf(radius, self.rank) if np.isinf(df) else f.sf(radius / self.rank, self.rank, df)
        return float(np.mean(beyond))

    def quantile(self, confidence: float, df: float) -> float:
        high = 2.0
        while self.tail(high, df) > 1 - confidence:
            high *= 2.0
        return float(brentq(lambda c: self.tail(c, df) - (1 - confidence), 0.0, high, xtol=1e-8))


def _heights(correlation: Array) -> _Heights:
    values, vectors = np.linalg.eigh(correlation)
    kept = values > 1e-10 * max(float(values[-1]), 1e-300)
    return _Heights(vectors[:, kept] * np.sqrt(values[kept]))


@cache
def _directions(rank: int) -> Array:
    """Unit vectors as columns (rank, 2^14), the same at every call."""
    points = qmc.Sobol(rank, seed=0).random_base2(_DIRECTIONS)
    normal = ndtri(np.clip(points, 1e-12, 1 - 1e-12)).T
    return np.asarray(normal / np.linalg.norm(normal, axis=0))
