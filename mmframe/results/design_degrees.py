"""Degrees of freedom that follow from the design alone, one number for each fixed effect.

between_within: of nested groups, by the innermost factor within whose levels an effect changes: with m_i levels of the i-th factor
from outside, m_0 = 1 with an intercept (else 0), m_{Q+1} = n, and p_i effects that are first constant within levels of factor i,
m_i − m_{i−1} − p_i; the intercept has those of the rows (Pinheiro & Bates 2000, section 2.4.2; with one factor SAS's BETWITHIN and
mmrm's).   containment: the smallest rank that a random effect which contains the effect adds to [X Z], else n − rank [X Z]
(SAS/STAT, PROC MIXED, DDFM=CONTAIN).
"""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array
from mmframe.design.bases import Basis, BlockBasis
from mmframe.design.design import Design
from mmframe.design.distinct import constant_within
from mmframe.design.encoding import FormulaEncoding
from mmframe.errors import EngineRefusedError, Issue, SpecError, StoreError
from mmframe.results.source import FittedSource, Source
from mmframe.spec.sides import columns_of

_WIDEST = 2000  # columns of [X Z] whose rank is taken
_RANK = 1e-9  # of the largest eigenvalue of the cross-products of columns of length one


def degrees_of_columns(source: Source, df: str) -> Array:
    """(p,). Raises StoreError for a saved fit, SpecError where factors are crossed, EngineRefusedError where [X Z] is too wide."""
    if not isinstance(source, FittedSource):
        raise StoreError(f"a saved fit holds no data · fit again for df={df!r}")
    return between_within(source.design) if df == "between_within" else containment(source)


def between_within(design: Design) -> Array:
    """Raises SpecError where factors are crossed."""
    factors = {g.name: g.codes for g in design.groupings}
    if design.residual is not None and design.residual.group:
        factors.setdefault(":".join(design.residual.group), design.residual.subject)
    chain = sorted(factors.items(), key=lambda item: np.unique(item[1]).size)
    codes = [np.unique(values, return_inverse=True)[1] for _, values in chain]
    for k in range(len(codes) - 1):
        if not constant_within(codes[k], codes[k + 1]):
            given = f"'between_within' of the crossed factors {chain[k][0]} and {chain[k + 1][0]}"
            raise SpecError(Issue("df", given, "nested factors", "use df='satterthwaite'"))
    levels = [int(values.max()) + 1 for values in codes]
    intercept = np.array([np.ptp(x) == 0 and x[0] != 0 for x in design.X.T], dtype=bool)
    stratum = np.array(
        [next((k for k, c in enumerate(codes) if constant_within(x, c)), len(codes)) for x in design.X.T], dtype=int
    )
    stratum[intercept] = len(codes)
    sizes = [int(intercept.any()), *levels, design.n]
    counts = [int(np.sum((stratum == k) & ~intercept)) for k in range(len(codes) + 1)]
    own = np.array([sizes[k + 1] - sizes[k] - counts[k] for k in range(len(codes) + 1)], dtype=float)
    return np.asarray(own[stratum])


def containment(source: FittedSource) -> Array:
    """Raises EngineRefusedError where [X Z] has too many columns."""
    design, summary = source.design, source.fixed_summary
    names = frozenset(source.encoding.transforms)
    effects = _random_effects(source)
    wide = design.p + sum(part.shape[1] * size for part, _, size, _ in effects)
    if wide > _WIDEST:
        given = f"[X Z] has {wide:,} columns"
        raise EngineRefusedError(f"df: 'containment': {given} · allowed: at most {_WIDEST:,} · use df='satterthwaite'")
    whole, rank, added = design.X, _rank(design.X), []
    for part, codes, size, _ in effects:
        Z = np.zeros((design.n, size * part.shape[1]))
        for j in range(part.shape[1]):
            Z[np.arange(design.n), codes * part.shape[1] + j] = part[:, j]
        whole = np.column_stack([whole, Z])
        before, rank = rank, _rank(whole)
        added.append(rank - before)
    left = float(design.n - rank)

    def least(columns: frozenset[str]) -> float:
        found = [more for more, (_, _, _, held) in zip(added, effects, strict=True) if columns <= held]
        return float(min(found)) if found else left

    own = np.full(design.p, least(frozenset()))
    for name, places in zip(summary.terms, summary.columns, strict=True):
        own[places] = least(columns_of(name, names))
    return own


def _random_effects(source: FittedSource) -> list[tuple[Array, Array, int, frozenset[str]]]:
    """Each random effect, those of fewer levels first: its part of Z, levels by row, how many, and all columns that it names."""
    design, out = source.design, []
    for term, kept in zip(design.terms, source.encoding.terms, strict=True):
        grouping = design.groupings[term.grouping]
        for columns, places in _parts(kept.basis, term.width, frozenset(source.encoding.transforms)):
            held = frozenset(kept.group) | columns | ({kept.by[0]} if kept.by else frozenset())
            out.append((term.Z[:, places], grouping.codes, grouping.size, held))
    return sorted(out, key=lambda effect: (effect[2], len(effect[3])))


def _parts(basis: Basis, width: int, transforms: frozenset[str]) -> list[tuple[frozenset[str], list[int]]]:
    """The parts of a basis that are effects of their own, with the columns of the data that they name."""
    if isinstance(basis, FormulaEncoding):
        names = list(basis.columns)
        return [(columns_of(name, transforms), [names.index(c) for c in own]) for name, own in basis.terms if own]
    parts = basis.parts if isinstance(basis, BlockBasis) else (basis,)
    named: set[str] = set()
    for part in parts:
        if isinstance(part, FormulaEncoding):
            named |= columns_of(part.formula, transforms)
        else:
            named |= {c for leaf in part.layout.leaves for c in leaf.spec.columns}
    return [(frozenset(named), list(range(width)))]


def _rank(matrix: Array) -> int:
    length = np.sqrt(np.einsum("ij,ij->j", matrix, matrix))
    unit = matrix[:, length > 0] / length[length > 0]
    values = np.linalg.eigvalsh(unit.T @ unit) if unit.shape[1] <= len(unit) else np.linalg.eigvalsh(unit @ unit.T)
    return int(np.sum(values > _RANK * max(float(values[-1]), 1e-300))) if values.size else 0
