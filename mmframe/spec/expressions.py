"""What a formula may hold: names, numbers, arithmetic and allow-listed calls, and nothing else.

formulaic evaluates Python, and even `np.loadtxt` reads files. So every expression is parsed first, and each node of
its tree must be one of a few kinds; functions are matched as whole names (`np.log`, `contr.sum`).
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
    "arccos", "arctan", "sinh", "cosh", "tanh", "floor", "ceil", "sign", "square", "minimum", "maximum",
)  # fmt: skip

# Functions beyond formulaic's own, by the name under which a formula calls them.
EXTRA: dict[str, Any] = {name: getattr(np, name) for name in _NUMPY}

_TRANSFORMS = ("bs", "cc", "cr", "cs", "center", "scale", "standardize", "poly", "C", "I", "Q", "factor")
_CONTRASTS = (
    "treatment", "sum", "helmert", "diff", "poly", "SAS", "custom",
)  # fmt: skip
_PATSY = ("Treatment", "Sum", "Helmert", "Diff", "Poly")

CALLS = frozenset(
    [*_NUMPY, *(f"np.{name}" for name in _NUMPY), "exp10", *_TRANSFORMS, *(f"contr.{c}" for c in _CONTRASTS), *_PATSY]
)
# Names that may stand without being called: contrasts as arguments.
CONSTANTS = frozenset([*(f"contr.{c}" for c in _CONTRASTS), *_PATSY, "True", "False", "None"])

_BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.Mod, ast.FloorDiv)
_COMPARE = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ALLOWED = "names, numbers, arithmetic and the functions " + ", ".join(sorted(CALLS))
_MAX_EXPONENT = 20
_MAX_LENGTH = 2000
_BACKTICK = re.compile(r"`([^`]*)`")


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = _dotted(node.value)
        return None if inner is None else f"{inner}.{node.attr}"
    return None


class _Rewrite(ast.NodeTransformer):
    """R's habits: `^` is a power, `factor(x)` is `C(x)`."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        return ast.BinOp(node.left, ast.Pow(), node.right) if isinstance(node.op, ast.BitXor) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "factor":
            node.func = ast.Name("C", ast.Load())
        return node


def check_expression(text: str, where: str, transforms: Collection[str] = ()) -> tuple[str, set[str]]:
    """Validate one Python expression of a formula; returns it (R's habits rewritten) and the columns that it names.

    Raises FormulaError for anything that is not allowed.
    """
    if len(text) > _MAX_LENGTH:
        raise FormulaError(Issue(where, f"an expression of {len(text)} characters", f"at most {_MAX_LENGTH}"))
    quoted: dict[str, str] = {}

    def hide(match: re.Match[str]) -> str:
        name = f"quoted_name_{len(quoted)}_"
        quoted[name] = match.group(1)
        return name

    plain = _BACKTICK.sub(hide, text)
    try:
        tree = ast.parse(plain.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError(Issue(where, f"{text!r} cannot be read", _ALLOWED)) from None
    names: set[str] = set()
    _Checker(text, where, frozenset(transforms), quoted, names).check(tree.body)
    rewritten = _Rewrite().visit(tree)
    if "^" in plain or "factor(" in plain:
        plain = ast.unparse(ast.fix_missing_locations(rewritten))
        for hidden, original in quoted.items():
            plain = plain.replace(hidden, f"`{original}`")
        text = plain
    return text, names


class _Checker:
    def __init__(
        self, text: str, where: str, transforms: frozenset[str], quoted: dict[str, str], names: set[str]
    ) -> None:
        self.text, self.where, self.transforms, self.quoted, self.names = text, where, transforms, quoted, names

    def refuse(self, what: str, remedy: str = "") -> FormulaError:
        return FormulaError(Issue(self.where, f"{what} in {self.text!r}", _ALLOWED, remedy))

    def check(self, node: ast.AST, argument: bool = False) -> None:
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
            for item in node.elts:
                self.check(item, argument=True)
        elif isinstance(node, ast.Dict) and argument:
            if None in node.keys:  # **rest
                raise self.refuse("a starred argument")
            for item in (*filter(None, node.keys), *node.values):
                self.check(item, argument=True)
        else:
            raise self.refuse(f"a {type(node).__name__.lower()}")

    def _constant(self, node: ast.Constant, argument: bool) -> None:
        if isinstance(node.value, bool) or node.value is None or isinstance(node.value, str):
            if not argument:
                raise self.refuse(f"the value {node.value!r}")
        elif not isinstance(node.value, (int, float)):
            raise self.refuse(f"the value {node.value!r}")

    def _name(self, node: ast.AST, argument: bool) -> None:
        dotted = _dotted(node)
        if dotted is None:
            raise self.refuse("access to an attribute")
        if argument and dotted in CONSTANTS:
            return
        if dotted in self.quoted:
            self.names.add(self.quoted[dotted])
        elif "." in dotted or dotted.startswith("__"):
            raise self.refuse(f"the name {dotted!r}", "a column with dots in its name goes in backticks")
        else:
            self.names.add(dotted)

    def _binary(self, node: ast.BinOp) -> None:
        power = isinstance(node.op, (ast.Pow, ast.BitXor))
        if not (power or isinstance(node.op, _BINARY)):
            raise self.refuse(f"the operator {type(node.op).__name__}")
        if power:  # a tower of numbers would never end
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
            shown = name or "what is called"
            raise self.refuse(
                f"the call of {shown!r}", nearest(shown, known) or "Python users add functions by transforms="
            )
        if name == "Q":
            if (
                len(node.args) != 1
                or not isinstance(node.args[0], ast.Constant)
                or not isinstance(node.args[0].value, str)
            ):
                raise self.refuse("Q()", "Q takes one column name in quotes")
            self.names.add(node.args[0].value)
            return
        for value in node.args:
            if isinstance(value, ast.Starred):
                raise self.refuse("a starred argument")
            self.check(value, argument=True)
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg.startswith("_"):
                raise self.refuse(f"the keyword {keyword.arg!r}")
            self.check(keyword.value, argument=True)
