"""Spatial structures: entries by nlme and by formula, slopes, nuggets, dimensions.

nlme: version 3.1-162 in R 4.2.2, `corMatrix(Initialize(cor..., data))` at the four places below.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma

from mmframe.plugins.structures._spatial import Spatial
from mmframe.plugins.structures.heterogeneous import Heterogeneous
from mmframe.plugins.structures.matern import Matern
from mmframe.plugins.structures.spatial_exponential import SpatialExponential
from mmframe.plugins.structures.spatial_gaussian import SpatialGaussian
from mmframe.plugins.structures.spatial_linear import SpatialLinear
from mmframe.plugins.structures.spatial_rational import SpatialRational
from mmframe.plugins.structures.spatial_spherical import SpatialSpherical
from mmframe.testing import check_covariance_structure
from tests.plugins.matrices import check_markov, check_slopes, natural, points_at, sigma

PLANE = [[0.0, 0.0], [1.0, 0.3], [0.5, 1.5], [2.0, 1.0]]
LINE = [0.0, 1.0, 0.5, 2.0]
KINDS: list[type[Spatial]] = [
    SpatialExponential, SpatialGaussian, SpatialRational, SpatialSpherical, SpatialLinear, Matern,
]  # fmt: skip


@pytest.mark.parametrize(
    "structure",
    [*(kind(nugget=n) for kind in KINDS for n in (False, True)), *(Matern(smoothness=s) for s in (0.5, 2.5, 0.3, 4.0))],
    ids=repr,
)
def test_conformance(structure: Spatial) -> None:
    assert check_covariance_structure(structure)


# first rows: (structure, places, nugget, range, entries)
NLME = [
    (SpatialExponential, PLANE, 0.2, 1.3, [0.358350381479034, 0.237068964709626, 0.143245427774865]),
    (SpatialGaussian, PLANE, None, 1.3, [0.524678064896636, 0.227799382011479, 0.0518925584448117]),
    (SpatialRational, PLANE, 0.2, 1.3, [0.486330935251799, 0.322673031026253, 0.202092675635277]),
    (SpatialSpherical, PLANE, None, 1.3, [0.0543372802579885, 0.0, 0.0]),
    (SpatialSpherical, PLANE, 0.2, 2.3, [0.292700813013239, 0.105011057508815, 0.000918585833066032]),
    (SpatialLinear, LINE, None, 1.3, [0.230769230769231, 0.615384615384615, 0.0]),
    (SpatialLinear, LINE, 0.2, 1.3, [0.184615384615385, 0.492307692307692, 0.0]),
]


@pytest.mark.parametrize(("kind", "places", "nugget", "reach", "entries"), NLME)
def test_entries_equal_those_of_nlme(
    kind: type[Spatial], places: list[float], nugget: float | None, reach: float, entries: list[float]
) -> None:
    given = {} if nugget is None else {"nugget": nugget}
    matrix = sigma(kind(nugget=nugget is not None), places, variance=2.0, range=reach, **given)
    np.testing.assert_allclose(matrix[0], 2.0 * np.array([1.0, *entries]), rtol=1e-12, atol=1e-15)


def bessel(nu: float, z: float) -> float:
    """K_ν(z) by its integral (Abramowitz & Stegun 1964, 9.6.24)."""
    return float(quad(lambda t: math.exp(-z * math.cosh(t)) * math.cosh(nu * t), 0.0, 12.0, epsabs=0, epsrel=1e-12)[0])


@pytest.mark.parametrize("nu", [0.3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.7])
def test_matern_entries(nu: float) -> None:
    for distance, reach in ((0.4, 1.0), (1.7, 0.8)):
        z = math.sqrt(2 * nu) * distance / reach
        rho = 2 ** (1 - nu) / gamma(nu) * z**nu * bessel(nu, z)
        matrix = sigma(Matern(smoothness=nu), [[0.0, 0.0], [distance, 0.0]], variance=1.0, range=reach)
        np.testing.assert_allclose(matrix[0, 1], rho, rtol=1e-9)


def test_matern_closed_forms_equal_the_general_one_next_to_them() -> None:
    for nu in (0.5, 1.5, 2.5):
        closed, general = (sigma(Matern(smoothness=s), PLANE, variance=1.0, range=0.9) for s in (nu, nu * (1 + 1e-9)))
        np.testing.assert_allclose(closed, general, rtol=1e-7)


def test_matern_near_and_far_is_finite() -> None:
    for nu in (0.05, 0.8, 10.0, 50.0):
        structure = Matern(smoothness=nu)
        points = points_at(structure, [[0.0], [1e-300], [1e-12], [1.0], [1e6]])
        for reach in (0.0, 1e-8, 1.0, 1e8):
            phi = natural({"variance": 1.0, "range": reach})
            matrix = structure.covariance(phi, points.index)
            assert np.all(np.isfinite(matrix)) and np.all(np.diag(matrix) == 1.0)
            assert np.all((matrix >= 0.0) & (matrix <= 1.0 + 1e-12))
            assert all(np.all(np.isfinite(v)) for v in structure.jacobian(phi, points.index).values())


def test_matern_says_which_smoothness_it_takes() -> None:
    for nu in (0.0, -1.0, 51.0, math.nan):
        with pytest.raises(ValueError, match="allowed: above 0, up to 50"):
            Matern(smoothness=nu)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_slopes(kind: type[Spatial]) -> None:
    places = LINE if kind is SpatialLinear else PLANE
    for reach in (0.31, 1.25, 40.0):  # shorter than all distances, between them, and beyond
        check_slopes(kind(nugget=True), places, variance=2.0, range=reach, nugget=0.3)
        check_slopes(kind(), places, variance=2.0, range=reach)
    check_slopes(Heterogeneous(kind(nugget=True)), places, variance=[1.0, 3.0, 0.2, 5.0], range=1.2, nugget=0.1)
    for nu in (0.4, 3.2):
        check_slopes(Matern(smoothness=nu), PLANE, variance=2.0, range=1.3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_nothing_breaks_at_a_range_of_zero(kind: type[Spatial]) -> None:
    structure = kind(nugget=True)
    points = points_at(structure, LINE)
    phi = natural({"variance": 2.0, "range": 0.0, "nugget": 0.5})
    np.testing.assert_allclose(structure.covariance(phi, points.index), 2.0 * np.eye(4), atol=1e-100)
    assert all(np.all(np.isfinite(v)) for v in structure.jacobian(phi, points.index).values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_a_nugget_tells_rows_at_one_place_apart(kind: type[Spatial]) -> None:
    index = np.array([[0.0], [0.0], [1.0]])
    phi = natural({"variance": 2.0, "range": 3.0, "nugget": 0.25})
    matrix = kind(nugget=True).covariance(phi, index)
    np.testing.assert_allclose(matrix[:2, :2], [[2.0, 1.5], [1.5, 2.0]])
    assert np.linalg.eigvalsh(matrix)[0] > 0.1


def test_two_points_have_no_nugget() -> None:
    """One distance has one correlation."""
    structure = SpatialExponential(nugget=True)
    for m, names in ((1, ["variance"]), (2, ["variance", "range"]), (3, ["variance", "range", "nugget"])):
        assert [p.name for p in structure.params(points_at(structure, PLANE[:m]))] == names


def test_dimensions() -> None:
    with pytest.raises(
        ValueError, match="spatial_linear is a correlation in 1 dimension at most, and these points have 2"
    ):
        SpatialLinear().params(points_at(SpatialLinear(), PLANE))
    four = np.random.default_rng(0).normal(size=(5, 4))
    with pytest.raises(
        ValueError, match="spatial_spherical is a correlation in 3 dimensions at most, and these points have 4"
    ):
        SpatialSpherical().params(points_at(SpatialSpherical(), four))
    assert SpatialSpherical().params(points_at(SpatialSpherical(), four[:, :3]))
    assert SpatialGaussian().params(points_at(SpatialGaussian(), four))


def test_the_start_of_a_range_follows_the_units() -> None:
    rng = np.random.default_rng(2)
    places = rng.uniform(size=(500, 2))
    for kind in (SpatialExponential, SpatialSpherical):
        near, far = (kind().params(points_at(kind(), c * places))[1].start for c in (1.0, 1000.0))
        assert near is not None and far == pytest.approx(1000.0 * near)
        assert 0.2 < near < 0.4  # half of the median distance in the unit square, 0.51


def test_a_compact_range_begins_at_the_smallest_distance() -> None:
    for kind in (SpatialSpherical, SpatialLinear):
        reach = kind().params(points_at(kind(), LINE))[1]
        assert reach.domain.low == 0.5
        assert reach.start is not None and reach.start > 0.5


def test_markov_claims() -> None:
    line = [0.0, 0.3, 1.0, 2.5, 2.6, 7.0]
    for structure in (SpatialExponential(), Matern(smoothness=0.5)):
        check_markov(structure, line, variance=2.0, range=1.5)
        assert not structure.markov(points_at(structure, PLANE))
    for other in (SpatialGaussian(), Matern()):
        check_markov(other, line, claimed=False, variance=2.0, range=1.5)
