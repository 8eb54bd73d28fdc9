"""The residual in words: `ar1(visit | subject)`, `sp_exp(x + y | 1, nugget=True)`, and variance functions, `power(time)`."""

from __future__ import annotations

import re

from attrs import evolve

from mmframe.errors import FormulaError, Issue
from mmframe.spec.expressions import shown
from mmframe.spec.formula import call_terms, check_length, split_call, split_top
from mmframe.spec.model import Choice, Part, TermSpec

_NAME = re.compile(r"^(?:[^\W\d][\w.]*|`[^`]+`)$")
FITTED = "fitted"  # the covariate of a variance function that is the model's own fitted values


def read_residual(text: str, where: str = "residual") -> TermSpec:
    """`structure(points | group, option=value, by=column)`; `| 1` makes all rows one group.

    Raises FormulaError.
    """
    check_length(str(text), where)
    given = split_call(text.strip()) if isinstance(text, str) else None
    if given is None:
        remedy = "the rows of one group correlate, those of others do not"
        raise FormulaError(
            Issue(where, shown(str(text)), "structure(points | group), such as ar1(visit | subject)", remedy)
        )
    name, arguments = given
    if len(split_top(arguments, "|")) != 2:
        raise FormulaError(
            Issue(
                where, shown(text), "one bar, with points before and a group after it", f"write {name}(visit | subject)"
            )
        )
    points, after = split_top(arguments, "|")
    group, *rest = split_top(after, ",")
    whole = group.strip() == "1"
    # a group of no columns is not in the language of random effects: it goes through with a name of its own
    after = ",".join(["all_rows" if whole else group, *rest])
    terms = call_terms(name, f"{points}|{after}", where)
    if len(terms) != 1:
        raise FormulaError(Issue(where, shown(text), "one group", "write a:b for the combinations of a and b"))
    term = evolve(terms[0], group=() if whole else terms[0].group)
    for part in _leaves(term):
        columns(part.basis, where)
    return term


def _leaves(term: TermSpec | Part) -> list[TermSpec | Part]:
    parts = getattr(term.structure, "parts", ())
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [term]


def columns(basis: str, where: str) -> tuple[str, ...]:
    """The columns of points, in the order in which they are written; none for `1`, the order of rows. Raises FormulaError."""
    pieces = [p.strip() for p in split_top(basis, "+")]
    pieces = pieces[1:] if len(pieces) > 1 and pieces[0] == "0" else pieces
    if pieces == ["1"]:
        return ()
    if not all(_NAME.match(p) for p in pieces):
        raise FormulaError(Issue(where, shown(basis), "columns by name, joined by +", "make a column of it first"))
    return tuple(p.strip("`") for p in pieces)


def read_variance(text: str, where: str = "variance") -> tuple[Choice, ...]:
    """`ident(sex)`, `power(fitted)`, or a product of such: `ident(sex) * power(time)`. Raises FormulaError."""
    check_length(str(text), where)
    found = []
    for piece in split_top(text, "*") if isinstance(text, str) else [""]:
        given = split_call(piece.strip())
        covariate = "" if given is None else split_top(given[1], ",")[0].strip()
        if given is None or not all(_NAME.match(c) for c in covariate.split(":")):
            allowed = "function(covariate), such as ident(sex), power(time), exp(x), const_power(x), fixed(v)"
            raise FormulaError(Issue(where, shown(str(text)), allowed, "several are joined by *"))
        term = call_terms(given[0], f"1|g,{','.join(split_top(given[1], ',')[1:])}".rstrip(","), where)[0]
        found.append(Choice(given[0], {"covariate": covariate.replace("`", ""), **term.structure.options}))
    return tuple(found)
