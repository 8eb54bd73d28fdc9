"""Structures over ordered positions: entries by formula and by nlme, domains, slopes, Markov claims, refusals.

nlme: version 3.1-162 in R 4.2.2, `corMatrix(Initialize(cor..., data))`.
"""

from __future__ import annotations

import re
from math import prod

import numpy as np
import pytest

from mmframe.api import CovarianceStructure
from mmframe.plugins.structures.ante_dependence import AnteDependence
from mmframe.plugins.structures.ar1 import AR1
from mmframe.plugins.structures.arma11 import ARMA11
from mmframe.plugins.structures.compound_symmetry import CompoundSymmetry
from mmframe.plugins.structures.continuous_ar1 import ContinuousAR1
from mmframe.plugins.structures.diagonal import Diagonal
from mmframe.plugins.structures.factor_analytic import FactorAnalytic
from mmframe.plugins.structures.heterogeneous import Heterogeneous
from mmframe.plugins.structures.heterogeneous_ante_dependence import HeterogeneousAnteDependence
from mmframe.plugins.structures.heterogeneous_ar1 import HeterogeneousAR1
from mmframe.plugins.structures.heterogeneous_compound_symmetry import HeterogeneousCompoundSymmetry
from mmframe.plugins.structures.heterogeneous_toeplitz import HeterogeneousToeplitz
from mmframe.plugins.structures.random_walk import RandomWalk
from mmframe.plugins.structures.spatial_exponential import SpatialExponential
from mmframe.plugins.structures.toeplitz import Toeplitz, autocorrelations, moving_average_correlations
from mmframe.plugins.structures.variance_component import VarianceComponent
from mmframe.testing import check_covariance_structure
from tests.plugins.matrices import check_markov, check_slopes, natural, points_at, sigma

PLACES = [1, 2, 4, 7]


@pytest.mark.parametrize(
    "structure",
    [
        AR1(), ContinuousAR1(), ARMA11(), Toeplitz(), Toeplitz(bands=1), Toeplitz(bands=2), Toeplitz(bands=3),
        AnteDependence(), RandomWalk(), HeterogeneousCompoundSymmetry(), HeterogeneousAR1(), HeterogeneousToeplitz(),
        HeterogeneousToeplitz(bands=2), HeterogeneousAnteDependence(), Heterogeneous(ARMA11()),
        Heterogeneous(SpatialExponential(nugget=True)), Heterogeneous(AnteDependence()),
    ],
    ids=repr,
)  # fmt: skip
def test_conformance(structure: CovarianceStructure) -> None:
    assert check_covariance_structure(structure)


def test_ar1_with_a_negative_correlation() -> None:
    """nlme: corAR1(-0.6, form = ~ t | g) at t = 1, 2, 4, 7."""
    first = [1.0, -0.6, -0.216, 0.046656]
    np.testing.assert_allclose(sigma(AR1(), PLACES, variance=2.0, rho=-0.6)[0], 2.0 * np.array(first))
    for rho in (-0.9, -0.3, 0.0, 0.8):
        check_slopes(AR1(), PLACES, variance=2.0, rho=rho)
        check_slopes(AR1(), [0, 2, 6], variance=2.0, rho=rho)  # all lags even


def test_continuous_ar1() -> None:
    """nlme: corCAR1(0.7, form = ~ t | g) at t = 1, 2, 4, 7."""
    first = [1.0, 0.7, 0.343, 0.117649]
    found = sigma(ContinuousAR1(), PLACES, variance=1.0, range=-1.0 / np.log(0.7))
    np.testing.assert_allclose(found[0], first)
    check_slopes(ContinuousAR1(), [0.0, 0.3, 1.7, 9.0], variance=2.0, range=1.1)


