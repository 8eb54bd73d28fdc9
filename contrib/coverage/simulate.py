"""How often intervals of 95 % hold what they are for: simulated data sets of three small designs, every kind of interval on each.

    python contrib/coverage/simulate.py --out contrib/coverage/results.csv [--scale 1.0] [--workers 2]

Replicates: 2,000 for intervals by formula, 300 for profiles, 150 (60 with AR(1)) for the bootstrap, each of 199 refits; times `scale`.
The seed of a replicate is its number, so that a row of the table can be made again by itself.
"""

from __future__ import annotations

import argparse
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import joblib
import numpy as np
import pandas as pd

import mmframe as mm

FORMULA, PROFILE, REFITS = 2000, 300, 199
Hit = tuple[str, str, float, float, float]  # method, what, lower, upper, truth


class Design(ABC):
    """A model with its truth.   draw(rng): a data set, the random effects of its groups, and rows to predict with their responses."""

    name: ClassVar[str]
    formula: ClassVar[str]
    residual: ClassVar[str | None] = None
    bootstraps: ClassVar[int] = 150
    truth: ClassVar[dict[str, float]]

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[object, float], pd.DataFrame]: ...


class Unbalanced(Design):
    """Eight groups of 2 to 8 rows, four of them treated: few groups, so that degrees of freedom matter."""

    name, formula = "8 unbalanced groups", "y ~ x + z + (1 | g)"
    truth: ClassVar[dict[str, float]] = {"Intercept": 1.0, "x": 0.5, "z": 0.0, "sd(Intercept | g)": 1.0, "sigma": 1.0}

    def draw(self, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[object, float], pd.DataFrame]:
        g = np.repeat(np.arange(8), [2, 3, 4, 5, 5, 6, 7, 8])
        data = pd.DataFrame({"g": g, "x": rng.normal(size=g.size), "z": (g % 2).astype(float)})
        b = rng.normal(size=8)
        new = pd.DataFrame({"g": np.arange(8), "x": rng.normal(size=8), "z": (np.arange(8) % 2).astype(float)})
        data["y"] = 1 + 0.5 * data["x"] + b[g] + rng.normal(size=g.size)
        new["y"] = 1 + 0.5 * new["x"] + b + rng.normal(size=8)
        return data, dict(enumerate(b)), new


class Slopes(Design):
    """The shape of sleepstudy: 18 subjects, ten days each, random intercepts and slopes, rounded estimates for the truth."""

    name, formula = "18 subjects, slopes", "y ~ day + (day | s)"
    truth: ClassVar[dict[str, float]] = {
        "Intercept": 250.0, "day": 10.0, "sd(Intercept | s)": 25.0, "sd(day | s)": 6.0, "corr(Intercept, day | s)": 0.3, "sigma": 25.0,
    }  # fmt: skip

    def draw(self, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[object, float], pd.DataFrame]:
        cov = np.array([[625.0, 45.0], [45.0, 36.0]])
        b = rng.multivariate_normal([0, 0], cov, size=18)
        s, day = np.repeat(np.arange(18), 10), np.tile(np.arange(10), 18)
        y = 250 + 10 * day + b[s, 0] + b[s, 1] * day + rng.normal(size=180) * 25
        late = pd.DataFrame({"s": np.arange(18), "day": 10})
        late["y"] = 350 + b[:, 0] + 10 * b[:, 1] + rng.normal(size=18) * 25
        return pd.DataFrame({"s": s, "day": day, "y": y}), dict(enumerate(b[:, 0])), late


class Visits(Design):
    """Sixteen subjects with up to five visits, a quarter missing, residuals AR(1), two arms."""

    name, formula, residual = "16 subjects, AR(1)", "y ~ visit + arm", "ar1(visit | s)"
    bootstraps = 60
    truth: ClassVar[dict[str, float]] = {"Intercept": 0.0, "visit": 1.0, "arm": 0.0, "residual.rho": 0.6, "sigma": 2.0}

    def draw(self, rng: np.random.Generator) -> tuple[pd.DataFrame, dict[object, float], pd.DataFrame]:
        s, visit = np.repeat(np.arange(16), 5), np.tile(np.arange(5), 16)
        R = 4.0 * 0.6 ** np.abs(np.arange(5)[:, None] - np.arange(5))
        error = rng.multivariate_normal(np.zeros(5), R, size=16).ravel()
        data = pd.DataFrame({"s": s, "visit": visit, "arm": (s % 2).astype(float), "y": visit + error})
        seen = rng.random(80) < 0.75
        return data[seen], {}, data[~seen]


