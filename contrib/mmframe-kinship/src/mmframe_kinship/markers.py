"""Genomic relationships from counts of alleles at markers: VanRaden (2008, J. Dairy Sci. 91:4414-4423), methods 1 and 2.

With Z = M − 2p the counts less their expectations: method 1 is G = ZZ' / Σ_j 2p_j(1−p_j); method 2 weights each marker by the inverse
of its variance, G = (1/m) Σ_j Z_j Z_j' / (2p_j(1−p_j)).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.api import Relationship
from mmframe_kinship._reading import shown, table_of
from mmframe_kinship.pedigrees import Pedigree

Array = NDArray[np.float64]

METHODS = ("vanraden1", "vanraden2")
_BLOCK = 4_000_000  # genotypes that are numbers of double precision at a time


@frozen(eq=False)
class Genomic:
    """A genomic relationship and how it came about.

    matrix (n, n): G, with labels.   method: its name.   frequencies (m,): of the allele that is counted, by marker, of all markers.
    dropped: the markers that do not vary, which say nothing.   missing: how many genotypes were missing.   blend: the share of
    what G was blended with.
    """

    matrix: pd.DataFrame
    method: str
    frequencies: pd.Series[float]
    dropped: pd.Index
    missing: int
    blend: float

    def relationship(self) -> Relationship:
        """G for `mm.fit(..., relationship={factor: ...})`. With observed frequencies and no blending it is singular, which
        mmframe takes."""
        return Relationship(self.matrix)

    def __repr__(self) -> str:
        used = len(self.frequencies) - len(self.dropped)
        text = f"<Genomic: {len(self.matrix)} individuals, {self.method}, {used} markers"
        if len(self.dropped):
            text += f" ({len(self.dropped)} that do not vary were dropped)"
        if self.missing:
            text += f", {self.missing} missing genotypes at the mean"
        if self.blend:
            text += f", blended at {self.blend:g}"
        return text + ">"


def genomic(
    markers: Any,
    method: str = "vanraden1",
    *,
    frequencies: Any = None,
    blend: float = 0.0,
    toward: Pedigree | pd.DataFrame | None = None,
) -> Genomic:
    """The genomic relationship of individuals from their markers.

    markers: a DataFrame, rows individuals (its index their labels), columns markers, entries counts 0, 1, 2 of one allele, or
    expected counts between; missing ones count as the mean; or the path of a CSV file whose first column holds the labels.
    method: "vanraden1" or "vanraden2".   frequencies (m,): of the counted allele in the base population, by marker or in their
    order; else those observed.   blend: w in (1 − w)G + wB.   toward: B: a Pedigree or its A by label; None for the identity,
    so that a ridge of w is added.
    Raises ValueError: entries off 0 to 2, labels repeated, no marker that varies, a frequency off 0 to 1, or one of 0 or 1 where the
    marker varies.
    """
    if method not in METHODS:
        raise ValueError(f"genomic: method {method!r} · allowed: {', '.join(map(repr, METHODS))}")
    if not 0.0 <= blend < 1.0:
        raise ValueError(f"genomic: blend={blend!r} · allowed: a share from 0 to below 1")
    if toward is not None and not blend:
        raise ValueError("genomic: toward= without blend= · give the share, such as blend=0.05")
    table = _table(markers)
    n, m = table.shape
    p, missing = np.full(m, np.nan), 0
    given = None if frequencies is None else _given(frequencies, table.columns)
    G: Array = np.zeros((n, n))
    total = 0.0
    block = max(1, _BLOCK // max(n, 1))
    for start in range(0, m, block):
        part = table.iloc[:, start : start + block]
        counts = _counts(part)
        absent = np.isnan(counts)
        missing += int(absent.sum())
        seen = n - absent.sum(axis=0)
        observed = np.where(absent, 0.0, counts).sum(axis=0) / (2.0 * np.maximum(seen, 1))
        own = observed if given is None else given[start : start + block]
        p[start : start + block] = own
        varies = np.nanmax(np.where(absent, -np.inf, counts), axis=0) > np.nanmin(
            np.where(absent, np.inf, counts), axis=0
        )
        impossible = varies & ~((own > 0) & (own < 1))
        if impossible.any():
            raise ValueError(
                f"genomic: a frequency of 0 or 1 for markers that vary ({shown(part.columns[impossible])})"
                " · allowed: frequencies between, of the allele that is counted"
            )
        used = (own > 0) & (own < 1) & (seen > 0)
        Z = np.where(absent, 0.0, counts - 2.0 * own)[:, used]
        variance = 2.0 * own[used] * (1.0 - own[used])
        if method == "vanraden2":
            Z = Z / np.sqrt(variance)
        total += float(variance.sum()) if method == "vanraden1" else float(used.sum())
        G += Z @ Z.T
        p[start : start + block] = np.where(seen > 0, own, np.nan)
    if not total > 0.0:
        raise ValueError(f"genomic: none of the {m} markers varies · allowed: at least one that does")
    G /= total
    if blend:
        G = (1.0 - blend) * G + blend * _toward(toward, table.index)
    usable = np.isfinite(p) & (p > 0) & (p < 1)
    return Genomic(
        pd.DataFrame(G, index=table.index, columns=table.index),
        method,
        pd.Series(p, index=table.columns, name="frequency"),
        table.columns[~usable],
        missing,
        float(blend),
    )


def _table(markers: Any) -> pd.DataFrame:
    if isinstance(markers, (str, Path)):
        if not Path(markers).is_file():
            raise ValueError(
                f"genomic: there is no file {str(markers)!r} · allowed: the path of a CSV file, or a DataFrame"
            )
        found = pd.read_csv(markers, na_values=["."])
        markers = found.set_index(found.columns[0])
    table = table_of(markers, "genomic")
    if not table.shape[0] or not table.shape[1]:
        raise ValueError(f"genomic: a table of shape {table.shape} · allowed: individuals as rows, markers as columns")
    if not table.index.is_unique:
        again = table.index[table.index.duplicated()].unique()
        raise ValueError(
            f"genomic: {len(again)} individuals have several rows ({shown(again)}) · allowed: one row each"
        )
    return table


def _counts(part: pd.DataFrame) -> Array:
    try:
        counts = part.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        text = [c for c in part.columns if not pd.api.types.is_numeric_dtype(part[c])]
        raise ValueError(
            f"genomic: markers that are not numbers ({shown(text)}) · allowed: counts 0, 1, 2 of one allele; the labels of"
            " the individuals belong in the index"
        ) from None
    off = (counts < 0.0) | (counts > 2.0)
    if off.any():
        i, j = (int(k[0]) for k in np.nonzero(off))
        raise ValueError(
            f"genomic: {counts[i, j]:g} at marker {part.columns[j]!r} of {part.index[i]!r} · allowed: counts from 0 to 2 of one"
            " allele; add 1 to genotypes that are coded -1, 0, 1"
        )
    return counts


def _given(frequencies: Any, markers: pd.Index) -> Array:
    if isinstance(frequencies, pd.Series):
        lacking = markers.difference(frequencies.index)
        if len(lacking):
            raise ValueError(f"genomic: no frequency for {len(lacking)} markers ({shown(lacking)}) · allowed: one each")
        frequencies = frequencies.loc[markers]
    found = np.asarray(frequencies, dtype=float)
    if found.shape != (len(markers),):
        raise ValueError(f"genomic: frequencies of shape {found.shape} for {len(markers)} markers · allowed: one each")
    if not np.all((found >= 0.0) & (found <= 1.0)):
        raise ValueError(
            "genomic: a frequency that is missing or off 0 to 1 · allowed: shares of the allele that is counted"
        )
    return found


def _toward(target: Pedigree | pd.DataFrame | None, labels: pd.Index) -> Array:
    """B (n, n) by label; labels are compared as they are, and then as text."""
    if target is None:
        return np.asarray(np.eye(len(labels)))
    known = target.animals if isinstance(target, Pedigree) else target.index
    places = known.get_indexer(labels)
    if np.any(places < 0):
        places = known.map(str).get_indexer(labels.map(str))
    if np.any(places < 0):
        raise ValueError(
            f"genomic: toward= lacks {int(np.sum(places < 0))} of the individuals ({shown(labels[places < 0])})"
            " · allowed: a pedigree or a matrix that has them all"
        )
    if isinstance(target, Pedigree):
        return np.asarray(target.additive(known[places]).to_numpy())
    return np.asarray(target.loc[known[places], known[places]].to_numpy(dtype=float))