def test_continuous_ar1_is_read_as_a_correlation() -> None:
    reading = ContinuousAR1().params(points_at(ContinuousAR1(), [0.0, 1.0]))[1].reading
    assert reading is not None and (reading.name, reading.low, reading.high) == ("rho", 0.0, 1.0)
    rho = np.array([1e-200, 0.2, 0.999])
    np.testing.assert_allclose(reading.to(reading.back(rho)), rho)
    assert reading.to(np.array([0.0])) == 0.0 and np.isfinite(reading.back(np.array([0.0, 1.0]))).all()


def test_continuous_ar1_at_no_correlation_has_finite_slopes() -> None:
    structure = ContinuousAR1()
    points = points_at(structure, [0.0, 0.5, 3.0])
    given = structure.jacobian(natural({"variance": 1.0, "range": 0.0}), points.index)
    assert all(np.all(np.isfinite(v)) for v in given.values())
    np.testing.assert_allclose(given["variance"][0], np.eye(3), atol=1e-100)


def test_arma11() -> None:
    """nlme: corARMA(c(0.6, -0.3), form = ~ t | g, p = 1, q = 1) at t = 1, 2, 4, 7."""
    first = [1.0, 0.3369863013698630, 0.121315068493151, 0.0262040547945205]
    np.testing.assert_allclose(sigma(ARMA11(), PLACES, variance=1.0, phi=0.6, theta=-0.3)[0], first, rtol=1e-12)
    for phi in (-0.7, 0.0, 0.7):
        for theta in (-0.7, 0.0, 0.4):
            check_slopes(ARMA11(), PLACES, variance=1.5, phi=phi, theta=theta)


def test_arma11_is_of_a_stationary_process() -> None:
    """The correlations of x_t = phi x_(t-1) + e_t + theta e_(t-1), from its moving-average weights."""
    phi, theta = -0.6, 0.9
    weights = np.concatenate([[1.0], (phi + theta) * phi ** np.arange(400)])
    rho = [weights[: len(weights) - k] @ weights[k:] / (weights @ weights) for k in range(5)]
    np.testing.assert_allclose(sigma(ARMA11(), range(5), variance=1.0, phi=phi, theta=theta)[0], rho, atol=1e-12)


def test_arma11_has_as_many_shapes_as_lags() -> None:
    names = [[p.name for p in ARMA11().params(points_at(ARMA11(), range(m)))] for m in (1, 2, 3)]
    assert names == [["variance"], ["variance", "phi"], ["variance", "phi", "theta"]]


def ante(rho: list[float]) -> list[list[float]]:
    m = len(rho) + 1
    return [[prod(rho[min(a, b) : max(a, b)]) for b in range(m)] for a in range(m)]


def test_ante_dependence_with_signs_and_a_zero() -> None:
    rho = [0.5, -0.8, 0.0, 0.9]
    np.testing.assert_allclose(sigma(AnteDependence(), range(5), variance=3.0, rho=rho), 3.0 * np.array(ante(rho)))
    for some in (rho, [0.3, 0.4, -0.6, 0.7], [-0.9, -0.9, -0.9, -0.9]):
        check_slopes(AnteDependence(), range(5), variance=3.0, rho=some)
        check_slopes(HeterogeneousAnteDependence(), range(5), variance=[1.0, 4.0, 0.3, 2.0, 9.0], rho=some)


def test_ante_dependence_counts_points_not_time() -> None:
    values = {"variance": 1.0, "rho": [0.5, 0.4, 0.3]}
    even, uneven = (sigma(AnteDependence(), places, **values) for places in ([0, 1, 2, 3], [0, 1.5, 7, 100]))
    np.testing.assert_array_equal(even, uneven)
    assert AnteDependence().params(points_at(AnteDependence(), range(3)))[1].labels == ("p1, p2", "p2, p3")


def test_random_walk() -> None:
    np.testing.assert_array_equal(sigma(RandomWalk(), [1, 2.5, 4], variance=2.0), [[2, 2, 2], [2, 5, 5], [2, 5, 8]])
    with pytest.raises(ValueError, match="random_walk is zero at position 0, and there is a point at 0"):
        RandomWalk().params(points_at(RandomWalk(), [0, 1, 2]))


