"""Reference values that were printed elsewhere, and the dense likelihood that tests compute themselves."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

HERE = Path(__file__).parent


def nlme_fits() -> dict[str, list[dict[str, Any]]]:
    """r/wheat2.txt: by name, the fits in order: loglik, sigma, shape (a list), ratio and angle."""
    found = defaultdict(list)
    for line in (HERE / "r" / "wheat2.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("fit "):
            continue
        words = line.split()[1:]
        row: dict[str, Any] = {"shape": []}
        key = ""
        for word in words[1:]:
            if word in ("loglik", "sigma", "shape", "ratio", "angle"):
                key = word
            elif key == "shape":
                row["shape"].append(float(word))
            else:
                row[key] = float(word)
        found[words[0]].append(row)
    return dict(found)


def nlme_variograms() -> dict[str, pd.DataFrame]:
    """r/variogram.txt: by name, columns semivariance and pairs."""
    found = defaultdict(list)
    for line in (HERE / "r" / "variogram.txt").read_text(encoding="utf-8").splitlines()[1:]:
        name, _, value, pairs = line.split()
        found[name].append((float(value), int(pairs)))
    return {name: pd.DataFrame(rows, columns=["semivariance", "pairs"]) for name, rows in found.items()}


def gstat_tables() -> list[pd.DataFrame]:
    """data/gstat_meuse.txt: the tables in their order, with pairs, distance, semivariance and direction (from north)."""
    text = (HERE / "data" / "gstat_meuse.txt").read_text(encoding="utf-8")
    tables = []
    for part in text.split("#")[1:]:
        rows = [[float(v) for v in line.split()] for line in part.splitlines()[1:] if line.strip()]
        tables.append(pd.DataFrame(rows, columns=["pairs", "distance", "semivariance", "direction"]))
    return tables


def restricted_loglike(y: NDArray[Any], X: NDArray[Any], V: NDArray[Any]) -> float:
    """The restricted log-likelihood of y ~ N(Xb, V) with all constants, −½ log|X'X| not among them, as nlme and lme4 have it."""
    root = np.linalg.cholesky(V)
    A, b = np.linalg.solve(root, X), np.linalg.solve(root, y)
    information = A.T @ A
    rest = b - A @ np.linalg.solve(information, A.T @ b)
    log_determinant = 2.0 * np.sum(np.log(np.diag(root))) + np.linalg.slogdet(information)[1]
    n, p = X.shape
    return float(-0.5 * (log_determinant + rest @ rest + (n - p) * np.log(2.0 * np.pi)))


def estimates(fit: Any) -> dict[str, float]:
    """Estimates of the covariance parameters, by name."""
    return dict(zip(fit.parameters["name"], fit.parameters["estimate"], strict=True))
