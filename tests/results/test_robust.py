"""Cluster-robust covariance against its definition, written out with dense matrices over all rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm

import mmframe as mm
from mmframe.covariance.domain import Array
from mmframe.errors import DataError, SpecError, StoreError
from tests.reference.cases import BY_ID, fitted
from tests.reference.test_reference_cases import each
from tests.reference.test_reference_inference import labels_of


def made() -> pd.DataFrame:
    """Nine schools with classes of unequal sizes, and visits that are missing."""
    rng = np.random.default_rng(7)
    rows = [(s, f"{s}{c}", v) for s in range(9) for c in range(1 + s % 3) for v in range(4) if rng.random() < 0.8]
    data = pd.DataFrame(rows, columns=["school", "class_", "visit"])
    data["x"], data["w"] = rng.normal(size=len(data)), rng.uniform(0.5, 2.0, len(data))
    data["z"] = data["school"] % 2
    data["y"] = data["x"] + rng.normal(size=9)[data["school"]] + rng.normal(size=len(data))
    return data.sample(frac=1, random_state=1).reset_index(drop=True)


MODELS: dict[str, dict[str, Any]] = {
    "intercept": {"formula": "y ~ x + z + (1 | school)"},
    "slopes and weights": {"formula": "y ~ x + z + (x | school)", "weights": "w"},
    "nested": {"formula": "y ~ x + z + (1 | school/class_)"},
    "ar1": {"formula": "y ~ x + z", "residual": "ar1(visit | class_)"},
    "school and visits": {"formula": "y ~ x + z + (1 | school)", "residual": "csh(visit | class_)"},
    "no groups": {"formula": "y ~ x + z"},
}


def dense(fit: mm.FitResult, data: pd.DataFrame) -> Array:
    """V over all rows, from what the fit reports."""
    n = len(data)
    V = np.zeros((n, n))
    design = fit.source.design  # type: ignore[attr-defined]
    for term, kept in zip(design.terms, fit.estimates.terms, strict=True):
        Z, codes = term.Z, design.groupings[term.grouping].codes
        V += Z @ kept.G @ Z.T * (codes[:, None] == codes[None, :])
    if fit.spec.residual is None:
        return V + np.diag(fit.sigma2 / (data["w"] if fit.spec.weights else np.ones(n)))
    R = fit.residual_covariance().to_numpy()
    place = data["visit"].to_numpy()
    same = data["class_"].to_numpy()[:, None] == data["class_"].to_numpy()[None, :]
    return V + R[np.ix_(place, place)] * same


def definition(fit: mm.FitResult, data: pd.DataFrame, cluster: Array, kind: str) -> tuple[Array, Array, list[Array]]:
    """(the covariance, V, for each cluster X_i'W_iA_i over all rows)."""
    X, V = fit.source.design.X, dense(fit, data)  # type: ignore[attr-defined]
    phi = np.linalg.inv(X.T @ np.linalg.inv(V) @ X)
    error = data["y"].to_numpy() - X @ fit.fixed_effects.to_numpy()
    middle, maps = np.zeros_like(phi), []
    names = np.unique(cluster)
    for name in names:
        own = np.flatnonzero(cluster == name)
        Xi, Vi = X[own], V[np.ix_(own, own)]
        Wi, one = np.linalg.inv(Vi), np.eye(own.size)
        if kind == "CR1":
            A = one * np.sqrt(len(names) / (len(names) - 1))
        elif kind == "CR3":
            A = np.linalg.inv(one - Xi @ phi @ Xi.T @ Wi)
        elif kind == "CR2":
            D = np.linalg.cholesky(Vi).T
            A = D.T @ np.linalg.pinv(np.real(sqrtm(D @ (Vi - Xi @ phi @ Xi.T) @ D.T)), rcond=1e-7) @ D
        else:
            A = one
        whole = np.zeros((X.shape[1], len(data)))
        whole[:, own] = Xi.T @ Wi @ A
        maps.append(whole)
        score = whole @ error
        middle += np.outer(score, score)
    return phi @ middle @ phi, V, maps


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2", "CR3"])
@pytest.mark.parametrize("name", MODELS)
def test_the_definition(name: str, kind: str) -> None:
    data = made()
    fit = mm.fit(data=data, **MODELS[name])
    cluster = data["school"].to_numpy() if name != "no groups" else np.arange(len(data))
    given = data["school"].to_numpy() if name == "ar1" else None
    cov, V, maps = definition(fit, data, cluster, kind)
    np.testing.assert_allclose(fit.robust_cov(kind, given), cov, rtol=1e-6, atol=1e-9 * np.abs(cov).max())
    # degrees of freedom: the law of sums of squares of normal variables, Pustejovsky & Tipton (2018), section 2.3
    X = fit.source.design.X  # type: ignore[attr-defined]
    phi = np.linalg.inv(X.T @ np.linalg.inv(V) @ X)
    left = np.eye(len(data)) - X @ phi @ X.T @ np.linalg.inv(V)
    table = fit.coefficients(df="satterthwaite", robust=kind, cluster=given)
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(cov)), rtol=1e-6)
    for j in range(len(phi)):
        p = np.array([phi[j] @ m @ left for m in maps])
        P = p @ V @ p.T
        assert table["df"].iloc[j] == pytest.approx(np.trace(P) ** 2 / np.sum(P**2), rel=1e-5)


