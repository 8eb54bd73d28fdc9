"""Cases that once gave a wrong number: each keeps the name of its bug."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import mmframe as mm
from mmframe.likelihood.dense import DenseEngine
from mmframe.registry.registry import PARAMETERIZATION, default_registry

SLEEPSTUDY = mm.datasets.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"
PARAMETERIZATIONS = [e.name for e in default_registry().of_kind(PARAMETERIZATION)]


def one_way(ratio: float, groups: int = 30, rows: int = 8) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(groups), rows)
    return pd.DataFrame({"g": g, "y": ratio * rng.normal(size=groups)[g] + rng.normal(size=g.size)})


@pytest.mark.parametrize("ratio", [1.0, 1e2, 1e4])
def test_conditional_covariances_do_not_cancel(ratio: float) -> None:
    """A balanced one-way layout has Var(b | y) = σ²τ²/(σ² + nτ²), and b̂ = nτ²/(σ² + nτ²) (ȳ_i − μ̂)."""
    data = one_way(ratio)
    fit = mm.fit("y ~ 1 + (1 | g)", data)
    t2, s2 = fit.covariance("g").iloc[0, 0], fit.sigma2
    exact = s2 * t2 / (s2 + 8 * t2)
    assert fit.random_effects_cov["g"][3].iloc[0, 0] == pytest.approx(exact, rel=1e-6)
    shrunk = 8 * t2 / (s2 + 8 * t2) * (data.groupby("g")["y"].mean() - fit.fixed_effects["Intercept"])
    np.testing.assert_allclose(fit.random_effects["g"]["Intercept"], shrunk, atol=1e-5 * np.sqrt(exact))


@pytest.mark.parametrize("parameterization", PARAMETERIZATIONS)
@pytest.mark.parametrize("scale", [1e-20, 1e-9, 1e-6, 1e6, 1e20])
def test_the_unit_of_the_response_does_not_matter(scale: float, parameterization: str) -> None:
    plain = mm.fit(FORMULA, SLEEPSTUDY)
    scaled = SLEEPSTUDY.assign(Reaction=SLEEPSTUDY["Reaction"] * scale)
    fit = mm.fit(FORMULA, scaled, parameterization=parameterization)
    assert fit.converged
    unit = np.where(plain.parameters["kind"] == "sd", scale, 1.0)
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(fit.parameters[column] / unit, plain.parameters[column], rtol=1e-4)
    assert fit.loglike == pytest.approx(plain.loglike - 178 * np.log(scale), abs=1e-6)


@pytest.mark.parametrize("scale", [1e-60, 1e60, 1e150])
def test_a_response_whose_squares_are_no_numbers_is_refused_in_words(scale: float) -> None:
    with pytest.raises(mm.DataError, match="change its unit"):
        mm.fit(FORMULA, SLEEPSTUDY.assign(Reaction=SLEEPSTUDY["Reaction"] * scale))


@pytest.mark.parametrize("stages", [["newton"], ["lbfgs"], ["cg"]])
def test_no_coordinates_hide_a_way_into_the_cone(stages: list[str]) -> None:
    """M = diag(0, c) is stationary in the lower Cholesky factor, and no optimum of the cone: the fit leaves it."""
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(40), 6)
    z = rng.normal(size=g.size)
    b = rng.normal(size=40)[:, None] * np.array([0.8, 1.6])
    y = b[g, 0] + b[g, 1] * z + rng.normal(size=g.size)
    data = pd.DataFrame({"g": g, "z": z, "y": y})
    best = mm.fit("y ~ z + (z | g)", data)
    model = mm.ModelBuilder().fixed("y ~ z + (z | g)").stages(*stages).build(data)
    from mmframe.optimize.pipeline import Pipeline

    start = ((np.array([0.0, 0.0, best.covariance("g").iloc[1, 1]]),), best.sigma2)
    found = Pipeline(model.stages).run(model.engine, model.covariance, True, start)
    assert -0.5 * found.point.value == pytest.approx(best.loglike, abs=1e-6)
    assert found.converged


def test_large_and_small_variances_together_are_not_singular() -> None:
    """An intercept ten thousand times as variable as a slope: neither is zero."""
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(60), 8)
    x = rng.normal(size=g.size)
    y = 1e4 * rng.normal(size=60)[g] + rng.normal(size=60)[g] * x + rng.normal(size=g.size)
    fit = mm.fit("y ~ x + (x | g)", pd.DataFrame({"g": g, "x": x, "y": y}))
    assert fit.converged
    assert not fit.singular


def test_a_basis_that_fits_the_data_exactly_is_said_to_do_so() -> None:
    """Two rows a group and two effects, but one row more: σ² can run to zero."""
    rng = np.random.default_rng(3)
    g = np.concatenate([np.repeat(np.arange(6), 2), [0]])
    x = rng.normal(size=13)
    y = np.where(g == 0, 1.0 + 2.0 * x, rng.normal(size=13))
    fit = mm.fit("y ~ 1 + (x | g)", pd.DataFrame({"g": g, "x": x, "y": y}), start={"sigma": 1e-3}, stages=["em"])
    assert not fit.converged
    assert "σ² runs to zero" in fit.stop_reason or "not an optimum" in fit.stop_reason


def test_factors_shared_by_fixed_and_random_parts_predict_one_level() -> None:
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.repeat(np.arange(20), 6), "x": rng.normal(size=120), "y": rng.normal(size=120)})
    data["f"] = np.tile(["a", "b", "c"], 40)
    for formula in (
        "y ~ f*x + (f | g)",
        "y ~ C(f) + (1 + C(f) | g)",
        "y ~ 0 + f + x:f + (0 + f | g)",
        "y ~ f + (f || g)",
    ):
        fit = mm.fit(formula, data)
        part = data[data["f"] == "a"]
        np.testing.assert_allclose(fit.predict(part), fit.fitted[part.index], rtol=1e-10)


def test_an_interaction_written_both_ways_predicts_its_own_data() -> None:
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"a": np.repeat([1, 2, 3, 4], 30), "b": np.tile(np.repeat([1, 2, 3], 10), 4)})
    data["x"], data["y"] = rng.normal(size=120), rng.normal(size=120) + data["a"]
    fit = mm.fit("y ~ x + (1 | a:b) + (0 + x | b:a)", data)
    np.testing.assert_allclose(fit.predict(data), fit.fitted, rtol=1e-10)


def test_threads_of_fits_restore_the_limit_of_blas() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]
        threads = [threading.Thread(target=mm.fit, args=(FORMULA, SLEEPSTUDY)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"] == before


def test_a_start_where_nothing_is_finite_is_said_to_be_so() -> None:
    with pytest.raises(mm.SpecError, match="start"):
        mm.fit(FORMULA, SLEEPSTUDY, start={"sigma": 1e-8})


def test_the_oracle_has_no_part_in_these(tmp_path: object) -> None:
    """The dense engine gives the same conditional covariances, by its own formula, where G and σ² are of one size."""
    data = one_way(1.0)
    fast = mm.fit("y ~ 1 + (1 | g)", data)
    slow = mm.fit("y ~ 1 + (1 | g)", data, engine="dense")
    assert slow.estimates.engine == DenseEngine.name
    np.testing.assert_allclose(fast.random_effects_cov["g"][3], slow.random_effects_cov["g"][3], rtol=1e-6)


def test_weights_as_a_series_go_by_their_index() -> None:
    weights = pd.Series(np.linspace(0.5, 2.0, len(SLEEPSTUDY)), SLEEPSTUDY.index)
    fit = mm.fit(FORMULA, SLEEPSTUDY, weights=weights)
    shuffled = mm.fit(FORMULA, SLEEPSTUDY, weights=weights.sample(frac=1.0, random_state=2))
    assert shuffled.loglike == pytest.approx(fit.loglike, abs=1e-10)
    with pytest.raises(mm.DataError, match="its index is not that of the data"):
        mm.fit(FORMULA, SLEEPSTUDY, weights=weights.rename(lambda k: k + 5))


def test_population_intervals_need_no_group() -> None:
    fit = mm.fit(FORMULA, SLEEPSTUDY)
    new = pd.DataFrame({"Days": [0.0, 9.0]})
    table = fit.predict(new, level="population", interval="prediction")
    G, x = fit.covariance("Subject").to_numpy(), np.array([1.0, 9.0])
    expected = x @ (G + fit.fixed_effects_cov.to_numpy()) @ x + fit.sigma2
    assert table["std_error"].iloc[1] == pytest.approx(np.sqrt(expected))
    weighted = mm.fit(FORMULA, SLEEPSTUDY.assign(w=1.0), weights="w")
    with pytest.raises(mm.DataError, match="not positive"):
        weighted.predict(new.assign(w=-1.0), level="population", interval="prediction")


def test_two_groupings_that_are_one_have_no_errors_of_their_own() -> None:
    """Only the sum of their variances is determined."""
    data = mm.datasets.load("sleepstudy")
    data["again"] = "s" + data["Subject"].astype(str)
    one = mm.fit("Reaction ~ Days + (1 | Subject)", data)
    two = mm.fit("Reaction ~ Days + (1 | Subject) + (1 | again)", data)
    assert two.loglike == pytest.approx(one.loglike, abs=1e-6)
    table = two.parameters.set_index("name")
    assert np.isnan(table["std_error"].iloc[:2]).all()
    assert table["std_error"]["sigma"] == pytest.approx(one.parameters["std_error"].iloc[-1], rel=1e-3)


def test_a_grouping_that_the_fixed_effects_explain() -> None:
    """Its moments are rounding; the start must not run away with them."""
    rng = np.random.default_rng(4)
    n = 150
    table = pd.DataFrame({"g": rng.integers(0, 8, n), "h": rng.integers(0, 12, n), "x": rng.normal(size=n)})
    table["c"] = "l" + table["g"].astype(str)
    table["y"] = table["x"] + rng.normal(size=12)[table["h"]] + rng.normal(size=n)
    fit = mm.fit("y ~ x + c + (1 | g) + (1 + x | h)", table)
    without = mm.fit("y ~ x + c + (1 + x | h)", table)
    assert fit.loglike == pytest.approx(without.loglike, abs=1e-4)
