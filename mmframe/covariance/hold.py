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
            if name == report.SIGMA:
                low, high, derived = 0.0, np.inf, False
                inside = 1e-100 < number < 1e100  # its square must be a number
            else:
                try:
                    row = find_reported(rows, name, where)
                except UnknownNameError as problem:
                    issues.extend(problem.issues)
                    continue
                low, high, derived = row.low, row.high, row.param < 0
                inside = low <= number <= high
            if derived:
                issues.append(Issue(f"{where}[{name!r}]", "a derived quantity", "parameters of the structure itself"))
            elif not (np.isfinite(number) and inside):
                issues.append(Issue(f"{where}[{name!r}]", repr(value), f"{low:g} to {high:g}"))
    if issues:
        raise SpecError(issues)


def hold(model: CovarianceModel, rows: tuple[report.Reported, ...], fix: Mapping[str, float]) -> CovarianceModel:
    """The model with some reported quantities held.

    Entries of a matrix get coordinates of their own (standard deviations and correlations); anything in data units needs
    the absolute scale.
    """
    held = [find_reported(rows, name, "fix") for name in fix if name != report.SIGMA]
    matrices = {(r.term, r.param) for r in held}

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
    scaled = report.SIGMA in fix or any(r.kind == "sd" for r in held)
    model = CovarianceModel.bind(terms, ABSOLUTE if scaled else model.scale, model.sigma_bijection)
    free = model.free.copy()
    offset = 0
    for k, term in enumerate(terms):
        for i, bijection in enumerate(term.bijections):
            for row in held:
                if (row.term, row.param) == (k, i):
                    free[offset + row.entry] = False
            offset += bijection.size
    if report.SIGMA in fix:
        free[-1] = False
    start = report.set_value(
        terms,
        tuple(_anywhere(t) for t in terms),
        [(find_reported(rows, n, "fix"), float(v)) for n, v in fix.items() if n != report.SIGMA],
    )
    sigma2 = float(fix.get(report.SIGMA, 1.0)) ** 2
    return attrs.evolve(model, held=model.theta(start, sigma2), free=free)


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
    if report.SIGMA in values:
        sigma2 = float(values[report.SIGMA]) ** 2
    changes = [(find_reported(rows, n), float(v)) for n, v in values.items() if n != report.SIGMA]
    return (report.set_value(terms, flats, changes) if changes else flats), sigma2