@pytest.mark.parametrize("name", ["intercept", "ar1"])
def test_cr2_is_unbiased_where_the_model_is_right(name: str) -> None:
    """The expectation of its middle under V is X'WX: Φ Σ X_i'W_iA_i E(e_ie_i') A_i'W_iX_i Φ = Φ."""
    data = made()
    fit = mm.fit(data=data, **MODELS[name])
    _, V, maps = definition(fit, data, data["school"].to_numpy(), "CR2")
    X = fit.source.design.X  # type: ignore[attr-defined]
    phi = np.linalg.inv(X.T @ np.linalg.inv(V) @ X)
    spread = V - X @ phi @ X.T
    np.testing.assert_allclose(phi @ sum(m @ spread @ m.T for m in maps) @ phi, phi, rtol=1e-6, atol=1e-10)


def test_the_joint_test_by_its_definition() -> None:
    """HTZ: η = r(r+1)/Σ Var of the entries of the standardised covariance, each by Isserlis's theorem, with dense matrices."""
    data = made()
    fit = mm.fit(data=data, **MODELS["intercept"])
    cov, V, maps = definition(fit, data, data["school"].to_numpy(), "CR2")
    X = fit.source.design.X  # type: ignore[attr-defined]
    phi = np.linalg.inv(X.T @ np.linalg.inv(V) @ X)
    left = np.eye(len(data)) - X @ phi @ X.T @ np.linalg.inv(V)
    L = np.eye(3)[1:]
    rows = np.linalg.solve(np.linalg.cholesky(L @ phi @ L.T), L)
    p = np.array([[row @ phi @ m @ left for m in maps] for row in rows])
    P = np.einsum("sin,nm,tjm->stij", p, V, p)
    total = sum(
        np.sum(P[s, s] * P[t, t]) + np.sum(P[s, t] * P[t, s]) for s in range(2) for t in range(2)
    )  # fmt: skip
    eta = 6 / total
    found = fit.contrast(L, robust="CR2", joint=True).iloc[0]
    assert found["den_df"] == pytest.approx(eta - 1, rel=1e-6)
    b = L @ fit.fixed_effects.to_numpy()
    assert found["statistic"] == pytest.approx((eta - 1) / eta * b @ np.linalg.solve(L @ cov @ L.T, b) / 2, rel=1e-6)
    single = fit.contrast(L[:1], robust="CR2", joint=True).iloc[0]
    assert single["den_df"] == pytest.approx(fit.contrast(L[:1], robust="CR2")["df"].iloc[0], rel=1e-8)


def test_cr3_is_near_the_jackknife() -> None:
    """Without random effects and with rows as clusters it is Σ of squares of what leaving a row out moves."""
    data = made()
    fit = mm.fit("y ~ x", data)
    X, y = fit.source.design.X, data["y"].to_numpy()  # type: ignore[attr-defined]
    left = [np.linalg.lstsq(np.delete(X, i, 0), np.delete(y, i), rcond=None)[0] for i in range(len(y))]
    moved = np.array(left) - fit.fixed_effects.to_numpy()
    np.testing.assert_allclose(fit.robust_cov("CR3"), moved.T @ moved, rtol=1e-8)


