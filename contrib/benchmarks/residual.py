"""Cases with a structure of the residuals, made anew from fixed seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from case import Case, Term, Within

# Rounded from a fit of `FEV1 ~ RACE + SEX + ARMCD * AVISIT` to the 200 patients of `fev_data` in the R package mmrm.
_VISITS = np.array(["VIS1", "VIS2", "VIS3", "VIS4"])
_VARIANCES = np.array([40.0, 27.0, 15.0, 95.0])
_CORRELATIONS = {(0, 1): 0.44, (0, 2): 0.20, (0, 3): 0.22, (1, 2): 0.15, (1, 3): 0.15, (2, 3): -0.03}
_PLACEBO = np.array([31.1, 35.9, 41.4, 46.2])
_TREATMENT = np.array([3.8, 3.7, 3.1, 4.4])
_RACES = {"Asian": 0.0, "Black or African American": 1.5, "White": 5.6}
_SEXES = {"Female": 0.0, "Male": -0.3}


def _trial(subjects: int, seed: int) -> pd.DataFrame:
    """Four visits of each subject, 15 % of them missing at random; a row is a visit that took place."""
    rng = np.random.default_rng(seed)
    correlation = np.eye(4)
    for pair, value in _CORRELATIONS.items():
        correlation[pair] = correlation[pair[::-1]] = value
    sd = np.sqrt(_VARIANCES)
    factor = np.linalg.cholesky(sd[:, None] * correlation * sd)
    arm, race, sex = (rng.integers(0, n, subjects) for n in (2, len(_RACES), len(_SEXES)))
    constant = np.array(list(_RACES.values()))[race] + np.array(list(_SEXES.values()))[sex]
    y = constant[:, None] + _PLACEBO + np.outer(arm, _TREATMENT) + rng.standard_normal((subjects, 4)) @ factor.T
    subject, visit = np.nonzero(rng.random((subjects, 4)) >= 0.15)
    width = len(str(subjects))
    return pd.DataFrame(
        {
            "USUBJID": np.array([f"PT{number:0{width}}" for number in range(1, subjects + 1)])[subject],
            "AVISIT": _VISITS[visit],
            "ARMCD": np.array(["PBO", "TRT"])[arm[subject]],
            "RACE": np.array(list(_RACES))[race[subject]],
            "SEX": np.array(list(_SEXES))[sex[subject]],
            "FEV1": y[subject, visit],
        }
    )


def _mmrm(name: str, subjects: int, seed: int) -> Case:
    about = f"{subjects:,} subjects at up to four visits, unstructured; made like `fev_data` of the R package mmrm"
    within = Within("us", "AVISIT", "USUBJID")
    return Case(name, about, _trial(subjects, seed), "FEV1 ~ RACE + SEX + ARMCD * AVISIT", within=within)


def mmrm_2000() -> Case:
    return _mmrm("mmrm_2000", 2_000, 11)


def mmrm_20000() -> Case:
    return _mmrm("mmrm_20000", 20_000, 12)


def mmrm_200000() -> Case:
    return _mmrm("mmrm_200000", 200_000, 13)


def _autoregression(noise: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Rows of variance 1 with neighbours correlated by rho (rows, columns - 1), from independent noise."""
    e = noise.copy()
    for j in range(1, e.shape[1]):
        e[:, j] = rho[:, j - 1] * e[:, j - 1] + np.sqrt(1.0 - rho[:, j - 1] ** 2) * noise[:, j]
    return e


def ar1_long() -> Case:
    about = "300 subjects at 100 visits, random intercept and slope, and an autoregression"
    subjects, visits = 300, 100
    rng = np.random.default_rng(14)
    time = np.arange(1, visits + 1) / visits
    b = rng.standard_normal((subjects, 2)) * np.array([1.0, 0.8])
    e = _autoregression(rng.standard_normal((subjects, visits)), np.full((subjects, visits - 1), 0.6))
    y = 1.0 + 0.5 * time + b[:, :1] + b[:, 1:] * time + e
    data = pd.DataFrame(
        {
            "y": y.ravel(),
            "time": np.tile(time, subjects),
            "visit": np.tile(np.arange(1, visits + 1), subjects),
            "subject": np.repeat(np.arange(subjects), visits),
        }
    )
    return Case(
        "ar1_long", about, data, "y ~ time", (Term("time", "subject"),), within=Within("ar1", "visit", "subject")
    )


def car1_irregular() -> Case:
    about = "5,000 subjects at 2 to 8 times of their own, an autoregression in continuous time, no random effects"
    subjects, most = 5_000, 8
    rng = np.random.default_rng(15)
    time = np.cumsum(rng.uniform(0.1, 2.0, (subjects, most)), axis=1)
    e = _autoregression(rng.standard_normal((subjects, most)), 0.6 ** np.diff(time, axis=1))
    subject, at = np.nonzero(np.arange(most) < rng.integers(2, most + 1, subjects)[:, None])
    y = 1.0 + 0.1 * time + 2.0 * e
    data = pd.DataFrame({"y": y[subject, at], "time": time[subject, at], "subject": subject})
    return Case("car1_irregular", about, data, "y ~ time", within=Within("car1", "time", "subject"))


def items() -> Case:
    about = (
        "50 subjects crossed with 100 items, each subject in an order of its own; an autoregression along that order"
    )
    subjects, count = 50, 100
    rng = np.random.default_rng(16)
    item = rng.permuted(np.tile(np.arange(count), (subjects, 1)), axis=1)
    x = rng.standard_normal((subjects, count))
    e = _autoregression(rng.standard_normal((subjects, count)), np.full((subjects, count - 1), 0.5))
    y = 1.0 + 0.3 * x + 0.7 * rng.standard_normal((subjects, 1)) + 0.5 * rng.standard_normal(count)[item] + e
    data = pd.DataFrame(
        {
            "y": y.ravel(),
            "x": x.ravel(),
            "trial": np.tile(np.arange(1, count + 1), subjects),
            "subject": np.repeat(np.arange(subjects), count),
            "item": item.ravel(),
        }
    )
    random = (Term("1", "subject"), Term("1", "item"))
    return Case("items", about, data, "y ~ x", random, within=Within("ar1", "trial", "subject"))
