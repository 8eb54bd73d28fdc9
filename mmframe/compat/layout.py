"""The translation between packed parameters and the matrices of a mmframe model.

Each variance component becomes a term of the model in one of two ways. As a term `0 + c1 + c2 + ... | group` whose columns share
one variance: then all is one grouping factor, and the pooled engine takes it. Or, where a component has many columns of which a row
has one, as an intercept or slope of the pairs (group, column), a nested or crossed factor of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

from mmframe.builder import ModelBuilder
from mmframe.compat.components import Component, Ints
from mmframe.compat.names import places, safe_names
from mmframe.compat.params import MixedLMParams
from mmframe.covariance.domain import Array, unvech, vech, vech_basis
from mmframe.design.encoding import FormulaEncoding
from mmframe.design.grouping import factorize
from mmframe.design.kept import Encoding
from mmframe.errors import DataError
from mmframe.model import Model

_WIDE = 8  # columns of all terms of the groups beyond which components become factors of their own
_LONGEST = 9_000  # characters of a term in the names of its columns
INDEPENDENT = "variance_component"


@frozen(eq=False)
class Layout:
    """A model and what its terms are: the random effects (where k_re > 0), then the components in their order.

    builder, table: what it was made of, without the components.   nested: whether each component is a factor of its own, with the
    level `group x width + column`.   order (k_fe,): the place among the slopes of each of the engine's columns.
    effects_order (k_re,): the place among the random effects of each of the engine's.
    """

    model: Model
    builder: ModelBuilder
    table: pd.DataFrame
    group: str
    k_re: int
    components: tuple[Component, ...]
    nested: tuple[bool, ...]
    order: Ints
    effects_order: Ints
    by_formula: bool

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(t.width for t in self.model.design.terms)

    @property
    def k_re2(self) -> int:
        return self.k_re * (self.k_re + 1) // 2

    def together(self) -> Layout:
        """The same model with all components as terms of the groups, so that effects of a group are one vector."""
        if not any(self.nested):
            return self
        return lay_out(self.builder, self.table, self.components, self.group, by_formula=self.by_formula, apart=False)

    @property
    def shape(self) -> MixedLMParams:
        """Parameters of the model, all zero."""
        return MixedLMParams(len(self.order), self.k_re, len(self.components))

    # slopes

    def inward(self, slopes: Array) -> Array:
        """Slopes in the order of the engine's columns."""
        return np.asarray(slopes, dtype=float)[self.order]

    def outward(self, beta: Array) -> Array:
        out = np.empty(len(beta))
        out[self.order] = beta
        return out

    # covariances

    def turned(self, matrix: Any) -> Array:
        """A matrix of the random effects (k_re, k_re) in the order of the engine."""
        return np.asarray(matrix, dtype=float)[np.ix_(self.effects_order, self.effects_order)]

    def mask(self, free: MixedLMParams) -> NDArray[np.bool_]:
        """Which entries of the random effects' matrix are free, in the order of the engine; the lower triangle counts."""
        lower = np.tril(np.asarray(free.cov_re) != 0)
        return np.asarray((lower | lower.T)[np.ix_(self.effects_order, self.effects_order)])

    def turned_back(self, matrix: Array) -> Array:
        """A matrix in the order of the engine in that of the random effects."""
        out = np.empty_like(matrix)
        out[np.ix_(self.effects_order, self.effects_order)] = matrix
        return out

    def matrices(self, params: MixedLMParams) -> tuple[Array, ...]:
        """G of each term, relative to σ²."""
        parts = [self.turned(params.cov_re)] if self.k_re else []
        shared = self.widths[len(parts) :]
        return (*parts, *(float(v) * np.eye(q) for v, q in zip(params.vcomp, shared, strict=True)))

    def flats(self, params: MixedLMParams) -> tuple[Array, ...]:
        """Natural parameters of each term: the lower triangle of cov_re, then each component's variance."""
        parts = [vech(self.turned(params.cov_re))] if self.k_re else []
        return (*parts, *(np.array([float(v)]) for v in params.vcomp))

    def params(self, beta: Array, flats: tuple[Array, ...], sigma2: float) -> MixedLMParams:
        """Packed parameters of natural ones in data units."""
        out = MixedLMParams(len(beta), self.k_re, len(self.components))
        out.fe_params = self.outward(beta)
        if self.k_re:
            out.cov_re = self.turned_back(unvech(flats[0])) / sigma2
        out.vcomp = np.array([float(f[0]) for f in flats[1 if self.k_re else 0 :]]) / sigma2
        return out

    # derivatives

    def gradient(self, score: tuple[Array, ...]) -> Array:
        """By the entries of the lower triangle and the components, from score matrices: (k_re2 + k_vc,)."""
        first = 1 if self.k_re else 0
        entries = np.zeros(0)
        if self.k_re:
            S = self.turned_back(score[0])
            entries = vech(2.0 * S - np.diag(np.diag(S)))
        return np.concatenate([entries, [float(np.trace(S)) for S in score[first:]]])

    def tangents(self) -> tuple[Array, ...]:
        """The direction of each term's G for each entry and component: (k_re2 + k_vc, q, q)."""
        total = self.k_re2 + len(self.components)
        out = [np.zeros((total, q, q)) for q in self.widths]
        if self.k_re:
            out[0][: self.k_re2] = [self.turned(direction) for direction in vech_basis(self.k_re)]
        for j, directions in enumerate(out[1 if self.k_re else 0 :]):
            directions[self.k_re2 + j] = np.eye(directions.shape[1])
        return tuple(out)


