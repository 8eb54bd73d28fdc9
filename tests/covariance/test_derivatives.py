"""The ladder of derivatives: a complex step is used where it proves right, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmframe.api import CovarianceStructure, Interval, Param, Phi, Points, Positive, PositiveDefinite, Psd, lags
from mmframe.covariance.derivative import DerivativeMethod, choose_method, jacobian
from mmframe.covariance.domain import OutsideDomainError, psd_root, unvech, vech, vech_basis
from mmframe.covariance.matrix_bijections import StandardDeviationsCorrelations
from mmframe.testing import check_covariance_structure
from mmframe.testing.oracle import bound

POINTS = Points(("a", "b", "c"), np.array([[0.0], [1.5], [4.0]]))


class Exponential(CovarianceStructure):
    name = "exponential_here"

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=2), Param("rho", Interval(0.0, 1.0))

    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.variance * phi.rho ** lags(index)


class Real(Exponential):
    """Casts to float: a complex step would see no imaginary part."""

    name = "real_here"

    def covariance(self, phi: Any, index: Any) -> Any:
        return np.real(phi.variance) * np.real(phi.rho) ** lags(index)


class Refuses(Exponential):
    """Takes real numbers only."""

    name = "refuses_here"

    def covariance(self, phi: Any, index: Any) -> Any:
        return float(phi.variance) * float(phi.rho) ** lags(index)


@pytest.mark.parametrize(
    ("structure", "method"),
    [
        (Exponential(), DerivativeMethod.COMPLEX_STEP),
        (Real(), DerivativeMethod.DIFFERENCES),
        (Refuses(), DerivativeMethod.DIFFERENCES),
    ],
)
def test_a_complex_step_is_verified_before_it_is_used(structure: CovarianceStructure, method: DerivativeMethod) -> None:
    params = structure.params(POINTS)
    assert choose_method(structure, params, POINTS) is method
    flat = np.array([2.0, 0.4])
    lag = lags(POINTS.index)
    exact = np.stack([0.4**lag, 2.0 * lag * 0.4 ** np.maximum(lag - 1, -1) * (lag > 0)])
    np.testing.assert_allclose(jacobian(method, structure, params, flat, POINTS.index), exact, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("structure", [Exponential(), Real()])
def test_structures_without_any_optional_method_pass_the_kit(structure: CovarianceStructure) -> None:
    assert check_covariance_structure(structure, (2, 3))


class TwoAtOnce(Exponential):
    """Σ depends on the product of its parameters only."""

    name = "two_at_once"

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=2), Param("factor", Positive())

    def covariance(self, phi: Any, index: Any) -> Any:
        return phi.variance * phi.factor * (lags(index) == 0)


class WrongJacobian(Exponential):
    name = "wrong_jacobian"

    def jacobian(self, phi: Any, index: Any) -> Any:
        return {"variance": (phi.rho ** lags(index))[None], "rho": (phi.variance * lags(index))[None]}


class TwiceTheSame(Exponential):
    """Its customary parameters are one number, twice."""

    name = "twice_the_same"

    def customary(self, phi: Phi, points: Points) -> Any:
        return [phi.variance, phi.variance]


class WrongPower(Exponential):
    name = "wrong_power"

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=1), Param("rho", Interval(0.0, 1.0))


class NotPositive(Exponential):
    """Each correlation by itself: not positive definite over its whole domain."""

    name = "not_positive"

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=2), Param("rho", Interval(-1.0, 1.0))

    def covariance(self, phi: Any, index: Any) -> Any:
        same = lags(index) == 0
        return phi.variance * np.where(same, 1.0, phi.rho)


class ByOrder(Exponential):
    """Depends on the order of the rows, not on their points."""

    name = "by_order"

    def covariance(self, phi: Any, index: Any) -> Any:
        place = np.arange(index.shape[-2], dtype=float)
        return phi.variance * phi.rho ** np.abs(place[:, None] - place) * np.ones((*index.shape[:-2], 1, 1))


@pytest.mark.parametrize(
    ("structure", "said"),
    [
        (TwoAtOnce(), "does not tell apart"),
        (WrongJacobian(), "Jacobian"),
        (TwiceTheSame(), "does not tell its parameters apart"),
        (WrongPower(), "c²"),
        (NotPositive(), "eigenvalue"),
        (ByOrder(), "not that part"),
    ],
)
def test_the_kit_finds_each_mistake(structure: CovarianceStructure, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_covariance_structure(structure)


def test_projection_without_a_closed_form_is_a_minimum() -> None:
    term = bound(Exponential(), POINTS)
    target = 3.0 * 0.6 ** lags(POINTS.index)
    np.testing.assert_allclose(term.project(target), [3.0, 0.6], rtol=1e-4)


def test_roots_of_singular_matrices_and_the_edge_of_the_cone() -> None:
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(psd_root(singular) @ psd_root(singular).T, singular, atol=1e-12)
    np.testing.assert_array_equal(psd_root(np.zeros((2, 2))), 0.0)
    with pytest.raises(OutsideDomainError):
        psd_root(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(OutsideDomainError):
        psd_root(np.full((2, 2), np.nan))


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_vech_and_its_basis(dim: int) -> None:
    rng = np.random.default_rng(dim)
    a = rng.normal(size=(dim, dim))
    a = a + a.T
    np.testing.assert_array_equal(unvech(vech(a)), a)
    np.testing.assert_allclose(np.tensordot(vech(a), vech_basis(dim), axes=1), a)


@pytest.mark.parametrize("dim", [1, 2, 4])
def test_standard_deviations_and_correlations_as_coordinates(dim: int) -> None:
    """Their first and second derivatives, and that a perfect correlation and a zero have coordinates."""
    rng = np.random.default_rng(dim)
    bijection = StandardDeviationsCorrelations(PositiveDefinite(dim))
    value = PositiveDefinite(dim).sample(rng)
    theta = bijection.inverse(value)
    np.testing.assert_allclose(bijection.forward(theta).matrix, value.matrix, rtol=1e-10)
    step = 1e-6
    for k in range(theta.size):
        unit = np.eye(theta.size)[k] * step
        up, down = (vech(bijection.forward(theta + s * unit).matrix) for s in (1, -1))
        np.testing.assert_allclose(bijection.jacobian(theta)[:, k], (up - down) / (2 * step), rtol=1e-6, atol=1e-8)
        adjoint = rng.normal(size=theta.size)
        slope = (bijection.jacobian(theta + unit) - bijection.jacobian(theta - unit)) / (2 * step)
        np.testing.assert_allclose(bijection.curvature(theta, adjoint)[k], adjoint @ slope, rtol=1e-6, atol=1e-8)
    edge = bijection.inverse(Psd(np.ones((dim, dim))))
    np.testing.assert_allclose(bijection.forward(edge).matrix, 1.0, atol=1e-12)
