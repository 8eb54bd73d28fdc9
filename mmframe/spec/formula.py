"""lme4's formula language: `y ~ x*z + (1 + x | g) + (1 | a/b) + (x || h) + ar1(0 + visit | subject)`.

The text is read with formulaic's tokens. Bar terms are taken out and become `TermSpec`s; what is left is the formula of
the fixed effects, which formulaic reads when the design is assembled.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any

from attrs import evolve, frozen
from formulaic.parser.types import Token

from mmframe.errors import FormulaError, Issue
from mmframe.spec.expressions import shown
from mmframe.spec.model import COMBINATORS, DEFAULT_STRUCTURE, Choice, Part, TermSpec
from mmframe.spec.sides import CLOSE, MAX_DEPTH, OPEN, checked, tokens_of

_GROUP_NAME = re.compile(r"^(?:[^\W\d][\w.]*|`[^`]+`)$")
# Formulas may come from anybody: these bound what reading one can cost.
_MAX_LENGTH = 10_000
_MAX_GROUPS = 20
_MAX_PARTS = 5
# A structure by its qualified name, distribution and all: `mmframe-spatial/matern(`. Its hyphens are no minus signs.
_CALL = re.compile(r"([A-Za-z_][\w.]*(?:-[\w.]+)*(?:/[a-z][a-z0-9_]*)?)\(")
_QUALIFIED = re.compile(r"(?<![\w.])[A-Za-z][\w.]*(?:-[\w.]+)*/[a-z][a-z0-9_]*\(")


@frozen
class ParsedFormula:
    """The parts of a formula: `fixed` is `y ~ ...` (or just a right-hand side), without bar terms."""

    fixed: str
    random: tuple[TermSpec, ...]


def check_length(text: str, where: str) -> None:
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
            depth += (char in OPEN) - (char in CLOSE)
            yield i, char, depth


def _one_pair(text: str) -> bool:
    """Whether the text is one pair of round brackets with all else within it."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    return next((i for i, char, depth in _unquoted(text) if char in CLOSE and depth == 0), -1) == len(text) - 1


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


def split_call(text: str) -> tuple[str, str] | None:
    """`name(arguments)` -> (name, arguments); None for anything else."""
    call = _CALL.match(text)
    return (call.group(1), text[call.end() : -1]) if call and _one_pair(text[call.end() - 1 :]) else None


def parse_formula(text: str, where: str = "formula", transforms: Collection[str] = ()) -> ParsedFormula:
    """Read a whole formula. Raises FormulaError with the place and the piece at fault."""
    if not isinstance(text, str) or not text.strip():
        raise FormulaError(Issue(where, repr(text), "a formula such as 'y ~ x + (1 | group)'"))
    check_length(text, where)
    return _parse(text, where, frozenset(transforms))


@lru_cache(maxsize=256)
def _parse(text: str, where: str, transforms: frozenset[str]) -> ParsedFormula:
    sides = split_top(text, "~")
    if len(sides) > 2:
        raise FormulaError(Issue(where, shown(text), "one '~'"))
    left = checked(sides[0].strip(), where, transforms) if len(sides) == 2 else ""
    if len(sides) == 2 and not left:
        raise FormulaError(Issue(where, repr(text), "a response before '~'"))
    fixed: list[str] = []
    random: list[TermSpec] = []
    issues: list[Issue] = []
    for sign, piece in _pieces(sides[-1], where):
        try:
            terms = _bar_terms(piece, where, transforms)
            if terms is None:
                fixed.append(f"{sign} {checked(piece, where, transforms)}")
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
    tokens = tokens_of(text, where)
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
            depth += 1 if token.token in OPEN else -1
            if not 0 <= depth <= MAX_DEPTH:
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
        allowed = f"as many closing as opening brackets, at most {MAX_DEPTH} within each other"
        raise FormulaError(Issue(where, shown(text), allowed))
    return pieces


