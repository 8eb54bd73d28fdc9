"""A parser of Newick trees, without recursion: a ladder of any depth is read.

The grammar is that of Olsen (1990, Interpretation of the "Newick's 8:45" tree format standard): labels, quoted labels with
'' for a quote, comments in brackets, branch lengths after a colon. Unlike there, underscores stay underscores, as in R's ape.
"""

from __future__ import annotations

import re

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

_TOKEN = re.compile(
    r"\s+|(?P<comment>\[[^\]]*\])|(?P<quoted>'(?:[^']|'')*')|(?P<mark>[(),:;])|(?P<plain>[^\s()\[\]',:;]+)"
)


@frozen(eq=False)
class Nodes:
    """Nodes in an order in which parents come before their children. parent (n,): -1 for the root, which is first. length (n,): NaN
    where none was given. label (n,): "" where there is none. tip (n,). at (n,): where in the text each ends, from 0."""

    parent: NDArray[np.intp]
    length: NDArray[np.float64]
    label: list[str]
    tip: NDArray[np.bool_]
    at: list[int]


@define
class _Build:
    parent: list[int] = field(factory=list)
    length: list[float] = field(factory=list)
    label: list[str] = field(factory=list)
    tip: list[bool] = field(factory=list)
    at: list[int] = field(factory=list)

    def add(self, parent: int, at: int) -> int:
        self.parent.append(parent)
        self.length.append(float("nan"))
        self.label.append("")
        self.tip.append(True)
        self.at.append(at)
        return len(self.parent) - 1


def parse(text: str) -> Nodes:
    """The nodes of one tree. Raises ValueError with the line and the column of what is wrong."""
    made = _Build()
    node = made.add(-1, 0)
    # what may come next: "node" (a label or '('), "label" (after ')'), "length" (after ':'), "end" of a node, "over" (after ';')
    state = "node"
    for kind, token, at in _tokens(text):
        if state == "over":
            raise _wrong(text, at, f"{token!r} after the end of the tree", "one tree a file")
        if state == "length":
            made.length[node] = _length(text, token, at, kind)
            state = "end"
        elif kind == "label":
            if state not in ("node", "label"):
                raise _wrong(text, at, f"{token!r}", "',', ')', ':' or ';'", "put quotes around a label with blanks")
            made.label[node], made.at[node], state = token, at, "named"
        elif token == "(":
            if state != "node" or made.label[node]:
                raise _wrong(text, at, "'('", "',', ')', ':' or ';'", "is a comma missing?")
            made.tip[node] = False
            node = made.add(node, at)
        elif token in ",)":
            _check_named(text, made, node, at)
            above = made.parent[node]
            if above < 0:
                raise _wrong(text, at, f"{token!r} outside all parentheses", "';' after the root")
            node, state = (made.add(above, at), "node") if token == "," else (above, "label")
        elif token == ":":
            if state not in ("node", "label", "named"):
                raise _wrong(text, at, "':'", "one branch length a node")
            made.at[node], state = at, "length"
        else:
            _check_named(text, made, node, at)
            if made.parent[node] >= 0:
                raise _wrong(text, at, "';'", "')'", "parentheses are still open there")
            state = "over"
    if state != "over":
        raise _wrong(text, len(text), "the end of the text", "a tree that ends in ';'")
    return Nodes(np.array(made.parent, dtype=np.intp), np.array(made.length), made.label, np.array(made.tip), made.at)


def place(text: str, at: int) -> str:
    """Line and column of a position, for a message."""
    line = text.count("\n", 0, at) + 1
    return f"line {line}, column {at - (text.rfind(chr(10), 0, at) + 1) + 1}"


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """(kind, token, position): kind "mark" or "label"."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = "a quote" if text[at] == "'" else "a comment" if text[at] == "[" else f"{text[at]!r}"
            raise _wrong(
                text, at, f"{what} that is not closed" if what[0] == "a" else what, "a tree in Newick's format"
            )
        if match["mark"]:
            found.append(("mark", match["mark"], at))
        elif match["quoted"]:
            found.append(("label", match["quoted"][1:-1].replace("''", "'"), at))
        elif match["plain"]:
            found.append(("label", match["plain"], at))
        at = match.end()
    return found


def _length(text: str, token: str, at: int, kind: str) -> float:
    try:
        value = float(token) if kind == "label" else np.nan
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise _wrong(text, at, f"{token!r}", "a branch length, such as 0.12 or 1.2e-1")
    if value < 0.0:
        raise _wrong(text, at, f"the branch length {token}", "zero or more")
    return value


def _check_named(text: str, made: _Build, node: int, at: int) -> None:
    if made.tip[node] and not made.label[node]:
        raise _wrong(text, at, f"{text[at]!r} where a label was due", "a label for each tip")


def _wrong(text: str, at: int, given: str, allowed: str, remedy: str = "") -> ValueError:
    return ValueError(
        f"phylogeny: {place(text, at)}: {given} · allowed: {allowed}" + (f" · {remedy}" if remedy else "")
    )
