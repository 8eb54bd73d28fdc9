"""What a model is given by formulas: fixed effects, random effects, and variance components group by group."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from formulaic.parser.types import Token

from mmframe.builder import ModelBuilder
from mmframe.compat.components import Component, VCSpec, indicator_component, read_components
from mmframe.compat.inputs import GROUP, Groups, Inputs, check_missing, refuse_holes
from mmframe.compat.layout import lay_out
from mmframe.compat.names import patsy_name, patsy_scale
from mmframe.design.encoding import encode
from mmframe.design.frame import to_pandas
from mmframe.design.grouping import factorize
from mmframe.errors import DataError, Issue, SpecError
from mmframe.spec.expressions import check_expression
from mmframe.spec.sides import columns_of, tokens_of

Transforms = Mapping[str, Callable[..., Any]]
_ONE_FACTOR = re.compile(r"(?:0|-\s*1)\s*\+\s*(?:C\(\s*(?P<wrapped>\w+|`[^`]+`)\s*\)|(?P<plain>\w+|`[^`]+`))")


def _side(text: Any, where: str) -> str:
    """A right-hand side, with or without its tilde."""
    if not isinstance(text, str) or not text.strip().lstrip("~").strip():
        raise SpecError(Issue(where, repr(text), "the right-hand side of a formula, such as '1 + x'"))
    return patsy_scale(text.strip().lstrip("~").strip())


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
    if not isinstance(formula, str):
        raise SpecError(Issue("formula", f"a {type(formula).__name__}", "text such as 'y ~ x'"))
    if vc_formula is not None and not isinstance(vc_formula, Mapping):
        raise SpecError(Issue("vc_formula", repr(vc_formula), "a dict {component: formula}"))
    names = frozenset(transforms)
    written, formula = formula, patsy_scale(formula)
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
    table = _as_patsy(table, formula, [*filter(None, [effects]), *parts.values()], names).assign(
        **{group: _plain(table[group])}
    )
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
    layout = lay_out(builder, table, components, group, by_formula=True)
    design = layout.model.design
    back = np.argsort(layout.order)
    shown = group if isinstance(groups, str) else GROUP
    Z, labels = np.zeros((design.n, 0)), []
    if effects is not None:
        turn = np.argsort(layout.effects_order)
        Z, labels = design.terms[0].Z[:, turn], [design.terms[0].columns[j].replace("Intercept", shown) for j in turn]
        labels = [patsy_name(label, effects) for label in labels]
    return Inputs(
        design.y, design.X[:, back], Z, components, found, design.response, [patsy_name(design.columns[j], written) for j in back],
        labels, layout, table.index, formula=written, given=(table, table),
    )  # fmt: skip


def _plain(labels: pd.Series) -> Any:
    """Labels without an order of their own: groups are sorted."""
    return np.asarray(labels) if isinstance(labels.dtype, pd.CategoricalDtype) else labels


def _as_patsy(table: pd.DataFrame, formula: str, sides: list[str], transforms: frozenset[str]) -> pd.DataFrame:
    """Booleans as the factors that patsy makes of them, where formulas name them by themselves."""
    bare, within = set(), set()
    for text in (*formula.split("~")[1:], *sides):
        for token in tokens_of(text, "formula"):
            if token.kind is Token.Kind.NAME:
                bare.add(token.token)
            elif token.kind is Token.Kind.PYTHON:
                within |= check_expression(token.token, "formula", transforms)[1]
    found = [c for c in bare - within if c in table.columns and pd.api.types.is_bool_dtype(table[c].dtype)]
    return table.assign(**{c: pd.Categorical(table[c], categories=[False, True]) for c in found})


def _boolean(table: pd.DataFrame, column: str) -> bool:
    """Whether a column is a factor of False and True, which has both levels in every group."""
    dtype = table[column].dtype if column in table.columns else None
    return isinstance(dtype, pd.CategoricalDtype) and list(dtype.categories) == [False, True]


def _component(name: str, text: str, table: pd.DataFrame, groups: Groups, transforms: Transforms) -> Component:
    """One component. Its formula is read in each group apart, so that labels may be used again in other groups."""
    one = _ONE_FACTOR.fullmatch(text)
    if one:
        wrapped, plain = one.group("wrapped"), one.group("plain")
        column = (wrapped or plain).strip("`")
        if not _boolean(table, column) and (wrapped or not pd.api.types.is_numeric_dtype(table[column].dtype)):
            codes, levels = factorize(table[column])
            shown = f"C({wrapped})" if wrapped else column
            labels = [f"{shown}[{level}]" for level in levels]
            return indicator_component(name, codes, labels, groups.codes, len(groups.labels))
    first = encode({name: text}, table.iloc[groups.rows[0]], transforms)[name][1]
    if not first.state and all(kind != "categorical" or _boolean(table, f) for f, kind in first.kinds.items()):
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
