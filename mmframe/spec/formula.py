"""lme4's formula language: `y ~ x*z + (1 + x | g) + (1 | a/b) + (x || h) + ar1(0 + visit | subject)`.

The text is read with formulaic's tokens. Bar terms are taken out and become `TermSpec`s; what is left is the formula of
the fixed effects, which formulaic reads when the design is assembled.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from attrs import frozen
from formulaic.errors import FormulaSyntaxError
from formulaic.parser.algos.tokenize import tokenize
from formulaic.parser.types import Token

from mmframe.errors import FormulaError, Issue
from mmframe.spec.expressions import check_expression, shown
from mmframe.spec.model import DEFAULT_STRUCTURE, Choice, TermSpec

_OPEN, _CLOSE = "([{", ")]}"
_GROUP_NAME = re.compile(r"^(?:[^\W\d][\w.]*|`[^`]+`)$")
_OPERATORS = re.compile(r"^(?:[+\-*/:^]|\*\*|%in%|in)+$")
# Formulas may come from anybody: these bound what reading one can cost.
_MAX_LENGTH = 10_000
_MAX_DEPTH = 40
_MAX_TERMS = 20_000
_MAX_GROUPS = 20
_MAX_POWER = 12
# A structure by its qualified name, distribution and all: `mmframe-spatial/matern(`. Its hyphens are no minus signs.
_CALL = re.compile(r"([A-Za-z_][\w.]*(?:-[\w.]+)*(?:/[a-z][a-z0-9_]*)?)\(")
_QUALIFIED = re.compile(r"(?<![\w.])[A-Za-z][\w.]*(?:-[\w.]+)*/[a-z][a-z0-9_]*\(")


@frozen
class ParsedFormula:
    """The parts of a formula: `fixed` is `y ~ ...` (or just a right-hand side), without bar terms."""

    fixed: str
    random: tuple[TermSpec, ...]


def _tokens(text: str, where: str) -> list[Token]:
    try:
        return list(tokenize(text))
    except FormulaSyntaxError:
        raise FormulaError(Issue(where, f"{shown(text)} cannot be read", "closed brackets and quotes")) from None


def _short(text: str, where: str) -> None:
    if len(text) > _MAX_LENGTH:
        raise FormulaError(Issue(where, f"{len(text)} characters", f"at most {_MAX_LENGTH}"))


def _unquoted(text: str) -> Iterator[tuple[int, str, int]]:
    """Each character outside quotes, with its place and the depth of brackets after it."""
    depth, quote = 0, ""
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'`":
            quote = char
        else:
            depth += (char in _OPEN) - (char in _CLOSE)
            yield i, char, depth


def _one_pair(text: str) -> bool:
    """Whether the text is one pair of round brackets with all else within it."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    return next((i for i, char, depth in _unquoted(text) if char in _CLOSE and depth == 0), -1) == len(text) - 1


def split_top(text: str, separators: str) -> list[str]:
    """Split at separators that stand outside brackets and quotes."""
    cuts = [i for i, char, depth in _unquoted(text) if depth == 0 and char in separators]
    return [text[a + 1 : b] for a, b in zip([-1, *cuts], [*cuts, len(text)], strict=True)]


def split_bar(text: str) -> tuple[str, bool, str] | None:
    """`basis | group` -> (basis, independent?, group); None where there is no bar outside brackets."""
    parts = split_top(text, "|")
    if len(parts) == 2:
        return parts[0].strip(), False, parts[1].strip()
    if len(parts) == 3 and parts[1] == "":
        return parts[0].strip(), True, parts[2].strip()
    return None if len(parts) == 1 else ("", False, text)


def parse_formula(text: str, where: str = "formula", transforms: Collection[str] = ()) -> ParsedFormula:
    """Read a whole formula. Raises FormulaError with the place and the piece at fault."""
    if not isinstance(text, str) or not text.strip():
        raise FormulaError(Issue(where, repr(text), "a formula such as 'y ~ x + (1 | group)'"))
    _short(text, where)
    return _parse(text, where, frozenset(transforms))


