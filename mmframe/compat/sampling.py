"""The sampling covariance of the parameters: the inverse of the observed information, slopes and covariances together."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from mmframe.compat.layout import Layout
from mmframe.compat.params import MixedLMParams
from mmframe.covariance.domain import Array, OutsideDomainError, unvech, vech
from mmframe.likelihood.information import joint_second_derivatives
from mmframe.likelihood.threads import one_blas_thread
from mmframe.optimize.boundary import on_boundary

Mask = NDArray[np.bool_]


@frozen(eq=False)
class Sampling:
    """cov (k, k): of the packed parameters of the profile parameterization, 0 where they are held and NaN where they stand on
    the boundary.   natural (k - k_fe,): standard errors of cov_re and vcomp in the units of the data.
    """

    cov: Array
    natural: Array


def sampling(
    layout: Layout, params: MixedLMParams, scale: float, *, reml: bool, free: MixedLMParams | None, slopes: Any = None
) -> Sampling:
    """At packed parameters. slopes (k_fe,): which of them have errors, where covariances and scale are taken as they are (those of
    generalised least squares); None for all parameters together.

    With H the second derivatives of −2 log L in (slopes, cov_re/scale, vcomp/scale, scale), twice its inverse is the covariance of
    all of them together; that of the first is the inverse of the profile likelihood's information. The errors of cov_re = scale times
    (cov_re/scale) follow by the delta method, scale's own error included.
    """
    k_fe, k = len(layout.order), layout.k_re2 + len(layout.components)
    held, edge = np.zeros(k_fe + k, dtype=bool), np.zeros(k_fe + k, dtype=bool)
    if slopes is not None:
        edge[:k_fe] = ~np.asarray(slopes, dtype=bool)
    if free is not None:
        held = free.get_packed(use_sqrt=False, has_fe=True) == 0
    edge[k_fe:] = boundary_of(layout, params) if slopes is None else True
    use = ~held & ~edge
    cov = np.full((k_fe + k, k_fe + k), np.nan)
    cov[held, :] = cov[:, held] = 0.0
    natural = np.full(k, np.nan)
    natural[held[k_fe:]] = 0.0
    joint = joint_information(layout, params, reml=reml)
    if joint is None or not np.all(np.isfinite(joint)):
        return Sampling(cov, natural)
    rows = np.flatnonzero(use) if slopes is not None else np.append(np.flatnonzero(use), k_fe + k)
    try:
        whole = 2.0 * np.linalg.inv(joint[np.ix_(rows, rows)])
    except np.linalg.LinAlgError:
        return Sampling(cov, natural)
    if slopes is not None:
        cov[np.ix_(rows, rows)] = whole
        return Sampling(cov, natural)
    cov[np.ix_(rows[:-1], rows[:-1])] = whole[:-1, :-1]
    ratios = params.get_packed(use_sqrt=False)
    mine = np.flatnonzero(use[k_fe:])
    at = np.searchsorted(rows[:-1], k_fe + mine)
    variance = (
        scale**2 * np.diag(whole)[at] + 2.0 * scale * ratios[mine] * whole[at, -1] + ratios[mine] ** 2 * whole[-1, -1]
    )
    natural[mine] = np.sqrt(np.where(variance > 0, variance, np.nan))
    return Sampling(cov, natural)


def joint_information(layout: Layout, params: MixedLMParams, *, reml: bool) -> Array | None:
    """Second derivatives of −2 log L by slopes, entries, components and scale (at its optimum); None where not finite."""
    beta = layout.inward(params.fe_params)
    engine = layout.model.engine
    try:
        with one_blas_thread(), np.errstate(all="ignore"):
            answer = engine.curvature(layout.matrices(params), layout.tangents(), reml=reml, beta=beta)
    except (OutsideDomainError, np.linalg.LinAlgError):
        return None
    if answer is None:
        return None
    joint = joint_second_derivatives(answer[0], reml=reml)
    place = np.arange(len(joint))
    place[: len(beta)] = np.argsort(layout.order)
    return joint[np.ix_(place, place)]


def boundary_of(layout: Layout, params: MixedLMParams) -> Mask:
    """Which entries of cov_re, and which components, stand on the boundary of the parameter space."""
    terms = layout.model.covariance.random
    units = layout.model.engine.unit_scales
    found = [
        on_boundary(term.params, flat, 1.0, unit)
        for term, flat, unit in zip(terms, layout.flats(params), units, strict=True)
    ]
    if layout.k_re:
        found[0] = vech(layout.turned_back(unvech(found[0])))
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)
