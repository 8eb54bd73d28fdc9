"""Timing: the systems take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import math
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace

from adapter import Adapter, Fit
from adapters import REFERENCE
from case import Case


@dataclass
class Series:
    """The timed fits of one system, in order.

    loglike: where the last fit stopped, without approximation.
    peak: the memory of a process of its own, in bytes.
    """

    system: str
    version: str
    fits: list[Fit] = field(default_factory=list)
    loglike: float = math.nan
    peak: int | None = None

    @property
    def seconds(self) -> list[float]:
        return [fit.seconds for fit in self.fits]

    @property
    def reported(self) -> float:
        """The log-likelihood as the system reports it."""
        return self.fits[-1].loglike

    def ratio_to(self, other: Series) -> float:
        """The median of the ratios of fits that were neighbours in time; one of the systems may have stopped early."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=False))


@dataclass
class Outcome:
    """One case: a series for each system that fitted it."""

    case: Case
    series: list[Series]
    baseline: int | None = None

    @property
    def reference(self) -> Series | None:
        return next((s for s in self.series if s.system == REFERENCE), None)


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, and with what a system prints on standard error: standard output holds the tables alone."""
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        yield


def _once(adapter: Adapter, case: Case) -> Fit:
    # A copy of the table for every fit: no system finds what an earlier fit left on it.
    fresh = replace(case, data=case.data.copy())
    gc.collect()
    with quiet():
        return adapter.run(fresh)


def measure(
    case: Case, adapters: Sequence[Adapter], repeats: int, budget: float, tell: Callable[[str], None]
) -> Outcome:
    """One warm-up of each system, then `repeats` rounds A B C, A B C, ... A system that fails is left out, and told.

    budget: a system is out of the rounds once its fits have taken this many seconds; a warm-up that takes as long alone
    is its one timed fit.
    """
    series: dict[Adapter, Series] = {}
    spent: dict[Adapter, float] = {}
    for adapter in adapters:
        try:
            warm_up = _once(adapter, case)
            spent[adapter] = warm_up.seconds
            counted = [warm_up] if warm_up.seconds >= budget else []
            series[adapter] = Series(adapter.name, adapter.version(), counted)
        except Exception as problem:  # a rival may raise anything, and the others go on
            tell(f"{case.name}: {adapter.name} failed: {type(problem).__name__}: {problem}")
    for _ in range(repeats):
        for adapter, collected in series.items():
            if spent[adapter] < budget:
                collected.fits.append(_once(adapter, case))
                spent[adapter] += collected.fits[-1].seconds
    for adapter, collected in series.items():
        with quiet():
            collected.loglike = adapter.exact(case, collected.fits[-1])
    return Outcome(case, list(series.values()))
