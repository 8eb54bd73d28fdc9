"""The bases of random-effects terms: columns by a formula, an indicator for each point, or parts side by side."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.structure import UNORDERED, IndexKind, Points
from mmframe.covariance.tree import Tree
from mmframe.design.distinct import rows_among
from mmframe.design.encoding import FormulaEncoding
from mmframe.design.points import Layout, LeafSpec
from mmframe.errors import DataError, Issue, SpecError
from mmframe.spec.formula import split_top

Leaves = tuple[tuple[Points, slice], ...]
BLOCK = "block"


@frozen(eq=False)
class PointBasis:
    """One indicator column for each distinct point of some columns."""

    layout: Layout
    points: Points

    def apply(self, frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]]) -> Array:
        """Z (n, points). Raises DataError for a point that was not there."""
        where = rows_among(self.layout.index(frame, np.zeros(len(frame), dtype=np.intp)), self.points.index)
        if np.any(where < 0):
            names = [c for leaf in self.layout.leaves for c in leaf.spec.columns]
            bad = frame.iloc[int(np.flatnonzero(where < 0)[0])][names].tolist()
            raise DataError(f"new data: the point {bad} of {', '.join(names)} was not in the data that were fitted")
        Z = np.zeros((len(frame), self.points.size), order="F")
        Z[np.arange(len(frame)), where] = 1.0
        return Z


@frozen(eq=False)
class BlockBasis:
    """Parts of one term, side by side."""

    parts: tuple[FormulaEncoding | PointBasis, ...]

    def apply(self, frame: pd.DataFrame, transforms: Mapping[str, Callable[..., Any]]) -> Array:
        return np.asfortranarray(np.hstack([part.apply(frame, transforms) for part in self.parts]))


Basis = FormulaEncoding | PointBasis | BlockBasis


def by_formula(tree: Tree) -> bool:
    """Whether the columns of a part come from its formula; else each distinct point gets one."""
    return tree.structure is not None and tree.structure.index_kind is UNORDERED


def formula_parts(tree: Tree) -> list[Tree]:
    """The parts of a term whose columns come from a formula."""
    parts = tree.parts if tree.combinator == BLOCK else (tree,)
    return [part for part in parts if by_formula(part)]


def point_columns(tree: Tree, where: str, group: str) -> tuple[str, ...]:
    """The columns of the points of a leaf, in the order in which they are written. Raises SpecError with the remedy."""
    assert tree.structure is not None
    kind = tree.structure.index_kind
    pieces = [p.strip() for p in split_top(tree.basis, "+")]
    variables = pieces[1:] if pieces and pieces[0] == "0" else pieces
    one_column = kind is IndexKind.POSITION and len(variables) != 1
    named = all(v.isidentifier() or re.fullmatch("`[^`]+`", v) for v in variables)
    if pieces[0] != "0" or not variables or one_column or not named:
        wanted = "coordinates" if kind is IndexKind.COORDINATES else "ordered points"
        example = "0 + x + y" if kind is IndexKind.COORDINATES else "0 + visit"
        name = tree.structure.name
        remedy = f"write {name}({example} | {group})"
        raise SpecError(Issue(where, f"{name} needs {wanted}", "columns by name after '0 +'", remedy))
    return tuple(v.strip("`") for v in variables)


def leaf_specs(tree: Tree, where: str, group: str) -> tuple[LeafSpec, ...]:
    """What the leaves of a term want of their columns."""
    found = []
    for leaf in tree.leaves:
        assert leaf.structure is not None
        columns = point_columns(leaf, where, group)
        found.append(LeafSpec(columns, leaf.structure.index_kind, leaf.structure.numbered, False))
    return tuple(found)


def term_columns(tree: Tree, where: str, group: str, columns_of: Callable[[str], frozenset[str]]) -> tuple[str, ...]:
    """All columns of the data that a term's basis uses."""
    if by_formula(tree):
        return tuple(sorted(columns_of(tree.basis)))
    if tree.combinator == BLOCK:
        return tuple(dict.fromkeys(c for part in tree.parts for c in term_columns(part, where, group, columns_of)))
    return tuple(dict.fromkeys(c for spec in leaf_specs(tree, where, group) for c in spec.columns))


@frozen(eq=False)
class Built:
    """One term's columns: Z (n, q), their points, where each leaf finds its index, and how to make them again."""

    Z: Array
    points: Points
    leaves: Leaves
    basis: Basis


def build(
    tree: Tree, frame: pd.DataFrame, made: Callable[[Tree], tuple[Array, FormulaEncoding]], where: str, group: str
) -> Built:
    """The columns of a term. made: the matrix and the encoding of a part that comes from a formula."""
    if by_formula(tree):
        assert tree.structure is not None
        Z, encoding = made(tree)
        at = Points.unordered(encoding.columns)
        if tree.structure.numbered:
            at = Points(at.labels, np.hstack([at.index, at.index]))
        return Built(Z, at, ((at, slice(0, at.index.shape[1])),), encoding)
    if tree.combinator == BLOCK:
        return _block([build(part, frame, made, where, group) for part in tree.parts])
    nowhere = np.zeros(len(frame), dtype=np.intp)
    layout = Layout.of(leaf_specs(tree, where, group), frame, nowhere)
    points, _ = layout.points(layout.index(frame, nowhere))
    basis = PointBasis(layout, points)
    leaves = tuple((leaf.points, columns) for leaf, columns in zip(layout.leaves, layout.columns, strict=True))
    return Built(basis.apply(frame, {}), points, leaves, basis)


def _block(parts: list[Built]) -> Built:
    """Side by side: each part's own columns of the index (elsewhere its first point stands), the number of the part last."""
    sizes = [part.points.size for part in parts]
    index, leaves, start = [], [], 0
    for k, part in enumerate(parts):
        width = part.points.index.shape[1]
        own = np.repeat(part.points.index[:1], sum(sizes), axis=0)
        own[sum(sizes[:k]) : sum(sizes[: k + 1])] = part.points.index
        index.append(own)
        leaves += [(at, slice(start + c.start, start + c.stop)) for at, c in part.leaves]
        start += width
    number = np.repeat(np.arange(len(parts)), sizes).astype(float)[:, None]
    labels = tuple(label for part in parts for label in part.points.labels)
    bases = tuple(p.basis for p in parts if not isinstance(p.basis, BlockBasis))  # blocks hold no blocks
    Z = np.asfortranarray(np.hstack([p.Z for p in parts]))
    return Built(Z, Points(labels, np.hstack([*index, number])), tuple(leaves), BlockBasis(bases))
