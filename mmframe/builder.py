"""The builder: composes a model step by step, from formulas or from arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import numpy as np
import pandas as pd
from attrs import field, frozen

from mmframe.covariance.domain import Array
from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.design.frame import to_pandas
from mmframe.errors import DataError, Issue, SpecError
from mmframe.model import Model, build
from mmframe.registry.registry import Registry
from mmframe.resolution import as_choice
from mmframe.results.result import FitResult
from mmframe.spec.formula import parse_formula, read_term
from mmframe.spec.model import COMBINATORS, DEFAULT_STRUCTURE, Choice, ModelSpec, OutputSpec, TermSpec
from mmframe.spec.residual import read_residual, read_variance


def residual_term(term: Any, structure: Any, parameterization: Any, by: str | None) -> TermSpec:
    """The residual's term; a structure apart may be a name, a mapping or an instance. Raises SpecError."""
    if structure is None:
        found = read_residual(term)
    else:
        chosen = as_choice(structure, "residual: structure")
        name = chosen.name if isinstance(chosen, Choice) and chosen.name in COMBINATORS else "structure"
        found = read_residual(f"{name}({term})")
        if name == "structure":
            found = attrs.evolve(found, structure=chosen)
    return attrs.evolve(found, parameterization=parameterization, by=by if by is not None else found.by)


