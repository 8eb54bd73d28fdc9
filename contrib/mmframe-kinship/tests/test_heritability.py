"""Ratios of variances and their intervals; breeding values, their errors and reliabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import published
import pytest
from mmframe_kinship import heritability, pedigree, reliability
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import chi2
from simulated import breeding_values, flock

import mmframe as mm


def records(seed: int, *, h2: float = 0.5, herds: bool = False) -> tuple[pd.DataFrame, object]:
    """160 animals of four generations with a record each; phenotypic variance 1, herds beside it."""
    rng = np.random.default_rng(seed)
    of = pedigree(flock(rng, 4, 40, 5))
    values = breeding_values(rng, of, h2)
    data = pd.DataFrame({"animal": of.animals, "y": 5 + values.to_numpy() + np.sqrt(1 - h2) * rng.normal(size=len(of))})
    data["herd"] = rng.integers(0, 8, len(of))
    if herds:
        data["y"] += 0.5 * rng.normal(size=8)[data["herd"]]
    return data, of


def deviance(data: pd.DataFrame, A: np.ndarray, parts: np.ndarray) -> float:
    """−2 log L by REML of variances of animals, residual and perhaps herds, by the dense formulas of Patterson and Thompson (1971)."""
    n = len(data)
    V = parts[0] * A + parts[1] * np.eye(n)
    if len(parts) > 2:
        herd = data["herd"].to_numpy()
        V = V + parts[2] * (herd[:, None] == herd)
    X, y = np.ones((n, 1)), data["y"].to_numpy()
    Vi = np.linalg.inv(V)
    XVX = X.T @ Vi @ X
    r = y - X @ np.linalg.solve(XVX, X.T @ Vi @ y)
    return np.linalg.slogdet(V)[1] + np.linalg.slogdet(XVX)[1] + r @ Vi @ r + (n - 1) * np.log(2 * np.pi)


def second_derivatives(f: object, at: np.ndarray, h: float = 1e-3) -> np.ndarray:
    k, unit = at.size, h * np.eye(at.size)
    return np.array(
        [
            [
                (
                    f(at + unit[i] + unit[j])
                    - f(at + unit[i] - unit[j])
                    - f(at - unit[i] + unit[j])
                    + f(at - unit[i] - unit[j])
                )
                / (4 * h * h)
                for j in range(k)
            ]
            for i in range(k)
        ]
    )


def test_the_animal_model_of_mrode() -> None:
    fit, calves = published.animal_model()
    for sex, value in published.SEXES.items():
        assert np.isclose(fit.fixed_effects[f"sex[{sex}]"], value, atol=1e-7)
    table = reliability(fit, "animal", inbreeding=calves).loc[range(1, 9)]
    assert np.allclose(table["estimate"], published.BREEDING_VALUES, atol=1e-7)
    assert np.allclose(table["std_error"], published.PREDICTION_ERRORS, atol=1e-7)
    # r² = 1 − PEV/σ²_a, Mrode (2014), p. 45, whose 0.471 × 40 is the PEV of animal 1; no calf is inbred
    assert np.allclose(table["reliability"], 1 - np.square(published.PREDICTION_ERRORS) / 20, atol=1e-7)
    assert round(table.loc[1, "pev"] / 40, 3) == 0.471
    assert np.allclose(table["accuracy"] ** 2, table["reliability"])
    assert heritability(fit, "animal").estimate == pytest.approx(20 / 60)


def test_the_sire_model_of_mrode() -> None:
    # sires 1, 3 and 4, of which 1 is the sire of 4
    sires = pedigree({"animal": [1, 3, 4], "sire": [0, 0, 1], "dam": [0, 0, 0]})
    data = published.CALVES
    fix = {"sd(Intercept | sire)": 5**0.5, "sigma": 55**0.5}
    fit = mm.fit("gain ~ 0 + sex + (1 | sire)", data, relationship={"sire": sires.relationship()}, fix=fix)
    for sex, value in published.SIRE_SEXES.items():
        assert np.isclose(fit.fixed_effects[f"sex[{sex}]"], value, atol=1e-7)
    for sire, value in published.SIRES.items():
        assert np.isclose(fit.random_effects["sire"].loc[sire, "Intercept"], value, atol=1e-7)


def test_reliability_by_the_mixed_model_equations() -> None:
    """Henderson's equations with a covariate, an offset and inbred animals, inverted here."""
    data, of = records(3)
    rng = np.random.default_rng(0)
    data["x"], data["o"] = rng.normal(size=len(data)), rng.normal(size=len(data))
    kept = data.iloc[40:]
    A = of.additive()
    fit = mm.fit("y ~ x + (1 | animal)", kept,
                 relationship={"animal": of.relationship()}, offset="o")  # fmt: skip
    va, ve = fit.covariance("animal").iloc[0, 0], fit.sigma2
    X = np.column_stack([np.ones(len(kept)), kept["x"]])
    Z = (kept["animal"].to_numpy()[:, None] == A.index.to_numpy()).astype(float)
    left = np.block([[X.T @ X / ve, X.T @ Z / ve], [Z.T @ X / ve, Z.T @ Z / ve + np.linalg.inv(A) / va]])
    pev = pd.Series(np.diag(np.linalg.inv(left))[2:], index=A.index)
    table = reliability(fit, "animal", inbreeding=of)
    assert np.allclose(table["pev"], pev[table.index], rtol=1e-6)
    own = va * pd.Series(np.diag(A), index=A.index)[table.index]
    assert np.diag(A).max() > 1.05
    assert np.allclose(table["reliability"], 1 - pev[table.index] / own, atol=1e-6)
    by_series = reliability(fit, "animal", inbreeding=of.inbreeding)
    assert np.allclose(by_series, table)
    with_K = mm.fit("y ~ x + (1 | animal)", kept, relationship={"animal": A}, offset="o", fix=fit.starting_values())
    assert np.allclose(reliability(with_K, "animal").loc[table.index, "reliability"], table["reliability"], atol=1e-6)


