"""Structures by loadings, and a known matrix: entries, parameter counts, slopes, projections, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Positive
from mmframe.covariance.derivative import central_differences, flatten_phi, make_phi
from mmframe.plugins.structures.factor_analytic import FactorAnalytic
from mmframe.plugins.structures.known import Known
from mmframe.plugins.structures.reduced_rank import ReducedRank
from mmframe.testing import check_covariance_structure
from tests.plugins.matrices import check_slopes, natural, points_at, sigma


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_conformance_of_factors(factors: int) -> None:
    assert check_covariance_structure(FactorAnalytic(factors=factors))


@frozen
class Ridged(CovarianceStructure):
    """Low rank and one variance more, which the kit can invert."""

    name = "ridged"
    low: ReducedRank

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=2), *self.low.params(points)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * (index == np.swapaxes(index, -1, -2)) + self.low.covariance(phi, index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        own = (index == np.swapaxes(index, -1, -2)).astype(float)
        return {"variance": own[None], **self.low.jacobian(phi, index)}


@pytest.mark.parametrize("rank", [1, 2])
def test_conformance_of_low_rank(rank: int) -> None:
    assert ReducedRank.singular
    assert check_covariance_structure(Ridged(ReducedRank(rank=rank)), sizes=(3, 5))


def test_factor_analytic_entries() -> None:
    matrix = sigma(
        FactorAnalytic(factors=2),
        range(5),
        loading=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        psi=[1.0, 2.0, 3.0, 4.0, 5.0],
    )
    loadings = np.array([[1.0, 0.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0], [8.0, 9.0]])
    np.testing.assert_allclose(matrix, loadings @ loadings.T + np.diag([1.0, 2.0, 3.0, 4.0, 5.0]))


@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 6, 7])
def test_factor_analytic_is_locally_identified(factors: int, m: int) -> None:
    structure = FactorAnalytic(factors=factors)
    points = points_at(structure, range(m))
    params = structure.params(points)
    rng = np.random.default_rng(1)
    flat = flatten_phi(params, {p.name: p.domain.sample(rng) for p in params})
    slopes = central_differences(lambda v: structure.covariance(make_phi(params, v), points.index), flat)
    assert np.linalg.matrix_rank(slopes.reshape(flat.size, -1), tol=1e-6) == flat.size


def test_factor_analytic_of_two_points_reaches_any_matrix() -> None:
    """A common psi is the smaller eigenvalue, and the loadings what is above it along the other axis."""
    target = np.array([[2.0, -0.7], [-0.7, 1.0]])
    values, vectors = np.linalg.eigh(target)
    loading = vectors[:, 1] * np.sqrt(values[1] - values[0])
    np.testing.assert_allclose(sigma(FactorAnalytic(), range(2), loading=list(loading), psi=float(values[0])), target)


def test_factor_analytic_reports_communalities() -> None:
    structure = FactorAnalytic()
    points = points_at(structure, range(3))
    phi = natural({"loading": [1.0, -2.0, 0.0], "psi": [1.0, 1.0, 3.0]})
    assert structure.report(phi, points) == pytest.approx(
        {"communality[p1]": 0.5, "communality[p2]": 0.8, "communality[p3]": 0.0}
    )
    assert structure.report(natural({"psi": 1.0}), points_at(structure, [0])) == {}


def test_labels_of_loadings() -> None:
    def labels(structure: CovarianceStructure, m: int) -> tuple[str, ...]:
        return structure.params(points_at(structure, range(m)))[0].labels

    assert labels(FactorAnalytic(), 3) == labels(ReducedRank(), 3) == ("p1", "p2", "p3")
    assert labels(ReducedRank(rank=2), 3) == ("p1, 1", "p2, 1", "p2, 2", "p3, 1", "p3, 2")


def test_slopes_of_loadings() -> None:
    check_slopes(
        FactorAnalytic(factors=2),
        range(5),
        loading=[0.5, -1, 0.3, 0, 0, 1, 2, -0.4, 0.1],
        psi=[1.0, 0.2, 3.0, 0.1, 1.0],
    )
    check_slopes(FactorAnalytic(factors=2), range(3), loading=[0.5, -1.0, 0.3, 0.0, 1.0], psi=0.7)
    check_slopes(ReducedRank(rank=2), range(4), loading=[0.5, -1.0, 0.3, 0.0, 1.0, 2.0, 3.0])
    check_slopes(ReducedRank(rank=3), range(2), loading=[0.5, -1.0, 0.3])


@pytest.mark.parametrize("rank", [1, 2, 4, 6])
def test_reduced_rank_projects_onto_principal_components(rank: int) -> None:
    structure = ReducedRank(rank=rank)
    points = points_at(structure, range(4))
    root = np.random.default_rng(3).normal(size=(4, 4)) + 2 * np.eye(4)
    target = root @ root.T
    values, vectors = np.linalg.eigh(target)
    kept = min(rank, 4)
    phi = natural(structure.project(target, points.index))
    best = (vectors[:, -kept:] * values[-kept:]) @ vectors[:, -kept:].T
    np.testing.assert_allclose(structure.covariance(phi, points.index), best, atol=1e-12 * values[-1])
    assert len(phi.loading) == structure.params(points)[0].domain.count


def test_counts_are_checked() -> None:
    with pytest.raises(ValueError, match="factors=0"):
        FactorAnalytic(factors=0)
    with pytest.raises(ValueError, match="rank=0"):
        ReducedRank(rank=0)


K = [[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 1.5]]


def test_known() -> None:
    assert check_covariance_structure(Known(K), sizes=(3,))
    np.testing.assert_array_equal(sigma(Known(K), range(3), variance=3.0), 3.0 * np.array(K))
    with pytest.raises(ValueError, match="matrix has 3 rows, and there are 4 points"):
        Known(K).params(points_at(Known(K), range(4)))


def test_known_may_be_singular() -> None:
    structure = Known(np.ones((2, 2)))
    target = np.array([[2.0, 1.0], [1.0, 4.0]])
    # along (1, 1)/√2 the target has 4 and the matrix 2
    assert structure.project(target, np.array([[0.0], [1.0]]))["variance"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("matrix", "told"),
    [
        ([[1.0, 0.0]], r"the shape \(1, 2\); allowed: a square one"),
        ([1.0, 2.0], r"the shape \(2,\)"),
        ([[1.0, np.nan], [np.nan, 1.0]], "not finite"),
        ([[1.0, 0.5], [0.4, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "the eigenvalue -1"),
        ([[0.0, 0.0], [0.0, 0.0]], "not zero"),
    ],
)
def test_known_refuses_what_is_no_covariance(matrix: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Known(matrix)
