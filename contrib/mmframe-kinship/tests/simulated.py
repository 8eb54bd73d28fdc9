"""Pedigrees by chance, and breeding values by descent: each animal the mean of its parents and Mendelian sampling."""

from __future__ import annotations

import numpy as np
import pandas as pd
from mmframe_kinship import Pedigree


def flock(
    rng: np.random.Generator,
    generations: int,
    size: int,
    sires: int,
    *,
    overlapping: bool = False,
    unknown: float = 0.0,
) -> pd.DataFrame:
    """`size` animals a generation, of `sires` males and the rest of the one before; or of any before."""
    n = generations * size
    sire, dam = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    for g in range(1, generations):
        first = 0 if overlapping else (g - 1) * size
        before = np.arange(first, g * size) + 1
        males, females = before[before % 2 == 0], before[before % 2 == 1]
        males = rng.choice(males, min(sires, males.size), replace=False)
        own = np.arange(g * size, (g + 1) * size)
        sire[own], dam[own] = rng.choice(males, size), rng.choice(females, size)
    for parent in (sire, dam):
        parent[rng.random(n) < unknown] = 0
    return pd.DataFrame({"animal": np.arange(1, n + 1), "sire": sire, "dam": dam})


def breeding_values(rng: np.random.Generator, of: Pedigree, variance: float) -> pd.Series:
    """Independent of A: by the rule of inheritance, with the Mendelian variance of the parents' F."""
    F = np.append(of.inbreeding.to_numpy(), -1.0)  # an unknown parent has no variance to halve
    values = np.zeros(len(of) + 1)
    for k, (s, d) in enumerate(zip(of.sire, of.dam, strict=True)):
        sampling = 1.0 - 0.25 * (1 + F[s]) - 0.25 * (1 + F[d])
        values[k] = 0.5 * (values[s] + values[d]) + rng.normal() * np.sqrt(variance * sampling)
    return pd.Series(values[:-1], index=of.animals)
