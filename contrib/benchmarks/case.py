"""What a case is: a model, and the table it is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Term:
    """`(basis | group)`; the group is a column, also where it is nested in another."""

    basis: str
    group: str

    def __str__(self) -> str:
        return f"({self.basis} | {self.group})"


@dataclass(frozen=True)
class Within:
    """`structure(points | group)`: how the residuals of a group are related; points and group are columns."""

    structure: str
    points: str
    group: str

    def __str__(self) -> str:
        return f"{self.structure}({self.points} | {self.group})"


@dataclass(frozen=True)
class Case:
    """`fixed + random` fitted to `data`. The parts are kept apart because some systems take them apart.

    reml: the criterion, the same for every system, so that their log-likelihoods can be compared; systems that do not
    have it leave the case out.
    within: the structure of the residuals. None: they are independent.
    """

    name: str
    about: str
    data: pd.DataFrame
    fixed: str
    random: tuple[Term, ...] = ()
    reml: bool = True
    within: Within | None = None

    @property
    def formula(self) -> str:
        """The model in lme4's language, without the residuals."""
        return " + ".join([self.fixed, *map(str, self.random)])

    @property
    def residual(self) -> str | None:
        """The structure of the residuals in mmframe's language."""
        return None if self.within is None else str(self.within)

    @property
    def groups(self) -> tuple[str, ...]:
        """The grouping factors of the random effects, then that of the residuals, each once."""
        names = [term.group for term in self.random]
        return tuple(dict.fromkeys(names if self.within is None else [*names, self.within.group]))

    @property
    def levels(self) -> tuple[int, ...]:
        """How many levels each grouping factor has."""
        return tuple(int(self.data[group].nunique()) for group in self.groups)
