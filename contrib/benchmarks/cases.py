"""All cases by name, and those with one grouping factor: real data, and data made anew from fixed seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from case import Case, Term
from crossed import crossed_million, crossed_slopes, insteval, insteval_ml, nested_large, pastes, penicillin
from residual import ar1_long, car1_irregular, items, mmrm_2000, mmrm_20000, mmrm_200000


def _random_slopes(x: np.ndarray, group: np.ndarray, seed: int) -> pd.DataFrame:
    """y = 1 + 0.5 x + b0 + b1 x + e with sd(b0) = 1, sd(b1) = 0.5, correlation 0.3, sd(e) = 1."""
    rng = np.random.default_rng(seed)
    b = rng.standard_normal((int(group.max()) + 1, 2))
    intercept = b[:, 0]
    slope = 0.5 * (0.3 * b[:, 0] + np.sqrt(1 - 0.3**2) * b[:, 1])
    y = 1.0 + 0.5 * x + intercept[group] + slope[group] * x + rng.standard_normal(x.size)
    return pd.DataFrame({"y": y, "x": x, "g": group})


def _continuous(groups: int, size: int, seed: int) -> pd.DataFrame:
    """A covariate of its own for every row, so that no two groups have the same Z'Z."""
    x = np.random.default_rng([seed, 1]).standard_normal(groups * size)
    return _random_slopes(x, np.repeat(np.arange(groups), size), seed)


def sleepstudy() -> Case:
    from mmframe import datasets

    about = "180 rows, 18 subjects on ten days each; overhead counts more than arithmetic"
    return Case("sleepstudy", about, datasets.load("sleepstudy"), "Reaction ~ Days", (Term("Days", "Subject"),))


def dietox() -> Case:
    from mmframe import datasets

    about = "861 rows, 72 pigs, a factor with three levels among the fixed effects"
    return Case("dietox", about, datasets.load("dietox"), "Weight ~ Time + Cu", (Term("Time", "Pig"),))


def oneway_small() -> Case:
    about = "30 rows, 6 groups, a random intercept: the smallest model there is"
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(6), 5)
    y = 10.0 + 2.0 * rng.standard_normal(6)[group] + rng.standard_normal(30)
    return Case("oneway_small", about, pd.DataFrame({"y": y, "g": group}), "y ~ 1", (Term("1", "g"),))


def medium() -> Case:
    about = "10,000 rows, 1,000 groups of 10 rows, random intercept and slope, a continuous covariate"
    return Case("medium", about, _continuous(1_000, 10, 3), "y ~ x", (Term("x", "g"),))


def large() -> Case:
    about = "100,000 rows, 10,000 groups of 10 rows, random intercept and slope, a continuous covariate"
    return Case("large", about, _continuous(10_000, 10, 10), "y ~ x", (Term("x", "g"),))


def few_groups() -> Case:
    about = "1,000,000 rows in 100 groups: the passes over the rows are all there is"
    return Case("few_groups", about, _continuous(100, 10_000, 5), "y ~ x", (Term("x", "g"),))


def million() -> Case:
    about = "1,000,000 rows, 100,000 groups of 10 rows, random intercept and slope; every Z'Z differs"
    return Case("million", about, _continuous(100_000, 10, 1), "y ~ x", (Term("x", "g"),))


def million_intercept() -> Case:
    about = "the rows of `million` with a random intercept only; every Z'Z is the same"
    return Case("million_intercept", about, _continuous(100_000, 10, 1), "y ~ x", (Term("1", "g"),))


def pooled() -> Case:
    about = "1,000,000 rows, 100,000 groups with the same ten values of x, 0 to 9; every Z'Z is the same"
    x = np.tile(np.arange(10.0), 100_000)
    data = _random_slopes(x, np.repeat(np.arange(100_000), 10), 2)
    return Case("pooled", about, data, "y ~ x", (Term("x", "g"),))


def unsorted() -> Case:
    about = "the rows of `million` in random order"
    data = _continuous(100_000, 10, 1)
    order = np.random.default_rng(4).permutation(len(data))
    return Case("unsorted", about, data.iloc[order].reset_index(drop=True), "y ~ x", (Term("x", "g"),))


CASES: dict[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (
        sleepstudy,
        dietox,
        oneway_small,
        medium,
        large,
        few_groups,
        million,
        million_intercept,
        pooled,
        unsorted,
        penicillin,
        pastes,
        insteval,
        insteval_ml,
        crossed_million,
        nested_large,
        crossed_slopes,
        mmrm_2000,
        mmrm_20000,
        mmrm_200000,
        ar1_long,
        car1_irregular,
        items,
    )
}