def _bar_terms(piece: str, where: str, transforms: Collection[str]) -> list[TermSpec] | None:
    """The terms of `(basis | group)` or `structure(basis | group, option=...)`; None where there is no bar."""
    inner = piece
    while _one_pair(inner) and split_bar(inner) is None:
        inner = inner[1:-1].strip()
    if inner != piece and split_bar(inner) is not None:
        return term_specs(inner, where, transforms=transforms)
    call = split_call(piece)
    if call is not None and len(split_top(call[1], "|")) > 1:
        return call_terms(*call, where, transforms)
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
    """`name(basis | group, option=value)`; of a combinator `name(a(basis), b(basis) | group, option=value)`."""
    bars = split_top(arguments, "|")
    if len(bars) == 3 and not bars[1].strip():
        allowed = "one bar inside a structure"
        raise FormulaError(Issue(where, repr(arguments.strip()), allowed, "'||' itself means the structure 'diagonal'"))
    group, *rest = split_top(bars[-1], ",")
    basis = "|".join(bars[:-1])
    options = _options(name, rest, where)
    by = options.pop("by", None)
    if by is not None and not isinstance(by, str):
        raise FormulaError(Issue(where, f"by={by!r}", "a column's name", "write by='column'"))
    parts: tuple[Part, ...] = ()
    if name in COMBINATORS:
        parts = tuple(_part(text, name, where, transforms) for text in split_top(basis, ","))
        basis = " + ".join(part.basis for part in parts)
    found = term_specs(f"{basis} | {group}", where, structure=Choice(name, options, parts), transforms=transforms)
    return [evolve(term, by=by) for term in found]


def _part(text: str, combinator: str, where: str, transforms: Collection[str], depth: int = 1) -> Part:
    """`ar1(visit)` or `toep(0 + visit, bands=3)`, a part of a combinator."""
    piece = text.strip()
    if depth > _MAX_PARTS:
        raise FormulaError(
            Issue(where, f"combinators within each other in {shown(piece)}", f"at most {_MAX_PARTS} levels")
        )
    call = split_call(piece)
    if call is None:
        allowed = "structures with their columns, such as us(trait), ar1(time)"
        raise FormulaError(Issue(where, f"the part {shown(piece)} of {combinator!r}", allowed))
    name, (basis, *rest) = call[0], split_top(call[1], ",")
    if name in COMBINATORS:
        inner = [basis, *(r for r in rest if not _is_option(r))]
        parts = tuple(_part(p, name, where, transforms, depth + 1) for p in inner)
        options = _options(name, [r for r in rest if _is_option(r)], where)
        return Part(" + ".join(p.basis for p in parts), Choice(name, options, parts))
    return Part(checked(basis.strip(), where, transforms), Choice(name, _options(name, rest, where)))


def _is_option(text: str) -> bool:
    return bool(re.match(r"\s*[A-Za-z_]\w*\s*=[^=]", text))


def _options(name: str, given: list[str], where: str) -> dict[str, Any]:
    """`option=value`, with values that are literals; the column of `by` may go without quotes."""
    options: dict[str, Any] = {}
    for part in given:
        key, equals, value = part.partition("=")
        key, value = key.strip(), value.strip()
        try:
            if not equals or not key.isidentifier():
                raise ValueError
            column = key == "by" and value.isidentifier() and not keyword.iskeyword(value)
            options[key] = value if column else ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            raise FormulaError(
                Issue(
                    where,
                    f"the option {shown(part.strip())} of {name!r}",
                    "option=value with a number, a string, a list or True/False",
                )
            ) from None
    return options


def read_term(text: str, where: str, transforms: Collection[str] = ()) -> list[TermSpec]:
    """One term as a builder or a document gives it: `1 + x | g`, `(1 + x | g)` or `ar1(0 + visit | subject)`."""
    check_length(text, where)
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
    basis = " ".join(f"{sign} {checked(part, where, transforms)}" for sign, part in _pieces(basis, where))
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
    if text.count("/") + text.count(":") > _MAX_GROUPS or text.count("(") > MAX_DEPTH:
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