def lay_out(
    builder: ModelBuilder,
    table: pd.DataFrame,
    components: tuple[Component, ...],
    group: str,
    *,
    by_formula: bool,
    apart: bool = True,
) -> Layout:
    """The model of a builder whose data are `table`, with the components added. group: the grouping column.

    by_formula: whether columns come from formulas, and have patsy's order.   apart: whether wide components become factors.
    Raises DataError where columns of exog depend on each other.
    """
    own, random = builder, len(builder.spec.random)
    wide = random + sum(c.width for c in components) > _WIDE
    nested = tuple(apart and wide and c.width > 1 and c.single for c in components)
    taken, new = {str(c) for c in table.columns}, {}
    quoted = f"`{group}`"
    for component, alone in zip(components, nested, strict=True):
        if alone:
            column, value = component.column_and_value()
            codes = factorize(table[group])[0] * component.width + column
            factor, slope = safe_names([component.name, f"{component.name}_value"], "vc", taken)
            new[factor] = codes
            basis = "1" if np.all(value == 1.0) else f"0 + `{slope}`"
            if basis != "1":
                new[slope] = value
            builder = builder.random(f"{basis} | `{factor}`", structure=INDEPENDENT)
        else:
            names = safe_names([f"{component.name}[{j}]" for j in range(component.width)], "vc", taken)
            new |= dict(zip(names, component.dense.T, strict=True))
            basis = " + ".join(["0", *(f"`{name}`" for name in names)])
            if len(basis) > _LONGEST:
                raise DataError(
                    f"exog_vc {component.name!r}: {component.width} columns of which a row has several · allowed: a few hundred"
                    " · give the covariance of their sum to mmframe.fit as a relationship of the rows' labels"
                )
            builder = builder.random(f"{basis} | {quoted}", structure=INDEPENDENT)
    whole = pd.concat([table, pd.DataFrame(new, index=table.index)], axis=1) if new else table
    model = builder.missing("raise").build(whole, lenient=True)
    design = model.design
    if design.dropped:
        raise DataError(
            f"exog: the columns {', '.join(design.dropped)} depend on the columns before them"
            " · leave them out, or use mmframe.fit, which drops them"
        )
    k_re = design.terms[0].width if random else 0
    order, effects_order = np.arange(design.p), np.arange(k_re)
    if by_formula:
        encoding, transforms = design.encoding, model.spec.transforms
        assert isinstance(encoding, Encoding)
        order = places(encoding.fixed, design.columns, transforms)
        if random:
            effects = encoding.terms[0].basis
            assert isinstance(effects, FormulaEncoding)
            effects_order = places(effects, design.terms[0].columns, transforms)
    return Layout(model, own, table, group, k_re, components, nested, order, effects_order, by_formula)
