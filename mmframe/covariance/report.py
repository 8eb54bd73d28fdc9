"""What users read: standard deviations, correlations and shapes by name, in data units; and how to set them by name.

Names: `sd(Intercept | Subject)`, `corr(Intercept, Days | Subject)`, `Worker.sd` and `Worker.rho` for parameters that
belong to a whole term, `sigma`.
"""

from __future__ import annotations

import re

import numpy as np
from attrs import frozen

from mmframe.covariance.derivative import make_phi
from mmframe.covariance.domain import Array, Box, PositiveDefinite, pair_indices, vech
from mmframe.covariance.structure import CovarianceStructure, Phi
from mmframe.covariance.term import BoundTerm

SIGMA = "sigma"


@frozen
class Reported:
    """One reported quantity. kind: sd, corr, variance-free shape `param`, or `derived` (from structure.report).

    param, entry: where it sits among the natural parameters of its term (-1: nowhere, it is derived).
    low, high: its bounds.
    """

    name: str
    kind: str
    group: str
    row: str
    column: str
    term: int
    param: int
    entry: int
    low: float
    high: float


def reported(terms: tuple[BoundTerm, ...]) -> tuple[Reported, ...]:
    """All reported quantities of the random effects, in order; names are made unique by the term's label."""
    rows: list[Reported] = []
    for k, term in enumerate(terms):
        rows.extend(_of_term(k, term))
    seen: dict[str, int] = {}
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
    out = []
    for row in rows:
        if seen[row.name] > 1:
            label = terms[row.term].label
            same = [t.label for t in terms].count(label) > 1
            tag = f"{label} #{row.term + 1}" if same else label
            row = Reported(f"{row.name} [{tag}]", *[getattr(row, f) for f in _FIELDS])
        out.append(row)
    return tuple(out)


_FIELDS = ("kind", "group", "row", "column", "term", "param", "entry", "low", "high")


def _of_term(k: int, term: BoundTerm) -> list[Reported]:
    labels, group, q = term.points.labels, term.group, term.points.size
    out: list[Reported] = []
    for i, param in enumerate(term.params):
        domain = param.domain
        if isinstance(domain, PositiveDefinite):
            names = labels if domain.dim == q else tuple(f"{param.name}{j + 1}" for j in range(domain.dim))
            out += [
                Reported(f"sd({names[j]} | {group})", "sd", group, names[j], names[j], k, i, j, 0.0, np.inf)
                for j in range(domain.dim)
            ]
            rows, cols = pair_indices(domain.dim)
            out += [
                Reported(
                    f"corr({names[b]}, {names[a]} | {group})",
                    "corr",
                    group,
                    names[b],
                    names[a],
                    k,
                    i,
                    domain.dim + e,
                    -1.0,
                    1.0,
                )
                for e, (a, b) in enumerate(zip(rows, cols, strict=True))
            ]
        elif isinstance(domain, Box) and param.scale_power:
            for j in range(domain.count):
                if domain.count == q:
                    name, label = f"sd({labels[j]} | {group})", labels[j]
                else:
                    name = f"{group}.sd" + (f"[{j + 1}]" if domain.count > 1 else "")
                    label = ""
                out.append(Reported(name, "sd", group, label, label, k, i, j, 0.0, np.inf))
        else:
            assert isinstance(domain, Box)
            correlation = domain.low >= -1.0 and domain.high == 1.0
            for j in range(domain.count):
                name = f"{group}.{param.name}" + (f"[{j + 1}]" if domain.count > 1 else "")
                kind = "corr" if correlation else "param"
                out.append(Reported(name, kind, group, "", "", k, i, j, domain.low, domain.high))
    overridden = type(term.structure).report is not CovarianceStructure.report
    derived = term.structure.report(_sample_phi(term), term.points) if overridden else NotImplemented
    if derived is not NotImplemented:
        out += [Reported(f"{group}.{name}", "derived", group, "", "", k, -1, -1, -np.inf, np.inf) for name in derived]
    return out


