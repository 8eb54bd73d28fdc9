"""The Matérn correlation against closed forms, and its smoothness as a parameter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mmframe_spatial import MaternNu
from mmframe_spatial._bessel import matern, matern_in_order
from references import estimates, restricted_loglike
from scipy.special import exp1, gamma, kv

import mmframe as mm
from mmframe.api import Phi, Points, distances

Z = np.array([0.0, 1e-10, 1e-4, 0.03, 0.5, 1.0, 4.0, 20.0, 300.0, 800.0])
# K of half-integer orders: DLMF 10.49.12
CLOSED = {
    0.5: lambda z: np.exp(-z),
    1.5: lambda z: (1 + z) * np.exp(-z),
    2.5: lambda z: (1 + z + z**2 / 3) * np.exp(-z),
}


@pytest.mark.parametrize("nu", list(CLOSED))
def test_closed_forms(nu: float) -> None:
    np.testing.assert_allclose(matern(nu, Z)[0], CLOSED[nu](Z), rtol=1e-13)
    beside = matern(nu + 1e-9, Z)[0]  # by Bessel functions, a rounding away
    np.testing.assert_allclose(beside, CLOSED[nu](Z), atol=1e-8)


@pytest.mark.parametrize("nu", [0.1, 0.8, 1.0, 3.7, 9.9])
def test_other_orders_are_the_definition(nu: float) -> None:
    z = Z[2:-2]
    want = 2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z)
    np.testing.assert_allclose(matern(nu, z)[0], want, rtol=1e-12)
    step = 1e-6 * z
    slope = z * (matern(nu, z + step)[0] - matern(nu, z - step)[0]) / (2 * step)
    np.testing.assert_allclose(matern(nu, z)[1], slope, atol=1e-9)


def test_the_derivative_in_the_order_at_one_half() -> None:
    """∂K_ν/∂ν at 1/2 is √(π/2z) exp(z) E₁(2z) (DLMF 10.38.7)."""
    z = Z[1:-2]
    scale = np.sqrt(2 / np.pi) * np.sqrt(z)  # 2^½ / Γ(½) · z^½
    by_order = scale * np.sqrt(np.pi / (2 * z)) * np.exp(z) * exp1(2 * z)
    digamma_half = -np.euler_gamma - 2 * np.log(2)
    want = by_order + np.exp(-z) * (np.log(z / 2) - digamma_half)
    np.testing.assert_allclose(matern_in_order(0.5, z), want, atol=1e-13)
    assert np.all(matern_in_order(0.5, np.array([0.0, 800.0])) == 0.0)


@pytest.mark.parametrize("nu", [0.11, 1.0, 1.5, 4.0, 9.5])
def test_the_derivative_in_the_order_elsewhere(nu: float) -> None:
    """Richardson's extrapolation of central differences."""
    z = Z[1:]

    def central(step: float) -> np.ndarray:
        return (matern(nu + step, z)[0] - matern(nu - step, z)[0]) / (2 * step)

    want = (4 * central(5e-4) - central(1e-3)) / 3
    np.testing.assert_allclose(matern_in_order(nu, z), want, atol=1e-9)


@pytest.mark.parametrize("nu", [0.5, 0.9, 1.5, 2.5])
def test_it_is_matern_where_the_smoothness_is_held(trial: pd.DataFrame, nu: float) -> None:
    place, held = "latitude + longitude", {"residual.range": 12.0, "residual.nugget": 0.2}
    half = trial[trial["row"] <= 5]
    known = mm.fit("yld ~ row", half, residual=f"matern({place} | 1, smoothness={nu}, nugget=True)", fix=held)
    own = held | {"residual.smoothness": nu}
    found = mm.fit("yld ~ row", half, residual=f"matern_nu({place} | 1, nugget=True)", fix=own)
    assert found.loglike == pytest.approx(known.loglike, abs=1e-8)


def test_the_estimate_is_the_best_of_dense_likelihoods(trial: pd.DataFrame) -> None:
    """The restricted likelihood written out: equal at the estimate, and lower around it in every parameter."""
    fit = mm.fit("yld ~ 0 + variety", trial, residual="matern_nu(latitude + longitude | 1, nugget=True)")
    assert fit.converged
    found = estimates(fit)
    at = np.array([found[n] for n in ("sigma", "residual.range", "residual.smoothness", "residual.nugget")])
    X = pd.get_dummies(trial["variety"]).to_numpy(float)
    gap = distances(trial[["latitude", "longitude"]].to_numpy())

    def loglike(sigma: float, reach: float, nu: float, nugget: float) -> float:
        z = np.sqrt(2 * nu) * gap / reach
        z[gap == 0.0] = 1.0
        rho = 2 ** (1 - nu) / gamma(nu) * z**nu * kv(nu, z)
        rho[gap == 0.0] = 1.0
        V = sigma**2 * ((1 - nugget) * rho + nugget * np.eye(len(gap)))
        return restricted_loglike(trial["yld"].to_numpy(), X, V)

    best = loglike(*at)
    assert fit.loglike == pytest.approx(best, abs=1e-8)
    for k in range(4):
        for factor in (0.98, 1.02):
            near = at.copy()
            near[k] *= factor
            assert loglike(*near) < best


def test_parameters_that_few_points_cannot_tell_are_left_out() -> None:
    pair = Points(("a", "b"), np.array([[0.0, 0.0], [1.0, 0.0]]))
    triangle = Points(("a", "b", "c"), np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]]))
    for at in (pair, triangle):  # one distance
        assert [p.name for p in MaternNu(nugget=True).params(at)] == ["variance", "range"]
    line = Points(("a", "b", "c"), np.array([[0.0], [1.0], [2.0]]))  # two
    assert [p.name for p in MaternNu(nugget=True).params(line)] == ["variance", "range", "smoothness"]


def test_far_beyond_the_range_nothing_overflows() -> None:
    index = np.array([[0.0], [1e-200], [1.0], [1e6]])
    phi = Phi({"variance": 1.0, "range": 1e-9, "smoothness": 7.0})
    with np.errstate(all="raise", under="ignore"):
        sigma = MaternNu().covariance(phi, index)
        slopes = MaternNu().jacobian(phi, index)
    assert np.all(np.isfinite(sigma)) and all(np.all(np.isfinite(s)) for s in slopes.values())
    np.testing.assert_allclose(sigma[2:, 2:], np.eye(2))
