"""Value, score and Hessian over use_sqrt x reml x profile_fe: against statsmodels, the definition, and differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mmframe.compat.statsmodels import L2, PSD, MixedLM, MixedLMParams, VCSpec
from mmframe.covariance.derivative import central_differences
from tests.compat.theirs import DIETOX, dense_loglike, pair, random_data, random_params

FLAGS = [(s, r, p) for s in (True, False) for r in (True, False) for p in (True, False)]


@pytest.mark.parametrize(("use_sqrt", "reml", "profile_fe"), FLAGS)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_score_are_those_of_statsmodels(seed: int, use_sqrt: bool, reml: bool, profile_fe: bool) -> None:
    mine, their = pair(random_data(seed), use_sqrt=use_sqrt, reml=reml)
    for point in range(3):
        p, q = random_params(point)
        assert np.isclose(mine.loglike(p, profile_fe), their.loglike(q, profile_fe), rtol=1e-12)
        np.testing.assert_allclose(mine.score(p, profile_fe), their.score(q, profile_fe), rtol=1e-8, atol=1e-8)
        packed = p.get_packed(use_sqrt)
        if profile_fe:
            assert np.isclose(mine.loglike(packed), their.loglike(packed), rtol=1e-12)
            np.testing.assert_allclose(mine.score(packed), their.score(packed), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("use_sqrt", "reml", "profile_fe"), FLAGS)
def test_the_score_is_the_derivative_of_the_value(use_sqrt: bool, reml: bool, profile_fe: bool) -> None:
    mine, _ = pair(random_data(7), use_sqrt=use_sqrt, reml=reml)
    p, _ = random_params(8)

    def value(packed: np.ndarray) -> float:
        return mine.loglike(MixedLMParams.from_packed(packed, 3, 2, use_sqrt, not profile_fe), profile_fe)

    slow = central_differences(value, p.get_packed(use_sqrt, not profile_fe))
    np.testing.assert_allclose(mine.score(p, profile_fe), slow, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reml", [True, False])
def test_scores_in_blocks(reml: bool) -> None:
    mine, their = pair(random_data(1), reml=reml)
    p, q = random_params(2)
    for name in ("score_full", "score_sqrt"):
        for calc_fe in (True, False):
            for a, b in zip(getattr(mine, name)(p, calc_fe), getattr(their, name)(q, calc_fe), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("use_sqrt", [True, False])
def test_the_hessian(use_sqrt: bool, reml: bool) -> None:
    """statsmodels' holds where slopes are those of generalised least squares; here it is right at any slopes."""
    mine, their = pair(random_data(3), use_sqrt=use_sqrt, reml=reml)
    p, q = random_params(4)
    best, q.fe_params = p.copy(), mine.get_fe_params(p.cov_re, p.vcomp)[0]
    best.fe_params = q.fe_params
    np.testing.assert_allclose(mine.hessian(best)[0], their.hessian(q)[0], rtol=1e-8, atol=1e-7)
    found, singular = mine.hessian(p)
    assert not singular
    np.testing.assert_array_equal(mine.information(p), -found)
    np.testing.assert_allclose(mine.hessian(p.get_packed(use_sqrt, has_fe=True))[0], found, rtol=1e-9)

    def score(packed: np.ndarray) -> np.ndarray:
        return np.concatenate(mine.score_full(MixedLMParams.from_packed(packed, 3, 2, False, True)))

    slow = central_differences(score, p.get_packed(False, has_fe=True))
    np.testing.assert_allclose(found, slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reml", [True, False])
def test_the_value_is_the_definition(reml: bool) -> None:
    mine, _ = pair(random_data(5, groups=8), reml=reml)
    p, _ = random_params(6)
    scale = mine.get_scale(p.fe_params, p.cov_re, p.vcomp)
    assert np.isclose(mine.loglike(p, profile_fe=False), dense_loglike(mine, p, scale, reml=reml), rtol=1e-12)


@pytest.mark.parametrize("reml", [True, False])
def test_slopes_and_scale_are_those_of_statsmodels(reml: bool) -> None:
    mine, their = pair(random_data(2), reml=reml)
    p, q = random_params(3)
    slopes, singular = mine.get_fe_params(p.cov_re, p.vcomp)
    np.testing.assert_allclose(slopes, their.get_fe_params(q.cov_re, q.vcomp)[0], rtol=1e-10)
    assert not singular
    assert np.isclose(mine.get_scale(p.fe_params, p.cov_re, p.vcomp), their.get_scale(q.fe_params, q.cov_re, q.vcomp))


def test_at_a_zero_variance_slopes_are_least_squares() -> None:
    """statsmodels returns an intercept of exactly 0 there (its issue 10239)."""
    data = random_data(4, components=False)
    model = MixedLM(data.endog, data.exog, data.groups)
    slopes, singular = model.get_fe_params(np.zeros((1, 1)), np.zeros(0))
    assert singular
    np.testing.assert_allclose(slopes, np.linalg.lstsq(data.exog, data.endog, rcond=None)[0], rtol=1e-10)
    zero = MixedLMParams.from_components(slopes, np.zeros((1, 1)))
    near = MixedLMParams.from_components(slopes, np.full((1, 1), 1e-9))
    assert np.isfinite(model.loglike(zero)) and np.isclose(model.loglike(zero), model.loglike(near), rtol=1e-9)
    np.testing.assert_allclose(model.score_full(zero)[1], model.score_full(near)[1], rtol=1e-6)
    hessian, singular = model.hessian(zero)
    assert singular
    np.testing.assert_allclose(hessian, model.hessian(near)[0], rtol=1e-5, atol=1e-5)


def test_outside_the_parameter_space() -> None:
    model, _ = pair(random_data(1))
    bad = MixedLMParams.from_components(np.zeros(3), np.array([[1.0, 2.0], [2.0, 1.0]]), vcomp=np.ones(2))
    assert model.loglike(bad) == -np.inf
    assert np.all(np.isnan(model.score_full(bad)[1]))
    assert np.all(np.isnan(model.hessian(bad)[0]))
    with pytest.raises(ValueError, match="outside the parameter space"):
        model.get_scale(np.zeros(3), bad.cov_re, bad.vcomp)
    with pytest.raises(ValueError, match=r"shape \(4,\) · allowed: MixedLMParams of the model, or a vector of 5"):
        model.loglike(np.ones(4))
    with pytest.raises(ValueError, match="fe_params, cov_re and vcomp of shapes"):
        model.loglike(MixedLMParams.from_components(np.ones(2), np.eye(2), vcomp=np.ones(2)), profile_fe=False)
    with pytest.raises(ValueError, match="parameters: fe_params, cov_re and vcomp of shapes"):
        model.get_fe_params(np.eye(3), np.ones(2))


def test_after_a_fit_loglike_has_its_criterion_and_penalties() -> None:
    model = MixedLM.from_formula("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time")
    p = model.fit(reml=False).params_object
    ml = model.loglike(p)
    reml = model.fit().llf
    assert ml != reml
    plain = model.loglike(p, profile_fe=False)
    ridge, barrier = L2(), PSD(2.0)
    ridge.alpha = 0.3
    model.fit(fe_pen=ridge, cov_pen=barrier)
    cov = np.asarray(p.cov_re)
    expected = plain - ridge.func(p.fe_params) - barrier.func(cov, np.linalg.inv(cov))
    assert np.isclose(model.loglike(p, profile_fe=False), expected, rtol=1e-12)
    slow = central_differences(
        lambda v: model.loglike(MixedLMParams.from_packed(v, 2, 2, True, True), False), p.get_packed(True, True)
    )
    np.testing.assert_allclose(model.score(p, profile_fe=False), slow, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "csr", "coo"])
def test_components_with_many_columns(kind: str) -> None:
    """More than eight columns: a component of which a row has one becomes a factor of its own; the values stay."""
    rng = np.random.default_rng(3)
    groups, per = 12, 10
    g = np.repeat(np.arange(groups), per)
    n = len(g)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    level = np.concatenate([rng.integers(0, 3 + k % 9, size=per) for k in range(groups)])
    mats, names = [], []
    for k in range(groups):
        own = np.eye(12)[level[g == k]][:, : 3 + k % 9] * rng.normal(size=(per, 1))
        mats.append(own if kind == "dense" else getattr(sparse, f"{kind}_array")(own))
        names.append([f"c{j}" for j in range(own.shape[1])])
    y = X @ [1.0, 1.0] + rng.normal(size=n)
    model = MixedLM(y, X, g, np.ones(n), VCSpec(["w"], [names], [mats]))
    assert model.layout.nested == (True,)
    p = MixedLMParams.from_components(np.array([0.9, 1.1]), np.full((1, 1), 0.4), vcomp=np.array([0.7]))
    scale = model.get_scale(p.fe_params, p.cov_re, p.vcomp)
    assert np.isclose(model.loglike(p, False), dense_loglike(model, p, scale, reml=True), rtol=1e-12)
