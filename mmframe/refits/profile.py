"""Profile likelihoods: one parameter at a time is held at a series of values, and all others are optimised again at each.

ζ(v) = sign(v − v̂) √(D(v) − D(v̂)), with D the −2 log L of ML at its minimum over everything else, is close to a straight line where
the likelihood is close to a normal one, whatever the sampling of v; the values where |ζ| is a normal quantile are the ends of the
interval (Bates et al. 2015, JSS 67, section 5.1; Venzon & Moolgavkar 1988, Appl. Stat. 37:87-94).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from attrs import define, field, frozen
from scipy.optimize import brentq
from scipy.stats import norm

from mmframe.covariance.hold import find_reported
from mmframe.covariance.report import SIGMA
from mmframe.errors import Issue, SpecError, UnknownNameError, unknown
from mmframe.model import Model
from mmframe.optimize.found import Found
from mmframe.refits.many import model_near
from mmframe.results.predict import check_confidence
from mmframe.results.progress import counted
from mmframe.results.result import FitResult

_POINTS = 60  # at most, on either side
_FAR = 1e6  # times the estimate: as far as a parameter without a bound is followed
_GROWTH = 4.0  # of a step over the last one
_STEPS = 8.0  # steps to the end of a table, were the profile a straight line
_HIGHER = 1e-5  # −2 log L below that of the fit by more than this is another optimum
_EXACT = 1e-6  # of the ends of intervals, in the widths of the steps that they lie between


class ProfileWarning(UserWarning):
    """A profile that found a higher likelihood than the fit it started from, or that could not be followed to its end."""


@frozen(eq=False)
class Target:
    """A parameter of the ML fit: its estimate, about its standard error, and its bounds."""

    name: str
    estimate: float
    error: float
    low: float
    high: float


@frozen(eq=False)
class End:
    """One end of an interval.   at_bound: the parameter's bound, where the likelihood is still high enough."""

    value: float
    at_bound: bool


def profile(fit: FitResult, parameter: str, confidence: float) -> pd.DataFrame:
    """value, deviance, zeta: a row a value, to a little beyond the ends of the interval, or to a bound.

    attrs: name, estimate (by ML), criterion, confidence, lower, upper, lower_at_bound, upper_at_bound.
    Raises UnknownNameError, SpecError, StoreError.
    """
    check_confidence(confidence)
    profiler = Profiler.of(fit)
    curve = profiler.curve(profiler.target(parameter))
    z = float(norm.ppf(0.5 + confidence / 2))
    for side in (-1, 1):
        curve.walk(side, z * 1.1, z * 1.1 / _STEPS)
    lower, upper = (curve.end(side, z) for side in (-1, 1))
    table = curve.table()
    table.attrs.update(
        name=curve.target.name, estimate=curve.target.estimate, criterion="ML", confidence=confidence,
        lower=lower.value, upper=upper.value, lower_at_bound=lower.at_bound, upper_at_bound=upper.at_bound,
    )  # fmt: skip
    return table


def intervals(fit: FitResult, confidence: float, parameters: Iterable[str] | None, progress: bool) -> pd.DataFrame:
    """lower, upper, lower_at_bound, upper_at_bound by name, of all parameters or of those that are named."""
    check_confidence(confidence)
    profiler = Profiler.of(fit)
    names = profiler.names if parameters is None else [parameters] if isinstance(parameters, str) else list(parameters)
    targets = [profiler.target(name) for name in names]
    z = float(norm.ppf(0.5 + confidence / 2))
    rows = []
    for target in counted(targets, "profiles", progress):
        curve = profiler.curve(target)
        for side in (-1, 1):
            curve.walk(side, z, z / 2)
        low, high = (curve.end(side, z) for side in (-1, 1))
        rows.append((low.value, high.value, low.at_bound, high.at_bound))
    columns = ["lower", "upper", "lower_at_bound", "upper_at_bound"]
    return pd.DataFrame(rows, columns=columns, index=[t.name for t in targets])


@frozen(eq=False)
class Profiler:
    """The fit by ML and its model, which starts where that ended."""

    model: Model
    fit: FitResult

    @classmethod
    def of(cls, fit: FitResult) -> Profiler:
        """Whatever the stages of the fit were: each refit starts near its end, where Newton's method is at home.

        Raises StoreError for a saved fit, SpecError for one with penalties or held effects.
        """
        model = model_near(fit, "profile")
        if fit.reml:
            model = model.using(criterion="ml")
            found = model.find()
            fit, model = model.result(found), model.starting_from(found)
        return cls(model, fit)

    @property
    def names(self) -> list[str]:
        """All that can be profiled: covariance parameters, then fixed effects."""
        table = self.fit.parameters
        tied = {name for names in self.model.spec.tie for name in names[1:]}
        free = [
            str(name)
            for name, kind in zip(table["name"], table["kind"], strict=True)
            if kind != "derived" and name not in self.model.spec.fix and name not in tied
        ]
        return [*free, *self.fit.estimates.columns]

    def target(self, name: str) -> Target:
        """Raises UnknownNameError; SpecError for what is held or derived."""
        if not isinstance(name, str):
            raise SpecError(Issue("profile", repr(name), "a parameter's name", ", ".join(self.names)))
        if name in self.fit.estimates.columns:
            error = float(self.fit.standard_errors[name])
            return Target(name, float(self.fit.fixed_effects[name]), error, -np.inf, np.inf)
        low, high, own = 0.0, np.inf, SIGMA
        reported = self.model.reported
        if name != SIGMA or any(row.name == SIGMA for row in reported):
            try:
                row = find_reported(reported, name)
            except UnknownNameError:
                raise UnknownNameError(unknown("profile", "parameter", name, self.names)) from None
            low, high, own = row.low, row.high, row.name
        if own not in self.names:
            raise SpecError(
                Issue("profile", f"{name!r}, which is held, tied to another or derived", ", ".join(self.names))
            )
        table = self.fit.parameters
        estimate, error = table.loc[table["name"] == own, ["estimate", "std_error"]].to_numpy(dtype=float)[0]
        if not np.isfinite(estimate):
            raise SpecError(Issue("profile", f"{own!r}, which has no value: a variance is zero", "other parameters"))
        if not error > 0.0:  # at a bound
            error = 0.1 * (self.fit.sigma if not np.isfinite(high) else min(high - low, 1.0))
        return Target(own, estimate, error, low, high)

    def curve(self, target: Target) -> Curve:
        return Curve(self, target, {side: [(target.estimate, 0.0, self.model)] for side in (-1, 1)})

    def held(self, target: Target, value: float, warm: Model) -> Found:
        """What the stages find with the parameter at a value, from where they ended last."""
        tie = next((names for names in self.model.spec.tie if target.name in names), (target.name,))
        return warm.holding(dict.fromkeys(tie, value)).find()