def test_toeplitz_partials_give_the_autocorrelations_of_an_autoregression() -> None:
    """For AR(2): partials are rho_1 and phi_2, and rho_k = phi_1 rho_(k-1) + phi_2 rho_(k-2) (Box et al. 1994, §3.2.4)."""
    phi1, phi2 = 0.5, -0.3
    rho = [1.0, phi1 / (1 - phi2)]
    while len(rho) < 6:
        rho.append(phi1 * rho[-1] + phi2 * rho[-2])
    np.testing.assert_allclose(autocorrelations(np.array([rho[1], phi2, 0.0, 0.0, 0.0])), rho)


def test_toeplitz_bands_give_the_autocorrelations_of_a_moving_average() -> None:
    """MA(1): rho_1 = theta/(1 + theta²). MA(2): rho_2 = theta_2/(1 + theta_1² + theta_2²) (Box et al. 1994, §3.3)."""
    for theta in (-0.8, 0.3, 1.0):
        np.testing.assert_allclose(moving_average_correlations(np.array([theta])), [1.0, theta / (1 + theta**2)])
    p1, p2 = 0.4, -0.6
    theta1, theta2 = p1 * (1 + p2), p2
    power = 1 + theta1**2 + theta2**2
    np.testing.assert_allclose(
        moving_average_correlations(np.array([p1, p2])), [1.0, theta1 * (1 + theta2) / power, theta2 / power]
    )


@pytest.mark.parametrize("bands", [0, 2, 4])
@pytest.mark.parametrize("largest", [0.5, 0.99, 1.0 - 1e-9])
def test_toeplitz_is_positive_definite_wherever_its_partials_are(bands: int, largest: float) -> None:
    rng = np.random.default_rng(7)
    structure = Toeplitz(bands=bands)
    places = [0, 1, 2, 3, 5, 6, 9]
    lags = [p.name for p in structure.params(points_at(structure, places))[1:]]
    for _ in range(100):
        partials = largest * rng.choice([-1.0, 1.0, 0.5], size=len(lags))
        values = {"variance": 1.0, **dict(zip(lags, partials, strict=True))}
        matrix = sigma(structure, places, **values)
        assert np.linalg.eigvalsh(matrix)[0] > (0.0 if largest == 0.5 else -1e-12)  # but for rounding
        assert np.max(np.abs(matrix)) <= 1.0 + 1e-12


def test_toeplitz_reports_correlations_by_lag() -> None:
    structure = HeterogeneousToeplitz()
    points = points_at(structure, [0, 1, 3])
    phi = natural({"variance": [1.0, 4.0, 9.0], "partial_1": 0.5, "partial_2": -0.2, "partial_3": 0.1})
    report = structure.report(phi, points)
    matrix = structure.covariance(phi, points.index)
    assert list(report) == ["rho[1]", "rho[2]", "rho[3]"]
    np.testing.assert_allclose(
        list(report.values()), [matrix[0, 1] / 2.0, matrix[1, 2] / 6.0, matrix[0, 2] / 3.0], rtol=1e-12
    )
    assert not any(p.shown for p in structure.params(points)[1:])


