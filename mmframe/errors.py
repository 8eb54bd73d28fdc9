"""One tree of errors.

Every message says *where*, *what was given*, *what is allowed* and *what to do*.
Errors of a specification are collected and raised together, as one `SpecError` that holds many `Issue`s.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from attrs import frozen


@frozen
class Issue:
    """One thing that is wrong, in words.

    where: the place (a path in the document with its line, an argument, a term).
    given: what stood there.   allowed: what may stand there.   remedy: what to do.
    """

    where: str
    given: str
    allowed: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.given}"]
        if self.allowed:
            parts.append(f"allowed: {self.allowed}")
        if self.remedy:
            parts.append(self.remedy)
        return " · ".join(parts)


class MmframeError(Exception):
    """Root of all errors that mmframe raises on purpose."""


class SpecError(MmframeError, ValueError):
    """What was asked for is not a valid model; holds every issue that was found."""

    def __init__(self, issues: Issue | Iterable[Issue]) -> None:
        self.issues: tuple[Issue, ...] = (issues,) if isinstance(issues, Issue) else tuple(issues)
        super().__init__("\n".join(str(issue) for issue in self.issues))


class FormulaError(SpecError):
    """A formula that cannot be read, or that holds something that a formula may not hold."""


class UnknownNameError(SpecError):
    """A structure, parameterization, stage, engine, column or key that does not exist."""


class AmbiguousNameError(SpecError):
    """A bare name that two plugin packages share."""


class DataError(MmframeError, ValueError):
    """The data cannot carry the model (empty, not numeric, not finite, constant, too few levels)."""


class EngineRefusedError(MmframeError, ValueError):
    """No engine, or not the engine asked for, can evaluate this design; the message gives the reason."""


class PluginError(MmframeError):
    """A plugin package that could not be loaded, or that breaks a rule of the registry."""


class StoreError(MmframeError, ValueError):
    """A saved fit that cannot be read."""


class MissingPackageError(MmframeError, ImportError):
    """A package that only some of mmframe needs, and that is not installed."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(str(issue))


class IdentifiabilityWarning(UserWarning):
    """Covariance parameters that the design cannot tell apart: the fit goes on, and their estimates mean nothing alone."""


class PluginWarning(UserWarning):
    """A plugin package that was not loaded, or an observer that failed: everything else goes on."""


def told(problem: BaseException) -> str:
    """What somebody's code raised, on one line of bearable length. Never raises, whatever that code made of `__str__`."""
    try:
        text = " ".join(str(problem).split())
    except Exception:
        text = "(it cannot be printed)"
    kind = type(problem).__name__
    return f"{kind}: {text[:300]}{'...' if len(text) > 300 else ''}" if text else kind


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or an empty string when nothing is near."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {match[0]!r}?" if match else ""


def unknown(where: str, kind: str, name: str, known: Iterable[str]) -> Issue:
    """The issue for a name that is not among the known ones, with the nearest of them."""
    names = sorted(known)
    listed = ", ".join(names[:80]) + (", ..." if len(names) > 80 else "")
    return Issue(where, f"there is no {kind} {name!r}", listed or "(none)", nearest(name, names))
