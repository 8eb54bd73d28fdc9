"""Whether data can tell the parameters of a model apart: checked before any fitting, with the reason in words."""

from __future__ import annotations

import warnings
from collections.abc import Container

import numpy as np

from mmframe.covariance.derivative import flatten_phi, make_phi, parts
from mmframe.covariance.domain import Array, Box, PositiveDefinite, vech_indices
from mmframe.covariance.model import CovarianceModel
from mmframe.covariance.report import SIGMA, Reported
from mmframe.covariance.structure import CovarianceStructure
from mmframe.design.design import Design
from mmframe.design.residual import ResidualDesign
from mmframe.errors import DataError, IdentifiabilityWarning
from mmframe.likelihood.engine import Engine

# Directions of the expected information, each parameter scaled to 1, that count as none.
_NOTHING = 1e-10
_INVOLVED = 0.05
_NO_SIZE = 1e-8
_FACTORS = (1.0, 8.0, 64.0, 512.0)


def check_effects(design: Design, structures: tuple[CovarianceStructure, ...], *, lenient: bool = False) -> None:
    """Refuse terms whose effects cannot be told from a residual with one free variance.

    An unrestricted term with as many effects as rows, or any term with as many levels as rows; but for terms of related
    levels. Raises DataError; lenient: warns, where covariates that differ between levels may still tell them apart.
    """
    for term, structure in zip(design.terms, structures, strict=True):
        if design.groupings[term.grouping].relationship is not None:
            continue  # what relatives share tells the effects from the residual
        levels = design.groupings[term.grouping].size
        unrestricted = any(
            isinstance(p.domain, PositiveDefinite) and p.domain.dim == term.width for p in structure.params(term.points)
        )
        effects = levels * term.width if unrestricted else levels
        if effects >= design.n:
            message = (
                f"term {term.label!r}: {effects} random effects ({levels} levels x {effects // levels}) for {design.n} rows"
                " · they cannot be told from the residual · allowed: fewer effects than rows · use a simpler basis, or 'diagonal'"
            )
            if not lenient:
                raise DataError(message)
            warnings.warn(message, IdentifiabilityWarning, stacklevel=2)


def check_repeats(residual: ResidualDesign, structures: tuple[CovarianceStructure, ...]) -> None:
    """Refuse two rows of a subject at one point, where the structure makes them one and the same. Raises DataError."""
    order = residual.order
    first, second = order[:-1], order[1:]
    same = (residual.subject[first] == residual.subject[second]) & np.all(
        residual.index[first] == residual.index[second], axis=1
    )
    for k in np.unique(residual.stratum[first[same]]):
        structure, stratum = structures[k], residual.strata[k]
        params = tuple(structure.params(stratum.points))
        rng = np.random.default_rng(0)
        phi = make_phi(params, flatten_phi(params, {p.name: p.domain.sample(rng) for p in params}))
        row = int(first[same & (residual.stratum[first] == k)][0])
        pair = np.asarray(structure.covariance(phi, residual.index[[row, row]]), dtype=float)
        if np.linalg.eigvalsh(pair)[0] <= 1e-10 * np.max(pair):
            count = int(np.sum(same & (residual.stratum[first] == k)))
            point = stratum.points.labels[residual.point[row]]
            raise DataError(
                f"residual {residual.label!r}: the subject {residual.levels[residual.subject[row]]!s} has more than one row at the"
                f" point {point} (and {count - 1} others like it): they would be equal · allowed: one row for each point of"
                " a subject · drop or average them, name a finer point, or use a structure with a nugget"
            )


def check_parameters(
    engine: Engine, model: CovarianceModel, start: tuple[Array, ...], names: tuple[str, ...], held: Container[str]
) -> None:
    """Warn of covariance parameters that the design cannot tell apart, whatever the response.

    The expected information of the natural parameters, tr(V⁻¹V_jV⁻¹V_l), at the start: a direction without information is a
    set of parameters that make the same V. start: the flat φ of each term, relative to σ² where that is apart. names: of
    all natural parameters, in order; held: those that are fixed. Warns with IdentifiabilityWarning.
    """
    told = [*names, SIGMA] if not model.residual else list(names)
    free = [i for i, name in enumerate(told) if name not in held]
    message = ""
    # shapes may say nothing where they are, and much elsewhere: a correlation of range 0 has no range
    for flats in (start, *(_elsewhere(model, start, factor) for factor in _FACTORS)):
        T = expected_information(engine, model, flats)
        if T is None:
            continue
        unit = _units(model, flats)
        T = T * np.outer(unit, unit)
        found = _problem(T[np.ix_(free, free)], [told[i] for i in free])
        if not found:
            return
        message = message or found
    if message:
        warnings.warn(f"covariance: {message}", IdentifiabilityWarning, stacklevel=2)


