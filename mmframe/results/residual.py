"""The structured residual of a fit: its covariance by point, whitened residuals, and what a subject's rows say of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.covariance.combine import Product
from mmframe.covariance.domain import Array
from mmframe.covariance.term import BoundTerm
from mmframe.design.residual import ResidualDesign
from mmframe.errors import Issue, SpecError, UnknownNameError, unknown
from mmframe.likelihood.chain import Chain, Links, applied, solved, transposed
from mmframe.likelihood.subjects import rows_of_subjects

Ints = NDArray[np.intp]
MAX_TABLE = 400  # points up to which Σ is written out
_ENTRIES = 4_000_000  # entries of stacks of matrices that are worked at a time


@frozen(eq=False)
class Table:
    """Σ over the points of one stratum, in data units, where variance functions are 1 (or at one level of `ident`)."""

    stratum: str
    labels: tuple[str, ...]
    matrix: Array


def tables(terms: tuple[BoundTerm, ...], flats: tuple[Array, ...]) -> tuple[Table, ...]:
    """Σ of each stratum; where `ident` alone makes the variances, one for each of its levels. None beyond MAX_TABLE points."""
    found: list[Table] = []
    for term, flat in zip(terms, flats, strict=True):
        found += _of_term(term, flat)
    return tuple(found)


def _of_term(term: BoundTerm, flat: Array) -> list[Table]:
    structure, points = term.structure, term.points
    if not (isinstance(structure, Product) and structure.pieces[-1].role == "variance"):
        if points.size > MAX_TABLE:
            return []
        return [Table(term.stratum, points.labels, term.covariance_of(flat))]
    process, *functions = structure.pieces
    own = process.points if process.columns.stop is not None else None
    if own is None or own.size > MAX_TABLE:
        return []
    phi = term.phi_of(flat)
    inner = structure.inner(phi)
    base = np.asarray(process.covariance(inner[0], _placed(process, own)))
    if len(functions) > 1 or functions[0].structure.index_kind.value != "unordered":
        return [Table(term.stratum, own.labels, base)]
    levels = functions[0].points
    ratio = np.asarray(functions[0].structure.covariance(inner[1], levels.index))
    return [
        Table(":".join(part for part in (term.stratum, label) if part), own.labels, base * r)
        for label, r in zip(levels.labels, np.diag(ratio), strict=True)
    ]


def _placed(process: Any, own: Any) -> Array:
    """The points of a process in the columns of the common index that are its own."""
    index = np.zeros((own.size, process.columns.stop))
    index[:, process.columns] = own.index
    return index


def residual_covariance(found: tuple[Table, ...], stratum: Any) -> pd.DataFrame:
    """R by point, in data units. Raises SpecError, UnknownNameError."""
    if not found:
        given = f"more than {MAX_TABLE} points, or a combination with a variance function"
        raise SpecError(Issue("residual_covariance", given, "what fits one table", "read the parameters instead"))
    names = [t.stratum for t in found]
    if stratum is None:
        table = found[0]
    else:
        if str(stratum) not in names:
            raise UnknownNameError(unknown("residual_covariance", "stratum", str(stratum), names))
        table = found[names.index(str(stratum))]
    return pd.DataFrame(table.matrix, index=list(table.labels), columns=list(table.labels))


def cholesky_or_nan(matrices: Array) -> Array:
    """Lower factors (P, m, m); NaN for a matrix that is singular."""
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        out = np.full_like(matrices, np.nan)
        inside = np.linalg.eigvalsh(matrices)[:, 0] > 1e-12 * np.max(np.abs(matrices), axis=(1, 2))
        out[inside] = np.linalg.cholesky(matrices[inside])
        return out


def roots_of(matrices: Array) -> Array:
    """Square roots (P, m, m) with LL' the matrices, also of singular ones."""
    roots = cholesky_or_nan(matrices)
    singular = np.isnan(roots[:, 0, 0])
    if np.any(singular):
        values, vectors = np.linalg.eigh(matrices[singular])
        roots[singular] = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return roots


