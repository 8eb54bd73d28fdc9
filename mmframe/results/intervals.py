"""Intervals of all parameters, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from mmframe.covariance.report import same_name
from mmframe.errors import Issue, SpecError, UnknownNameError, unknown
from mmframe.results.predict import check_confidence

if TYPE_CHECKING:
    from mmframe.results.result import FitResult

METHODS = ("wald", "profile", "bootstrap")


def conf_int(
    fit: FitResult,
    method: str,
    confidence: float,
    parameters: Iterable[str] | None,
    n: int,
    seed: int | None,
    progress: bool,
) -> pd.DataFrame:
    """See `FitResult.conf_int`."""
    if method not in METHODS:
        raise SpecError(Issue("conf_int", repr(method), ", ".join(repr(m) for m in METHODS)))
    if method == "profile":
        from mmframe.refits.profile import intervals

        return intervals(fit, confidence, parameters, progress)
    check_confidence(confidence)
    known = [*map(str, fit.parameters["name"]), *fit.estimates.columns]
    chosen = known if parameters is None else named(parameters, known)  # before any refit
    if method == "bootstrap":
        table = fit.bootstrap(n, seed, progress=progress).conf_int("percentile", confidence)
    else:
        random = fit.parameters_at(confidence).set_index("name")[["lower", "upper"]]
        table = pd.concat([random, fit.coefficients(confidence=confidence)[["lower", "upper"]]])
    return table.loc[chosen]


def named(parameters: Iterable[str], known: list[str]) -> list[str]:
    """The known names of parameters, in any of their spellings. Raises UnknownNameError for all that are unknown."""
    names = [parameters] if isinstance(parameters, str) else list(parameters)
    found = [next((k for k in known if k in same_name(name)), None) for name in names]
    issues = [unknown("conf_int", "parameter", n, known) for n, f in zip(names, found, strict=True) if f is None]
    if issues:
        raise UnknownNameError(issues)
    return [name for name in found if name is not None]