def _problem(T: Array, names: list[str]) -> str:
    """What is lost in an information matrix of parameters in units of their size, in words; "" for nothing."""
    size = np.sqrt(np.maximum(np.diag(T), 0.0))
    lost = size <= _NO_SIZE
    if np.any(lost):
        return (
            f"the data say nothing about {_listed(names, lost)}: no subject has the points that it needs"
            " · use a structure with fewer parameters"
        )
    values, vectors = np.linalg.eigh(T / np.outer(size, size))
    if not values.size or values[0] > _NOTHING:
        return ""
    involved = np.abs(vectors[:, 0]) > _INVOLVED * np.max(np.abs(vectors[:, 0]))
    return (
        f"{_listed(names, involved)} cannot be told apart: a change of one is undone by the others, whatever the response"
        " · drop one of the terms that hold them, or hold one by fix={name: value}"
    )


def _units(model: CovarianceModel, flats: tuple[Array, ...]) -> Array:
    """The size of each entry of the flat φ of all terms, and of σ² where it is apart."""
    sizes = []
    for term, flat in zip(model.terms, flats, strict=True):
        for param, place in parts(term.params):
            part, domain = flat[place], param.domain
            if isinstance(domain, PositiveDefinite):
                sd = np.sqrt(np.diag(domain.unflatten(part).matrix))
                sizes.append(np.outer(sd, sd)[vech_indices(domain.dim)])
            elif isinstance(domain, Box) and np.isfinite(domain.high - domain.low):
                sizes.append(np.full(part.size, domain.high - domain.low))
            else:
                sizes.append(
                    np.maximum(np.abs(part), abs(param.start or 0.0))
                    if param.scale_power or param.start
                    else np.ones(part.size)
                )
    if not model.residual:
        sizes.append(np.ones(1))  # σ², to which all is relative
    return np.concatenate(sizes)


def _elsewhere(model: CovarianceModel, start: tuple[Array, ...], factor: float) -> tuple[Array, ...]:
    """The start with other shapes: on a half-line those that parameters name, times a factor; in an interval near its middle."""
    flats = []
    for term, flat in zip(model.terms, start, strict=True):
        moved = flat.copy()
        for param, part in parts(term.params):
            domain = param.domain
            if param.scale_power or not isinstance(domain, Box):
                continue
            if np.isfinite(domain.low) and np.isfinite(domain.high):
                moved[part] = domain.low + (domain.high - domain.low) * 0.6
            elif param.start is not None:
                moved[part] = param.start * factor
        flats.append(moved)
    return tuple(flats)


def expected_information(engine: Engine, model: CovarianceModel, flats: tuple[Array, ...]) -> Array | None:
    """tr(V⁻¹V_jV⁻¹V_l) over the natural parameters of all terms, and σ² where it is apart."""
    total = sum(f.size for f in flats)
    G_moves: list[Array] = []
    R_moves: list[Array] = []
    place = 0
    try:
        with np.errstate(all="ignore"):
            G, R = model.matrices_at(flats)
            for k, (term, flat) in enumerate(zip(model.terms, flats, strict=True)):
                for jacobian in term.natural_jacobians(flat):
                    moves = np.zeros((total, *jacobian.shape[1:]))
                    moves[place : place + flat.size] = jacobian
                    (G_moves if k < model.n_random else R_moves).append(moves)
                place += flat.size
            found = engine.curvature(G, tuple(G_moves), reml=False, sigma2=1.0, R=R, R_tangents=tuple(R_moves))
    except np.linalg.LinAlgError:
        return None
    if found is None or not np.all(np.isfinite(found[0].T)):
        return None
    return found[0].T[:-1, :-1] if model.residual else found[0].T


def _listed(names: list[str], chosen: Array) -> str:
    some = list(dict.fromkeys(names[i] for i in np.flatnonzero(chosen)))
    return ", ".join(some[:6]) + (", ..." if len(some) > 6 else "")


def natural_names(model: CovarianceModel, reported: tuple[Reported, ...]) -> tuple[str, ...]:
    """A name for each entry of the flat φ of all terms: what users read of it, or its place."""
    read = {(r.term, r.param, r.entry): r.name for r in reported}
    out: list[str] = []
    for k, term in enumerate(model.terms):
        for i, param in enumerate(term.params):
            domain = param.domain
            if isinstance(domain, PositiveDefinite):
                rows, cols = vech_indices(
                    domain.dim
                )  # as read: standard deviations, then correlations in the same order
                off = rows != cols
                entries = np.where(off, domain.dim + np.cumsum(off) - 1, rows)
            else:
                entries = np.arange(domain.count)
            out += [read.get((k, i, int(e)), f"{term.label}: {param.name}") for e in entries]
    return tuple(out)
