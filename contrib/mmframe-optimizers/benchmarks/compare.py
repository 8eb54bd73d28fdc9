"""Evaluations, seconds and −2 log L of stages on three models, each from G = σ² I, as a table in Markdown.

    python benchmarks/compare.py --repeats 5

The optimum is the lowest −2 log L that any stage found; `difference` is what a stage stopped above it. Seconds are the
median of the repeats after one fit that is not timed, from the formula to the result with its check of the end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import pandas as pd

import mmframe as mm

PENICILLIN = Path(__file__).parents[1] / "tests" / "data" / "penicillin.csv"
STAGES = ("newton", "lbfgs", "simplex", "bobyqa", "pybobyqa", "cobyqa", "subplex", "trust_region")


def unit_start(group: str, names: tuple[str, ...], sigma: float) -> dict[str, float]:
    """Standard deviations of size sigma without correlation, as lme4 begins."""
    start = {f"sd({name} | {group})": sigma for name in names}
    start |= {f"corr({a}, {b} | {group})": 0.0 for k, b in enumerate(names) for a in names[:k]}
    return start | {"sigma": sigma}


def cases() -> list[tuple[str, str, pd.DataFrame, dict[str, float]]]:
    """A title, a formula, the data and the start of each model."""
    dietox = mm.datasets.load("dietox")
    dietox = dietox.assign(t=dietox["Time"] - 6.5, t2=(dietox["Time"] - 6.5) ** 2)
    return [
        (
            "sleepstudy, correlated slopes (3 coordinates)",
            "Reaction ~ Days + (Days | Subject)",
            mm.datasets.load("sleepstudy"),
            unit_start("Subject", ("Intercept", "Days"), 30.0),
        ),
        (
            "Penicillin, crossed intercepts (2 coordinates)",
            "diameter ~ 1 + (1 | plate) + (1 | sample)",
            pd.read_csv(PENICILLIN),
            {"sd(Intercept | plate)": 1.0, "sd(Intercept | sample)": 1.0, "sigma": 1.0},
        ),
        (
            "dietox, correlated quadratic curves (6 coordinates)",
            "Weight ~ t + t2 + (t + t2 | Pig)",
            dietox,
            unit_start("Pig", ("Intercept", "t", "t2"), 1.0),
        ),
    ]


def measure(formula: str, data: pd.DataFrame, start: dict[str, float], stage: str, repeats: int) -> Any:
    """The fit, how many evaluations it took, and the median of its seconds."""
    fit = mm.fit(formula, data, stages=[stage], start=start)
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        fit = mm.fit(formula, data, stages=[stage], start=start)
        seconds.append(time.perf_counter() - began)
    return fit, int(fit.trace["evaluations"].iloc[-1]), statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Stages side by side.")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    for title, formula, data, start in cases():
        rows = [(stage, *measure(formula, data, start, stage, repeats)) for stage in STAGES]
        best = min(-2 * fit.loglike for _, fit, _, _ in rows)
        print(f"{title}: −2 log L (REML) {best:.6f}\n")
        print("| stage | evaluations | seconds | difference | converged |\n|:--|--:|--:|--:|:--|")
        for stage, fit, evaluations, seconds in rows:
            converged = "yes" if fit.converged else "no"
            print(f"| `{stage}` | {evaluations} | {seconds:.3f} | {-2 * fit.loglike - best:.0e} | {converged} |")
        print()


if __name__ == "__main__":
    main()
