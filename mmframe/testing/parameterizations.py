"""The rules of parameterizations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.cover import default_bijection
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import Array, Box, Domain, Interval, OutsideDomainError, Positive, PositiveDefinite, Real
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure, Param
from mmframe.registry.registry import PARAMETERIZATION, STRUCTURE, default_registry
from mmframe.testing.case import Case, Rule, check_all, chosen
from mmframe.testing.designs import points_for
from mmframe.testing.oracle import check_against_oracle
from mmframe.testing.registered import registrable

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
POWERS = (0, 1, 2)  # a parameterization may tell variances from standard deviations and shapes


def check_parameterization(parameterization: Parameterization, rules: Iterable[str] | None = None) -> list[str]:
    """All rules of a parameterization, on every domain; the sentences of those that hold.

    rules: only these. Raises ConformanceError at the first that is broken, SpecError for one that there is not.
    """
    return check_all(chosen(parameterization_cases(parameterization), rules))


def parameterization_cases(parameterization: Parameterization) -> list[Case]:
    """The cases of a parameterization, one a rule."""
    return [Case(parameterization, rule, partial(run, parameterization)) for rule, run in RULES.items()]


def _bijections(parameterization: Parameterization) -> Iterator[tuple[Domain, Bijection, str]]:
    for domain in DOMAINS:
        for power in POWERS:
            given = parameterization.bijection(Param("value", domain, power))
            bijection = default_bijection(domain) if given is NotImplemented else given
            yield domain, bijection, f"{parameterization.name} on {domain} with scale_power {power}"


def _values(parameterization: Parameterization) -> Iterator[tuple[Domain, Bijection, object, str]]:
    rng = np.random.default_rng(7)
    for domain, bijection, place in _bijections(parameterization):
        for _ in range(3):
            yield domain, bijection, domain.sample(rng), place


def _flat(domain: Domain, bijection: Bijection, theta: Array) -> Array:
    return np.asarray(domain.flatten(bijection.forward(theta)), dtype=float)


def _slope(bijection: Bijection, adjoint: Array, theta: Array) -> Array:
    return np.asarray(adjoint @ bijection.jacobian(theta))


def _name_and_scale(parameterization: Parameterization) -> None:
    registrable(PARAMETERIZATION, parameterization)


def _sizes(parameterization: Parameterization) -> None:
    for domain, bijection, place in _bijections(parameterization):
        assert bijection.size == domain.count, f"{place}: {bijection.size} coordinates for {domain.count} numbers"
        for name in ("lower", "upper"):
            shape = np.shape(getattr(bijection, name))
            assert shape == (bijection.size,), f"{place}: {name} has the shape {shape}, not {(bijection.size,)}"
        assert np.all(bijection.lower < bijection.upper), f"{place}: its bounds leave no room"


def _round_trip(parameterization: Parameterization) -> None:
    for domain, bijection, value, place in _values(parameterization):
        theta = bijection.inverse(value)
        assert theta.shape == (bijection.size,), f"{place}: inverse() gave the shape {theta.shape}"
        wanted, back = domain.flatten(value), domain.flatten(bijection.forward(theta))
        same = np.allclose(back, wanted, rtol=1e-9, atol=1e-12)
        assert same, f"{place}: forward(inverse(value)) is {back}, and the value is {wanted}"


def _bounds(parameterization: Parameterization) -> None:
    for _, bijection, value, place in _values(parameterization):
        theta = bijection.inverse(value)
        inside = np.all(theta >= bijection.lower) and np.all(theta <= bijection.upper)
        assert inside, f"{place}: inverse() gave {theta}, outside {bijection.lower} to {bijection.upper}"


def _domain(parameterization: Parameterization) -> None:
    """Also from θ that no value was packed into: a stage goes anywhere between the bounds."""
    rng = np.random.default_rng(8)
    for domain, bijection, place in _bijections(parameterization):
        for size in (0.3, 1.0, 3.0):
            low, high = np.maximum(bijection.lower, -size), np.minimum(bijection.upper, size)
            theta = rng.uniform(low, high)
            try:
                value = bijection.forward(theta)
            except OutsideDomainError:
                continue  # it says so, and a stage meets +inf
            assert domain.contains(value), f"{place}: forward({theta}) left the domain without an OutsideDomainError"


def _boundary(parameterization: Parameterization) -> None:
    for domain, bijection, place in _bijections(parameterization):
        if isinstance(domain, Box):
            flats = [np.full(domain.count, b) for b in (domain.low, domain.high) if np.isfinite(b)]
        elif isinstance(domain, PositiveDefinite):
            flats = [np.zeros(domain.count), np.ones(domain.count)]  # zero, and correlations of one
        else:
            flats = []
        for flat in flats:
            theta = np.asarray(bijection.inverse(domain.unflatten(flat)))
            assert theta.shape == (bijection.size,) and np.all(np.isfinite(theta)), (
                f"{place}: inverse({flat}) is {theta}"
            )
            back = domain.flatten(bijection.forward(theta))
            near = np.allclose(back, flat, atol=1e-2)
            assert near, f"{place}: the boundary {flat} came back as {back}"


def _jacobian(parameterization: Parameterization) -> None:
    for domain, bijection, value, place in _values(parameterization):
        theta = bijection.inverse(value)
        given = bijection.jacobian(theta)
        if given is NotImplemented:
            continue
        slow = central_differences(partial(_flat, domain, bijection), theta).T
        assert np.shape(given) == slow.shape, f"{place}: jacobian() has the shape {np.shape(given)}, not {slow.shape}"
        gap = float(np.max(np.abs(given - slow) - 1e-5 * np.abs(slow)))
        assert gap <= 1e-6, f"{place}: jacobian() differs from differences by {gap:.2g} at θ = {theta}"


def _curvature(parameterization: Parameterization) -> None:
    rng = np.random.default_rng(9)
    for domain, bijection, value, place in _values(parameterization):
        theta, adjoint = bijection.inverse(value), rng.normal(size=domain.count)
        given = bijection.curvature(theta, adjoint)
        if given is NotImplemented or bijection.jacobian(theta) is NotImplemented:
            continue
        slow = central_differences(partial(_slope, bijection, adjoint), theta)
        assert np.shape(given) == slow.shape, f"{place}: curvature() has the shape {np.shape(given)}, not {slow.shape}"
        gap = float(np.max(np.abs(given - slow) - 1e-5 * np.abs(slow)))
        assert gap <= 1e-5, f"{place}: curvature() differs from differences by {gap:.2g} at θ = {theta}"


def _pure(parameterization: Parameterization) -> None:
    for domain, bijection, value, place in _values(parameterization):
        flat = np.array(domain.flatten(value), dtype=float)
        theta = np.array(bijection.inverse(value))
        kept = theta.copy()
        first = np.array(_flat(domain, bijection, theta))
        bijection.jacobian(theta)
        bijection.curvature(theta, np.ones(domain.count))
        assert np.array_equal(theta, kept), f"{place}: θ was changed by what was asked of it"
        assert np.array_equal(domain.flatten(value), flat), f"{place}: inverse() changed its value"
        assert np.array_equal(first, _flat(domain, bijection, theta)), f"{place}: two calls gave two values"


def _likelihood(parameterization: Parameterization) -> None:
    for name in ("unstructured", "compound_symmetry"):
        structure: CovarianceStructure = default_registry().find(STRUCTURE, f"mmframe/{name}", "kit").cls()
        check_against_oracle(structure, parameterization, points_for(structure, 3))


RULES: dict[Rule, Callable[[Parameterization], None]] = {
    Rule(
        "name_and_scale",
        "the name is lower case, the scale RELATIVE or ABSOLUTE",
        "name it after ^[a-z][a-z0-9_]*$, and set scale = RELATIVE or ABSOLUTE",
    ): _name_and_scale,
    Rule(
        "sizes",
        "there is one coordinate a number, and a pair of bounds for each",
        "let size be domain.count, and lower and upper arrays (size,) with -inf and inf where free",
    ): _sizes,
    Rule(
        "round_trip",
        "forward(inverse(value)) = value on every domain",
        "let inverse() undo forward(); return NotImplemented from bijection() for domains that it is not for",
    ): _round_trip,
    Rule("bounds", "inverse() stays between the bounds", "widen lower and upper, or correct inverse()"): _bounds,
    Rule(
        "domain",
        "forward() stays in the domain, or raises OutsideDomainError",
        "raise OutsideDomainError from mmframe.api where θ stands for no value",
    ): _domain,
    Rule(
        "boundary",
        "a value on the boundary has finite coordinates near it",
        "move what has no coordinates inside by a little in inverse(), as LogElementwise does",
    ): _boundary,
    Rule(
        "jacobian",
        "the first derivatives equal differences",
        "correct jacobian(): rows are the numbers of the value, columns the coordinates; or return NotImplemented",
    ): _jacobian,
    Rule(
        "curvature",
        "the second derivatives equal differences",
        "correct curvature(): the sum over r of adjoint[r] times the Hessian of value r; or return NotImplemented",
    ): _curvature,
    Rule(
        "pure",
        "θ and values are left as they are, and the same θ gives the same value",
        "work on copies, and keep nothing between calls",
    ): _pure,
    Rule(
        "likelihood",
        "value, gradient and Hessian of a likelihood equal the dense oracle",
        "mend what the other rules find first",
    ): _likelihood,
}