def _mapping(where: str, value: Any, allowed: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(Issue(where, repr(value), allowed))
    return {str(k): v for k, v in value.items()}


def _aligned(name: str, values: Any, data: pd.DataFrame | None) -> Any:
    """A Series goes by its index, as pandas users expect; an array by position."""
    if not isinstance(values, pd.Series) or data is None or values.index.equals(data.index):
        return values
    same = values.index.is_unique and data.index.is_unique and set(values.index) == set(data.index)
    if not same:
        raise DataError(f"{name}: its index is not that of the data · pass an array to go by position")
    return values.reindex(data.index)


def _arrays(values: Any, prefix: str) -> dict[str, Array]:
    """Columns of a matrix by name: a table's own names, else prefix1, prefix2, ..."""
    if isinstance(values, pd.DataFrame):  # the numbers of unnamed columns are no names
        labels: list[Any] = list(values.columns)
        names = [f"{prefix}{c}" if isinstance(c, (int, np.integer)) else str(c) for c in labels]
        return {name: values.iloc[:, j].to_numpy() for j, name in enumerate(names)}
    if isinstance(values, pd.Series):
        return {str(values.name if values.name is not None else prefix): values.to_numpy()}
    matrix = np.asarray(values)
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2:
        raise DataError(f"{prefix}: an array with {matrix.ndim} dimensions · allowed: one or two")
    return {f"{prefix}{j + 1}": matrix[:, j] for j in range(matrix.shape[1])}


@frozen(eq=False)
class ModelBuilder:
    """Composes a model step by step. Each method returns a new builder; `build(data)` returns the Model.

    Terms may hold arrays in place of formulas: `.fixed(X, y)` and `.random(Z=Z, groups=g)`.
    """

    spec: ModelSpec = field(factory=lambda: ModelSpec(formula=""))
    columns: dict[str, Any] = field(factory=dict)
    registry: Registry | None = None

    def _with(self, **changes: Any) -> ModelBuilder:
        return attrs.evolve(self, spec=attrs.evolve(self.spec, **changes))

    def _add(self, new: Mapping[str, Any]) -> ModelBuilder:
        clash = [name for name in new if name in self.columns and not np.array_equal(new[name], self.columns[name])]
        if clash:
            raise SpecError(
                Issue(
                    "arrays", f"two columns named {clash[0]!r}", "names of their own", "pass tables with named columns"
                )
            )
        return attrs.evolve(self, columns={**self.columns, **new})

    @classmethod
    def from_spec(cls, spec: ModelSpec, registry: Registry | None = None) -> ModelBuilder:
        return cls(spec, {}, registry)

    def fixed(self, formula: Any, y: Any = None) -> ModelBuilder:
        """`.fixed("y ~ x")`, bar terms allowed; or `.fixed(X, y)` with arrays, X holding every column (no intercept is added)."""
        if y is None:
            if not isinstance(formula, str):
                raise SpecError(Issue("fixed", type(formula).__name__, "a formula, or two arrays X and y"))
            parsed = parse_formula(formula, "formula", tuple(self.spec.transforms))
            return self._with(formula=parsed.fixed, random=(*self.spec.random, *parsed.random))
        X, response = _arrays(formula, "x"), _arrays(y, "y")
        if len(response) != 1:
            raise SpecError(Issue("fixed", f"y has {len(response)} columns", "one"))
        name, values = next(iter(response.items()))
        name = "y" if name == "y1" else name
        right = " + ".join(["0", *(f"`{c}`" for c in X)])
        return self._add({**X, name: values})._with(formula=f"`{name}` ~ {right}")

    def random(
        self,
        term: str | None = None,
        *,
        structure: Any = None,
        parameterization: Any = None,
        Z: Any = None,
        groups: Any = None,
        by: str | None = None,
    ) -> ModelBuilder:
        """`.random("1 + x | g", structure="diagonal", by="arm")`; or `.random(Z=Z, groups=g)` with arrays."""
        builder = self
        if term is None:
            if Z is None or groups is None:
                raise SpecError(
                    Issue("random", "neither a term nor Z and groups", "'1 + x | g', or Z=... and groups=...")
                )
            number = len(self.spec.random) + 1
            basis = _arrays(Z, "z" if number == 1 else f"z{number}_")
            label = _arrays(groups, "group")
            group = next(iter(label))
            group_name = "group" if group == "group1" else group
            builder = self._add({**basis, group_name: next(iter(label.values()))})
            terms = [TermSpec(" + ".join(["0", *(f"`{c}`" for c in basis)]), (group_name,))]
        elif getattr(structure, "name", structure) in COMBINATORS:
            name = getattr(structure, "name", structure)
            terms, structure = read_term(f"{name}({term})", "random", tuple(self.spec.transforms)), None
        else:
            terms = read_term(term, "random", tuple(self.spec.transforms))
        if structure is not None:
            chosen = as_choice(structure, "random: structure")
            if any(t.structure not in (Choice(DEFAULT_STRUCTURE), chosen) for t in terms):
                raise SpecError(
                    Issue("random", f"{term!r} with structure={structure!r}", "one structure", "name it once")
                )
            terms = [attrs.evolve(t, structure=chosen) for t in terms]
        terms = [attrs.evolve(t, parameterization=parameterization, by=by or t.by) for t in terms]
        return builder._with(random=(*builder.spec.random, *terms))

    def residual(
        self, term: str | None, *, structure: Any = None, parameterization: Any = None, by: str | None = None
    ) -> ModelBuilder:
        """`.residual("ar1(visit | subject)")`; or `.residual("visit | subject", structure=...)` with a name or an instance."""
        if term is None:
            return self._with(residual=None)
        return self._with(residual=residual_term(term, structure, parameterization, by))

    def variance(self, function: Any) -> ModelBuilder:
        """`.variance("ident(sex)")`, `"power(fitted)"`, a product of such, or an instance."""
        if function is None:
            return self._with(variance=())
        if isinstance(function, CovarianceStructure):
            return self._with(variance=(function,))
        return self._with(variance=read_variance(function))

    def tie(self, tie: Iterable[Iterable[str]] | None) -> ModelBuilder:
        """Parameters that are equal: [[name, name, ...], ...]."""
        return self._with(tie=tuple(tuple(names) for names in tie or ()))

    def _column(self, key: str, value: Any) -> ModelBuilder:
        """A column by name, or an array that becomes one."""
        if value is None or isinstance(value, str):
            return self._with(**{key: value})
        array = value if isinstance(value, pd.Series) else np.asarray(value)
        if array.ndim != 1:
            raise DataError(
                f"{key}: an array with {array.ndim} dimensions · allowed: a column's name, or one value a row"
            )
        return self._add({f"({key})": array})._with(**{key: f"({key})"})

    def weights(self, weights: Any) -> ModelBuilder:
        """Var(ε_i) = σ²/w_i: a column's name or an array."""
        return self._column("weights", weights)

    def offset(self, offset: Any) -> ModelBuilder:
        """A known part of the mean: a column's name or an array."""
        return self._column("offset", offset)

    def criterion(self, criterion: str) -> ModelBuilder:
        """ "reml" or "ml"."""
        return self._with(criterion=str(criterion).lower())

    def parameterization(self, parameterization: Any) -> ModelBuilder:
        """One name (or instance) for all terms, or a mapping by term label or grouping factor."""
        if not isinstance(parameterization, (str, Mapping, Parameterization, type(None))):
            allowed = "a name, an instance of a parameterization, or a mapping by term"
            raise SpecError(Issue("parameterization", repr(parameterization), allowed))
        value = dict(parameterization) if isinstance(parameterization, Mapping) else parameterization
        return self._with(parameterization=value)

    def stages(self, *stages: Any) -> ModelBuilder:
        """Stages in order, by name, with options as {name: {option: value}}, or as instances; none: the default."""
        return self._with(stages=tuple(as_choice(s, f"stages[{i}]") for i, s in enumerate(stages)) or None)

    def start(self, start: Any) -> ModelBuilder:
        """{parameter name: value in data units}, or a FitResult."""
        if isinstance(start, FitResult):
            start = start.starting_values()
        return self._with(start=_mapping("start", start, "{parameter name: value}, or a FitResult"))

    def fix(self, fix: Mapping[str, float] | None) -> ModelBuilder:
        """{parameter name: value in data units} to hold."""
        return self._with(fix=_mapping("fix", fix, "{parameter name: value}"))

    def relationship(self, relationship: Mapping[str, Any] | None) -> ModelBuilder:
        """{grouping factor: a DataFrame with labels, a Relationship, or a file}: Var(b) = K ⊗ G."""
        return self._with(relationship=_mapping("relationship", relationship, "{grouping factor: matrix}"))

    def engine(self, engine: str | None) -> ModelBuilder:
        if not isinstance(engine, (str, type(None))):
            raise SpecError(Issue("engine", repr(engine), "an engine's name"))
        return self._with(engine=engine)

    def categorical(self, categorical: Mapping[str, Iterable[Any] | None] | None) -> ModelBuilder:
        """{column: levels in order, or None for the levels as they come}."""
        allowed = "{column: [levels in order], or None}"
        given = _mapping("categorical", categorical, allowed)
        wrong = [v for v in given.values() if isinstance(v, str) or not isinstance(v, (Iterable, type(None)))]
        if wrong:
            raise SpecError(Issue("categorical", repr(wrong[0]), allowed))
        return self._with(categorical={k: None if v is None else list(v) for k, v in given.items()})

    def transforms(self, transforms: Mapping[str, Callable[..., Any]] | None) -> ModelBuilder:
        """{name: function} that formulas may call besides the allow-list; give them before the formulas."""
        issues = [
            Issue(f"transforms[{name!r}]", repr(function), "an identifier and a function")
            for name, function in _mapping("transforms", transforms, "{name: function}").items()
            if not (str(name).isidentifier() and not str(name).startswith("_") and callable(function))
        ]
        if issues:
            raise SpecError(issues)
        return self._with(transforms=dict(transforms or {}))

    def missing(self, missing: str) -> ModelBuilder:
        """ "drop" (rows with missing values go, and are counted) or "raise"."""
        return self._with(missing=missing)

    def output(self, *, summary: bool = True, bundle: str | None = None) -> ModelBuilder:
        return self._with(output=OutputSpec(summary, bundle))

    def build(self, data: Any = None, *, lenient: bool = False) -> Model:
        """The Model. Raises SpecError, DataError or EngineRefusedError, before any fitting.

        lenient: as many random effects as rows give an IdentifiabilityWarning, not a DataError.
        """
        if not self.columns:
            return build(self.spec, data, self.registry, lenient=lenient)
        lengths = {name: len(values) for name, values in self.columns.items()}
        if data is not None:
            data = to_pandas(data, ())
            lengths["data"] = len(data)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"arrays: their lengths differ ({told}) · allowed: one value a row")
        table = pd.DataFrame({name: np.asarray(_aligned(name, v, data)) for name, v in self.columns.items()})
        if data is not None:
            clash = [name for name in self.columns if name in data.columns]
            if clash:
                raise SpecError(Issue("arrays", f"the data already have a column {clash[0]!r}", "names of their own"))
            table.index = data.index
            table = pd.concat([data, table], axis=1)
        return build(self.spec, table, self.registry, lenient=lenient)