def _sample_phi(term: BoundTerm) -> Phi:
    rng = np.random.default_rng(0)
    return Phi({p.name: p.domain.sample(rng) for p in term.params})


def values(rows: tuple[Reported, ...], terms: tuple[BoundTerm, ...], flats: tuple[Array, ...]) -> Array:
    """The reported quantities of natural parameters in data units: (rows,)."""
    tables = [_params_as_read(term, flat) for term, flat in zip(terms, flats, strict=True)]
    derived = [
        term.structure.report(make_phi(term.params, flat), term.points)
        if any(r.param < 0 and r.term == k for r in rows)
        else {}
        for k, (term, flat) in enumerate(zip(terms, flats, strict=True))
    ]
    out = np.empty(len(rows))
    for n, row in enumerate(rows):
        if row.param < 0:
            out[n] = derived[row.term][row.name.removeprefix(f"{row.group}.").split(" [")[0]]
        else:
            out[n] = tables[row.term][row.param][row.entry]
    return out


def _params_as_read(term: BoundTerm, flat: Array) -> list[Array]:
    """Each parameter as users read it: sds then correlations of a matrix, sds of variances, shapes as they are."""
    out, place = [], 0
    for param in term.params:
        part = flat[place : place + param.domain.count]
        place += param.domain.count
        if isinstance(param.domain, PositiveDefinite):
            out.append(sds_and_correlations(param.domain.unflatten(part).matrix))
        elif param.scale_power:
            out.append(np.maximum(part, 0.0) ** (1.0 / param.scale_power))
        else:
            out.append(part)
    return out


def sds_and_correlations(matrix: Array) -> Array:
    """Standard deviations, then the lower triangle of correlations row by row; NaN where a variance is zero."""
    sd = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    rows, cols = pair_indices(len(sd))
    scale = sd[rows] * sd[cols]
    corr = np.divide(matrix[rows, cols], scale, out=np.full(rows.size, np.nan), where=scale > 0)
    return np.concatenate([sd, np.clip(corr, -1.0, 1.0)])


def from_sds_and_correlations(entries: Array, dim: int) -> Array:
    """The covariance matrix of standard deviations and correlations; NaN correlations count as 0."""
    corr = np.eye(dim)
    rows, cols = pair_indices(dim)
    corr[rows, cols] = corr[cols, rows] = np.nan_to_num(entries[dim:])
    return np.asarray(np.outer(entries[:dim], entries[:dim]) * corr)


def set_value(
    terms: tuple[BoundTerm, ...], flats: tuple[Array, ...], changes: list[tuple[Reported, float]]
) -> tuple[Array, ...]:
    """Natural parameters with some reported quantities set to a value in data units."""
    new = [flat.copy() for flat in flats]
    for k, term in enumerate(terms):
        mine = [(row, value) for row, value in changes if row.term == k]
        if not mine:
            continue
        read = _params_as_read(term, new[k])
        for row, value in mine:
            read[row.param][row.entry] = value
        place = 0
        for param, entries in zip(term.params, read, strict=True):
            part = slice(place, place + param.domain.count)
            place += param.domain.count
            if isinstance(param.domain, PositiveDefinite):
                new[k][part] = vech(from_sds_and_correlations(entries, param.domain.dim))
            elif param.scale_power:
                new[k][part] = entries**param.scale_power
            else:
                new[k][part] = entries
    return tuple(new)


_PAIR = re.compile(r"^corr\((.+), (.+) \| (.+)\)(.*)$")


def same_name(name: str) -> set[str]:
    """The spellings of a name: a correlation in either order, an interaction a:b as b:a."""
    out = {name}
    match = _PAIR.match(name)
    if match:
        first, second, group, rest = match.groups()
        out.add(f"corr({second}, {first} | {group}){rest}")
    for spelling in list(out):
        head, bar, tail = spelling.rpartition(" | ")
        group, close, rest = tail.partition(")")
        if bar and ":" in group:
            out.add(f"{head} | {':'.join(reversed(group.split(':')))}{close}{rest}")
    return out
