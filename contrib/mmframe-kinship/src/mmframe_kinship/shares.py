"""Heritability, and other shares of variance, with intervals.

The standard error is the delta method's, from the covariance of the fit's own parameters (`fit.parameters_cov`). A profile optimises
−2 log L of models whose parameters are all held (`Model.holding`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray
from scipy.linalg import null_space
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit
from scipy.stats import chi2, norm

from mmframe.api import FitResult, Model

Array = NDArray[np.float64]

RESIDUAL = "residual"
_EDGE = 1e-6  # as near to 0 and 1 as a profile goes


@frozen(eq=False)
class Share:
    """How a share is made of variances: names (k,) of the parts, parameters (k,) of the fit whose squares they are, diagonal (k,),
    which of them are counted (k,), and which are in the whole (k,)."""

    names: tuple[str, ...]
    parameters: tuple[str, ...]
    diagonal: Array
    counted: NDArray[np.bool_]
    whole: NDArray[np.bool_]

    def of(self, variances: Array) -> float:
        scaled = self.diagonal * variances
        return float(scaled[self.counted].sum() / scaled[self.whole].sum())

    def gradient(self, variances: Array) -> Array:
        """∂/∂ log variance, (k,)."""
        scaled = self.diagonal * variances
        total, ratio = scaled[self.whole].sum(), self.of(variances)
        return np.asarray(scaled * (self.counted - ratio * self.whole) / total)


@frozen(eq=False)
class Heritability:
    """A share of variance that was estimated, and its intervals.

    fit: where it is from.   share: what it is made of.
    """

    fit: FitResult
    share: Share

    @property
    def variances(self) -> pd.Series[float]:
        """The variances of the parts in units of the data squared, each times the mean diagonal that was given for it."""
        return pd.Series(
            self.share.diagonal * _variances(self.fit, self.share), index=list(self.share.names), name="variance"
        )

    @property
    def estimate(self) -> float:
        return self.share.of(_variances(self.fit, self.share))

    @cached_property
    def covariance(self) -> pd.DataFrame:
        """The asymptotic covariance of the variances (k, k), by the fit's information. NaN where one of them is zero or held."""
        names = list(self.share.names)
        scaled = self.variances.to_numpy()
        return pd.DataFrame(self._of_logs * np.outer(scaled, scaled), index=names, columns=names)

    @cached_property
    def std_error(self) -> float:
        """By the delta method; NaN at 0, at 1 and where a variance is zero."""
        slope = self.share.gradient(_variances(self.fit, self.share))
        spread = float(slope @ self._of_logs @ slope)
        return float(np.sqrt(spread)) if spread > 0.0 else float("nan")

    @cached_property
    def _likelihood(self) -> Likelihood:
        return Likelihood(Model.of(self.fit), self.share)

    @cached_property
    def _of_logs(self) -> Array:
        """The covariance of the logarithms of the variances, (k, k)."""
        variances = _variances(self.fit, self.share)
        if not np.all(variances > 0.0):
            return np.full((variances.size, variances.size), np.nan)
        names = list(self.share.parameters)
        of_roots = self.fit.parameters_cov.loc[names, names].to_numpy()
        return np.asarray(4.0 * of_roots / np.sqrt(np.outer(variances, variances)))

    def conf_int(
        self, method: str = "logit", confidence: float = 0.95, *, n: int = 1000, seed: int | None = None
    ) -> tuple[float, float]:
        """lower, upper.

        method: "wald" (estimate ± quantile × standard error), "logit" (the same on the scale of the logit, so that it stays
        between 0 and 1), "profile" (where −2 log L by the fit's own criterion, all variances optimised again at each share, is
        chi-square's quantile above its minimum; 0 or 1 where it is not) or "bootstrap" (percentiles of n parametric refits by seed).
        Raises ValueError for another method; the bootstrap and the profile raise mmframe's StoreError for a saved fit.
        """
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"heritability: confidence={confidence!r} · allowed: between 0 and 1")
        z = float(norm.ppf(0.5 + confidence / 2))
        h, error = self.estimate, self.std_error if method in ("wald", "logit") else np.nan
        if method == "wald":
            return h - z * error, h + z * error
        if method == "logit":
            half = z * error / (h * (1.0 - h)) if 0.0 < h < 1.0 else np.nan
            return float(expit(logit(h) - half)), float(expit(logit(h) + half))
        if method == "profile":
            return self._likelihood.interval(_variances(self.fit, self.share), self._metric, confidence)
        if method == "bootstrap":
            share = self.share
            made = self.fit.bootstrap(n, seed, statistic=lambda fit: share.of(_variances(fit, share)))
            low, high = made.conf_int("percentile", confidence).iloc[0]
            return float(low), float(high)
        raise ValueError(f"heritability: method {method!r} · allowed: 'wald', 'logit', 'profile', 'bootstrap'")

    @property
    def _metric(self) -> Array:
        found = self._of_logs
        return found if np.all(np.isfinite(found)) else np.eye(len(found))

    def __repr__(self) -> str:
        counted = " + ".join(n for n, c in zip(self.share.names, self.share.counted, strict=True) if c)
        whole = " + ".join(n for n, w in zip(self.share.names, self.share.whole, strict=True) if w)
        return f"<Heritability: {counted} / ({whole}) = {self.estimate:.3g}>"


