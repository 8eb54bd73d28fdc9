"""One side of a formula: whether each of its tokens is allowed, how much it expands to, and the columns that it names."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

from formulaic.errors import FormulaSyntaxError
from formulaic.parser.algos.tokenize import tokenize
from formulaic.parser.types import Token

from mmframe.errors import FormulaError, Issue
from mmframe.spec.expressions import check_expression, shown

OPEN, CLOSE = "([{", ")]}"
_OPERATORS = re.compile(r"^(?:[+\-*/:^]|\*\*|%in%|in)+$")
# Columns that cannot be called by these names: formulaic reads them as the intercept, and as all columns.
NO_NAMES = ("1", ".")
# Formulas may come from anybody: these bound what reading one can cost.
MAX_DEPTH = 40
_MAX_TERMS = 20_000
_MAX_POWER = 12


def tokens_of(text: str, where: str) -> list[Token]:
    try:
        return list(tokenize(text))
    except FormulaSyntaxError:
        raise FormulaError(Issue(where, f"{shown(text)} cannot be read", "closed brackets and quotes")) from None


def checked(text: str, where: str, transforms: Collection[str]) -> str:
    """A right-hand side without bars, each of its tokens allowed; R's habits rewritten."""
    out, last, depth = [], 0, 0
    tokens = tokens_of(text, where)
    for token in tokens:
        assert token.source_start is not None and token.source_end is not None
        if token.kind is Token.Kind.PYTHON:
            new, _ = check_expression(token.token, where, transforms)
            braces = text[token.source_start] == "{"  # formulaic's quotes for Python; its token leaves them out
            out += [text[last : token.source_start], "{" + new + "}" if braces else new]
            last = token.source_end + (2 if braces else 1)
        elif token.kind is Token.Kind.OPERATOR:
            if not _OPERATORS.match(token.token.replace(" ", "")):
                raise FormulaError(
                    Issue(where, f"the operator {shown(token.token)} in {shown(text)}", "+ - * / : ^ ** %in%")
                )
        elif token.kind is Token.Kind.NAME and token.token in NO_NAMES:
            remedy = "rename the column"
            raise FormulaError(Issue(where, f"the name `{token.token}` in {shown(text)}", "columns by name", remedy))
        elif token.kind is Token.Kind.VALUE:
            _check_number(token.token, text, where)
        elif token.kind is Token.Kind.CONTEXT:
            depth += 1 if token.token in OPEN else -1
            if token.token in "[]" or not 0 <= depth <= MAX_DEPTH:
                allowed = f"round brackets, at most {MAX_DEPTH} within each other"
                raise FormulaError(Issue(where, f"a bracket in {shown(text)}", allowed))
    _check_size(tokens, text, where)
    out.append(text[last:])
    return "".join(out).strip()


def check_side(text: str, transforms: Collection[str] = ()) -> str:
    """One side of a formula just before it is evaluated, wherever it came from; R's habits rewritten.

    Raises FormulaError for anything that a formula may not hold.
    """
    return checked(text, "formula", transforms)


def _check_number(token: str, text: str, where: str) -> None:
    if token.strip(".") == "":
        raise FormulaError(
            Issue(
                where, f"{token!r} in {shown(text)}", "columns by name", "name the columns: '.' does not stand for all"
            )
        )
    if not re.fullmatch(r"\d{1,20}(\.\d{0,20})?|\.\d{1,20}", token):
        raise FormulaError(
            Issue(where, f"{shown(token)} in {shown(text)}", "names, numbers, arithmetic and allow-listed calls")
        )


def _check_size(tokens: list[Token], text: str, where: str) -> None:
    """Bound the number of terms that `*` and powers expand to."""
    names = sum(t.kind in (Token.Kind.NAME, Token.Kind.PYTHON) for t in tokens)
    exponent, stars = 1, 0
    for k, token in enumerate(tokens):
        if token.kind is not Token.Kind.OPERATOR:
            continue
        marks = token.token.replace(" ", "")
        powers = marks.count("**") + marks.count("^")
        stars += marks.replace("**", "").count("*")
        if powers:
            after = tokens[k + 1] if k + 1 < len(tokens) else None
            if (
                powers > 1
                or after is None
                or not re.fullmatch(r"\d{1,2}", after.token)
                or int(after.token) > _MAX_POWER
            ):
                raise FormulaError(
                    Issue(where, f"a power in {shown(text)}", f"a whole number after ** or ^, at most {_MAX_POWER}")
                )
            exponent *= max(int(after.token), 1)
    if exponent > 100 or stars > 100 or (max(names, 1) ** exponent * 2**stars > _MAX_TERMS and (exponent > 1 or stars)):
        raise FormulaError(
            Issue(where, f"the products and powers in {shown(text)}", f"those of at most {_MAX_TERMS} terms")
        )


@lru_cache(maxsize=512)
def columns_of(text: str, transforms: frozenset[str] = frozenset()) -> frozenset[str]:
    """The columns that a right-hand side or a response names."""
    names: set[str] = set()
    for token in tokens_of(text, "formula"):
        if token.kind is Token.Kind.NAME:
            names.add(token.token.strip("`"))
        elif token.kind is Token.Kind.PYTHON:
            names |= check_expression(token.token, "formula", transforms)[1]
    return frozenset(names)
