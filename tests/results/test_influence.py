"""Leverage and Cook's distance: the matrix that takes y to the fitted values, written out with V of all rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag

import mmframe as mm
from mmframe.covariance.domain import Array
from tests.likelihood.residual_models import MODELS, build
from tests.results.test_residual import joint

SLEEP = mm.datasets.load("sleepstudy")
CENTRED = SLEEP.assign(Reaction=SLEEP["Reaction"] - SLEEP.groupby("Subject")["Reaction"].transform("mean"))
PIGS = mm.datasets.load("dietox").query("Time <= 5")


def hat(X: Array, V: Array, R: Array) -> Array:
    """Xβ̂ + GZ'V⁻¹(y − Xβ̂) as a matrix on y: the fixed part, and what ZGZ' = V − R gives of the rest."""
    fixed = X @ np.linalg.solve(X.T @ np.linalg.solve(V, X), np.linalg.solve(V, X).T)
    return fixed + (V - R) @ np.linalg.solve(V, np.eye(len(V)) - fixed)


def independent(fit: mm.FitResult, **relationships: Array) -> Array:
    """H of a model with independent residuals, by its design and the covariances of its effects."""
    design = fit.source.design  # type: ignore[attr-defined]
    R = fit.sigma2 * np.diag(np.ones(fit.nobs) if design.weights is None else 1.0 / design.weights)
    V = R.copy()
    for k, grouping in enumerate(design.groupings):
        own = [(t, e) for t, e in zip(design.terms, fit.estimates.terms, strict=True) if t.grouping == k]
        Z, G = np.column_stack([t.Z for t, _ in own]), block_diag(*(e.G for _, e in own))
        K = relationships.get(grouping.name, np.eye(len(grouping.levels)))
        V += K[np.ix_(grouping.codes, grouping.codes)] * (Z @ G @ Z.T)
    return hat(design.X, V, R)


CASES = {
    "one factor": ("Reaction ~ Days + (Days | Subject)", SLEEP, {}),
    "two terms of a factor, by ML": ("Reaction ~ Days + (Days || Subject)", SLEEP, {"reml": False}),
    "weights": ("Reaction ~ Days + (Days | Subject)", SLEEP, {"weights": np.linspace(0.2, 3.0, 180)}),
    "crossed": ("Weight ~ Time + (1 | Litter) + (1 | Cu)", PIGS, {}),
    "crossed, a correlation of one": ("Weight ~ Time + (1 | Litter) + (Time | Cu)", PIGS, {}),
    "nested, weights": ("Weight ~ Time + (1 | Litter/Pig)", PIGS, {"weights": np.linspace(0.5, 2.0, len(PIGS))}),
    "a variance of zero": ("Reaction ~ Days + (1 | Subject)", CENTRED, {}),
    "no random effects": ("Reaction ~ Days", SLEEP, {}),
    "no fixed effects": ("Reaction ~ 0 + (Days | Subject)", SLEEP, {}),
}


@pytest.mark.parametrize("name", list(CASES))
def test_leverage_is_the_diagonal_of_the_matrix_that_makes_the_fitted_values(name: str) -> None:
    formula, data, options = CASES[name]
    fit = mm.fit(formula, data, **options)
    assert fit.singular == (name in ("crossed, a correlation of one", "a variance of zero"))
    H = independent(fit)
    np.testing.assert_allclose(H @ fit.source.response, fit.fitted, rtol=1e-7)
    found = fit.leverage()
    np.testing.assert_allclose(found, np.diag(H), rtol=1e-7, atol=1e-12)
    assert found.index.equals(data.index)
    assert np.all((found > 0.0) & (found < 1.0))


@pytest.mark.parametrize("engine", ["pooled", "blocked", "dense"])
def test_every_engine_gives_the_same(engine: str) -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEP)
    other = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEP, engine=engine)
    assert other.estimates.engine == engine
    np.testing.assert_allclose(other.leverage(), fit.leverage(), rtol=1e-6)


def test_leverage_with_related_levels() -> None:
    K = 0.3 + 0.7 * np.eye(18)
    levels = sorted(SLEEP["Subject"].unique())
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEP, relationship={"Subject": pd.DataFrame(K, levels, levels)})
    np.testing.assert_allclose(fit.leverage(), np.diag(independent(fit, Subject=K)), rtol=1e-7)


def test_where_random_effects_have_no_variance_it_is_that_of_least_squares() -> None:
    fit = mm.fit("Reaction ~ Days + (1 | Subject)", CENTRED)
    days = CENTRED["Days"] - 4.5  # 0 .. 9 for each of 18 subjects
    np.testing.assert_allclose(fit.leverage(), 1 / 180 + days**2 / np.sum(days**2), rtol=1e-9)


STRUCTURED = [name for name, (random, *_) in MODELS.items() if not any("item" in term for term in random)]


@pytest.mark.parametrize("name", STRUCTURED)
@pytest.mark.filterwarnings("ignore::mmframe.errors.IdentifiabilityWarning")
def test_leverage_with_structured_residuals(name: str) -> None:
    """I − RP, whose diagonal is not the variance of the fitted mean over that of the residual where R has correlations."""
    fit = build(name, None).fit()
    V, R = joint(fit)
    H = hat(fit.source.rows.X, V, R)
    np.testing.assert_allclose(H @ fit.source.response, fit.fitted, rtol=1e-5)
    subject = fit.source.design.residual.subject  # type: ignore[attr-defined]
    own = [np.linalg.eigvalsh(R[np.ix_(subject == s, subject == s)]) for s in subject]
    singular = np.array([values[0] < 1e-10 * values[-1] for values in own])
    found = fit.leverage().to_numpy()
    assert np.array_equal(np.isnan(found), singular)
    assert singular.any() == (name == "slope, csh")  # its rho goes to the bound
    np.testing.assert_allclose(found[~singular], np.diag(H)[~singular], rtol=1e-6, atol=1e-9)
    if not fit.estimates.terms:
        assert fit.leverage().sum() == pytest.approx(3.0)  # a projection on three columns


@pytest.mark.parametrize("name", ["one factor", "weights", "nested, weights", "no random effects"])
def test_cooks_distance_by_its_definition(name: str) -> None:
    """r²h/(p(1 − h)²), the distance of Cook (1977, Technometrics 19) where there are no random effects: by leaving rows out."""
    formula, data, options = CASES[name]
    fit = mm.fit(formula, data, **options)
    found, h, p = fit.cooks_distance(), np.diag(independent(fit)), len(fit.fixed_effects)
    np.testing.assert_allclose(found, fit.residuals("pearson") ** 2 * h / (p * (1 - h) ** 2), rtol=1e-6)
    if name == "no random effects":
        for row in (0, 9, 57):
            without = mm.fit(formula, data.drop(index=row)).fixed_effects - fit.fixed_effects
            moved = without @ np.linalg.solve(fit.fixed_effects_cov.to_numpy(), without) / p
            assert found[row] == pytest.approx(moved, rel=1e-6)


def test_cooks_distance_of_unequal_variances_and_without_fixed_effects() -> None:
    fit = build("slope, exp", None).fit()
    V, R = joint(fit)
    h = np.diag(hat(fit.source.rows.X, V, R))
    expected = fit.residuals() ** 2 / np.diag(R) * h / (3 * (1 - h) ** 2)
    np.testing.assert_allclose(fit.cooks_distance(), expected, rtol=1e-5)
    assert mm.fit("Reaction ~ 0 + (Days | Subject)", SLEEP).cooks_distance().isna().all()


def test_augment_holds_them_when_asked() -> None:
    fit = mm.fit("Reaction ~ Days + (Days | Subject)", SLEEP)
    table = fit.augment(influence=True)
    assert list(table) == [*fit.augment(), "leverage", "cooks_distance"]
    pd.testing.assert_series_equal(table["leverage"], fit.leverage())
    pd.testing.assert_series_equal(table["cooks_distance"], fit.cooks_distance())


def test_what_is_refused_says_why(tmp_path: Path) -> None:
    with pytest.raises(mm.SpecError, match="leverage: a level of a random effect changes between rows of a subject"):
        build("crossed: item", None).fit().leverage()
    with pytest.raises(mm.SpecError, match="cooks_distance: a residual structure in which subjects have several rows"):
        build("ar1", None).fit().cooks_distance()
    for fit in (mm.fit("Reaction ~ Days + (Days | Subject)", SLEEP), build("ar1", None).fit()):
        again = mm.load(fit.save(tmp_path / "fit"))
        with pytest.raises(mm.StoreError, match=r"holds no data .* fit again .* for leverage and Cook's distances"):
            again.leverage()
