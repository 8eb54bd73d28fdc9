"""The law of fixed-effect tests: what covariance of β̂ they use, and with which degrees of freedom."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.results import kenward_roger, satterthwaite
from mmframe.results.design_degrees import degrees_of_columns
from mmframe.results.robust import Robust

if TYPE_CHECKING:
    from mmframe.results.result import FitResult

DF = (
    "normal", "residual", "between_within", "containment", "satterthwaite", "kenward_roger", "kenward_roger_linear",
)  # fmt: skip
_OF_DESIGN = ("between_within", "containment")
_ADJUSTED = ("kenward_roger", "kenward_roger_linear")
INFORMATION = ("observed", "expected")


@frozen(eq=False)
class Law:
    """What a choice of degrees of freedom makes of a fit. phi (p, p): the covariance of β̂ that its tests use.
    `degrees`: of each row of L;  `joint`: of all rows, about the coefficients at some places, with the factor of F."""

    phi: Array
    degrees: Callable[[Array], Array]
    joint: Callable[[Array, Array], tuple[float, float]]


@frozen
class How:
    """What users choose. df: a name of DF.   information: for Kenward and Roger's.   robust: a kind of cluster-robust covariance,
    with cluster, as `FitResult.robust_cov` takes them."""

    df: str
    information: str | None = None
    robust: str | None = None
    cluster: Any = None


def law_of(fit: FitResult, how: How) -> Law:
    """Raises SpecError for what is unknown or does not go together, EngineRefusedError, StoreError."""
    df = how.df
    if df not in DF:
        raise SpecError(Issue("df", repr(df), ", ".join(repr(d) for d in DF)))
    if how.information is not None and (how.information not in INFORMATION or df not in _ADJUSTED):
        allowed = "'expected' or 'observed', with df='kenward_roger' or 'kenward_roger_linear'"
        raise SpecError(Issue("information", repr(how.information), allowed))
    if how.cluster is not None and how.robust is None:
        raise SpecError(Issue("cluster", repr(how.cluster), "with robust='CR0', 'CR1', 'CR2' or 'CR3'"))
    phi = fit.estimates.beta_cov
    robust = None if how.robust is None else Robust.of(fit.source, how.robust, how.cluster)
    if robust is not None and df in _ADJUSTED:
        allowed = ", ".join(repr(d) for d in DF if d not in _ADJUSTED)
        raise SpecError(Issue("df", f"{df!r} with a robust covariance", allowed))
    used = phi if robust is None else robust.cov
    if df in ("normal", "residual"):
        known = np.inf if df == "normal" else float(fit.nobs - len(phi))
        return Law(used, lambda L: np.full(len(L), known), lambda L, about: (known, 1.0))
    if df in _OF_DESIGN:
        own = degrees_of_columns(fit.source, df)
        return Law(used, lambda L: smallest(own, L), lambda L, about: (float(np.min(own[about])), 1.0))
    if robust is not None:
        return Law(used, robust.degrees, lambda L, about: robust.joint(L))
    moves = fit.source.sensitivity
    gradient, covariance = moves.gradient, moves.covariance
    if df == "satterthwaite":
        return Law(
            phi,
            lambda L: satterthwaite.degrees(L, phi, gradient, covariance),
            lambda L, about: (satterthwaite.joint_degrees(L, phi, gradient, covariance), 1.0),
        )
    information = how.information
    if information is None:  # as pbkrtest, and as SAS and mmrm
        plain = fit.spec.residual is None and not fit.spec.variance
        information = "expected" if plain else "observed"
    excess = moves.excess
    if information == "expected":
        covariance, excess = moves.expected, moves.excess_expected
    if df == "kenward_roger":
        excess = excess - fit.source.second_order[INFORMATION.index(information)] / 4
    return Law(
        kenward_roger.adjusted(phi, excess),
        lambda L: satterthwaite.degrees(L, phi, gradient, covariance),
        lambda L, about: kenward_roger.joint_degrees(L, phi, gradient, covariance),
    )


def smallest(own: Array, L: Array) -> Array:
    """Of each row of L the smallest degrees of freedom among the coefficients that it involves: (r,)."""
    size = np.abs(L).max(axis=1, keepdims=True, initial=0.0)
    return np.asarray(np.min(np.where(np.abs(L) > 1e-10 * size, own, np.inf), axis=1, initial=np.inf))