def test_reliability_beside_a_second_factor() -> None:
    data, of = records(4, herds=True)
    A = of.additive()
    fit = mm.fit("y ~ 1 + (1 | animal) + (1 | herd)", data, relationship={"animal": of.relationship()})
    va, vh, ve = fit.covariance("animal").iloc[0, 0], fit.covariance("herd").iloc[0, 0], fit.sigma2
    X = np.ones((len(data), 1))
    Z = (data["animal"].to_numpy()[:, None] == A.index.to_numpy()).astype(float)
    W = (data["herd"].to_numpy()[:, None] == np.arange(8)).astype(float)
    T = np.hstack([X, Z, W])
    left = T.T @ T / ve
    left[1 : 1 + len(A), 1 : 1 + len(A)] += np.linalg.inv(A) / va
    left[1 + len(A) :, 1 + len(A) :] += np.eye(8) / vh
    inverse = np.diag(np.linalg.inv(left))
    table = reliability(fit, "animal", inbreeding=of)
    assert np.allclose(table.loc[A.index, "pev"], inverse[1 : 1 + len(A)], rtol=1e-6)
    herds = reliability(fit, "herd")  # no relationship: K_ii = 1
    assert np.allclose(herds.loc[range(8), "pev"], inverse[1 + len(A) :], rtol=1e-6)


