"""What users read: standard deviations, correlations and shapes by name, in data units; and how to set them by name.

Names: `sd(Intercept | Subject)`, `corr(Intercept, Days | Subject)`, `Worker.sd` and `Worker.rho` for parameters that
belong to a whole term, `sigma`. The residual's group is called `residual`; the level of `by` comes last, in brackets.
"""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
from attrs import evolve, frozen

from mmframe.covariance.derivative import make_phi, parts
from mmframe.covariance.domain import Array, Box, PositiveDefinite, pair_indices, vech
from mmframe.covariance.sound import checked_mapping
from mmframe.covariance.structure import CovarianceStructure, Param, Phi
from mmframe.covariance.term import BoundTerm

SIGMA = "sigma"
_VARIANCE = "variance"
RESIDUAL = "residual"  # the group of the residual's parameters


@frozen
class Reported:
    """One reported quantity. kind: sd, corr, variance-free shape `param`, `derived` (from structure.report), or `hidden`
    (it spans the domain, and users read something else).

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
    """All reported quantities of terms, in order; names are made unique by the term's label.

    The one variance of a residual is `sigma` itself.
    """
    rows: list[Reported] = []
    for k, term in enumerate(terms):
        rows.extend(_of_term(k, term))
    residual = [k for k, t in enumerate(terms) if t.group == RESIDUAL]
    if len(residual) == 1 and terms[residual[0]].scale_parameter is not None:
        rows = [evolve(r, name=SIGMA, group="") if r.term == residual[0] and r.kind == "sd" else r for r in rows]
    seen = Counter(row.name for row in rows)
    out = []
    for row in rows:
        if seen[row.name] > 1:
            label = terms[row.term].label
            same = [t.label for t in terms].count(label) > 1
            tag = f"{label} #{row.term + 1}" if same else label
            row = evolve(row, name=f"{row.name} [{tag}]")
        out.append(row)
    return tuple(out)


def _of_term(k: int, term: BoundTerm) -> list[Reported]:
    out: list[Reported] = []
    for i, param in enumerate(term.params):
        out += _of_param(k, i, param, term)
    derived = term.structure.report(_sample_phi(term), term.points) if _reports(term) else NotImplemented
    if derived is not NotImplemented:
        derived = checked_mapping(term.structure, "report", derived)
        name = f"{term.group}.{{}}{_suffix(term)}"
        out += [
            Reported(name.format(key), "derived", term.group, "", key, k, -1, -1, -np.inf, np.inf) for key in derived
        ]
    return out


def _suffix(term: BoundTerm) -> str:
    return f"[{term.stratum}]" if term.stratum else ""


def _reports(term: BoundTerm) -> bool:
    return type(term.structure).report is not CovarianceStructure.report


def _of_param(k: int, i: int, param: Param, term: BoundTerm) -> list[Reported]:
    """One parameter: standard deviations and correlations of a matrix, standard deviations, or shapes."""
    group, suffix, domain = term.group, _suffix(term), param.domain
    count = domain.dim if isinstance(domain, PositiveDefinite) else domain.count
    labels = param.labels or (term.points.labels if count == term.points.size else ())
    if isinstance(domain, PositiveDefinite):
        names = labels or tuple(f"{param.name}{j + 1}" for j in range(count))
        out = [
            Reported(f"sd({name} | {group}){suffix}", "sd", group, name, name, k, i, j, 0.0, np.inf)
            for j, name in enumerate(names)
        ]
        for e, (a, b) in enumerate(zip(*pair_indices(count), strict=True)):
            name = f"corr({names[b]}, {names[a]} | {group}){suffix}"
            out.append(Reported(name, "corr", group, names[b], names[a], k, i, count + e, -1.0, 1.0))
        return out
    assert isinstance(domain, Box)
    if _as_sd(term, param):
        if (labels and domain.size is not None) or count == term.points.size:
            named = [(f"sd({label} | {group}){suffix}", label) for label in labels]
        else:
            own = param.name.removeprefix(_VARIANCE) if param.name.startswith(_VARIANCE) else ""
            named = [(f"{group}.sd{own}{entry}{suffix}", "") for entry in _entries(param, labels)]
        return [Reported(n, "sd", group, label, label, k, i, j, 0.0, np.inf) for j, (n, label) in enumerate(named)]
    read = param.reading
    name, low, high = (param.name, domain.low, domain.high) if read is None else (read.name, read.low, read.high)
    kind = ("corr" if low >= -1.0 and high == 1.0 else "param") if param.shown else "hidden"
    return [
        Reported(f"{group}.{name}{entry}{suffix}", kind, group, "", "", k, i, j, low, high)
        for j, entry in enumerate(_entries(param, param.labels))
    ]


def _as_sd(term: BoundTerm, param: Param) -> bool:
    """Whether a scale is read as standard deviations: a variance by its name, or the only scale that there is."""
    alone = sum(p.scale_power > 0 for p in term.params) == 1
    positive = isinstance(param.domain, Box) and param.domain.low >= 0.0
    return bool(param.scale_power) and positive and (alone or param.name.startswith(_VARIANCE))


def _entries(param: Param, labels: tuple[str, ...]) -> list[str]:
    """What tells the entries of a vector apart; nothing for a number."""
    if param.domain.count == 1 and not param.labels:
        return [""]
    return [f"[{label}]" for label in (labels or range(1, param.domain.count + 1))]


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
            out[n] = derived[row.term][row.column]
        else:
            out[n] = tables[row.term][row.param][row.entry]
    return out


def _params_as_read(term: BoundTerm, flat: Array) -> list[Array]:
    """Each parameter as users read it: sds then correlations of a matrix, sds of variances, shapes as they are."""
    out = []
    for param, place in parts(term.params):
        part = flat[place]
        if isinstance(param.domain, PositiveDefinite):
            out.append(sds_and_correlations(param.domain.unflatten(part).matrix))
        elif param.scale_power == 2 and _as_sd(term, param):
            out.append(np.sqrt(np.maximum(part, 0.0)))
        elif param.reading is not None:
            out.append(np.asarray(param.reading.to(part)))
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
        for i, ((param, part), entries) in enumerate(zip(parts(term.params), read, strict=True)):
            if isinstance(param.domain, PositiveDefinite):
                given = {row.entry for row, _ in mine if row.param == i}
                new[k][part] = vech(_inside_cone(entries, param.domain.dim, given))
            elif param.scale_power == 2 and _as_sd(term, param):
                new[k][part] = entries**2
            elif param.reading is not None:
                new[k][part] = param.reading.back(entries)
            else:
                new[k][part] = entries
    return tuple(new)


def _inside_cone(entries: Array, dim: int, given: set[int]) -> Array:
    """The matrix of standard deviations and correlations; where a correlation that was given does not go with the others,
    these shrink until it does."""
    entries = entries.copy()
    others = [e for e in range(dim, entries.size) if e not in given]
    for _ in range(60):
        matrix = from_sds_and_correlations(entries, dim)
        corr = from_sds_and_correlations(np.concatenate([np.ones(dim), entries[dim:]]), dim)
        if not given or np.linalg.eigvalsh(corr)[0] > 1e-6:
            break
        entries[others] *= 0.8
    return matrix


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
