"""The coordinates and their derivatives against scipy's matrix exponential, and their values against nlme's pdSymm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmframe_matrix_log import MatrixLog, MatrixLogEntries
from scipy.linalg import expm, expm_frechet
from scipy.stats import ortho_group

from mmframe.api import (
    Interval,
    LogElementwise,
    OutsideDomainError,
    Param,
    Positive,
    PositiveDefinite,
    Psd,
    unvech,
    vech,
    vech_basis,
)

# nlme's coefficients are those of the logarithm of the square root of the matrix: half of ours.
NLME = {
    line.split()[0]: np.array(line.split()[1:], dtype=float)
    for line in (Path(__file__).parent / "r" / "pdsymm.txt").read_text().splitlines()
    if not line.startswith("#")
}


def rotated(values: Any, seed: int = 3) -> Any:
    """A symmetric matrix with these eigenvalues, in a random basis."""
    Q = ortho_group.rvs(len(values), random_state=seed) if len(values) > 1 else np.eye(1)
    return Q @ np.diag(values) @ Q.T


LOGARITHMS = {
    "plain": rotated([-1.0, 0.3, 2.0]),
    "one": rotated([0.7]),
    "four": rotated([-3.0, -1.0, 0.5, 1.5]),
    "equal": 0.4 * np.eye(3),
    "two equal": rotated([0.5, 0.5, -1.0]),
    "nearly equal": rotated([0.5, 0.5 + 1e-9, 0.5 - 1e-6, -1.0]),
    "spread": rotated([-12.0, 0.0, 4.0]),
}


@pytest.fixture(params=list(LOGARITHMS))
def logarithm(request: Any) -> Any:
    return LOGARITHMS[request.param]


def of(matrix: Any) -> MatrixLogEntries:
    return MatrixLogEntries(PositiveDefinite(len(matrix)))


def test_forward_is_the_matrix_exponential(logarithm: Any) -> None:
    M = of(logarithm).forward(vech(logarithm)).matrix
    np.testing.assert_allclose(M, expm(logarithm), rtol=0, atol=1e-13 * np.max(M))


def test_the_jacobian_is_the_frechet_derivative(logarithm: Any) -> None:
    given = of(logarithm).jacobian(vech(logarithm))
    for k, direction in enumerate(vech_basis(len(logarithm))):
        slope = expm_frechet(logarithm, direction, compute_expm=False)
        np.testing.assert_allclose(given[:, k], vech(slope), rtol=0, atol=1e-12 * max(1.0, np.max(np.abs(slope))))


def second_derivative(L: Any, A: Any, B: Any) -> Any:
    """d² exp(L) along A and B: a corner of the exponential of a block matrix (Mathias 1996, SIAM J. Matrix Anal. 17)."""
    O = np.zeros_like(L)  # noqa: E741
    blocks = np.block([[L, A, B, O], [O, L, O, B], [O, O, L, A], [O, O, O, L]])
    return expm(blocks)[: len(L), -len(L) :]


def test_the_curvature_is_the_second_frechet_derivative(logarithm: Any) -> None:
    adjoint = np.random.default_rng(1).normal(size=vech(logarithm).size)
    given = of(logarithm).curvature(vech(logarithm), adjoint)
    basis = vech_basis(len(logarithm))
    expected = np.array([[adjoint @ vech(second_derivative(logarithm, A, B)) for B in basis] for A in basis])
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-11 * max(1.0, np.max(np.abs(expected))))


def test_derivatives_of_wide_spectra_are_finite() -> None:
    theta = vech(rotated([-690.0, -20.0, 690.0]))
    bijection = MatrixLogEntries(PositiveDefinite(3))
    assert np.all(np.isfinite(bijection.jacobian(theta)))
    assert np.all(np.isfinite(bijection.curvature(theta, np.ones(6))))


def test_near_singular_matrices_come_back() -> None:
    root = ortho_group.rvs(3, random_state=1) * np.sqrt([1e6, 1.0, 1e-12])
    bijection = MatrixLogEntries(PositiveDefinite(3))
    theta = bijection.inverse(Psd(factor=root))
    np.testing.assert_allclose(np.linalg.eigvalsh(unvech(theta)), np.log([1e-12, 1.0, 1e6]), atol=1e-6)
    np.testing.assert_allclose(bijection.forward(theta).matrix, root @ root.T, atol=1e-14 * 1e6)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((2, 2)),
        np.array([[1.0, 2.0], [2.0, 4.0]]),
        np.diag([3.0, 0.0]),
        np.array([[1.0, 1.0], [1.0, 1.0 - 1e-11]]),  # outside the cone, by rounding
        np.array([[1.0, 1.0], [1.0, 1.0 - 1e-9]]),  # and by more than that
    ],
    ids=["zero", "perfect correlation", "zero variance", "rounding", "outside"],
)
def test_singular_matrices_are_moved_inside(matrix: Any) -> None:
    bijection = MatrixLogEntries(PositiveDefinite(2))
    theta = bijection.inverse(matrix)
    assert np.all(np.isfinite(theta))
    np.testing.assert_allclose(bijection.forward(theta).matrix, matrix, atol=2e-9)


def test_a_root_of_low_rank() -> None:
    bijection = MatrixLogEntries(PositiveDefinite(3))
    root = np.array([[1.0], [2.0], [-1.0]])
    np.testing.assert_allclose(bijection.forward(bijection.inverse(Psd(factor=root))).matrix, root @ root.T, atol=1e-9)


def test_a_rotation_of_the_basis_rotates_the_logarithm() -> None:
    M, Q = expm(LOGARITHMS["plain"]), ortho_group.rvs(3, random_state=8)
    bijection = of(M)
    np.testing.assert_allclose(unvech(bijection.inverse(Q @ M @ Q.T)), Q @ LOGARITHMS["plain"] @ Q.T, atol=1e-12)
    np.testing.assert_allclose(bijection.inverse(np.linalg.inv(M)), -bijection.inverse(M), atol=1e-12)
    np.testing.assert_allclose(
        bijection.inverse(7.0 * M), bijection.inverse(M) + np.log(7.0) * vech(np.eye(3)), atol=1e-12
    )


def test_in_one_dimension_it_is_the_logarithm() -> None:
    number = MatrixLog().bijection(Param("value", Positive(), 2))
    np.testing.assert_allclose(MatrixLogEntries(PositiveDefinite(1)).inverse(np.array([[2.5]])), number.inverse(2.5))
    assert isinstance(MatrixLog().bijection(Param("value", Interval(-1.0, 1.0), 0)), LogElementwise)


@pytest.mark.parametrize("theta", [[np.nan, 0.0, 0.0], [np.inf, 0.0, 0.0], [800.0, 0.0, 0.0]])
def test_outside_is_said(theta: Any) -> None:
    bijection = MatrixLogEntries(PositiveDefinite(2))
    for method in (bijection.forward, bijection.jacobian, lambda t: bijection.curvature(t, np.ones(3))):
        with pytest.raises(OutsideDomainError):
            method(np.array(theta))


@pytest.mark.parametrize(
    ("name", "matrix"),
    [("A", [[4.0, 1.0], [1.0, 3.0]]), ("B", [[2.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 0.7]])],
)
def test_nlmes_coefficients_are_half_of_these(name: str, matrix: Any) -> None:
    np.testing.assert_allclose(of(matrix).inverse(np.array(matrix)), 2.0 * NLME[f"coef_{name}"], rtol=1e-9)