def test_toeplitz_has_a_parameter_for_each_lag_that_occurs() -> None:
    def names(structure: Toeplitz, places: list[float]) -> list[str]:
        return [p.name for p in structure.params(points_at(structure, places))[1:]]

    assert names(Toeplitz(), [0, 7, 21]) == ["partial_7", "partial_14", "partial_21"]
    assert names(Toeplitz(), [0, 1, 5]) == ["partial_1", "partial_4", "partial_5"]
    assert names(Toeplitz(bands=2), [0, 7, 21]) == ["partial_7"]
    assert names(Toeplitz(bands=3), [0, 2, 5]) == ["partial_2"]
    assert names(Toeplitz(bands=1), [0, 1, 2]) == []
    # the same at weeks 0, 1, 3 as at days 0, 7, 21
    partials = [0.5, -0.2, 0.1]
    weeks = sigma(
        Toeplitz(), [0, 1, 3], variance=1.0, **{f"partial_{k}": p for k, p in zip((1, 2, 3), partials, strict=True)}
    )
    days = sigma(
        Toeplitz(), [0, 7, 21], variance=1.0, **{f"partial_{k}": p for k, p in zip((7, 14, 21), partials, strict=True)}
    )
    np.testing.assert_array_equal(weeks, days)
    # a band that is not there is zero
    np.testing.assert_array_equal(sigma(Toeplitz(bands=3), [0, 2, 5], variance=1.0, partial_2=0.5)[1:, 1:], np.eye(2))


@pytest.mark.parametrize("bands", [0, 3])
def test_toeplitz_slopes(bands: int) -> None:
    for a, b in ((-0.95, 0.3), (0.0, 0.0), (0.9, -0.9)):
        values = {"partial_1": a, "partial_2": b} | ({} if bands else {"partial_3": -a, "partial_5": 0.2})
        check_slopes(Toeplitz(bands=bands), [0, 2, 3, 5], variance=2.0, **values)
        check_slopes(HeterogeneousToeplitz(bands=bands), [0, 2, 3, 5], variance=[2.0, 0.1, 1.0, 30.0], **values)


def test_heterogeneous_entries() -> None:
    variance = [1.0, 4.0, 9.0]
    given = sigma(HeterogeneousCompoundSymmetry(), range(3), variance=variance, rho=-0.4)
    np.testing.assert_allclose(given, [[1.0, -0.8, -1.2], [-0.8, 4.0, -2.4], [-1.2, -2.4, 9.0]])
    given = sigma(HeterogeneousAR1(), [1, 2, 4], variance=variance, rho=-0.5)
    np.testing.assert_allclose(given, [[1.0, -1.0, -0.375], [-1.0, 4.0, 1.5], [-0.375, 1.5, 9.0]])
    for rho in (-0.4, 0.0, 0.7):
        check_slopes(HeterogeneousCompoundSymmetry(), range(3), variance=variance, rho=rho)
        check_slopes(HeterogeneousAR1(), [1, 2, 4], variance=variance, rho=rho)


def test_heterogeneous_slopes_are_finite_at_a_zero_variance() -> None:
    structure = HeterogeneousAR1()
    points = points_at(structure, range(3))
    slopes = structure.jacobian(natural({"variance": [0.0, 1.0, 2.0], "rho": 0.5}), points.index)
    assert all(np.all(np.isfinite(v)) for v in slopes.values())
    np.testing.assert_allclose(np.einsum("kii->ki", slopes["variance"]), np.eye(3), rtol=1e-12)


def test_heterogeneous_ante_dependence_is_nearest_in_closed_form() -> None:
    """Its inverse is tridiagonal and Σ agrees with the target next to the diagonal (Dempster 1972, Biometrics 28)."""
    structure = HeterogeneousAnteDependence()
    points = points_at(structure, range(4))
    root = np.tril(np.random.default_rng(3).normal(size=(4, 4))) + 2 * np.eye(4)
    target = root @ root.T
    near = structure.covariance(natural(structure.project(target, points.index)), points.index)
    for offset in (0, 1):
        np.testing.assert_allclose(np.diag(near, offset), np.diag(target, offset))
    assert abs(np.linalg.inv(near)[0, 2]) < 1e-12


def test_heterogeneous_takes_its_options_through() -> None:
    assert HeterogeneousToeplitz(bands=2).structure == Toeplitz(bands=2)
    assert Heterogeneous(AR1()).index_kind is AR1.index_kind
    assert Heterogeneous(CompoundSymmetry()).index_kind is CompoundSymmetry.index_kind
    assert len({HeterogeneousAR1(), HeterogeneousAR1(), Heterogeneous(AR1())}) == 2  # they can be hashed