@lru_cache(maxsize=256)
def _parse(text: str, where: str, transforms: frozenset[str]) -> ParsedFormula:
    sides = split_top(text, "~")
    if len(sides) > 2:
        raise FormulaError(Issue(where, shown(text), "one '~'"))
    left = _checked(sides[0].strip(), where, transforms) if len(sides) == 2 else ""
    if len(sides) == 2 and not left:
        raise FormulaError(Issue(where, repr(text), "a response before '~'"))
    fixed: list[str] = []
    random: list[TermSpec] = []
    issues: list[Issue] = []
    for sign, piece in _pieces(sides[-1], where):
        try:
            terms = _bar_terms(piece, where, transforms)
            if terms is None:
                fixed.append(f"{sign} {_checked(piece, where, transforms)}")
            elif sign == "-":
                raise FormulaError(Issue(where, f"'- {piece}'", "random-effects terms are added, not taken away"))
            else:
                random.extend(terms)
        except FormulaError as problem:
            issues.extend(problem.issues)
    if issues:
        raise FormulaError(issues)
    right = " ".join(fixed)
    right = right[2:] if right.startswith("+ ") else right
    if not right:
        right = "1"
    return ParsedFormula(f"{left} ~ {right}" if left else right, tuple(random))


def _pieces(text: str, where: str) -> list[tuple[str, str]]:
    """The right-hand side cut at its outer + and −: [(sign, piece)]."""
    tokens = _tokens(text, where)
    pieces: list[tuple[str, str]] = []
    depth, sign, start = 0, "+", 0
    names = [match.span() for match in _QUALIFIED.finditer(text)]

    def close(stop: int) -> None:
        piece = text[start:stop].strip()
        if piece:
            pieces.append((sign, piece))

    previous_end = -1
    for token in tokens:
        assert token.source_start is not None and token.source_end is not None
        if token.kind is Token.Kind.CONTEXT:
            depth += 1 if token.token in _OPEN else -1
            if not 0 <= depth <= _MAX_DEPTH:
                break
        elif token.kind is Token.Kind.OPERATOR and depth == 0:
            marks = token.token.replace(" ", "")
            inside_a_name = any(lo < token.source_start < hi for lo, hi in names)
            if marks and not inside_a_name and set(marks) <= set("+-"):
                close(token.source_start)
                sign = "-" if marks.count("-") % 2 else "+"
                start = token.source_end + 1
        previous_end = token.source_end
    close(max(previous_end + 1, len(text)))
    if depth != 0:
        allowed = f"as many closing as opening brackets, at most {_MAX_DEPTH} within each other"
        raise FormulaError(Issue(where, shown(text), allowed))
    return pieces


def _bar_terms(piece: str, where: str, transforms: Collection[str]) -> list[TermSpec] | None:
    """The terms of `(basis | group)` or `structure(basis | group, option=...)`; None where there is no bar."""
    inner = piece
    while _one_pair(inner) and split_bar(inner) is None:
        inner = inner[1:-1].strip()
    if inner != piece and split_bar(inner) is not None:
        return term_specs(inner, where, transforms=transforms)
    call = _CALL.match(piece)
    if call and _one_pair(piece[call.end() - 1 :]):
        arguments = piece[call.end() : -1]
        if split_bar(split_top(arguments, ",")[0]) is not None:
            return call_terms(call.group(1), arguments, where, transforms)
    if "|" in re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "", piece):
        raise FormulaError(
            Issue(
                where,
                f"a bar in {shown(piece)}",
                "(basis | group) or structure(basis | group), added to the other terms",
            )
        )
    return None


def call_terms(name: str, arguments: str, where: str, transforms: Collection[str] = ()) -> list[TermSpec]:
    """`name(basis | group, option=value)`."""
    bar, *rest = split_top(arguments, ",")
    options: dict[str, Any] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        try:
            if not equals or not key.strip().isidentifier():
                raise ValueError
            options[key.strip()] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise FormulaError(
                Issue(
                    where,
                    f"the option {shown(part.strip())} of {name!r}",
                    "option=value with a number, a string, a list or True/False",
                )
            ) from None
    return term_specs(bar, where, structure=Choice(name, options), transforms=transforms)


