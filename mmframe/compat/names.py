"""Names and orders as patsy gives them, where formulaic's differ: slopes keep their places when an import changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmframe.covariance.domain import Array
from mmframe.spec.formula import split_top


def array_names(exog: Array) -> list[str]:
    """Names of unnamed columns: `const` for a constant one, x1, x2, ... for the others."""
    constant = np.flatnonzero(np.ptp(exog, axis=0) == 0) if len(exog) else np.zeros(0, dtype=int)
    names = [f"x{j}" for j in range(1, exog.shape[1] + (constant.size == 0))]
    if constant.size:
        names.insert(int(constant[0]), "const")
    return names


def patsy_order(terms: Sequence[tuple[str, tuple[str, ...]]], kinds: Mapping[str, str]) -> list[str]:
    """The columns in patsy's order: terms of factors only come first, then those with each set of numerical variables in the
    order in which the sets appear; within a set by the number of factors.

    terms: each with its columns, in formulaic's order.   kinds: of each factor, "numerical" or "categorical".
    """
    buckets: dict[frozenset[str], list[tuple[int, tuple[str, ...]]]] = {frozenset(): []}
    for term, columns in terms:
        factors = [f.strip() for f in split_top(term, ":")] if term != "1" else []
        numerical = frozenset(f for f in factors if kinds.get(f) == "numerical")
        buckets.setdefault(numerical, []).append((len(factors), columns))
    return [c for bucket in buckets.values() for _, columns in sorted(bucket, key=lambda t: t[0]) for c in columns]


def patsy_name(column: str, formula: str) -> str:
    """A column's name in patsy's spelling: the quotes of Q() as they were written."""
    return re.sub(r"Q\('([^']*)'\)", lambda m: f'Q("{m[1]}")' if f'"{m[1]}"' in formula else m[0], column)


def covariance_names(effects: Sequence[str]) -> list[str]:
    """`a Var`, `a x b Cov`, ... by the lower triangle, row by row."""
    return [
        f"{effects[i]} Var" if i == j else f"{effects[j]} x {effects[i]} Cov"
        for i in range(len(effects))
        for j in range(i + 1)
    ]


def safe_names(wanted: Sequence[Any], prefix: str, taken: set[str]) -> list[str]:
    """Names under which columns can stand in a formula: those wanted where they can, else the prefix and a number."""
    out = []
    for j, name in enumerate(wanted):
        text = str(name)
        if not text or re.search("[\"'`\\\\\n]", text) or text in taken or text in out:
            text = f"{prefix}{j + 1}"
            while text in taken or text in out:
                text += "_"
        out.append(text)
    taken.update(out)
    return out
