"""Timing: the systems take turns, so that whatever else the machine does falls on all of them alike."""

from __future__ import annotations

import gc
import statistics
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from adapters import REFERENCE, Adapter, Fit
from cases import Case


@dataclass
class Series:
    """The timed fits of one system, in order. `peak` is the memory of a process of its own, in bytes."""

    system: str
    version: str
    fits: list[Fit] = field(default_factory=list)
    peak: int | None = None

    @property
    def seconds(self) -> list[float]:
        return [fit.seconds for fit in self.fits]

    @property
    def loglike(self) -> float:
        return self.fits[-1].loglike

    def ratio_to(self, other: Series) -> float:
        """The median of the ratios of fits that were neighbours in time."""
        return statistics.median(a / b for a, b in zip(self.seconds, other.seconds, strict=True))


@dataclass
class Outcome:
    """One case: a series for each system that fitted it."""

    case: Case
    series: list[Series]
    baseline: int | None = None

    @property
    def reference(self) -> Series | None:
        return next((s for s in self.series if s.system == REFERENCE), None)


def _once(adapter: Adapter, case: Case) -> Fit:
    # A copy of the table for every fit: no system finds what an earlier fit left on it.
    fresh = replace(case, data=case.data.copy())
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return adapter.run(fresh)


def measure(case: Case, adapters: Sequence[Adapter], repeats: int, tell: Callable[[str], None]) -> Outcome:
    """One warm-up of each system, then `repeats` rounds A B C, A B C, ... A system that fails is left out, and told."""
    series: dict[Adapter, Series] = {}
    for adapter in adapters:
        try:
            _once(adapter, case)
            series[adapter] = Series(adapter.name, adapter.version())
        except Exception as problem:  # a rival may raise anything, and the others go on
            tell(f"{case.name}: {adapter.name} failed: {type(problem).__name__}: {problem}")
    for _ in range(repeats):
        for adapter, collected in series.items():
            collected.fits.append(_once(adapter, case))
    return Outcome(case, list(series.values()))
