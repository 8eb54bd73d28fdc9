"""What a formula may hold: names, numbers, arithmetic and allow-listed calls, and nothing else.

formulaic evaluates Python, and even `np.loadtxt` reads files. So every expression is parsed first, and each node of
its tree must be one of a few kinds; functions are matched as whole names (`np.log`, `contr.sum`). Quotes and backticks are
cut before that, by rules so narrow that formulaic cannot cut them at other places: no backslash anywhere, no backtick
within quotes, no quote within backticks.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from typing import Any

import numpy as np

from mmframe.errors import FormulaError, Issue, nearest

_NUMPY = (
    "log", "log10", "log2", "log1p", "exp", "exp2", "expm1", "sqrt", "cbrt", "abs", "sin", "cos", "tan", "arcsin",
    "arccos", "arctan", "sinh", "cosh", "tanh", "floor", "ceil", "sign", "square", "minimum", "maximum", "power", "where",
)  # fmt: skip

# Functions beyond formulaic's own, by the name under which a formula calls them.
EXTRA: dict[str, Any] = {name: getattr(np, name) for name in _NUMPY}

_SPLINES = ("bs", "cc", "cr", "cs", "poly")  # their sizes are arguments, and must stay small
_TRANSFORMS = (*_SPLINES, "center", "scale", "standardize", "C", "I", "Q", "factor")
_CONTRASTS = ("treatment", "sum", "helmert", "diff", "poly", "SAS", "custom")
_PATSY = ("Treatment", "Sum", "Helmert", "Diff", "Poly")

CALLS = frozenset(
    [*_NUMPY, *(f"np.{name}" for name in _NUMPY), "exp10", *_TRANSFORMS, *(f"contr.{c}" for c in _CONTRASTS), *_PATSY]
)
# Names that may stand without being called: contrasts as arguments.
CONSTANTS = frozenset([*(f"contr.{c}" for c in _CONTRASTS), *_PATSY])

_NUMBERS = ("np.pi", "np.e")

_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.FloorDiv)
_COMPARE = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ALLOWED = "names, numbers, arithmetic and the functions " + ", ".join(sorted(CALLS))
_MAX_EXPONENT = 20
_MAX_LENGTH = 2000
_MAX_DEPTH = 40
_MAX_DIGITS = 25
_MAX_SIZE = 1000
# A quoted text, a backticked name, or a lone mark that closes nowhere.
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|[\"'`]")


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


def shown(text: str) -> str:
    """A text as messages show it: on one line, and not too long."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def check_expression(text: str, where: str, transforms: Collection[str] = ()) -> tuple[str, set[str]]:
    """Validate one Python expression of a formula; returns it (R's habits rewritten) and the columns that it names.

    `^` is a power and `factor(x)` is `C(x)`. Raises FormulaError for anything that is not allowed.
    """
    if len(text) > _MAX_LENGTH:
        raise FormulaError(Issue(where, f"an expression of {len(text)} characters", f"at most {_MAX_LENGTH}"))
    rewritten, stand_ins, plain = _cut(text, where)
    try:
        tree = ast.parse(plain.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError(Issue(where, f"{shown(text)} cannot be read", _ALLOWED)) from None
    names: set[str] = set()
    _Checker(text, where, frozenset(transforms), stand_ins, names).check(tree.body)
    return rewritten, names


def _cut(text: str, where: str) -> tuple[str, dict[str, str], str]:
    """(the text with R's habits rewritten, stand-ins for backticked names, the text with those in place)."""
    if "\\" in text or any(ord(char) < 32 and char not in "\t" for char in text):
        raise FormulaError(Issue(where, f"a backslash or a control character in {shown(text)}", _ALLOWED))
    rewritten, plain, last = [], [], 0
    stand_ins: dict[str, str] = {}

    def code(piece: str) -> None:
        piece = re.sub(r"(?<![\w.])factor(\s*\()", r"C\1", piece.replace("^", "**"))
        rewritten.append(piece)
        plain.append(piece)

    for match in _QUOTED.finditer(text):
        code(text[last : match.start()])
        last, quoted = match.end(), match.group()
        if len(quoted) == 1:
            raise FormulaError(Issue(where, f"a quote that does not close in {shown(text)}", _ALLOWED))
        if quoted[0] == "`":
            if not quoted[1:-1] or re.search("[\"'`]", quoted[1:-1]):
                raise FormulaError(
                    Issue(where, f"the name {shown(quoted)}", "backticked names without quotes", "rename the column")
                )
            name = f"quoted_{len(stand_ins)}_"
            while name in text:
                name += "_"
            stand_ins[name] = quoted[1:-1]
            plain.append(f" {name} ")
        elif "`" in quoted:
            raise FormulaError(Issue(where, f"a backtick within quotes in {shown(text)}", _ALLOWED))
        else:
            plain.append(quoted)
        rewritten.append(quoted)
    code(text[last:])
    return "".join(rewritten), stand_ins, "".join(plain)


class _Checker:
    def __init__(
        self, text: str, where: str, transforms: frozenset[str], quoted: dict[str, str], names: set[str]
    ) -> None:
        self.text, self.where, self.transforms, self.quoted, self.names = text, where, transforms, quoted, names
        self.depth = 0

    def refuse(self, what: str, remedy: str = "") -> FormulaError:
        return FormulaError(Issue(self.where, f"{what} in {shown(self.text)}", _ALLOWED, remedy))

    def check(self, node: ast.AST, argument: bool = False) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.refuse(f"more than {_MAX_DEPTH} levels")
        self._check(node, argument)
        self.depth -= 1

    def _check(self, node: ast.AST, argument: bool) -> None:
        if isinstance(node, ast.Constant):
            self._constant(node, argument)
        elif isinstance(node, (ast.Name, ast.Attribute)):
            self._name(node, argument)
        elif isinstance(node, ast.BinOp):
            self._binary(node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            self.check(node.operand)
        elif isinstance(node, ast.Compare) and all(isinstance(op, _COMPARE) for op in node.ops):
            for part in (node.left, *node.comparators):
                self.check(part, argument=True)
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, (ast.List, ast.Tuple)) and argument:
            for part in node.elts:
                self.check(part, argument=True)
        elif isinstance(node, ast.Dict) and argument:
            if None in node.keys:  # **rest
                raise self.refuse("a starred argument")
            for item in (*filter(None, node.keys), *node.values):
                self.check(item, argument=True)
        else:
            raise self.refuse(f"a {type(node).__name__.lower()}")

    def _constant(self, node: ast.Constant, argument: bool) -> None:
        value = node.value
        if isinstance(value, (bool, str)) or value is None:
            if not argument:
                raise self.refuse(f"the value {shown(value) if isinstance(value, str) else value}")
        elif not isinstance(value, (int, float)) or (isinstance(value, int) and abs(value) >= 10**_MAX_DIGITS):
            raise self.refuse(f"a {type(value).__name__}")

    def _name(self, node: ast.AST, argument: bool) -> None:
        dotted = _dotted(node)
        if dotted is None:
            raise self.refuse("access to an attribute")
        if argument and dotted in CONSTANTS:
            return
        if dotted in _NUMBERS:
            return
        if dotted in self.quoted:
            self.names.add(self.quoted[dotted])
        elif "." in dotted or dotted.startswith("__"):
            raise self.refuse(f"the name {dotted!r}", "a column with dots in its name goes in backticks")
        else:
            self.names.add(dotted)

    def _binary(self, node: ast.BinOp) -> None:
        if not isinstance(node.op, _BINARY):
            raise self.refuse(f"the operator {type(node.op).__name__}")
        if isinstance(node.op, ast.Pow):  # a tower of numbers would never end
            exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
            if isinstance(exponent, ast.Constant):
                small = isinstance(exponent.value, (int, float)) and abs(exponent.value) <= _MAX_EXPONENT
            else:
                small = isinstance(exponent, ast.Name)
            if not small:
                raise self.refuse("a power", f"exponents are numbers up to {_MAX_EXPONENT}, or columns")
            if not any(isinstance(part, ast.Name) for part in ast.walk(node)):
                raise self.refuse("a power of numbers alone", "write the number")
        self.check(node.left)
        self.check(node.right)

    def _call(self, node: ast.Call) -> None:
        name = _dotted(node.func)
        known = CALLS | self.transforms
        if name is None or name not in known:
            called = name or "what is called"
            raise self.refuse(
                f"the call of {shown(called)}", nearest(called, known) or "Python users add functions by transforms="
            )
        if any(isinstance(value, ast.Starred) for value in node.args) or any(k.arg is None for k in node.keywords):
            raise self.refuse("a starred argument")
        if name == "Q":
            value = node.args[0] if len(node.args) == 1 and not node.keywords else None
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                raise self.refuse("Q()", "Q takes one column name in quotes")
            self.names.add(value.value)
            return
        if name in _SPLINES:
            self._small(name, [*node.args[1:], *(k.value for k in node.keywords)])
        for value in node.args:
            self.check(value, argument=True)
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg.startswith("_"):
                raise self.refuse(f"the keyword {keyword.arg!r}")
            self.check(keyword.value, argument=True)

    def _small(self, name: str, arguments: list[ast.expr]) -> None:
        """The sizes of a spline or polynomial are literals, and small."""
        for value in arguments:
            for part in ast.walk(value):
                literal = isinstance(part, (ast.Constant, ast.List, ast.Tuple, ast.UnaryOp, ast.USub, ast.Load))
                large = (
                    isinstance(value, ast.Constant)
                    and isinstance(value.value, int)
                    and not isinstance(value.value, bool)
                    and value.value > _MAX_SIZE
                )
                if not literal or large:
                    raise self.refuse(f"an argument of {name!r}", f"literals, and whole numbers up to {_MAX_SIZE}")