def heritability(
    fit: FitResult,
    factor: str | Iterable[str],
    *,
    without: Iterable[str] = (),
    diagonal: Mapping[str, float] | None = None,
) -> Heritability:
    """The share of a factor's variance in the sum of all variances: for an additive relationship, narrow-sense heritability.

    factor: a grouping factor, or several whose variances are added (repeatability: the animal and its permanent environment).
    without: factors that are left out of the sum, such as herds.   diagonal: by factor, the mean of K_ii. 1 (the default) refers to
    the base population, whose animals are not inbred; 1 + mean F to the animals at hand. A genomic or phylogenetic K has a diagonal of
    its own: without it the variance is that of a level with K_ii = 1.
    Raises ValueError: a factor that the fit does not have, or with more than a random intercept; a structured residual.
    """
    if fit.spec.residual is not None or fit.spec.variance:
        raise ValueError(
            "heritability: a residual with a structure or a variance function has no single variance · allowed: independent"
            " residuals of one variance; make the ratio from fit.covariance and fit.residual_covariance"
        )
    factors = list(fit.random_effects)
    counted = [factor] if isinstance(factor, str) else list(factor)
    left_out = [without] if isinstance(without, str) else list(without)
    scales = dict(diagonal or {})
    for where, given in (("factor", counted), ("without", left_out), ("diagonal", list(scales))):
        allowed = factors if where != "without" else [*factors, RESIDUAL]
        unknown = [name for name in given if name not in allowed]
        if unknown:
            raise ValueError(f"heritability: {where} {unknown[0]!r} · allowed: {', '.join(map(repr, allowed))}")
    both = sorted(set(counted) & set(left_out))
    if not counted or both:
        what = f"{both[0]!r} is both counted and left out" if both else "no factor"
        raise ValueError(f"heritability: {what} · allowed: one factor or more, which are not in without=")
    off = [f"{name}: {value}" for name, value in scales.items() if not value > 0.0]
    if off:
        raise ValueError(f"heritability: diagonal of {off[0]} · allowed: positive numbers, the mean of K_ii")
    parameters = [_parameter(fit, name) for name in factors] + ["sigma"]
    names = (*factors, RESIDUAL)
    return Heritability(
        fit,
        Share(
            names,
            tuple(parameters),
            np.array([scales.get(name, 1.0) for name in names]),
            np.array([name in counted for name in names]),
            np.array([name not in left_out for name in names]),
        ),
    )


def _parameter(fit: FitResult, factor: str) -> str:
    rows = fit.parameters[(fit.parameters["side"] == "random") & (fit.parameters["group"] == factor)]
    if len(rows) != 1 or rows["row"].iloc[0] != "Intercept":
        raise ValueError(
            f"heritability: {factor!r} has the parameters {', '.join(rows['name'])} · allowed: a random intercept only, since with"
            " slopes the variance depends on the covariate; make the ratio from fit.covariance at a value of it"
        )
    return str(rows["name"].iloc[0])


def _variances(fit: FitResult, share: Share) -> Array:
    found = [float(fit.covariance(name).to_numpy()[0, 0]) for name in share.names[:-1]]
    return np.array([*found, fit.sigma2])


