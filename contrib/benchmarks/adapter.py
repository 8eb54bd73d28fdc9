"""What an adapter is: a system that fits cases, from a table and a formula to the log-likelihood."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata, util
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from case import Case


@dataclass(frozen=True)
class Fit:
    """One timed fit.

    loglike: as the system reports it.
    peak: in bytes, for systems that run in a process of their own; None for the others.
    estimates: what `Adapter.exact` needs, where a system reports an approximation.
    """

    seconds: float
    loglike: float
    peak: int | None = None
    estimates: Any = None


class Adapter(ABC):
    """A system that fits cases.

    row_limit: cases with more rows are left out, because one fit takes minutes. None: no limit.
    slow: names of cases left out for the same reason; with several grouping factors the rows do not tell the time.
    structures: the structures of residuals it has, by mmframe's names.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    row_limit: ClassVar[int | None] = None
    slow: ClassVar[frozenset[str]] = frozenset()
    structures: ClassVar[frozenset[str]] = frozenset()

    def available(self) -> bool:
        return util.find_spec(self.module) is not None

    def version(self) -> str:
        return metadata.version(self.name)

    def unable(self, case: Case) -> str:
        """Why the system cannot fit the case; empty where it can."""
        if case.within is None or case.within.structure in self.structures:
            return ""
        return (
            f"it has no residuals with {case.within.structure}" if self.structures else "its residuals are independent"
        )

    def too_large(self, case: Case) -> str:
        """Why the case would take the system too long; empty where it would not."""
        if self.row_limit is not None and len(case.data) > self.row_limit:
            return f"it takes up to {self.row_limit:,} rows here"
        return "a fit takes it minutes" if case.name in self.slow else ""

    @abstractmethod
    def fit(self, case: Case) -> float:
        """From the table and the formula to the maximised log-likelihood. Nothing is kept for the next call."""

    def run(self, case: Case) -> Fit:
        """`fit` with its wall time."""
        began = time.perf_counter()
        loglike = self.fit(case)
        return Fit(time.perf_counter() - began, loglike)

    def exact(self, case: Case, fit: Fit) -> float:
        """The log-likelihood where the fit stopped, without approximation. Not timed."""
        return fit.loglike


class OneFactor(Adapter):
    """A system that is able to fit one grouping factor only."""

    def unable(self, case: Case) -> str:
        return super().unable(case) or ("" if len(case.random) == 1 else "it takes one grouping factor")
