"""Encodings as plain values, and back: how new data become matrices, in a saved fit."""

from __future__ import annotations

from typing import Any

import attrs

from mmframe.covariance.structure import IndexKind, Points
from mmframe.design.bases import Basis, BlockBasis, PointBasis
from mmframe.design.encoding import FormulaEncoding
from mmframe.design.index import PointSet
from mmframe.design.kept import Encoding, TermEncoding
from mmframe.design.points import Layout, Leaf, LeafSpec


def fields_of(instance: Any) -> dict[str, Any]:
    return {f.name: getattr(instance, f.name) for f in attrs.fields(type(instance))}


def write_encoding(encoding: Encoding) -> dict[str, Any]:
    terms = [{"group": t.group, "basis": write_basis(t.basis), "by": t.by} for t in encoding.terms]
    plain = {k: v for k, v in fields_of(encoding).items() if k not in ("fixed", "terms", "transforms")}
    return {"fixed": fields_of(encoding.fixed), "terms": terms, **plain}


def read_encoding(kept: dict[str, Any]) -> Encoding:
    terms = tuple(TermEncoding(t["group"], read_basis(t["basis"]), t["by"]) for t in kept.pop("terms"))
    return Encoding(FormulaEncoding(**kept.pop("fixed")), terms=terms, transforms={}, **kept)


def write_basis(basis: Basis) -> dict[str, Any]:
    if isinstance(basis, PointBasis):
        return {"points": write_points(basis.points), "layout": write_layout(basis.layout)}
    if isinstance(basis, BlockBasis):
        return {"parts": [write_basis(part) for part in basis.parts]}
    return {"formula": fields_of(basis)}


def read_basis(kept: dict[str, Any]) -> Any:
    if "points" in kept:
        return PointBasis(read_layout(kept["layout"]), read_points(kept["points"]))
    if "parts" in kept:
        return BlockBasis(tuple(read_basis(part) for part in kept["parts"]))
    return FormulaEncoding(**kept["formula"])


def write_points(points: Points) -> dict[str, Any]:
    return {"labels": points.labels, "index": points.index}


def read_points(kept: dict[str, Any]) -> Points:
    return Points(kept["labels"], kept["index"])


def write_layout(layout: Layout) -> list[dict[str, Any]]:
    out = []
    for leaf in layout.leaves:
        spec = {**fields_of(leaf.spec), "kind": leaf.spec.kind.value}
        known = leaf.known
        kept = None if known is None else {
            "columns": known.columns, "points": write_points(known.points), "categories": known.categories,
        }  # fmt: skip
        out.append({"spec": spec, "known": kept, "points": write_points(leaf.points)})
    return out


def read_layout(kept: list[dict[str, Any]]) -> Layout:
    leaves = []
    for leaf in kept:
        spec = LeafSpec(**{**leaf["spec"], "kind": IndexKind(leaf["spec"]["kind"])})
        known = leaf["known"]
        found = None if known is None else PointSet(known["columns"], read_points(known["points"]), known["categories"])
        leaves.append(Leaf(spec, found, read_points(leaf["points"])))
    return Layout(tuple(leaves))