@define(eq=False)
class Curve:
    """A profile as far as it is known. known: of each side, the nearest first, (value, ζ ≥ 0, the model to start from there)."""

    profiler: Profiler
    target: Target
    known: dict[int, list[tuple[float, float, Model]]]
    warned: bool = field(default=False)

    def walk(self, side: int, far: float, step: float) -> None:
        """To where |ζ| is `far`, by steps of about `step` of ζ; or to the bound."""
        target, known = self.target, self.known[side]
        bound = target.high if side > 0 else target.low
        rate = target.error  # of the value, over ζ
        while known[-1][1] < far and len(known) <= _POINTS:
            value, zeta, model = known[-1]
            if value == bound:
                return
            move = rate * step
            for _ in range(30):
                at = value + side * move
                at = min(at, bound) if side > 0 else max(at, bound)
                new, model_there = self._zeta(at, model)
                if np.isfinite(new):
                    break
                move /= 4.0
            else:
                return
            known.append((at, new, model_there))
            gained = new - zeta
            rate = min(abs(at - value) / gained, _GROWTH * rate) if gained > 0 else _GROWTH * rate

    def _zeta(self, value: float, model: Model) -> tuple[float, Model]:
        """|ζ| at a value, NaN where −2 log L is not finite; and the model that starts where this one ended."""
        try:
            found = self.profiler.held(self.target, value, model)
        except (SpecError, np.linalg.LinAlgError):  # not finite at the start: off what the others can follow
            return np.nan, model
        if not found.converged:
            return np.nan, model
        rise = found.point.value - self.profiler.fit.deviance
        if rise < -_HIGHER and not self.warned:
            self.warned = True
            words = f"profile of {self.target.name!r}: −2 log L is lower by {-rise:.3g} with it at {value:.6g} than in the fit"
            warnings.warn(
                f"{words} · fit again with start={{{self.target.name!r}: {value:.6g}}}", ProfileWarning, stacklevel=4
            )
        return float(np.sqrt(max(rise, 0.0))), model.starting_from(found)

    def end(self, side: int, z: float) -> End:
        """Where |ζ| is z, found to a millionth of a step; the bound where it is not reached."""
        points = self.known[side]
        bound = self.target.high if side > 0 else self.target.low
        beyond = next((k for k, (_, zeta, _) in enumerate(points) if zeta >= z), None)
        if beyond is None:
            last = points[-1][0]
            if last == bound or (
                np.isinf(bound) and abs(last) > _FAR * max(abs(self.target.estimate), self.target.error)
            ):
                return End(bound, True)
            return self._lost(points[-1])
        (inner, below, model), (outer, above, _) = points[beyond - 1], points[beyond]
        memory = {inner: below - z, outer: above - z}

        def gap(value: float) -> float:
            if value not in memory:
                memory[value] = self._zeta(value, model)[0] - z
            if not np.isfinite(memory[value]):
                raise FloatingPointError
            return memory[value]

        if gap(outer) == 0.0:
            return End(outer, False)
        low, high = min(inner, outer), max(inner, outer)
        try:
            return End(float(brentq(gap, low, high, xtol=_EXACT * (high - low), rtol=1e-12)), False)
        except FloatingPointError:
            return self._lost(points[beyond - 1])

    def _lost(self, last: tuple[float, float, Model]) -> End:
        words = f"profile of {self.target.name!r}: no optimum of the other parameters was found beyond {last[0]:.6g}"
        warnings.warn(
            f"{words}, where ζ is {last[1]:.3g}, so the interval has no end there", ProfileWarning, stacklevel=5
        )
        return End(np.nan, False)

    def table(self) -> pd.DataFrame:
        """Both sides in order."""
        least = self.profiler.fit.deviance
        left = [(v, -z) for v, z, _ in reversed(self.known[-1][1:])]
        right = [(v, z) for v, z, _ in self.known[1]]
        value, zeta = (np.array(part, dtype=float) for part in zip(*left, *right, strict=True))
        return pd.DataFrame({"value": value, "deviance": least + zeta**2, "zeta": zeta})