def _matrices(
    residual: ResidualDesign, terms: tuple[BoundTerm, ...], flats: tuple[Array, ...]
) -> Iterator[tuple[Array, Ints, Ints]]:
    """Σ of patterns of subjects (P, m, m), some at a time, with the rows (count, m) that have them and which one (count,)."""
    for term, flat, stacks in zip(terms, flats, rows_of_subjects(residual), strict=True):
        for stack in stacks:
            step = max(1, _ENTRIES // stack.rows.shape[1] ** 2)
            for lo in range(0, len(stack.index), step):
                mine = (stack.member >= lo) & (stack.member < lo + step)
                yield term.covariance_at(flat, stack.index[lo : lo + step]), stack.rows[mine], stack.member[mine] - lo


def _chain(
    residual: ResidualDesign, terms: tuple[BoundTerm, ...], flats: tuple[Array, ...]
) -> tuple[Array, Array] | None:
    """The rows (b, o) of a bidiagonal inverse factor in the residual's order; None where a covariance is singular."""
    chain = Chain.of(residual, residual.order)
    links = [
        Links.of(term.covariance_at(flat, index))
        for term, flat, stacks in zip(terms, flats, chain.stacks, strict=True)
        for index in stacks
    ]
    known = [link for link in links if link is not None]
    if len(known) < len(links):
        return None
    return chain.spread([link.b for link in known]), chain.spread([link.o for link in known])


def whitened(residual: ResidualDesign, terms: tuple[BoundTerm, ...], flats: tuple[Array, ...], values: Array) -> Array:
    """L⁻¹e of each subject, with LL' its covariance in the order of its points: independent, of variance 1. (n,).

    NaN where the covariance is singular.
    """
    out = np.empty(values.size)
    chain = _chain(residual, terms, flats) if residual.banded else None
    if chain is not None:
        out[residual.order] = applied(*chain, values[residual.order, None])[:, 0]
        return out
    for matrices, rows, which in _matrices(residual, terms, flats):
        half = np.linalg.inv(cholesky_or_nan(matrices))
        out[rows] = (half[which] @ values[rows][:, :, None])[:, :, 0]
    return out


def unmixed(residual: ResidualDesign, terms: tuple[BoundTerm, ...], flats: tuple[Array, ...], columns: Array) -> Array:
    """Σ⁻¹C of each subject, before weights, for columns (n, k): (n, k). NaN where the covariance is singular."""
    out = np.empty_like(columns)
    chain = _chain(residual, terms, flats) if residual.banded else None
    if chain is not None:
        out[residual.order] = transposed(*chain, applied(*chain, columns[residual.order]))
        return out
    for matrices, rows, which in _matrices(residual, terms, flats):
        half = np.linalg.inv(cholesky_or_nan(matrices))
        inverse = half.transpose(0, 2, 1) @ half
        for part in _parts(rows, columns.shape[1]):
            out[rows[part]] = inverse[which[part]] @ columns[rows[part]]
    return out


def _parts(rows: Ints, k: int) -> list[Ints]:
    """Subjects with rows (count, m), some at a time, where each needs a matrix and k columns."""
    m = rows.shape[1]
    return np.array_split(np.arange(len(rows)), max(1, len(rows) * m * (m + k) // _ENTRIES))


def drawn(residual: ResidualDesign, terms: tuple[BoundTerm, ...], flats: tuple[Array, ...], noise: Array) -> Array:
    """Correlated residuals L u from independent ones u (n, k), before weights: (n, k)."""
    out = np.empty_like(noise)
    chain = _chain(residual, terms, flats) if residual.banded else None
    if chain is not None:
        out[residual.order] = solved(*chain, noise[residual.order])
        return out
    for matrices, rows, which in _matrices(residual, terms, flats):
        roots = roots_of(matrices)
        for part in _parts(rows, noise.shape[1]):
            out[rows[part]] = roots[which[part]] @ noise[rows[part]]
    return out