def test_heterogeneous_needs_one_scale() -> None:
    for inner, told in ((FactorAnalytic(), "factor_analytic has loading, psi"), (Diagonal(), "diagonal has variance")):
        with pytest.raises(ValueError, match=f"one scale, a positive number named 'variance'; {told}"):
            Heterogeneous(inner).params(points_at(Heterogeneous(inner), range(3)))
    with pytest.raises(ValueError, match=re.escape("structure='ar1'; allowed: a covariance structure, such as AR1()")):
        Heterogeneous("ar1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "structure", [AR1(), ARMA11(), Toeplitz(), HeterogeneousAR1(), HeterogeneousToeplitz()], ids=repr
)
def test_discrete_time_needs_whole_steps(structure: CovarianceStructure) -> None:
    with pytest.raises(ValueError, match=r"needs positions a whole number apart: 2 is 1\.5 from 0\.5\. Use car1"):
        structure.params(points_at(structure, [0.5, 2.0, 3.5]))
    assert structure.params(points_at(structure, [0.5, 1.5, 3.5]))
    assert structure.params(points_at(structure, 0.1 * np.arange(0, 60, 10)))  # whole but for rounding


def test_toeplitz_does_not_count_without_end() -> None:
    with pytest.raises(ValueError, match="toeplitz would count 100000 lags of 1"):
        Toeplitz().params(points_at(Toeplitz(), [0, 1, 100_000]))
    assert len(Toeplitz(bands=2).params(points_at(Toeplitz(), [0, 1, 100_000]))) == 2
    with pytest.raises(ValueError, match="bands=-1"):
        Toeplitz(bands=-1)


def test_starts_are_shapes_in_units_of_the_gaps() -> None:
    for structure, at_gap in ((AR1(), 0.3), (ARMA11(), 0.5)):
        start = structure.params(points_at(structure, [0, 7, 14, 28]))[1].start
        assert start is not None
        assert start**7 == pytest.approx(at_gap)


UNEVEN = [1, 2, 4, 5, 9, 10]
SIX = [1.0, 0.5, 2.0, 3.0, 1.5, 0.7]


@pytest.mark.parametrize(
    ("structure", "values"),
    [
        (AR1(), {"variance": 2.0, "rho": -0.6}),
        (ContinuousAR1(), {"variance": 2.0, "range": 2.0}),
        (AnteDependence(), {"variance": 2.0, "rho": [0.5, -0.3, 0.8, 0.2, 0.9]}),
        (RandomWalk(), {"variance": 2.0}),
        (SpatialExponential(), {"variance": 2.0, "range": 3.0}),
        (Diagonal(), {"variance": SIX}),
        (VarianceComponent(), {"variance": 2.0}),
        (HeterogeneousAR1(), {"variance": SIX, "rho": 0.6}),
        (HeterogeneousAnteDependence(), {"variance": SIX, "rho": [0.5, -0.3, 0.8, 0.2, 0.9]}),
    ],
    ids=lambda v: type(v).__name__,
)
def test_markov_structures_have_a_tridiagonal_inverse(
    structure: CovarianceStructure, values: dict[str, object]
) -> None:
    check_markov(structure, UNEVEN, **values)


@pytest.mark.parametrize(
    ("structure", "values"),
    [
        (ARMA11(), {"variance": 2.0, "phi": 0.6, "theta": 0.4}),
        (CompoundSymmetry(), {"variance": 2.0, "rho": 0.4}),
        (SpatialExponential(nugget=True), {"variance": 2.0, "range": 3.0, "nugget": 0.3}),
        (HeterogeneousCompoundSymmetry(), {"variance": SIX, "rho": 0.4}),
    ],
    ids=lambda v: type(v).__name__,
)
def test_others_claim_nothing(structure: CovarianceStructure, values: dict[str, object]) -> None:
    check_markov(structure, UNEVEN, claimed=False, **values)