@frozen(eq=False)
class Likelihood:
    """−2 log L by the fit's criterion as a function of the logarithms of the variances (k,), and its profile over a share."""

    model: Model
    share: Share

    def deviance(self, logs: Array) -> float:
        held = {name: float(np.exp(0.5 * x)) for name, x in zip(self.share.parameters, logs, strict=True)}
        return float(self.model.holding(held).fit().deviance)

    def interval(self, variances: Array, metric: Array, confidence: float) -> tuple[float, float]:
        """Where the profile crosses, by root search on the logit.   metric (k, k): about the covariance of the logarithms."""
        exact = {name: float(np.sqrt(v)) for name, v in zip(self.share.parameters, variances, strict=True)}
        least = float(self.model.holding(exact).fit().deviance)
        logs = np.log(np.maximum(variances, _EDGE * variances.sum()))
        curve = Curve(self, logs, metric, least)
        z = float(np.sqrt(chi2.ppf(confidence, 1)))
        return curve.end(-1, z), curve.end(1, z)


@frozen(eq=False)
class Curve:
    """The profile of the share.   logs (k,): the estimate.   metric (k, k): about the covariance of the logarithms.   least: −2 log L
    at the estimate."""

    likelihood: Likelihood
    logs: Array
    metric: Array
    least: float

    @cached_property
    def middle(self) -> float:
        return self._logit(self.logs)

    @cached_property
    def slope(self) -> Array:
        """∂ logit share / ∂ logarithms, (k,)."""
        share, variances = self.likelihood.share, np.exp(self.logs)
        ratio = share.of(variances)
        return np.asarray(share.gradient(variances) / (ratio * (1.0 - ratio)))

    @cached_property
    def free(self) -> Array:
        """(k, k − 1): moves of one standard error each that leave the share, were it linear."""
        root = np.linalg.cholesky(self.metric)
        return np.asarray(root @ null_space((root.T @ self.slope)[None, :]))

    def end(self, side: int, z: float) -> float:
        """The share where the signed root of the rise of −2 log L is z on this side; 0 or 1 where it does not get there."""
        edge = side * float(logit(1.0 - _EDGE))
        inner, reach = self.middle, 1.1 * z * self.spread

        def gap(x: float) -> float:
            return self._root(x) - z

        looked = False
        while side * (edge - inner) > 0.0:
            outer = side * min(side * inner + reach, side * edge)
            if gap(outer) > 0.0:
                return float(expit(brentq(gap, inner, outer, xtol=1e-4)))
            if not looked and gap(edge) <= 0.0:
                break
            looked = True
            inner, reach = outer, 2.0 * reach
        return 0.0 if side < 0 else 1.0

    @cached_property
    def spread(self) -> float:
        """About the standard error of the logit."""
        return float(np.sqrt(self.slope @ self.metric @ self.slope))

    def _logit(self, logs: Array) -> float:
        ratio = self.likelihood.share.of(np.exp(logs))
        return float(logit(np.clip(ratio, _EDGE, 1.0 - _EDGE)))

    def _root(self, x: float) -> float:
        """The root of the rise of −2 log L with logit(share) = x and all else optimised; from where it would be, were it quadratic."""
        if x == self.middle:
            return 0.0
        along = self.metric @ self.slope
        reach = 3.0 * self.spread  # farther than that a quadratic says nothing
        start = self.logs + along * (float(np.clip(x - self.middle, -reach, reach)) / float(self.slope @ along))

        def rise(u: Array) -> float:
            return self.likelihood.deviance(self._onto(start + self.free @ u, x)) - self.least

        # the differences are wide: the likelihood has some nine digits
        found = minimize(rise, np.zeros(self.free.shape[1]), method="BFGS", options={"gtol": 5e-3, "eps": 1e-3})
        return float(np.sqrt(max(found.fun, 0.0)))

    def _onto(self, logs: Array, x: float) -> Array:
        """The counted parts multiplied by what makes logit(share) x."""
        share = self.likelihood.share
        scaled = share.diagonal * np.exp(logs)
        inside, outside = scaled[share.counted].sum(), scaled[share.whole & ~share.counted].sum()
        out = logs.copy()
        out[share.counted] += x - float(np.log(inside / outside))
        return out