@each("robust")
def test_the_reference_cases(case_id: str) -> None:
    """SAS's EMPIRICAL option, and mmrm's, without a small-sample correction."""
    expected, label = BY_ID[case_id]["expected"]["robust"], labels_of(case_id)
    names = [label[n] for n in expected["names"]]
    found = fitted(case_id).robust_cov("CR0").loc[names, names]
    np.testing.assert_allclose(found, expected["vcov"], rtol=1e-5)


def test_it_goes_with_other_tests() -> None:
    data = made()
    fit = mm.fit("y ~ x + C(z) + (1 | school)", data)
    plain, robust = fit.anova(), fit.anova(robust="CR2")
    assert (plain["statistic"] != robust["statistic"]).all()
    means = fit.emmeans("z", robust="CR2", contrast="pairwise")
    pair = fit.coefficients(df="satterthwaite", robust="CR2").loc["C(z)[T.1]"]
    assert means["std_error"].iloc[0] == pytest.approx(pair["std_error"], rel=1e-9)
    assert means["df"].iloc[0] == pytest.approx(pair["df"], rel=1e-9)
    normal = fit.coefficients(robust="CR0")
    assert np.isinf(normal["df"]).all()


def test_clusters_of_one_s_own() -> None:
    """A column or an array of coarser groups; not what the random effects cross."""
    data = made()
    fit = mm.fit("y ~ x + z + (1 | class_)", data)
    by_array = fit.robust_cov("CR2", cluster=data["school"])
    assert not np.allclose(by_array, fit.robust_cov("CR2"))
    with pytest.raises(SpecError, match="whose clusters share levels of class_"):
        fit.robust_cov("CR2", cluster=data["visit"].to_numpy())
    with pytest.raises(SpecError, match="one value for each of"):
        fit.robust_cov("CR2", cluster=[1, 2])
    with pytest.raises(DataError, match="one cluster"):
        fit.robust_cov("CR2", cluster=np.zeros(len(data)))


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2", "CR3"])
def test_one_row_jointly_is_that_row(kind: str) -> None:
    fit = mm.fit("y ~ x + z + (1 | school)", made())
    L = np.eye(3)[1:2]
    single, joint = fit.contrast(L, robust=kind).iloc[0], fit.contrast(L, robust=kind, joint=True).iloc[0]
    assert joint["den_df"] == pytest.approx(single["df"], rel=1e-8)
    assert joint["p_value"] == pytest.approx(single["p_value"], rel=1e-8)


def test_fewer_clusters_than_rows_test_nothing() -> None:
    """The covariance has no inverse; R's clubSandwich stops there."""
    data = made()
    fit = mm.fit("y ~ x + visit + (1 | class_)", data)
    table = fit.contrast(np.eye(3), robust="CR0", cluster=data["z"], joint=True).iloc[0]
    assert table["num_df"] == 3 and np.isnan(table["statistic"]) and np.isnan(table["p_value"])


def test_a_series_of_clusters_goes_by_its_index() -> None:
    data = made()
    fit = mm.fit("y ~ x + visit + (1 | class_)", data)
    expected = fit.robust_cov("CR0", data["school"].to_numpy())
    np.testing.assert_allclose(fit.robust_cov("CR0", data["school"].sample(frac=1, random_state=3)), expected)
    longer = pd.concat([data["school"], pd.Series([99], index=[10_000])])
    np.testing.assert_allclose(fit.robust_cov("CR0", longer), expected)
    with pytest.raises(DataError, match="values are missing"):
        fit.robust_cov("CR0", data["school"].where(data["school"] > 2))


def test_a_cluster_of_many_rows_is_refused() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"g": np.repeat([0, 1, 2], 4100), "y": rng.normal(size=12_300)})
    with pytest.raises(DataError, match="a cluster of 4,100 rows"):
        mm.fit("y ~ 1 + (1 | g)", data).robust_cov("CR0")


def test_errors(tmp_path: Path) -> None:
    fit = mm.fit("y ~ x + (1 | school)", made())
    with pytest.raises(SpecError, match="'HC3' · allowed: 'CR0'"):
        fit.robust_cov("HC3")
    with pytest.raises(SpecError, match="'kenward_roger' with a robust covariance"):
        fit.coefficients(df="kenward_roger", robust="CR2")
    with pytest.raises(SpecError, match="with robust="):
        fit.coefficients(cluster="school")
    with pytest.raises(StoreError, match="fit again for a robust"):
        mm.load(fit.save(tmp_path / "fit.mmf")).robust_cov()
