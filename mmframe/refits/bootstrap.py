"""The bootstrap of a fit: parametric, or of cases, whole groups at a time.

Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 14; for mixed models van der Leeden, Meijer & Busing
(2008), Resampling multilevel models, in de Leeuw & Meijer, Handbook of Multilevel Analysis.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from attrs import field, frozen
from scipy.stats import norm

from mmframe.covariance.domain import Array
from mmframe.design.units import Units, units_of
from mmframe.errors import Issue, SpecError
from mmframe.model import Model
from mmframe.refits.many import Refit, base_model, check_count, estimates_of, names_of, run, unfinished
from mmframe.refits.units import with_units
from mmframe.results.predict import check_confidence
from mmframe.results.result import FitResult
from mmframe.results.simulate import simulate
from mmframe.results.source import Source

KINDS = ("parametric", "cases")
INTERVALS = ("percentile", "bca", "basic", "normal")
# The acceleration of BCa leaves out one unit at a time; of more units, so many blocks of them.
_BLOCKS = 200

Statistic = Callable[[FitResult], Any]


class BootstrapWarning(UserWarning):
    """Refits of a bootstrap that failed."""


@frozen(eq=False)
class Reading:
    """What is taken from each refit.   statistic: of the user, from a FitResult; None for all parameters."""

    names: list[str]
    statistic: Statistic | None

    def __call__(self, model: Model) -> Refit:
        found = model.find()
        if not found.converged:
            return unfinished(found)
        if self.statistic is None:
            return Refit(estimates_of(model, found, self.names), found.singular)
        try:
            values = read_statistic(self.statistic, model.result(found))
        except Exception as problem:  # the user's own code: one refit of many
            return Refit(None, found.singular, f"the statistic raised {type(problem).__name__}: {problem}")
        missing = [name for name in self.names if name not in values.index]
        if missing:
            return Refit(None, found.singular, f"the statistic gave no {missing[0]!r}")
        return Refit(values[self.names].to_numpy(), found.singular)


def read_statistic(statistic: Statistic, fit: FitResult) -> pd.Series:
    """Numbers by name. Raises SpecError for what is no number, nor a Series or mapping of them."""
    if not callable(statistic):
        raise SpecError(Issue("bootstrap: statistic", repr(statistic), "a function of a FitResult"))
    value = statistic(fit)
    try:
        series = pd.Series(
            value if isinstance(value, (Mapping, pd.Series)) else {"statistic": float(value)}, dtype=float
        )
    except (TypeError, ValueError):
        raise SpecError(
            Issue(
                "bootstrap: statistic",
                f"it gave a {type(value).__name__}",
                "a number, or a Series or mapping of numbers",
            )
        ) from None
    return series.set_axis([str(name) for name in series.index])


@frozen(eq=False)
class Parametric:
    """A response drawn from the fit, and a refit to it."""

    source: Source
    model: Model
    read: Reading

    def __call__(self, rng: np.random.Generator) -> Refit:
        return self.read(self.model.responding(simulate(self.source, 1, rng)[:, 0]))


@frozen(eq=False)
class Cases:
    """As many units as there are, drawn with replacement, and a refit to their rows."""

    model: Model
    units: Units
    read: Reading

    def __call__(self, rng: np.random.Generator) -> Refit:
        return self.read(with_units(self.model, self.units, rng.integers(self.units.count, size=self.units.count)))


@frozen(eq=False)
class Bootstrap:
    """The refits of a bootstrap.

    estimates: a row a refit, by number; NaN where it failed.   original: the fit's own.   failed: how many refits gave nothing;
    reasons: why, with how often.   singular: which refits ended on a bound, (n,).   seed: gives the same again.
    unit: what was drawn.   apart: why there are no units to leave out, or "".
    """

    kind: str
    estimates: pd.DataFrame
    original: pd.Series
    reasons: dict[str, int]
    singular: pd.Series
    seed: int
    unit: str
    apart: str
    _acceleration: Callable[[], Array | None] = field(repr=False)

    @property
    def n(self) -> int:
        return len(self.estimates)

    @property
    def failed(self) -> int:
        return sum(self.reasons.values())

    @property
    def standard_errors(self) -> pd.Series:
        """Standard deviations over the refits, by name."""
        return self.estimates.std().rename("std_error")

    @property
    def bias(self) -> pd.Series:
        """Means over the refits less the fit's own, by name."""
        return (self.estimates.mean() - self.original).rename("bias")

    def conf_int(self, method: str = "percentile", confidence: float = 0.95) -> pd.DataFrame:
        """lower, upper by name.

        method: "percentile"; "bca", corrected for bias and acceleration (Efron 1987, JASA 82:171-185), the acceleration by
        leaving out one independent unit at a time; "basic"; "normal" (bias-corrected).
        Raises SpecError for an unknown name, or for bca without independent units.
        """
        if method not in INTERVALS:
            raise SpecError(Issue("bootstrap: method", repr(method), ", ".join(repr(m) for m in INTERVALS)))
        check_confidence(confidence)
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        values, own = self.estimates.to_numpy(), self.original.to_numpy()
        if method == "normal":
            middle, error = (own - self.bias).to_numpy(), self.standard_errors.to_numpy()
            ends = middle[:, None] + error[:, None] * norm.ppf(tails)
        elif method == "bca":
            ends = self._corrected(values, own, tails)
        else:
            ends = np.array([_quantiles(column, tails) for column in values.T])
            if method == "basic":
                ends = 2 * own[:, None] - ends[:, ::-1]
        return pd.DataFrame(ends, columns=["lower", "upper"], index=self.original.index)

    def _corrected(self, values: Array, own: Array, tails: Array) -> Array:
        jackknife = self._acceleration()
        if jackknife is None:
            raise SpecError(Issue("bootstrap: 'bca'", self.apart, "'percentile', 'basic', 'normal'"))
        gap = np.nanmean(jackknife, axis=0) - jackknife
        with np.errstate(divide="ignore", invalid="ignore"):
            a = np.nansum(gap**3, axis=0) / (6.0 * np.nansum(gap**2, axis=0) ** 1.5)
        z = norm.ppf(tails)
        ends = np.full((own.size, 2), np.nan)
        for k, column in enumerate(values.T):
            good = column[np.isfinite(column)]
            if not good.size or not np.isfinite(a[k]):
                continue
            below = (np.sum(good < own[k]) + 0.5 * np.sum(good == own[k])) / good.size
            z0 = norm.ppf(np.clip(below, 0.5 / good.size, 1 - 0.5 / good.size))
            ends[k] = np.quantile(good, norm.cdf(z0 + (z0 + z) / (1 - a[k] * (z0 + z))))
        return ends

    def __repr__(self) -> str:
        return f"<Bootstrap ({self.kind}, by {self.unit}): {self.n} refits, {self.failed} failed, seed {self.seed}>"


