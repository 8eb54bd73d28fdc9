"""`fit` and `fit_spec`: the shortest ways from a model in words to a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mmframe.builder import ModelBuilder
from mmframe.errors import Issue, SpecError
from mmframe.model import build
from mmframe.resolution import as_choice
from mmframe.results.result import FitResult
from mmframe.spec.document import from_dict
from mmframe.spec.model import ModelSpec
from mmframe.spec.yaml_text import load_spec


def fit(
    formula: str,
    data: Any,
    *,
    reml: bool = True,
    residual: str | None = None,
    variance: str | None = None,
    weights: Any = None,
    offset: Any = None,
    parameterization: Any = None,
    stages: Iterable[Any] | None = None,
    start: Any = None,
    fix: Mapping[str, float] | None = None,
    tie: Iterable[Iterable[str]] | None = None,
    relationship: Mapping[str, Any] | None = None,
    engine: str | None = None,
    categorical: Mapping[str, Iterable[Any] | None] | None = None,
    transforms: Mapping[str, Callable[..., Any]] | None = None,
    missing: str = "drop",
    progress: bool = False,
) -> FitResult:
    """Fit a linear mixed-effects model.

    formula: lme4's language, `y ~ x + (1 + x | g)`.   data: a pandas, polars or pyarrow table, a dict of columns, or the
    path of a CSV or Parquet file.   reml: REML, or ML.   weights, offset: a column's name or an array (n,).
    parameterization: a name (or instance) for all terms, or a mapping by term.   stages: names, {name: options} or instances.
    start, fix: {parameter name: value in data units} (start also a FitResult).   tie: [[name, name], ...], parameters that
    are equal.   residual: `ar1(visit | subject)`, the structure of the residuals of a group.   variance: `ident(sex)`,
    `power(fitted)`, what their variance depends on.   categorical: {column: levels in order}.
    relationship: {grouping factor: labelled matrix} for Var(b) = K ⊗ G: a DataFrame, a Relationship (also of an inverse),
    or a file.
    transforms: {name: function} that the formula may call.   missing: "drop" or "raise".   progress: show it on a terminal.

    Raises SpecError (what was asked), DataError (what was given), EngineRefusedError (what cannot be computed).
    """
    if not isinstance(reml, bool):
        raise SpecError(Issue("reml", repr(reml), "True (REML) or False (ML)"))
    builder = ModelBuilder()
    if transforms is not None:  # before the formula, which may call them
        builder = builder.transforms(transforms)
    builder = builder.fixed(formula).criterion("reml" if reml else "ml").missing(missing)
    given = {
        "residual": residual,
        "variance": variance,
        "weights": weights,
        "offset": offset,
        "parameterization": parameterization,
        "start": start,
        "fix": fix,
        "tie": tie,
        "relationship": relationship,
        "engine": engine,
        "categorical": categorical,
    }
    for name, value in given.items():
        if value is not None:
            builder = getattr(builder, name)(value)
    if stages is not None:
        if isinstance(stages, str) or not isinstance(stages, Iterable):
            raise SpecError(Issue("stages", repr(stages), f"a list of stages, such as [{stages!r}]"))
        chosen = [as_choice(s, f"stages[{i}]") for i, s in enumerate(stages)]
        if not chosen:
            raise SpecError(Issue("stages", "an empty list", "at least one stage", "leave stages out for the default"))
        builder = builder.stages(*chosen)
    return builder.build(data).fit(progress=progress)


def fit_spec(
    spec: ModelSpec | Mapping[str, Any] | str | Path, data: Any = None, *, progress: bool = False
) -> FitResult:
    """Fit a specification: a ModelSpec, a dict, or the path of a YAML file. `data` replaces the file that it names."""
    if isinstance(spec, (str, Path)):
        spec = load_spec(spec)
    elif not isinstance(spec, ModelSpec):
        spec = from_dict(spec)
    return build(spec, data).fit(progress=progress)