DESIGNS = [Unbalanced(), Slopes(), Visits()]


def by_formula(design: Design, fit: mm.FitResult, b: dict[object, float], new: pd.DataFrame) -> Iterator[Hit]:
    for df in ("normal", "residual", "between_within", "satterthwaite", "kenward_roger_linear", "kenward_roger"):
        for name, row in fit.coefficients(df=df).iterrows():
            yield f"df={df}", str(name), row["lower"], row["upper"], design.truth[str(name)]
    for name, row in fit.coefficients(df="satterthwaite", robust="CR2").iterrows():
        yield "CR2, Satterthwaite", str(name), row["lower"], row["upper"], design.truth[str(name)]
    for _, row in fit.parameters.iterrows():
        yield "Wald", row["name"], row["lower"], row["upper"], design.truth[row["name"]]
    for group, table in fit.random_effects.items():
        error = np.sqrt([fit.random_effects_cov[group][level].iloc[0, 0] for level in table.index])
        for level, value, e in zip(table.index, table.iloc[:, 0], error, strict=True):
            yield "conditional", "random intercepts", value - 1.96 * e, value + 1.96 * e, b[level]
    told = fit.predict(new.drop(columns="y"), new_levels="population", interval="prediction")
    for (_, row), y in zip(told.iterrows(), new["y"], strict=True):
        yield "prediction", "new rows", row["lower"], row["upper"], y


def by_profile(design: Design, fit: mm.FitResult, b: dict[object, float], new: pd.DataFrame) -> Iterator[Hit]:
    for name, row in fit.conf_int("profile").iterrows():
        yield "profile (ML)", str(name), row["lower"], row["upper"], design.truth[str(name)]


def by_bootstrap(design: Design, fit: mm.FitResult, b: dict[object, float], new: pd.DataFrame) -> Iterator[Hit]:
    for kind in ("parametric", "cases"):
        made = fit.bootstrap(REFITS, seed=1, kind=kind, workers=1)
        for method in ("percentile", "bca"):
            for name, row in made.conf_int(method).iterrows():
                yield f"bootstrap {kind}, {method}", str(name), row["lower"], row["upper"], design.truth[str(name)]


def one(which: int, method: Callable[..., Iterator[Hit]], number: int) -> list[Hit]:
    design = DESIGNS[which]
    data, b, new = design.draw(np.random.default_rng([which, number]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = mm.fit(design.formula, data, residual=design.residual)
        return list(method(design, fit, b, new))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    tables = []
    for which, design in enumerate(DESIGNS):
        for method, count in ((by_formula, FORMULA), (by_profile, PROFILE), (by_bootstrap, design.bootstraps)):
            began, n = time.perf_counter(), max(2, round(count * asked.scale))
            found = joblib.Parallel(asked.workers)(joblib.delayed(one)(which, method, k) for k in range(n))
            hits = pd.DataFrame(
                [h for hits in found for h in hits], columns=["method", "what", "lower", "upper", "truth"]
            )
            known = hits["lower"].notna() & hits["upper"].notna()
            hits["known"], hits["width"] = known, np.where(known, hits["upper"] - hits["lower"], np.nan)
            hits["below"], hits["above"] = (
                known & (hits["truth"] < hits["lower"]),
                known & (hits["truth"] > hits["upper"]),
            )
            grouped = hits.groupby(["method", "what"], sort=False)
            table = grouped.agg(
                intervals=("known", "size"), none=("known", lambda k: int((~k).sum())), below=("below", "sum"),
                above=("above", "sum"), median_width=("width", "median"),
            ).reset_index()  # fmt: skip
            table.insert(0, "design", design.name)
            table.insert(3, "replicates", n)
            seen = table["intervals"] - table["none"]
            table.insert(4, "coverage", 1 - (table["below"] + table["above"]) / seen)
            tables.append(table)
            pd.concat(tables).to_csv(asked.out, index=False, float_format="%.4g")
            print(f"{design.name}: {method.__name__}, {n} replicates, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
