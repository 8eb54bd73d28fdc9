"""Results: Wald tables, delta-method errors, prediction with its errors, simulation."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

import mmframe as mm
from mmframe.covariance.derivative import central_differences
from mmframe.likelihood.dense import DenseEngine
from tests.reference.cases import BY_ID

DATA = mm.datasets.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def fit() -> mm.FitResult:
    return mm.fit(FORMULA, DATA)


def test_wald_intervals_of_the_fixed_effects(fit: mm.FitResult) -> None:
    """confint(method="Wald") of lme4 1.1-31."""
    table = fit.coefficients()
    for row, name in zip(BY_ID["sleepstudy_rs_reml"]["expected"]["wald_ci95"], ["Intercept", "Days"], strict=True):
        assert table.loc[name, "lower"] == pytest.approx(row["lower"], rel=1e-6)
        assert table.loc[name, "upper"] == pytest.approx(row["upper"], rel=1e-6)
    estimate, error = fit.fixed_effects["Days"], fit.standard_errors["Days"]
    assert table.loc["Days", "p_value"] == pytest.approx(2 * norm.sf(abs(estimate / error)))
    residual = fit.coefficients(df="residual")
    assert residual.loc["Days", "df"] == 178
    assert residual.loc["Days", "upper"] == pytest.approx(estimate + t(178).ppf(0.975) * error)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("parameterization", ["natural", "profile", "cholesky", "log_cholesky"])
def test_errors_of_covariance_parameters_are_those_of_the_exact_hessian(parameterization: str, reml: bool) -> None:
    """The inverse of the Hessian by differences of the dense oracle in (sd, sd, corr, sigma) itself: no delta method."""
    fit = mm.fit(FORMULA, DATA, reml=reml, parameterization=parameterization)
    model = mm.ModelBuilder().fixed(FORMULA).build(DATA)
    oracle = DenseEngine.reduce(model.design)

    def value(v: np.ndarray) -> np.ndarray:
        cov = v[2] * v[0] * v[1]
        G = np.array([[v[0] ** 2, cov], [cov, v[1] ** 2]]) / v[3] ** 2
        found = oracle.evaluate((G,), reml=reml, score=False, sigma2=v[3] ** 2)
        assert found is not None
        return np.asarray(found.value)

    at = fit.parameters["estimate"].to_numpy()
    size = np.maximum(np.abs(at), 0.1) * 20
    hessian = central_differences(lambda v: central_differences(value, v, size), at, size)
    errors = np.sqrt(2 * np.diag(np.linalg.inv(0.5 * (hessian + hessian.T))))
    np.testing.assert_allclose(fit.parameters["std_error"], errors, rtol=2e-3)


def test_intervals_are_on_the_log_and_atanh_scales(fit: mm.FitResult) -> None:
    table = fit.parameters.set_index("name")
    z = norm.ppf(0.975)
    row = table.loc["sd(Days | Subject)"]
    assert np.log(row["upper"] / row["estimate"]) == pytest.approx(z * row["std_error"] / row["estimate"])
    row = table.loc["corr(Intercept, Days | Subject)"]
    width = z * row["std_error"] / (1 - row["estimate"] ** 2)
    assert np.arctanh(row["upper"]) - np.arctanh(row["estimate"]) == pytest.approx(width)
    wide = fit.conf_int(confidence=0.99)
    assert np.all(wide.loc[table.index, "upper"] > table["upper"])
    assert set(wide.index) == {*table.index, "Intercept", "Days"}


def test_prediction_errors_equal_those_of_the_joint_normal_distribution() -> None:
    """x'β̂ + z'b̂ as a linear function of y: its error variance written out with V, on unbalanced weighted data."""
    data = DATA.sample(90, random_state=1).reset_index(drop=True)
    data["w"] = np.random.default_rng(0).uniform(0.5, 2.0, len(data))
    fit = mm.fit(FORMULA, data, weights="w")
    G, s2 = fit.covariance("Subject").to_numpy(), fit.sigma2
    X = np.column_stack([np.ones(len(data)), data["Days"]])
    same = data["Subject"].to_numpy()[:, None] == data["Subject"].to_numpy()
    V = same * (X @ G @ X.T) + np.diag(s2 / data["w"])
    C = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    new = pd.DataFrame({"Days": [0.0, 4.0, 11.0], "Subject": data["Subject"].iloc[[0, 5, 9]].to_numpy()})
    table = fit.predict(new, interval="confidence")
    prediction = fit.predict(new, interval="prediction")
    population = fit.predict(new, level="population", interval="confidence")
    for k in range(3):
        x = np.array([1.0, new["Days"][k]])
        c = (data["Subject"] == new["Subject"][k]).to_numpy() * (X @ G @ x)  # Cov(y, z'b)
        weights = np.linalg.solve(V, c)
        gap = x - X.T @ weights
        variance = x @ G @ x - c @ weights + gap @ C @ gap
        assert table["std_error"].iloc[k] == pytest.approx(np.sqrt(variance), rel=1e-8)
        assert prediction["std_error"].iloc[k] == pytest.approx(np.sqrt(variance + s2), rel=1e-8)
        assert population["std_error"].iloc[k] == pytest.approx(np.sqrt(x @ C @ x), rel=1e-8)
    stranger = fit.predict(new.assign(Subject=-1), new_levels="population", interval="confidence")
    x = np.array([1.0, 11.0])
    assert stranger["std_error"].iloc[2] == pytest.approx(np.sqrt(x @ C @ x + x @ G @ x), rel=1e-8)
    assert stranger["estimate"].iloc[2] == pytest.approx(x @ fit.fixed_effects.to_numpy())


def test_fitted_values_residuals_and_missing_rows_of_new_data(fit: mm.FitResult) -> None:
    np.testing.assert_allclose(fit.predict(DATA), fit.fitted, rtol=1e-12)
    np.testing.assert_allclose(fit.fitted + fit.residuals(), DATA["Reaction"], rtol=1e-12)
    np.testing.assert_allclose(fit.residuals("pearson"), fit.residuals() / fit.sigma, rtol=1e-12)
    holes = DATA.head(4).assign(Days=[0.0, np.nan, 2.0, 3.0])
    values = fit.predict(holes)
    assert np.isnan(values.iloc[1])
    np.testing.assert_allclose(values.iloc[[0, 2, 3]], fit.fitted.iloc[[0, 2, 3]], rtol=1e-12)


def test_a_model_without_random_effects_predicts_by_least_squares() -> None:
    fit = mm.fit("Reaction ~ Days", DATA)
    X = np.column_stack([np.ones(180), DATA["Days"]])
    beta, rss, *_ = np.linalg.lstsq(X, DATA["Reaction"], rcond=None)
    assert fit.random_effects == fit.random_effects_cov == {}
    np.testing.assert_allclose(fit.fitted, X @ beta, rtol=1e-10)
    np.testing.assert_allclose(fit.predict(DATA.head(3)), X[:3] @ beta, rtol=1e-10)
    spread = np.einsum("np,pq,nq->n", X, np.linalg.inv(X.T @ X), X)
    error = np.sqrt(rss[0] / 178 * (1 + spread))
    np.testing.assert_allclose(fit.predict(DATA, interval="prediction")["std_error"], error, rtol=1e-8)


def test_simulation_has_the_models_mean_and_covariance_and_its_seed(fit: mm.FitResult) -> None:
    y = fit.simulate(4000, seed=1)
    assert y.shape == (180, 4000)
    np.testing.assert_array_equal(y, fit.simulate(4000, seed=1))
    X = np.column_stack([np.ones(10), np.arange(10.0)])
    V = X @ fit.covariance("Subject").to_numpy() @ X.T + fit.sigma2 * np.eye(10)
    error = np.sqrt(np.diag(V) / 4000)
    assert np.all(np.abs(y[:10].mean(axis=1) - X @ fit.fixed_effects.to_numpy()) < 5 * error)
    # 18 subjects x 4000 draws of one 10 x 10 covariance: relative error about 1/sqrt(72,000)
    blocks = (y - y.mean(axis=1, keepdims=True)).reshape(18, 10, 4000)
    found = np.einsum("sin,sjn->ij", blocks, blocks) / (18 * 3999)
    np.testing.assert_allclose(found, V, atol=0.03 * np.max(V))


def test_refits_of_simulated_data_recover_the_parameters(fit: mm.FitResult) -> None:
    y = fit.simulate(60, seed=3)
    found = [mm.fit(FORMULA, DATA.assign(Reaction=y[:, k])) for k in range(60)]
    slopes = np.array([f.fixed_effects["Days"] for f in found])
    assert abs(slopes.mean() - fit.fixed_effects["Days"]) < 5 * fit.standard_errors["Days"] / np.sqrt(60)
    sigmas = np.array([f.sigma for f in found])
    assert abs(sigmas.mean() - fit.sigma) < 5 * sigmas.std() / np.sqrt(60)


def test_tables(fit: mm.FitResult) -> None:
    tidy = fit.tidy()
    assert list(tidy["term"]) == [*fit.fixed_effects.index, *fit.parameters["name"]]
    glance = fit.glance().iloc[0]
    assert glance["aic"] == pytest.approx(2 * 6 - 2 * fit.loglike)
    assert glance["bic"] == pytest.approx(np.log(180) * 6 - 2 * fit.loglike)
    augmented = fit.augment()
    np.testing.assert_allclose(augmented["population"], fit.predict(level="population"), rtol=1e-12)
    np.testing.assert_allclose(augmented["response"], DATA["Reaction"], rtol=1e-12)
    text = fit.summary()
    for word in (
        "Reaction ~ Days + (Days | Subject)",
        "-871.8141",
        "sd(Days | Subject)",
        "5.9221",
        "10.467",
        "converged",
    ):
        assert word in text


def test_diagnostics(fit: mm.FitResult) -> None:
    found = fit.diagnostics
    assert found.engine == "pooled"
    assert found.evaluations == fit.estimates.evaluations
    assert found.total_evaluations == fit.trace["evaluations"].iloc[-1]
    assert list(found.phases.index) == ["design", "reduce", "start", "newton", "check"]
    assert np.all(found.phases["seconds"] > 0)
    assert found.phases["seconds"].sum() == pytest.approx(found.seconds)
    assert found.phases["share"].sum() == pytest.approx(1.0)
    assert found.line in fit.summary()
    assert f"evaluations: {found.total_evaluations} (values" in found.line
    for word in ("engine: pooled", "reduce", "newton", "%"):
        assert word in str(found)


def test_phases_cover_a_fit_and_each_fit_has_its_own() -> None:
    model = mm.ModelBuilder().fixed(FORMULA).stages("em", {"gradient": {"max_iterations": 2}}, "em", "cg").build(DATA)
    began = time.perf_counter()
    first = model.fit()
    took = time.perf_counter() - began
    second = model.fit()
    for found in (first, second):
        phases = found.diagnostics.phases["seconds"]
        assert list(phases.index[:6]) == ["design", "reduce", "start", "em", "gradient", "cg"]
        assert phases[["design", "reduce"]].to_dict() == model.phases
    assert sum(first.diagnostics.phases["seconds"].iloc[2:]) <= took
    assert set(model.phases) == {"design", "reduce"}


def test_describe_names_what_was_given_in_python() -> None:
    data = DATA.assign(w=2.0, Twice=2 * DATA["Days"])
    model = mm.ModelBuilder().fixed("Reaction ~ Days + Twice").random("Days | Subject", structure="diagonal")
    text = model.weights("w").parameterization("natural").fix({"sigma": 25.0}).build(data).describe()
    for line in (
        "term         Days | Subject: diagonal, natural (absolute)",
        "held         sigma = 25",
        "data         180 rows, 0 dropped, weights w",
        "dropped      1 column: Twice (depend on the columns before them)",
    ):
        assert line in text.splitlines()


def test_interactions_are_found_in_either_order() -> None:
    data = mm.datasets.load("dietox")
    fit = mm.fit("Weight ~ Time + (1 | Pig:Evit)", data)
    pd.testing.assert_frame_equal(fit.covariance("Evit:Pig"), fit.covariance("Pig:Evit"))
    assert isinstance(fit.random_effects["Pig:Evit"].index, pd.MultiIndex)
    held = mm.fit("Weight ~ Time + (1 | Pig:Evit)", data, fix={"sd(Intercept | Evit:Pig)": 5.0})
    assert held.covariance().iloc[0, 0] == pytest.approx(25.0)


def test_nested_groups_have_keys_of_their_own() -> None:
    small = mm.datasets.load("dietox").query("Time <= 4")
    fit = mm.fit("Weight ~ Time + (1 | Litter/Pig)", small)
    assert list(fit.random_effects) == ["Litter", "Litter:Pig"]
    assert fit.estimates.engine == "blocked"


def test_a_model_without_random_effects_is_that_of_least_squares() -> None:
    """Its fitted values were refused: there was nothing to stack."""
    fit = mm.fit("Reaction ~ Days", DATA)
    X = np.column_stack([np.ones(len(DATA)), DATA["Days"]])
    fitted = X @ np.linalg.lstsq(X, DATA["Reaction"].to_numpy(), rcond=None)[0]
    np.testing.assert_allclose(fit.fitted, fitted)
    np.testing.assert_allclose(fit.residuals("normalized"), (DATA["Reaction"] - fitted) / fit.sigma)
    assert fit.random_effects == {} and fit.random_effects_cov == {}
    bands = fit.predict(DATA.head(3), interval="prediction")
    np.testing.assert_allclose(bands["estimate"], fitted[:3])
    leverage = np.einsum("np,pq,nq->n", X, np.linalg.inv(X.T @ X), X)
    np.testing.assert_allclose(bands["std_error"], fit.sigma * np.sqrt(1 + leverage[:3]))
    assert fit.simulate(2, seed=1).shape == (len(DATA), 2)
