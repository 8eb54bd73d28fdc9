"""How uncertain the covariance parameters are: the inverse of the information at the estimate, in coordinates without bounds.

The Hessian of −2 log L is taken on the absolute scale; its inverse, doubled, is the asymptotic covariance of the coordinates
(observed information; for very large crossed designs average information stands in). Directions without curvature, such as a
null direction of a singular G, carry no information and are left out.
"""

from __future__ import annotations

import numpy as np
from attrs import evolve, frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.model import CovarianceModel
from mmframe.likelihood.engine import Engine
from mmframe.optimize.found import Found
from mmframe.optimize.problem import Problem


@frozen(eq=False)
class Uncertainty:
    """The coordinates `theta` (k,) of the estimate in the model `cover`, their covariance (k, k), and the directions without
    information (k, any) as columns, of the size at which the criterion would have to change."""

    cover: CovarianceModel
    theta: Array
    covariance: Array
    lost: Array


def uncertainty(engine: Engine, found: Found, *, reml: bool) -> Uncertainty:
    """At what the stages found."""
    flats, sigma2 = found.point.flats, found.point.sigma2
    cover = found.cover.absolute()
    if cover is not found.cover:  # held coordinates move to the new scale
        everything = evolve(cover, free=np.ones_like(cover.free), source=np.arange(cover.free.size))
        cover = evolve(cover, held=everything.theta(flats, sigma2))
    theta = cover.theta(flats, sigma2)
    if not theta.size:  # everything is held
        return Uncertainty(cover, theta, np.zeros((0, 0)), np.zeros((0, 0)))
    problem = Problem(engine, cover, reml, average=not engine.exact_is_affordable)
    hessian = problem.hessian(theta)
    if not np.all(np.isfinite(hessian)):  # no exact curvature at a singular G where K⁻¹ was given
        hessian = Problem(engine, cover, reml, average=True).hessian(theta)
    return Uncertainty(cover, theta, *inverse_information(hessian))


def inverse_information(hessian: Array) -> tuple[Array, Array]:
    """Twice the inverse of the Hessian of −2 log L on the directions that carry information, and the others (columns)."""
    if not hessian.size:
        return hessian, hessian
    if not np.all(np.isfinite(hessian)):
        return np.full_like(hessian, np.nan), np.zeros_like(hessian)
    diagonal = np.diag(hessian)
    unit = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(hessian * np.outer(unit, unit))
    good = values > 1e-9
    inverse = (vectors[:, good] / values[good]) @ vectors[:, good].T
    return np.asarray(2.0 * inverse * np.outer(unit, unit)), unit[:, None] * vectors[:, ~good]