def read_term(text: str, where: str, transforms: Collection[str] = ()) -> list[TermSpec]:
    """One term as a builder or a document gives it: `1 + x | g`, `(1 + x | g)` or `ar1(0 + visit | subject)`."""
    _short(text, where)
    piece = text.strip()
    found = _bar_terms(f"({piece})" if split_bar(piece) is not None else piece, where, transforms)
    if found is None:
        raise FormulaError(Issue(where, shown(text), "a term such as '1 + x | group'", "there is no bar in it"))
    return found


def term_specs(text: str, where: str, structure: Any = None, transforms: Collection[str] = ()) -> list[TermSpec]:
    """`basis | group`, with `||` for independent effects and `a/b` for nesting: one TermSpec a grouping factor."""
    split = split_bar(text)
    if split is None or not split[0] or not split[2]:
        raise FormulaError(
            Issue(where, shown(text.strip()), "one bar, with a basis before and a grouping factor after it")
        )
    basis, independent, group = split
    basis = " ".join(f"{sign} {_checked(part, where, transforms)}" for sign, part in _pieces(basis, where))
    basis = basis[2:] if basis.startswith("+ ") else basis
    if structure is None:
        structure = Choice("diagonal" if independent else DEFAULT_STRUCTURE)
    elif independent:
        raise FormulaError(
            Issue(where, repr(text.strip()), "one bar inside a structure", "'||' itself means the structure 'diagonal'")
        )
    return [TermSpec(basis, columns, structure) for columns in group_factors(group, where)]


def group_factors(text: str, where: str) -> list[tuple[str, ...]]:
    """`g`, `a:b` and `a/b` (= a and a:b) as tuples of columns."""
    factors: list[tuple[str, ...]] = []
    so_far: tuple[str, ...] = ()
    if text.count("/") + text.count(":") > _MAX_GROUPS or text.count("(") > _MAX_DEPTH:
        raise FormulaError(Issue(where, f"the grouping factor {shown(text)}", f"at most {_MAX_GROUPS} columns"))
    for level in split_top(text, "/"):
        level = level.strip()
        while _one_pair(level):
            level = level[1:-1].strip()
        names = [part.strip() for part in split_top(level, ":")]
        for name in names:
            if not _GROUP_NAME.match(name):
                raise FormulaError(
                    Issue(
                        where,
                        f"the grouping factor {shown(text)}",
                        "a column, an interaction a:b, or nesting a/b",
                        "make a column of it first",
                    )
                )
        so_far = (*so_far, *(name.strip("`") for name in names))
        if len(so_far) > _MAX_GROUPS or len(set(so_far)) < len(so_far):
            allowed = f"different columns, at most {_MAX_GROUPS}"
            raise FormulaError(Issue(where, f"the grouping factor {shown(text)}", allowed))
        factors.append(so_far)
    return factors


def _checked(text: str, where: str, transforms: Collection[str]) -> str:
    """A right-hand side without bars, each of its tokens allowed; R's habits rewritten."""
    out, last, depth = [], 0, 0
    tokens = _tokens(text, where)
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
        elif token.kind is Token.Kind.VALUE:
            _check_number(token.token, text, where)
        elif token.kind is Token.Kind.CONTEXT:
            depth += 1 if token.token in _OPEN else -1
            if token.token in "[]" or not 0 <= depth <= _MAX_DEPTH:
                allowed = f"round brackets, at most {_MAX_DEPTH} within each other"
                raise FormulaError(Issue(where, f"a bracket in {shown(text)}", allowed))
    _check_size(tokens, text, where)
    out.append(text[last:])
    return "".join(out).strip()


def check_side(text: str, transforms: Collection[str] = ()) -> str:
    """One side of a formula just before it is evaluated, wherever it came from; R's habits rewritten.

    Raises FormulaError for anything that a formula may not hold.
    """
    return _checked(text, "formula", transforms)


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
    for token in tokenize(text):
        if token.kind is Token.Kind.NAME:
            names.add(token.token.strip("`"))
        elif token.kind is Token.Kind.PYTHON:
            names |= check_expression(token.token, "formula", transforms)[1]
    return frozenset(names)
