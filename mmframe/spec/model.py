"""The model specification: what was asked, before any data or plugin is touched. Frozen, and free of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from mmframe.errors import Issue, SpecError

CRITERIA = ("reml", "ml")
MISSING = ("drop", "raise")
DEFAULT_STRUCTURE = "unstructured"


# Structures that are made of others: `kronecker(us(trait), ar1(time) | subject)`.
COMBINATORS = ("heterogeneous", "kronecker", "sum", "block")


@frozen
class Choice:
    """A plugin by name, with its options; a combinator has parts, each a structure with the columns that it takes."""

    name: str
    options: dict[str, Any] = field(factory=dict)
    parts: tuple[Part, ...] = ()


@frozen
class Part:
    """One part of a combinator: a structure (a Choice or an instance) and its basis."""

    basis: str
    structure: Any


@frozen
class TermSpec:
    """A term `basis | group` of the random effects, or of the residual.

    basis: the right-hand side of a formula; of the residual the columns of its points.   group: one column, several for
    an interaction, none for `| 1` (all rows).   structure: a Choice, or an instance of a covariance structure.
    parameterization: a name, an instance, or None for the model's.   by: a column whose levels have parameters of their own.
    """

    basis: str
    group: tuple[str, ...]
    structure: Any = field(factory=lambda: Choice(DEFAULT_STRUCTURE))
    parameterization: Any = None
    by: str | None = None

    @property
    def group_name(self) -> str:
        return ":".join(self.group) or "1"

    @property
    def group_text(self) -> str:
        """The grouping factor as a formula writes it: names that are no identifiers in backticks."""
        return ":".join(name if name.isidentifier() else f"`{name}`" for name in self.group) or "1"

    @property
    def label(self) -> str:
        return f"{self.basis} | {self.group_name}"


@frozen
class OutputSpec:
    """What the command line writes: a printed summary, and a bundle in a folder."""

    summary: bool = True
    bundle: str | None = None


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any, Any, Any], None]:
    def check(_: Any, attribute: Any, value: Any) -> None:
        if value not in allowed:
            raise SpecError(Issue(attribute.name, repr(value), ", ".join(allowed)))

    return check


@frozen
class ModelSpec:
    """A whole model.

    formula: the response and the fixed effects, `y ~ 1 + x`.   random: the terms.   residual: the structure of the
    residuals within a group.   variance: the functions that their variances are products of.   weights, offset: columns.
    stages: None selects the default.   parameterization: one name or instance, or a mapping by term
    label or group.
    start, fix: natural parameters by name, in data units.   tie: names of parameters that are
    equal.   categorical: levels in order by column (None: as they come).
    relationship: for a grouping factor the relationship of its levels: a file, {file: ..., inverse: ...}, or a matrix.
    transforms: further functions that formulas may call; they cannot be written to a document.
    """

    formula: str
    random: tuple[TermSpec, ...] = ()
    residual: TermSpec | None = None
    variance: tuple[Choice, ...] = ()
    weights: str | None = None
    offset: str | None = None
    criterion: str = field(default="reml", validator=_one_of(CRITERIA))
    parameterization: Any = None
    stages: tuple[Choice, ...] | None = None
    start: dict[str, float] = field(factory=dict)
    fix: dict[str, float] = field(factory=dict)
    tie: tuple[tuple[str, ...], ...] = ()
    relationship: dict[str, Any] = field(factory=dict)
    engine: str | None = None
    categorical: dict[str, list[Any] | None] = field(factory=dict)
    transforms: Mapping[str, Callable[..., Any]] = field(factory=dict, eq=False, repr=False)
    missing: str = field(default="drop", validator=_one_of(MISSING))
    data: str | None = None
    output: OutputSpec = field(factory=OutputSpec)

    @property
    def reml(self) -> bool:
        return self.criterion == "reml"
