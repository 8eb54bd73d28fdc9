"""Holding and setting parameters by the names that users read, in data units."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from mmframe.covariance import report
from mmframe.covariance.bijections import Bijection
from mmframe.covariance.derivative import flatten_phi
from mmframe.covariance.domain import Array, PositiveDefinite
from mmframe.covariance.matrix_bijections import StandardDeviationsCorrelations
from mmframe.covariance.model import CovarianceModel
from mmframe.covariance.parameterization import ABSOLUTE
from mmframe.covariance.structure import Param
from mmframe.covariance.term import BoundTerm
from mmframe.errors import Issue, SpecError, UnknownNameError, unknown


def find_reported(rows: tuple[report.Reported, ...], name: str, where: str = "parameter") -> report.Reported:
    """The reported quantity of this name, in any of its spellings. Raises UnknownNameError."""
    spellings = report.same_name(name)
    for row in rows:
        if row.name in spellings:
            return row
    raise UnknownNameError(unknown(where, "parameter", name, [r.name for r in rows] + [report.SIGMA]))


def check_values(start: Mapping[str, float], fix: Mapping[str, float], rows: tuple[report.Reported, ...]) -> None:
    """Raises SpecError for unknown names and for values outside their bounds, all together."""
    issues = []
    for where, values in (("start", start), ("fix", fix)):
        for name, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError):
                issues.append(Issue(f"{where}[{name!r}]", repr(value), "a number in data units"))
                continue
            if name == report.SIGMA and not any(r.name == name for r in rows):
                if any(r.group == report.RESIDUAL for r in rows):
                    own = next(
                        (r.name for r in rows if r.group == report.RESIDUAL and r.kind == "sd"), "its parameters"
                    )
                    allowed = "the standard deviations of the residual's structure"
                    issues.append(Issue(f"{where}['sigma']", "a derived quantity", allowed, f"give {own!r}"))
                    continue
                low, high, derived = 0.0, np.inf, False
                inside = 1e-100 < number < 1e100  # its square must be a number
            else:
                try:
                    row = find_reported(rows, name, where)
                except UnknownNameError as problem:
                    issues.extend(problem.issues)
                    continue
                low, high, derived = row.low, row.high, row.param < 0
                inside = low <= number <= high and (row.kind != "sd" or number < 1e100)
            if derived:
                issues.append(Issue(f"{where}[{name!r}]", "a derived quantity", "parameters of the structure itself"))
            elif not (np.isfinite(number) and inside):
                issues.append(Issue(f"{where}[{name!r}]", repr(value), f"{low:g} to {high:g}"))
    if issues:
        raise SpecError(issues)


def hold(
    model: CovarianceModel,
    rows: tuple[report.Reported, ...],
    fix: Mapping[str, float],
    tie: tuple[tuple[str, ...], ...] = (),
) -> CovarianceModel:
    """The model with some reported quantities held, and some equal to others.

    Entries of a matrix get coordinates of their own (standard deviations and correlations); anything in data units needs
    the absolute scale. Raises UnknownNameError, SpecError.
    """
    sigma_apart = not model.residual and report.SIGMA in fix
    held = [find_reported(rows, name, "fix") for name in fix if not (sigma_apart and name == report.SIGMA)]
    tied = [[find_reported(rows, name, "tie") for name in names] for names in tie]
    _check_ties(model.terms, tied, held)
    chosen = [*held, *(row for rows_ in tied for row in rows_)]
    matrices = {(r.term, r.param) for r in chosen}

    def choose(param: Param, bijection: Bijection, at: tuple[int, int]) -> Bijection:
        if at in matrices and isinstance(param.domain, PositiveDefinite):
            return StandardDeviationsCorrelations(param.domain)
        return bijection

    terms = tuple(
        attrs.evolve(
            t,
            bijections=tuple(choose(p, b, (k, i)) for i, (p, b) in enumerate(zip(t.params, t.bijections, strict=True))),
        )
        for k, t in enumerate(model.terms)
    )
    scaled = sigma_apart or any(r.kind == "sd" for r in held)
    scale = ABSOLUTE if scaled else model.scale
    model = CovarianceModel.bind(terms, scale, model.sigma_bijection, model.n_random)
    free, source = model.free.copy(), model.source.copy()
    place = _coordinates(terms)
    for row in held:
        free[place[row.term, row.param] + row.entry] = False
    for first, *others in tied:
        for row in others:
            at = place[row.term, row.param] + row.entry
            free[at], source[at] = False, place[first.term, first.param] + first.entry
    if sigma_apart:
        free[-1] = False
    start = report.set_value(
        terms,
        tuple(_anywhere(t) for t in terms),
        [(find_reported(rows, n, "fix"), float(v)) for n, v in fix.items() if not (sigma_apart and n == report.SIGMA)],
    )
    sigma2 = float(fix.get(report.SIGMA, 1.0)) ** 2
    return attrs.evolve(model, held=model.theta(start, sigma2), free=free, source=source)


def _coordinates(terms: tuple[BoundTerm, ...]) -> dict[tuple[int, int], int]:
    """Where the coordinates of each parameter of each term start."""
    out, place = {}, 0
    for k, term in enumerate(terms):
        for i, bijection in enumerate(term.bijections):
            out[k, i] = place
            place += bijection.size
    return out


def _check_ties(terms: tuple[BoundTerm, ...], tied: list[list[report.Reported]], held: list[report.Reported]) -> None:
    issues, seen = [], {r.name for r in held}
    for rows in tied:
        where = f"tie {[r.name for r in rows]}"
        if len(rows) < 2:
            issues.append(Issue(where, "one name", "two or more parameters that are to be equal"))
        if any(r.param < 0 for r in rows):
            issues.append(Issue(where, "a derived quantity", "parameters of the structures themselves"))
        elif len({(r.kind, r.low, r.high) for r in rows}) > 1:
            issues.append(Issue(where, "parameters of different kinds", "standard deviations, or shapes of one range"))
        again = [r.name for r in rows if r.name in seen]
        if again:
            issues.append(Issue(where, f"{again[0]!r} is held or tied already", "each parameter once"))
        seen |= {r.name for r in rows}
    if issues:
        raise SpecError(issues)


def _anywhere(term: BoundTerm) -> Array:
    rng = np.random.default_rng(0)
    return flatten_phi(term.params, {p.name: p.domain.sample(rng) for p in term.params})


def put(
    terms: tuple[BoundTerm, ...],
    rows: tuple[report.Reported, ...],
    point: tuple[tuple[Array, ...], float],
    values: Mapping[str, float],
) -> tuple[tuple[Array, ...], float]:
    """Natural parameters (flat φ of each term, σ²) with some reported quantities set."""
    flats, sigma2 = point
    apart = not any(r.name == report.SIGMA for r in rows)
    if apart and report.SIGMA in values:
        sigma2 = float(values[report.SIGMA]) ** 2
    changes = [(find_reported(rows, n), float(v)) for n, v in values.items() if not (apart and n == report.SIGMA)]
    return (report.set_value(terms, flats, changes) if changes else flats), sigma2
