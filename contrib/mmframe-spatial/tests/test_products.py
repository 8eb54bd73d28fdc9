"""Separable processes by the framework's combinators, against Kronecker products that are written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mmframe_spatial import Anisotropic, GreatCircle, natural
from references import estimates, restricted_loglike

import mmframe as mm
from mmframe.api import Phi


def ar1(rho: float, n: int) -> np.ndarray:
    return rho ** np.abs(np.subtract.outer(np.arange(n), np.arange(n)))


def stations(n: int, times: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    place = rng.uniform(0.0, 40.0, size=(n, 2))
    rows = pd.DataFrame(
        {
            "x": np.repeat(place[:, 0], times),
            "y": np.repeat(place[:, 1], times),
            "month": np.tile(np.arange(times), n),
            "value": rng.normal(size=n * times),
        }
    )
    return rows, place


@pytest.mark.parametrize("options", ["", ", angle=20", ", decay='gaussian', nugget=True"])
def test_space_by_time(options: str) -> None:
    """kronecker(anisotropic(x + y), ar1(month)) is Σ_space ⊗ Σ_time over a full grid; a nugget is an error of each row."""
    data, place = stations(14, 5, seed=1)
    rng = np.random.default_rng(2)
    space = Anisotropic().covariance(Phi({"variance": 4.0, **natural(20.0, 0.5, 30.0)}), place)
    data["value"] = 3 + np.linalg.cholesky(np.kron(space, ar1(0.6, 5))) @ rng.normal(size=len(data))
    shuffled = data.sample(frac=1.0, random_state=3)
    fit = mm.fit("value ~ 1", shuffled, residual=f"kronecker(anisotropic(x + y{options}), ar1(month) | 1)")
    assert fit.converged
    start = fit.starting_values()
    own = {name.removeprefix("residual."): value for name, value in start.items() if name.startswith("residual.")}
    rho, nugget = own.pop("rho"), own.pop("nugget", 0.0)
    structure = {
        "": Anisotropic(),
        ", angle=20": Anisotropic(angle=20.0),
        ", decay='gaussian', nugget=True": Anisotropic(decay="gaussian"),
    }[options]
    V = np.kron(structure.covariance(Phi({"variance": fit.sigma2, **own}), place), ar1(rho, 5))
    V = (1 - nugget) * V + nugget * fit.sigma2 * np.eye(70)
    want = restricted_loglike(data["value"].to_numpy(), np.ones((70, 1)), V)
    assert fit.loglike == pytest.approx(want, abs=1e-7)


def test_globe_by_time_with_months_missing() -> None:
    data, place = stations(12, 6, seed=4)
    kept = np.random.default_rng(5).random(len(data)) < 0.75
    fit = mm.fit("value ~ 1", data[kept], residual="kronecker(great_circle(x + y), ar1(month) | 1)")
    found = estimates(fit)
    space = GreatCircle().covariance(Phi({"variance": fit.sigma2, "range": found["residual.range"]}), place)
    V = np.kron(space, ar1(found["residual.rho"], 6))[np.ix_(kept, kept)]
    want = restricted_loglike(data["value"].to_numpy()[kept], np.ones((kept.sum(), 1)), V)
    assert fit.loglike == pytest.approx(want, abs=1e-7)


def test_a_nested_product_with_measurement_error(trial: pd.DataFrame) -> None:
    """AR1 x AR1 with a variance for each plot on top; 18 places of the grid have no plot (Gilmour, Cullis & Verbyla 1997)."""
    fit = mm.fit("yld ~ 0 + variety", trial, residual="sum(kronecker(ar1(row), ar1(column)), vc(plot) | 1)")
    found = estimates(fit)
    full = np.kron(ar1(found["residual.rho_1"], 11), ar1(found["residual.rho_2"], 22))
    at = (trial["row"] - 1) * 22 + trial["column"] - 1
    assert at.is_unique and len(at) == 242 - 18
    V = found["residual.sd_1"] ** 2 * full[np.ix_(at, at)] + found["residual.sd_2"] ** 2 * np.eye(224)
    X = pd.get_dummies(trial["variety"]).to_numpy(float)
    assert fit.converged
    assert fit.loglike == pytest.approx(restricted_loglike(trial["yld"].to_numpy(), X, V), abs=1e-8)


def test_blocks_have_the_published_aic(trial: pd.DataFrame) -> None:
    """lme(yield ~ 0 + gen, random = ~ 1 | rep) in the manual of agridat, page stroup.nin: AIC 1333.702."""
    assert mm.fit("yld ~ 0 + variety + (1 | block)", trial).aic == pytest.approx(1333.702, abs=5e-4)


def test_ar1_by_ar1_is_that_of_asreml_and_best_where_it_says(trial: pd.DataFrame) -> None:
    """ASReml's estimates as the manual of agridat prints them, page stroup.nin (the same trial): ar1(xf):ar1(yf), columns 0.6555,
    rows 0.4375, variance 48.7. And the restricted likelihood written out, with the plots that there are."""
    fit = mm.fit("yld ~ 0 + variety", trial, residual="kronecker(ar1(row), ar1(column) | 1)")
    found = estimates(fit)
    assert found["residual.rho_2"] == pytest.approx(0.6555, abs=5e-5)
    assert found["residual.rho_1"] == pytest.approx(0.4375, abs=5e-5)
    assert fit.sigma2 == pytest.approx(48.7, abs=0.05)
    at = np.array([found["sigma"], found["residual.rho_1"], found["residual.rho_2"]])
    cell = (trial["row"] - 1) * 22 + trial["column"] - 1
    X, y = pd.get_dummies(trial["variety"]).to_numpy(float), trial["yld"].to_numpy()

    def loglike(sigma: float, rows: float, columns: float) -> float:
        V = sigma**2 * np.kron(ar1(rows, 11), ar1(columns, 22))[np.ix_(cell, cell)]
        return restricted_loglike(y, X, V)

    best = loglike(*at)
    assert fit.loglike == pytest.approx(best, abs=1e-8)
    for k in range(3):
        for factor in (0.99, 1.01):
            near = at.copy()
            near[k] *= factor
            assert loglike(*near) < best