def test_standard_error_by_the_delta_method() -> None:
    data, of = records(1, herds=True)
    A = of.additive().loc[data["animal"], data["animal"]].to_numpy()
    fit = mm.fit("y ~ 1 + (1 | animal) + (1 | herd)", data, relationship={"animal": of.relationship()})
    found = heritability(fit, "animal")
    parts = found.variances[["animal", "residual", "herd"]].to_numpy()
    assert np.isclose(deviance(data, A, parts), fit.deviance, atol=1e-6)
    curvature = second_derivatives(lambda logs: deviance(data, A, np.exp(logs)), np.log(parts))
    covariance = 2 * np.linalg.inv(curvature)
    total = parts.sum()
    slope = parts * (np.array([1.0, 0, 0]) - parts[0] / total) / total
    assert np.isclose(found.std_error, np.sqrt(slope @ covariance @ slope), rtol=2e-3)
    expected = covariance * np.outer(parts, parts)
    order = ["animal", "residual", "herd"]
    assert np.allclose(found.covariance.loc[order, order], expected, rtol=5e-3, atol=1e-5)
    low, high = found.conf_int("wald")
    assert np.isclose((high - low) / 2, 1.959964 * found.std_error)
    within = heritability(fit, "animal", without=["herd"])
    assert within.estimate == pytest.approx(parts[0] / (parts[0] + parts[1]))


def test_profile_interval_by_the_dense_likelihood() -> None:
    data, of = records(2)
    A = of.additive().loc[data["animal"], data["animal"]].to_numpy()
    fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": of.relationship()})
    found = heritability(fit, "animal")

    def least(h: float) -> float:
        def of_total(log_total: float) -> float:
            return deviance(data, A, np.exp(log_total) * np.array([h, 1 - h]))

        return minimize_scalar(of_total, bounds=(-3, 3), method="bounded", options={"xatol": 1e-8}).fun

    ends = found.conf_int("profile")
    for end in ends:
        assert np.isclose(least(end), fit.deviance + chi2.ppf(0.95, 1), atol=2e-2)
    assert ends[0] < found.estimate < ends[1]
    narrow = found.conf_int("profile", confidence=0.5)
    assert ends[0] < narrow[0] and narrow[1] < ends[1]


def test_profile_with_a_third_variance() -> None:
    data, of = records(5, herds=True)
    A = of.additive().loc[data["animal"], data["animal"]].to_numpy()
    fit = mm.fit("y ~ 1 + (1 | animal) + (1 | herd)", data, relationship={"animal": of.relationship()})
    low = heritability(fit, "animal").conf_int("profile")[0]

    def at(logs: np.ndarray) -> float:  # animals so that the share is low
        rest = np.exp(logs)
        return deviance(data, A, np.array([low / (1 - low) * rest.sum(), *rest]))

    best = minimize(at, np.log([fit.sigma2, fit.covariance("herd").iloc[0, 0]]), method="Nelder-Mead",
                    options={"xatol": 1e-6, "fatol": 1e-8})  # fmt: skip
    assert np.isclose(best.fun, fit.deviance + chi2.ppf(0.95, 1), atol=2e-2)


def test_a_profile_ends_at_zero_where_the_likelihood_does_not_fall() -> None:
    data, of = records(12, h2=0.02)
    fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": of.relationship()})
    found = heritability(fit, "animal")
    A = of.additive().loc[data["animal"], data["animal"]].to_numpy()
    none = minimize_scalar(
        lambda log: deviance(data, A, np.array([0.0, np.exp(log)])), bounds=(-3, 3), method="bounded"
    )
    assert none.fun < fit.deviance + chi2.ppf(0.95, 1)
    low, high = found.conf_int("profile")
    assert low == 0.0 and found.estimate < high < 1.0