def _quantiles(column: Array, tails: Array) -> Array:
    good = column[np.isfinite(column)]
    return np.quantile(good, tails) if good.size else np.full(tails.size, np.nan)


def bootstrap(
    fit: FitResult,
    n: int,
    seed: int | None,
    kind: str,
    by: str | None,
    statistic: Statistic | None,
    workers: int | None,
    progress: bool,
) -> Bootstrap:
    """See `FitResult.bootstrap`."""
    n = check_count("bootstrap", n)
    if kind not in KINDS:
        raise SpecError(Issue("bootstrap: kind", repr(kind), ", ".join(repr(k) for k in KINDS)))
    if by is not None and kind != "cases":
        raise SpecError(Issue("bootstrap: by", repr(by), "with kind='cases', whose levels are drawn"))
    model = base_model(fit, "bootstrap")
    if statistic is None:
        original = pd.Series(estimates_of(model, fit.source.found, names_of(fit)), names_of(fit))  # type: ignore[attr-defined]
    else:
        original = read_statistic(statistic, fit)
    read = Reading(list(original.index), statistic)
    units: Units | None
    if kind == "cases":
        units, apart = drawn, _ = units_of(model.design, by), ""
        job: Any = Cases(model, drawn, read)
    else:
        units, apart = _left_out(model)
        job = Parametric(fit.source, model, read)
    refits, seed = run(job, n, seed, workers, progress, "bootstrap")
    empty = np.full(len(original), np.nan)
    estimates = pd.DataFrame([empty if r.values is None else r.values for r in refits], columns=original.index)
    reasons = dict(Counter(r.reason for r in refits if r.values is None))
    if reasons:
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
        warnings.warn(
            f"bootstrap: {sum(reasons.values())} of {n} refits failed: {told}", BootstrapWarning, stacklevel=3
        )
    singular = pd.Series([r.singular for r in refits], name="singular")
    unit = units.name if units is not None else ", ".join(g.name for g in model.design.groupings)

    def jackknife() -> Array | None:
        return None if units is None else _jackknife(model, units, read, len(original))

    return Bootstrap(kind, estimates, original, reasons, singular, seed, unit, apart, jackknife)


def _left_out(model: Model) -> tuple[Units | None, str]:
    """What can be left out at a time; or None, and why not."""
    try:
        return units_of(model.design, None), ""
    except SpecError as problem:
        return None, problem.issues[0].given


def _jackknife(model: Model, units: Units, read: Reading, size: int) -> Array:
    """The estimates without each unit, or each block of units: (blocks, size), NaN where the refit failed."""
    order = np.random.default_rng(0).permutation(units.count)
    blocks = np.array_split(order, min(units.count, _BLOCKS))
    out = np.full((len(blocks), size), np.nan)
    for k, block in enumerate(blocks):
        try:
            found = read(with_units(model, units, np.setdiff1d(np.arange(units.count), block)))
        except (ValueError, np.linalg.LinAlgError):
            continue
        if found.values is not None:
            out[k] = found.values
    return out
