"""Variance functions: entries by nlme, slopes, refusals, and the kit on one times a variance.

nlme: version 3.1-162 in R 4.2.2, `1/varWeights(...)` at v = 0.5, 1, 3, 2.25.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import frozen

from mmframe.api import POSITION, UNORDERED, CovarianceStructure, Param, Phi, Points, Positive
from mmframe.plugins.variances._covariate import VarianceFunction
from mmframe.plugins.variances.const_power import ConstPower
from mmframe.plugins.variances.exp import Exp
from mmframe.plugins.variances.fixed import Fixed
from mmframe.plugins.variances.ident import Ident
from mmframe.plugins.variances.power import Power
from mmframe.testing import check_covariance_structure
from tests.plugins.matrices import check_slopes, natural, points_at, sigma

V = [0.5, 1.0, 3.0, 2.25]


@frozen
class Scaled(CovarianceStructure):
    """A variance function times one variance, over one variable: what the kit can check."""

    name = "scaled"
    function: VarianceFunction

    @property
    def index_kind(self) -> Any:  # type: ignore[override]
        return UNORDERED if self.function.index_kind is UNORDERED else POSITION

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=2), *self.function.params(points)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * self.function.covariance(phi, index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        inner = self.function.jacobian(phi, index)
        return {"variance": self.function.covariance(phi, index)[None]} | {
            k: phi.variance * v for k, v in inner.items()
        }


@pytest.mark.parametrize("kind", [Ident, Power, Exp, ConstPower, Fixed], ids=lambda k: k.name)
def test_conformance(kind: type[VarianceFunction]) -> None:
    assert kind.unit
    assert check_covariance_structure(Scaled(kind("v")))


@pytest.mark.parametrize(
    ("function", "values", "sd"),
    [
        (Power("v"), {"delta": 0.7}, [0.615572206672458, 1.0, 2.157669279974593, None]),
        (Exp("v"), {"delta": 0.7}, [1.419067548593257, 2.013752707470477, 8.166169912567648, None]),
        (
            ConstPower("v"),
            {"constant": 0.4, "delta": 0.7},
            [1.01557220667246, 1.4, 2.55766927997459, 2.16411853378701],
        ),
        (Ident("v"), {"ratio": [2.0, 0.5]}, [1.0, 2.0, 0.5]),
        (Fixed("v"), {}, np.sqrt(V)),
    ],
    ids=lambda f: getattr(f, "name", ""),
)
def test_entries_equal_those_of_nlme(function: VarianceFunction, values: dict[str, Any], sd: Any) -> None:
    matrix = sigma(function, V[: len(sd)], **values)
    for k, told in enumerate(sd):
        if told is not None:
            assert matrix[k, k] == pytest.approx(told**2, rel=1e-12)
    np.testing.assert_array_equal(matrix[~np.eye(len(sd), dtype=bool)], 0.0)


def test_slopes() -> None:
    for delta in (-1.5, 0.0, 0.8):
        check_slopes(Power("v"), [-2.0, 0.5, 1.0, 3.0], delta=delta)
        check_slopes(Exp("v"), [-2.0, 0.0, 1.0, 3.0], delta=delta)
        check_slopes(ConstPower("v"), [-2.0, 0.5, 1.0, 3.0], constant=0.4, delta=delta)
    check_slopes(Ident("v"), range(3), ratio=[0.3, 2.0])


def test_rows_with_one_value_are_different_rows() -> None:
    index = np.array([[2.0], [2.0], [1.0]])
    for function, values in (
        (Power("v"), {"delta": 1.0}),
        (Exp("v"), {"delta": 1.0}),
        (Ident("v"), {"ratio": [3.0, 2.0]}),
    ):
        matrix = function.covariance(natural(values), index)
        assert matrix[0, 1] == 0.0 and matrix[0, 0] == matrix[1, 1] > 0.0


def test_ident_names_its_levels() -> None:
    points = Points.unordered(("a", "b", "c"))
    (ratio,) = Ident("k").params(points)
    assert ratio.labels == ("b", "c") and ratio.start == 1.0
    assert Ident("k").params(Points.unordered(("a",))) == ()


def test_a_shape_needs_values_to_shape() -> None:
    def names(function: VarianceFunction, places: list[float]) -> list[str]:
        return [p.name for p in function.params(points_at(function, places))]

    assert names(Power("v"), [-2.0, 2.0]) == [] and names(Power("v"), [1.0, 2.0]) == ["delta"]
    assert names(Exp("v"), [2.0]) == [] and names(Exp("v"), [-2.0, 2.0]) == ["delta"]
    assert [names(ConstPower("v"), [1.0, 2.0, 3.0][:m]) for m in (1, 2, 3)] == [[], ["delta"], ["constant", "delta"]]
    assert all(p.scale_power == 0 for p in ConstPower("v").params(points_at(ConstPower("v"), V)))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="takes powers of its covariate, which is 0 in some rows"):
        Power("v").params(points_at(Power("v"), [0.0, 1.0]))
    for value in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"fixed takes variances, which are above 0, and v has {value:g}"):
            Fixed("v").params(points_at(Fixed("v"), [value, 1.0]))
    for function in (Power("v"), Exp("v"), ConstPower("v"), Fixed("v")):
        with pytest.raises(ValueError, match="takes one covariate, and the index has 2 columns"):
            function.params(points_at(function, [[1.0, 2.0], [2.0, 3.0]]))


def test_a_shape_far_off_is_infinite_without_a_warning() -> None:
    for function in (Exp("v"), Power("v"), ConstPower("v")):
        index = points_at(function, [500.0, 2000.0]).index
        phi = natural({"delta": 200.0})
        assert np.isinf(function.covariance(phi, index)[1, 1])
        function.jacobian(phi, index)
