"""Names and orders as patsy gives them, where formulaic's differ: slopes keep their places when an import changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmframe.compat.components import Ints
from mmframe.covariance.domain import Array
from mmframe.design.encoding import FormulaEncoding, written_terms
from mmframe.spec.formula import split_top
from mmframe.spec.sides import NO_NAMES


def array_names(exog: Array) -> list[str]:
    """Names of unnamed columns: `const` for a constant one, x1, x2, ... for the others."""
    constant = np.flatnonzero(np.ptp(exog, axis=0) == 0) if len(exog) else np.zeros(0, dtype=int)
    names = [f"x{j}" for j in range(1, exog.shape[1] + (constant.size == 0))]
    if constant.size:
        names.insert(int(constant[0]), "const")
    return names


def patsy_order(fixed: FormulaEncoding, transforms: Mapping[str, Callable[..., Any]]) -> list[str]:
    """The columns of an encoded formula in patsy's order: terms of factors only come first, then those with each set of
    numerical variables in the order in which the sets are written; within a set by the number of factors."""
    columns, buckets = dict(fixed.terms), {frozenset[str](): list[tuple[int, tuple[str, ...]]]()}
    for term in written_terms(fixed.formula, transforms):
        factors = [f.strip() for f in split_top(term, ":")] if term != "1" else []
        numerical = frozenset(f for f in factors if fixed.kinds.get(f) == "numerical")
        buckets.setdefault(numerical, []).append((len(factors), columns.get(term, ())))
    return [c for bucket in buckets.values() for _, group in sorted(bucket, key=lambda t: t[0]) for c in group]


def places(fixed: FormulaEncoding, columns: Sequence[str], transforms: Mapping[str, Callable[..., Any]]) -> Ints:
    """The place in patsy's order of each of the columns."""
    wanted = patsy_order(fixed, transforms)
    return np.array([wanted.index(c) for c in columns], dtype=np.intp)


def patsy_scale(text: str) -> str:
    """A formula whose `scale(...)` divides by n, as patsy's does, and not by n − 1."""
    out, last = [], 0
    for match in re.finditer(r"(?<![\w.])scale\(", text):
        depth, stop = 1, match.end()
        while depth and stop < len(text):
            depth += (text[stop] == "(") - (text[stop] == ")")
            stop += 1
        if not depth and match.start() >= last:
            out += [text[last : stop - 1], ", ddof=0)"]
            last = stop
    return "".join([*out, text[last:]])


def patsy_name(column: str, formula: str) -> str:
    """A column's name in patsy's spelling: the quotes of Q() as they were written, and `scale` without our `ddof`."""
    column = column.replace(", ddof=0)", ")")
    return re.sub(r"Q\('([^']*)'\)", lambda m: f'Q("{m[1]}")' if f'"{m[1]}"' in formula else m[0], column)


def covariance_names(effects: Sequence[str]) -> list[str]:
    """`a Var`, `a x b Cov`, ... by the lower triangle, row by row."""
    return [
        f"{effects[i]} Var" if i == j else f"{effects[j]} x {effects[i]} Cov"
        for i in range(len(effects))
        for j in range(i + 1)
    ]


def is_a_name(text: str) -> bool:
    """Whether a formula can hold a column of this name, in backticks."""
    return bool(text) and not re.search("[\"'`\\\\\n]", text) and text not in NO_NAMES


def safe_names(wanted: Sequence[Any], prefix: str, taken: set[str]) -> list[str]:
    """Names under which columns can stand in a formula: those wanted where they can, else the prefix and a number."""
    out = []
    for j, name in enumerate(wanted):
        text = str(name)
        if not is_a_name(text) or text in taken or text in out:
            text = f"{prefix}{j + 1}"
            while text in taken or text in out:
                text += "_"
        out.append(text)
    taken.update(out)
    return out