def test_a_variance_of_zero(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    table = {"animal": np.arange(1, 61), "sire": np.repeat([101, 102, 103], 20), "dam": np.zeros(60, dtype=int)}
    of = pedigree(table)
    data = pd.DataFrame(
        {"animal": np.arange(1, 61), "y": np.tile(rng.normal(size=20), 3)}
    )  # sires' families have one mean
    fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": of.relationship()})
    found = heritability(fit, "animal")
    assert fit.singular and found.estimate == 0.0 and np.isnan(found.std_error)
    assert np.all(np.isnan(found.conf_int())) and np.all(np.isnan(found.conf_int("wald")))
    low, high = found.conf_int("profile")
    assert low == 0.0 and 0.0 < high < 1.0
    with pytest.raises(ValueError, match="variance of 'animal' is zero"):
        reliability(fit, "animal", inbreeding=of)
    fit.save(tmp_path / "fit.mm")
    saved = heritability(mm.load(tmp_path / "fit.mm"), "animal")
    assert saved.estimate == 0.0
    with pytest.raises(mm.StoreError, match="holds no data"):
        saved.conf_int("profile")


def test_bootstrap_is_that_of_the_fit() -> None:
    data, of = records(6)
    fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": of.relationship()})

    def ratio(f: mm.FitResult) -> float:
        va = f.covariance("animal").iloc[0, 0]
        return va / (va + f.sigma2)

    expected = fit.bootstrap(12, seed=3, statistic=ratio, workers=1).conf_int().iloc[0]
    assert np.allclose(heritability(fit, "animal").conf_int("bootstrap", n=12, seed=3), expected)


def test_repeatability_and_the_mean_diagonal() -> None:
    data, of = records(7)
    twice = pd.concat([data, data.assign(y=data["y"] + np.random.default_rng(1).normal(size=len(data)))])
    twice["permanent"] = twice["animal"]
    fit = mm.fit("y ~ 1 + (1 | animal) + (1 | permanent)", twice, relationship={"animal": of.relationship()})
    va, vp = (fit.covariance(name).iloc[0, 0] for name in ("animal", "permanent"))
    assert heritability(fit, ["animal", "permanent"]).estimate == pytest.approx((va + vp) / (va + vp + fit.sigma2))
    mean = 1 + float(of.inbreeding.mean())
    scaled = heritability(fit, "animal", diagonal={"animal": mean})
    assert scaled.estimate == pytest.approx(mean * va / (mean * va + vp + fit.sigma2))
    assert scaled.variances["animal"] == pytest.approx(mean * va)


def test_h2_of_a_half_is_recovered() -> None:
    """25 flocks with h² = 0.5: the mean of the estimates, and their spread beside the standard errors."""
    estimates, errors = [], []
    for seed in range(100, 125):
        data, of = records(seed)
        fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": of.relationship()})
        found = heritability(fit, "animal")
        estimates.append(found.estimate)
        errors.append(found.std_error)
    spread = np.std(estimates, ddof=1)
    assert abs(np.mean(estimates) - 0.5) < 3 * spread / np.sqrt(25)
    assert 0.6 < np.nanmean(errors) / spread < 1.6


def test_errors() -> None:
    data, of = records(8)
    fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": of.relationship()})
    with pytest.raises(ValueError, match="factor 'sire' · allowed: 'animal'"):
        heritability(fit, "sire")
    with pytest.raises(ValueError, match="'animal' is both counted and left out"):
        heritability(fit, "animal", without=["animal"])
    with pytest.raises(ValueError, match="diagonal of animal: 0"):
        heritability(fit, "animal", diagonal={"animal": 0})
    with pytest.raises(ValueError, match="'wald', 'logit', 'profile', 'bootstrap'"):
        heritability(fit, "animal").conf_int("exact")
    with pytest.raises(ValueError, match="confidence=95"):
        heritability(fit, "animal").conf_int(confidence=95)
    with pytest.raises(ValueError, match="is an inverse"):
        reliability(fit, "animal")
    with pytest.raises(ValueError, match="no inbreeding for 40 of the levels"):
        reliability(fit, "animal", inbreeding=of.inbreeding.iloc[40:])
    with pytest.raises(ValueError, match="factor 'sire'"):
        reliability(fit, "sire")
    sleep = mm.datasets.load("sleepstudy")
    slopes = mm.fit("Reaction ~ Days + (Days | Subject)", sleep)
    with pytest.raises(ValueError, match="a random intercept only"):
        heritability(slopes, "Subject")
    with pytest.raises(ValueError, match="a random intercept only"):
        reliability(slopes, "Subject")
    serial = mm.fit("Reaction ~ Days + (1 | Subject)", sleep, residual="ar1(Days | Subject)")
    with pytest.raises(ValueError, match="no single variance"):
        heritability(serial, "Subject")
