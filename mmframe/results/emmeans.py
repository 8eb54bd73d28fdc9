"""Estimated marginal means, slopes, and contrasts between them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.errors import Issue, SpecError
from mmframe.results.contrast import Hypothesis, table
from mmframe.results.law import Law
from mmframe.results.multiplicity import adjusted, check_adjustment
from mmframe.results.reference_grid import Grid, reference_grid

if TYPE_CHECKING:
    from mmframe.results.result import FitResult

CONTRASTS = ("pairwise", "revpairwise", "trt.vs.ctrl", "eff", "consec", "poly")
_ALLOWED = ", ".join(repr(c) for c in CONTRASTS) + ", a mapping {name: coefficients} or a matrix of numbers"
_COLUMNS = ["estimate", "std_error", "df", "statistic", "p_value", "lower", "upper"]


@frozen(eq=False)
class Asked:
    """What is asked for beside the factors; see `FitResult.emmeans`."""

    by: str | Sequence[str] | None
    at: Mapping[str, Any] | None
    contrast: Any
    adjust: str | None
    trend: str | None
    weights: str
    confidence: float


def emmeans(fit: FitResult, specs: str | Sequence[str], asked: Asked, law: Law) -> pd.DataFrame:
    """See `FitResult.emmeans`."""
    names, within, written = read_specs(specs)
    by = asked.by
    within = within if by is None else [by] if isinstance(by, str) else list(by)
    contrast = written if asked.contrast is None else asked.contrast
    pairs = isinstance(contrast, str) and contrast in ("pairwise", "revpairwise")
    adjust = asked.adjust or ("tukey" if pairs else "none")
    check_adjustment(adjust)
    if adjust == "tukey" and not pairs:
        allowed = "'none', 'bonferroni', 'holm', 'sidak', 'mvt'"
        raise SpecError(Issue("adjust", "'tukey', which is for contrast='pairwise'", allowed))
    grid = reference_grid(fit.source.encoding, fit.source.fixed_summary, asked.at, asked.trend)
    own = [name for name in names if name not in within]
    taken = [n for n in (*within, *own) if n in _COLUMNS or (n == "contrast" and contrast is not None)]
    if taken:
        raise SpecError(
            Issue(
                "emmeans: specs", f"a factor named {taken[0]!r}, as a column of the table", "other names", "rename it"
            )
        )
    if contrast is not None and not own:
        raise SpecError(Issue("contrast", f"no factor is left beside by={within}", "factors whose means are compared"))
    cells, W = grid.averages([*within, *own], fit.source.fixed_summary, asked.weights)
    size = math.prod(len(grid.values[name]) for name in own)
    out = []
    for start in range(0, len(W), size):
        labels, rows = cells.iloc[start : start + size].reset_index(drop=True), W[start : start + size]
        if contrast is not None:
            told, C = contrasts(
                contrast, [", ".join(map(_label, own, row)) for row in labels[own].to_numpy(dtype=object)]
            )
            kept = labels[list(within)].iloc[[0] * len(told)].reset_index(drop=True)
            labels, rows = kept.assign(contrast=told), C @ rows
        out.append(pd.concat([labels, _family(fit, grid, rows, size, adjust, asked.confidence, law)], axis=1))
    return pd.concat(out, ignore_index=True)


def _label(name: str, level: Any) -> str:
    """A level in the name of a contrast: with its factor where it would read as a number."""
    text = str(level)
    return name + text if re.fullmatch(r"[-+.\d]+(e[-+]?\d+)?", text) else text


def _family(fit: FitResult, grid: Grid, W: Array, means: int, adjust: str, confidence: float, law: Law) -> pd.DataFrame:
    """The table of one family of averages; NaN where one is not estimable."""
    found = pd.DataFrame(np.nan, index=range(len(W)), columns=_COLUMNS)
    good = np.flatnonzero(grid.estimable(W) & np.all(np.isfinite(W), axis=1))
    if not good.size:
        return found
    L = W[good] @ grid.X
    told = table(fit, Hypothesis(L, np.zeros(len(L)), tuple(map(str, good))), law, confidence)
    if adjust != "none":
        covariance = L @ law.phi @ L.T
        error = np.sqrt(np.diag(covariance))
        p_value, half = adjusted(
            told["statistic"].to_numpy(),
            told["df"].to_numpy(),
            covariance / np.outer(error, error),
            means=means,
            adjust=adjust,
            confidence=confidence,
        )
        middle = told["estimate"].to_numpy()
        told = told.assign(p_value=p_value, lower=middle - half * error, upper=middle + half * error)
    found.iloc[good] = told[_COLUMNS].to_numpy()
    return found


def read_specs(specs: str | Sequence[str]) -> tuple[list[str], list[str], str | None]:
    """(factors, factors to stand within, a contrast) of `"a"`, `"a * b"`, `"a | b"`, `"pairwise ~ a | b"` or a list of names."""
    if not isinstance(specs, str):
        return list(dict.fromkeys(str(name) for name in specs)), [], None
    left, tilde, rest = specs.rpartition("~")
    main, _, within = rest.partition("|")
    names, inside = (
        list(dict.fromkeys(n.strip() for n in re.split(r"[*:+,]", part) if n.strip())) for part in (main, within)
    )
    if names == ["1"]:  # the mean of all
        return [], inside, left.strip() or None if tilde else None
    if not names:
        raise SpecError(Issue("emmeans: specs", repr(specs), "factors, such as 'a', 'a * b', 'a | b'"))
    return names, inside, left.strip() or None if tilde else None


def contrasts(kind: Any, labels: Sequence[str]) -> tuple[list[str], Array]:
    """(names, coefficients (m, k)) of contrasts between k means. Raises SpecError."""
    k = len(labels)
    if isinstance(kind, str):
        return _named(kind, labels)
    try:
        if isinstance(kind, Mapping):
            told, given = [str(name) for name in kind], list(kind.values())
        else:
            given = list(np.atleast_2d(np.asarray(kind, dtype=float)))
            told = [f"row {j + 1}" for j in range(len(given))]
        C = [np.asarray(row, dtype=float).ravel() for row in given]
    except (TypeError, ValueError):
        raise SpecError(Issue("contrast", repr(kind), _ALLOWED)) from None
    wrong = [row for row in C if row.size != k]
    if wrong or not C:
        allowed = f"{k} coefficients each, for {', '.join(labels)}"
        raise SpecError(Issue("contrast", f"{len(wrong[0])} coefficients" if wrong else "none", allowed))
    return told, np.array(C)


def _named(kind: str, labels: Sequence[str]) -> tuple[list[str], Array]:
    k, unit = len(labels), np.eye(len(labels))
    if kind in ("pairwise", "revpairwise"):
        pairs = list(itertools.combinations(range(k), 2))
        if kind == "revpairwise":
            pairs = [(b, a) for b in range(k) for a in range(b)]
    elif kind == "trt.vs.ctrl":
        pairs = [(j, 0) for j in range(1, k)]
    elif kind == "consec":
        pairs = [(j, j - 1) for j in range(1, k)]
    elif kind == "eff":
        return [f"{label} effect" for label in labels], unit - 1.0 / k
    elif kind == "poly":
        return _polynomials(k)
    else:
        raise SpecError(Issue("contrast", repr(kind), _ALLOWED))
    return [f"{labels[a]} - {labels[b]}" for a, b in pairs], np.array([unit[a] - unit[b] for a, b in pairs]).reshape(
        -1, k
    )


def _polynomials(k: int) -> tuple[list[str], Array]:
    """Orthogonal polynomials over equally spaced levels in their smallest whole numbers, to the sixth degree."""
    names = ["linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6"][: max(k - 1, 0)]
    made = [[Fraction(1)] * k]
    for degree in range(1, len(names) + 1):
        row = [Fraction(j) ** degree for j in range(k)]
        for other in made:
            share = Fraction(sum(a * b for a, b in zip(row, other, strict=True))) / sum(b * b for b in other)
            row = [a - share * b for a, b in zip(row, other, strict=True)]
        scale = math.lcm(*(v.denominator for v in row))
        whole = [int(v * scale) for v in row]
        made.append([Fraction(v, math.gcd(*whole)) for v in whole])
    return names, np.array([[float(v) for v in row] for row in made[1:]]).reshape(-1, k)
