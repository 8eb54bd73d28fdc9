"""The fenced blocks of a page, and its Python run. `python -m tests.docs.blocks PAGE...` runs pages in a folder of their own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[ \t]*$")
EXPECT = re.compile(r"^\s*<!-- expect: (?P<name>\w+) -->\s*$")


@frozen
class Block:
    """A fenced block: its language, its first line, the line after its end, its text, the error that it must raise."""

    language: str
    line: int
    end: int
    text: str
    expect: str | None


def blocks(page: Path) -> list[Block]:
    found, inside, language, start, expect, indent = [], False, "", 0, None, 0
    kept: list[str] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        match = FENCE.match(line)
        if match and not inside:
            inside, language, start, kept, indent = True, match["language"], number + 1, [], len(match["indent"])
            said = EXPECT.match(lines[number - 2]) if number > 1 else None
            expect = said["name"] if said else None
        elif match:
            assert not match["language"], f"{page.name}, line {number}: a fence opens inside another"
            found.append(Block(language, start, number + 1, "\n".join(kept) + "\n", expect))
            inside = False
        elif inside:
            assert not line[:indent].strip(), f"{page.name}, line {number}: less indented than its fence"
            kept.append(line[indent:])
    assert not inside, f"{page.name}: the fence of line {start - 1} is not closed"
    return found


def assert_same_text(printed: str, shown: str, where: str) -> None:
    """Word by word; numbers to three digits, and all below 1e-6 alike, since rounding is not the same everywhere.

    How many seconds something took is not compared.
    """
    words, expected = printed.split(), shown.split()
    assert len(words) == len(expected), f"{where}: {printed}"
    for word, other, unit in zip(words, expected, [*expected[1:], ""], strict=True):
        try:
            same = unit == "seconds" or float(word) == pytest.approx(float(other), rel=2e-3, abs=1e-6)
        except ValueError:
            same = word == other
        assert same, f"{where}: {word!r}, not {other!r}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def run_page(page: Path) -> None:
    """In order, in one namespace; what a block prints is what a text block right after it shows. In the current folder."""
    namespace: dict[str, Any] = {"__name__": "page"}
    every = blocks(page)
    for block, following in zip(every, [*every[1:], None], strict=True):
        if block.language != "python":
            continue
        # newlines in front keep the line numbers of the page in tracebacks
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        if block.expect is None:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed = out.getvalue()
            shown = following is not None and following.language == "text" and following.line - block.end <= 2
            if printed and shown:
                assert_same_text(printed, following.text, f"{name_of(page)}, line {following.line}")
            continue
        try:
            exec(code, namespace)
        except Exception as problem:
            raised: BaseException | None = problem
        else:
            raised = None
        names = {cls.__name__ for cls in type(raised).__mro__}
        assert block.expect in names, f"{name_of(page)}, line {block.line}: {raised!r}, not {block.expect}"


if __name__ == "__main__":
    warnings.simplefilter("error")
    for page in [Path(path).resolve() for path in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            run_page(page)
            os.chdir(ROOT)
