"""What a model is given by formulas: fixed effects, random effects, and variance components group by group."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmframe.builder import ModelBuilder
from mmframe.compat.components import Component, VCSpec, indicator_component, read_components
from mmframe.compat.inputs import GROUP, Groups, Inputs, check_missing, refuse_holes
from mmframe.compat.layout import lay_out
from mmframe.compat.names import patsy_name
from mmframe.design.encoding import encode
from mmframe.design.frame import to_pandas
from mmframe.design.grouping import factorize
from mmframe.errors import DataError, Issue, SpecError
from mmframe.spec.sides import columns_of

Transforms = Mapping[str, Callable[..., Any]]
_ONE_FACTOR = re.compile(r"(?:0|-\s*1)\s*\+\s*(?:C\(\s*(?P<wrapped>\w+|`[^`]+`)\s*\)|(?P<plain>\w+|`[^`]+`))")


def _side(text: Any, where: str) -> str:
    """A right-hand side, with or without its tilde."""
    if not isinstance(text, str) or not text.strip().lstrip("~").strip():
        raise SpecError(Issue(where, repr(text), "the right-hand side of a formula, such as '1 + x'"))
    return text.strip().lstrip("~").strip()


def from_formula(
    formula: str,
    data: Any,
    groups: Any,
    re_formula: str | None,
    vc_formula: Mapping[str, str] | None,
    subset: Any,
    missing: str,
    transforms: Transforms,
) -> Inputs:
    """Formulas and a table. groups: a column's name, or one label a row. Raises SpecError, DataError, ValueError."""
    check_missing(missing)
    names = frozenset(transforms)
    effects = _side(re_formula, "re_formula") if re_formula is not None else None if vc_formula else "1"
    parts = {str(k): _side(v, f"vc_formula[{k!r}]") for k, v in (vc_formula or {}).items()}
    used: list[str] = []
    for text in (*formula.split("~"), *filter(None, [effects]), *parts.values()):
        used += [c for c in sorted(columns_of(text, names)) if c not in used]
    table = to_pandas(data, [*used, groups] if isinstance(groups, str) else used)
    if isinstance(groups, str):
        group = groups
    else:
        group = GROUP
        while group in table.columns:
            group += "_"
        values = groups.to_numpy() if isinstance(groups, pd.Series) else np.asarray(groups)
        if len(values) != len(table):
            raise DataError(f"groups: {len(values)} labels · allowed: one for each of the {len(table)} rows")
        table = table.assign(**{group: values})
    if subset is not None:
        table = table.loc[subset]
    used.append(group)
    keep = refuse_holes({c: np.asarray(pd.isna(table[c])) for c in used}, missing)
    table = table if keep.all() else table.loc[keep]
    found = Groups.of(table[group].array)
    components = tuple(_component(name, parts[name], table, found, transforms) for name in sorted(parts))
    builder = ModelBuilder().transforms(dict(transforms)).fixed(formula)
    if builder.spec.random:
        given = builder.spec.random[0].label
        remedy = "write re_formula= or vc_formula=, or use mmframe.fit"
        raise SpecError(Issue("formula", f"the term ({given})", "fixed effects", remedy))
    if effects is not None:
        builder = builder.random(f"{effects} | `{group}`")
    layout = lay_out(builder, table, components, group)
    design = layout.model.design
    back = np.argsort(layout.order)
    shown = group if isinstance(groups, str) else GROUP
    labels = [c.replace("Intercept", shown) for c in design.terms[0].columns] if effects is not None else []
    Z = design.terms[0].Z if effects is not None else np.zeros((design.n, 0))
    return Inputs(
        design.y, design.X[:, back], Z, components, found, design.response, [patsy_name(design.columns[j], formula) for j in back],
        labels, layout, table.index, formula=formula, given=(table, table),
    )  # fmt: skip


def _component(name: str, text: str, table: pd.DataFrame, groups: Groups, transforms: Transforms) -> Component:
    """One component. Its formula is read in each group apart, so that labels may be used again in other groups."""
    one = _ONE_FACTOR.fullmatch(text)
    if one:
        wrapped, plain = one.group("wrapped"), one.group("plain")
        column = (wrapped or plain).strip("`")
        if wrapped or not pd.api.types.is_numeric_dtype(table[column].dtype):
            codes, levels = factorize(table[column])
            shown = f"C({wrapped})" if wrapped else column
            labels = [f"{shown}[{level}]" for level in levels]
            return indicator_component(name, codes, labels, groups.codes, len(groups.labels))
    first = encode({name: text}, table.iloc[groups.rows[0]], transforms)[name][1]
    if not first.state and all(kind != "categorical" for kind in first.kinds.values()):
        Z, encoding = encode({name: text}, table, transforms)[name]
        counts = np.full(len(groups.labels), Z.shape[1])
        return Component(name, Z, counts, np.tile(np.array(encoding.columns, dtype=object), len(counts)))
    made = [encode({name: text}, table.iloc[rows], transforms)[name] for rows in groups.rows]
    spec = VCSpec([name], [[list(e.columns) for _, e in made]], [[Z for Z, _ in made]])
    return read_components(spec, groups.rows, len(table))[0]


def functions_of(frame: types.FrameType | None, formulas: list[str]) -> dict[str, Callable[..., Any]]:
    """The functions of a calling frame that formulas name: what statsmodels' `eval_env=0` stands for.

    Only functions written in Python are found, and only by their plain names.
    """
    if frame is None:
        return {}
    names = {name for text in formulas for name in re.findall(r"([A-Za-z_]\w*)\s*\(", text)}
    scope = {**frame.f_globals, **frame.f_locals}
    return {name: scope[name] for name in names if isinstance(scope.get(name), types.FunctionType)}
