"""Held entries of a covariance matrix: exact for any pattern, smooth, and at their value through a whole fit."""

from __future__ import annotations

import attrs
import numpy as np
import pytest

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from mmframe.covariance.domain import OutsideDomainError, PositiveDefinite, Psd, vech
from mmframe.covariance.patterned import PatternedCholesky, hold_entries

DIETOX = mm.datasets.load("dietox")


def some_matrix(dim: int, seed: int) -> np.ndarray:
    root = np.eye(dim) + 0.3 * np.tril(np.random.default_rng(seed).normal(size=(dim, dim)))
    return root @ root.T


@pytest.mark.parametrize("seed", range(8))
def test_any_pattern_is_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(2, 6))
    free = rng.random((dim, dim)) < 0.6
    matrix, bijection = some_matrix(dim, seed), PatternedCholesky(PositiveDefinite(dim), free)
    theta = bijection.inverse(Psd(matrix))
    np.testing.assert_allclose(bijection.forward(theta).matrix, matrix, rtol=1e-10)
    slow = central_differences(lambda u: vech(bijection.forward(u).matrix), theta).T
    np.testing.assert_allclose(bijection.jacobian(theta), slow, atol=1e-7)
    rows, cols = np.tril_indices(dim)
    moved = theta + 0.02 * rng.normal(size=theta.size) * free[rows, cols]
    np.testing.assert_allclose(
        bijection.forward(moved).matrix[rows, cols][~free[rows, cols]], matrix[rows, cols][~free[rows, cols]]
    )


def test_what_no_matrix_has_is_outside() -> None:
    bijection = PatternedCholesky(PositiveDefinite(2), np.zeros((2, 2), dtype=bool))
    for entries in ([1.0, 2.0, 1.0], [0.0, 2.0, 1.0], [np.nan, 0.0, 1.0]):
        with pytest.raises(OutsideDomainError):
            bijection.forward(np.array(entries))
    assert np.all(bijection.forward(np.array([0.0, 0.0, 1.0])).matrix == [[0, 0], [0, 1]])
    assert np.allclose(bijection.forward(np.array([1.0, -2.0, 4.0])).matrix, [[1, -2], [-2, 4]])


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_held_variance_reaches_correlations_of_one(which: int) -> None:
    """Its row comes first in the factor: singular matrices are ordinary points, and have derivatives."""
    root = np.array([[1.0, 0.5], [0.4, -1.0], [-0.7, 0.3]])
    matrix, free = root @ root.T, np.ones((3, 3), dtype=bool)
    free[which, which] = False
    bijection = PatternedCholesky(PositiveDefinite(3), free)
    theta = bijection.inverse(Psd(matrix))
    np.testing.assert_allclose(bijection.forward(theta).matrix, matrix, atol=1e-12)
    slow = central_differences(lambda u: vech(bijection.forward(u).matrix), theta).T
    np.testing.assert_allclose(bijection.jacobian(theta), slow, atol=1e-7)


def dietox(stages: tuple[str, ...] = ("newton",)) -> mm.Model:
    return mm.ModelBuilder().fixed("Weight ~ Time").random("1 + Time | Pig").stages(*stages).build(DIETOX)


@pytest.mark.parametrize(
    "stages",
    [("newton",), ("em", "gradient", "cg"), ("lbfgs",), ("bfgs",), ("powell", "newton"), ("simplex", "newton")],
)
def test_a_zero_covariance_is_independence(stages: tuple[str, ...]) -> None:
    """With the covariance held at zero it is the model of two independent effects."""
    model = dietox(stages)
    held = attrs.evolve(model, covariance=hold_entries(model.covariance, 0, np.eye(2), np.eye(2))).fit()
    apart = mm.fit("Weight ~ Time + (1 + Time || Pig)", DIETOX)
    assert held.converged
    np.testing.assert_allclose(held.loglike, apart.loglike, atol=2e-7)
    assert held.covariance("Pig").iloc[0, 1] == 0.0
    np.testing.assert_allclose(np.diag(held.covariance("Pig")), np.diag(apart.covariance("Pig")), rtol=1e-4)


def test_a_ratio_is_held_relative_to_the_residual() -> None:
    model = dietox()
    values = np.array([[2.0, 0.1], [0.1, 0.05]])
    free = np.array([[1, 1], [0, 1]])
    fit = attrs.evolve(model, covariance=hold_entries(model.covariance, 0, free, values)).fit()
    assert fit.converged
    np.testing.assert_allclose(fit.covariance("Pig").iloc[1, 0] / fit.sigma2, 0.1, rtol=1e-10)
    assert fit.loglike < model.fit().loglike


def test_all_free_changes_nothing() -> None:
    model = dietox()
    assert hold_entries(model.covariance, 0, np.ones((2, 2)), np.eye(2)) is model.covariance


def test_one_variance_is_held() -> None:
    model = (
        mm.ModelBuilder().fixed("Weight ~ Time").random("1 + Time | Pig", structure="variance_component").build(DIETOX)
    )
    fit = attrs.evolve(
        model, covariance=hold_entries(model.covariance, 0, np.zeros((1, 1)), np.full((1, 1), 0.3))
    ).fit()
    np.testing.assert_allclose(np.diag(fit.covariance("Pig")) / fit.sigma2, 0.3, rtol=1e-12)
