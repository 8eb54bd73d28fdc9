"""Checks of parameterizations."""

from __future__ import annotations

import re
from functools import partial

import numpy as np

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import Array, Domain, Interval, Positive, PositiveDefinite, Real
from mmframe.covariance.parameterization import Parameterization, Scale, resolve_bijection
from mmframe.covariance.structure import Param

DOMAINS: tuple[Domain, ...] = (
    Positive(),
    Positive(3),
    Interval(-0.5, 1.0),
    Interval(0.0, 1.0, 2),
    Real(),
    Real(2),
    PositiveDefinite(1),
    PositiveDefinite(2),
    PositiveDefinite(4),
)


def _flat(domain: Domain, bijection: Bijection, theta: Array) -> Array:
    return np.asarray(domain.flatten(bijection.forward(theta)), dtype=float)


def _slope(bijection: Bijection, adjoint: Array, theta: Array) -> Array:
    return np.asarray(adjoint @ bijection.jacobian(theta))


def check_parameterization(parameterization: Parameterization) -> list[str]:
    """Packing and unpacking, bounds and derivatives on every domain. Raises AssertionError."""
    who = parameterization.name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", who), f"the name {who!r} is not ^[a-z][a-z0-9_]*$"
    assert isinstance(parameterization.scale, Scale), f"{who}: scale is {parameterization.scale!r}"
    rng = np.random.default_rng(7)
    for domain in DOMAINS:
        bijection = resolve_bijection(parameterization, Param("value", domain, 0))
        place = f"{who} on {domain}"
        assert bijection.size == domain.count, f"{place}: {bijection.size} coordinates for {domain.count} numbers"
        assert len(bijection.lower) == len(bijection.upper) == bijection.size, (
            f"{place}: the bounds have the wrong length"
        )
        for _ in range(5):
            value = domain.sample(rng)
            theta = bijection.inverse(value)
            assert theta.shape == (bijection.size,), f"{place}: θ has the shape {theta.shape}"
            assert np.all(theta >= bijection.lower) and np.all(theta <= bijection.upper), (
                f"{place}: θ is outside its bounds"
            )
            back = bijection.forward(theta)
            np.testing.assert_allclose(
                domain.flatten(back),
                domain.flatten(value),
                rtol=1e-9,
                atol=1e-12,
                err_msg=f"{place}: unpack(pack) differs",
            )
            assert domain.contains(back), f"{place}: forward() left the domain"
            by_difference = central_differences(partial(_flat, domain, bijection), theta).T
            given = bijection.jacobian(theta)
            if given is not NotImplemented:
                np.testing.assert_allclose(given, by_difference, rtol=1e-5, atol=1e-6, err_msg=f"{place}: jacobian()")
            adjoint = rng.normal(size=domain.count)
            second = bijection.curvature(theta, adjoint)
            if second is not NotImplemented and given is not NotImplemented:
                slow = central_differences(partial(_slope, bijection, adjoint), theta)
                np.testing.assert_allclose(second, slow, rtol=1e-5, atol=1e-5, err_msg=f"{place}: curvature()")
    return [
        "name and scale",
        "unpack(pack(value)) = value on every domain",
        "bounds hold",
        "first and second derivatives equal differences",
    ]
