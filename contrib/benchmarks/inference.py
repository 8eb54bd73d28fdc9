"""Profiles and the bootstrap beside lme4's, with the numbers that both give.

    python contrib/benchmarks/inference.py [--refits 1000] [--repeats 3] [--workers 1 2]

One BLAS thread. lme4 runs in R (Rscript with lme4) and is timed inside R, in turns with mmframe; its bootMer runs on one core, so that
`--workers 1` is the like-for-like row.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmframe as mm

SLEEP, FORMULA = mm.datasets.load("sleepstudy"), "Reaction ~ Days + (Days | Subject)"
R = """
suppressMessages(library(lme4))
data <- read.csv("{path}"); data$Subject <- factor(data$Subject)
m <- lmer(Reaction ~ Days + (Days | Subject), data)
{run}
"""
PROFILE = """t <- system.time(p <- suppressMessages(confint(m, quiet = TRUE)))[["elapsed"]]
cat(sprintf('{"seconds": %.6f, "lower": %.6f, "upper": %.6f}', t, p[3, 1], p[3, 2]))"""
BOOTSTRAP = """t <- system.time(b <- suppressMessages(suppressWarnings(
  bootMer(m, function(f) c(as.data.frame(VarCorr(f))$sdcor, fixef(f)), nsim = N, seed = 1))))[["elapsed"]]
q <- quantile(b$t[, 2], c(0.025, 0.975), na.rm = TRUE)
cat(sprintf('{"seconds": %.6f, "lower": %.6f, "upper": %.6f}', t, q[[1]], q[[2]]))"""


def lme4(run: str, path: Path) -> dict[str, float]:
    text = R.replace("{path}", str(path)).replace("{run}", run)
    done = subprocess.run(["Rscript", "-e", text], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def timed(run: Callable[[], Any]) -> dict[str, float]:
    began = time.perf_counter()
    row = run().loc["sd(Days | Subject)"]
    return {"seconds": time.perf_counter() - began, "lower": float(row["lower"]), "upper": float(row["upper"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--refits", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    asked = parser.parse_args()
    n, has_r = asked.refits, shutil.which("Rscript") is not None
    print("| sleepstudy, random slopes | seconds | ratio to lme4 | sd(Days): lower | upper |\n|:--|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sleep.csv"
        SLEEP.to_csv(path, index=False)
        runs: dict[str, list[tuple[str, Callable[[], dict[str, float]]]]] = {
            "profiles of 6 parameters": [
                ("mmframe", lambda: timed(lambda: mm.fit(FORMULA, SLEEP).conf_int("profile"))),
                ("lme4", lambda: lme4(PROFILE, path)),
            ],
            f"bootstrap, {n} refits": [
                *(
                    (f"mmframe, {w} workers", lambda w=w: timed(lambda: mm.fit(FORMULA, SLEEP).bootstrap(n, 1, workers=w).conf_int()))
                    for w in asked.workers
                ),
                ("lme4", lambda: lme4(BOOTSTRAP.replace("N", str(n), 1), path)),
            ],
        }  # fmt: skip
        for what, systems in runs.items():
            found: dict[str, list[dict[str, float]]] = {}
            for _ in range(asked.repeats):
                for name, run in systems:
                    if name != "lme4" or has_r:
                        found.setdefault(name, []).append(run())
            rival = [f["seconds"] for f in found.get("lme4", [])]
            for name, times in found.items():
                seconds = [f["seconds"] for f in times]
                ratio = statistics.median(r / s for r, s in zip(rival, seconds, strict=True)) if rival else float("nan")
                last = times[-1]
                print(
                    f"| {what}: {name} | {statistics.median(seconds):.2f} | {ratio:.2f}"
                    f" | {last['lower']:.3f} | {last['upper']:.3f} |"
                )


if __name__ == "__main__":
    main()
