"""The documentation is run: every Python block, every YAML document, every link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from mmframe.spec.document import from_dict
from mmframe.spec.written import to_dict
from mmframe.spec.yaml_text import read_yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [ROOT / "README.md", *PAGES]
NUMBER_OF_PAGES = 66
# Theory pages about things that are not a file of mmframe/likelihood.
OTHER_THEORY = {"pipeline", "em", "derivatives"}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[ \t]*$")
_EXPECT = re.compile(r"^\s*<!-- expect: (?P<name>\w+) -->\s*$")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@frozen
class Block:
    """A fenced block: its language, its first line, the line after its end, its text, the error that it must raise."""

    language: str
    line: int
    end: int
    text: str
    expect: str | None


def blocks(page: Path) -> list[Block]:
    found, inside, language, start, expect = [], False, "", 0, None
    kept: list[str] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        match = _FENCE.match(line)
        if match and not inside:
            inside, language, start, kept = True, match["language"], number + 1, []
            said = _EXPECT.match(lines[number - 2]) if number > 1 else None
            expect = said["name"] if said else None
        elif match:
            assert not match["language"], f"{page.name}, line {number}: a fence opens inside another"
            found.append(Block(language, start, number + 1, "\n".join(kept) + "\n", expect))
            inside = False
        elif inside:
            kept.append(line)
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
    return page.relative_to(ROOT).as_posix()


def of_language(language: str) -> list[Path]:
    return [page for page in RUN if any(b.language == language for b in blocks(page))]


@pytest.mark.parametrize("page", of_language("python"), ids=name_of)
def test_python_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order, in one namespace a page; what a block prints is what a text block right after it shows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")  # pictures need no screen
    namespace: dict[str, Any] = {"__name__": "page"}
    every = blocks(page)
    for block, following in zip(every, [*every[1:], None], strict=True):
        if block.language != "python":
            continue
        # newlines in front keep the line numbers of the page in tracebacks
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        if block.expect is None:
            exec(code, namespace)
            printed = capsys.readouterr().out
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


@pytest.mark.parametrize("page", of_language("yaml"), ids=name_of)
def test_yaml_documents_round_trip(page: Path) -> None:
    for block in blocks(page):
        if block.language != "yaml" or not block.text.startswith("mmframe:"):
            continue
        if block.expect is None:
            spec = read_yaml(block.text, f"{name_of(page)}, line {block.line}")
            assert from_dict(to_dict(spec)) == spec
            continue
        with pytest.raises(ValueError) as caught:
            read_yaml(block.text)
        assert block.expect in {cls.__name__ for cls in caught.type.__mro__}


def test_every_expectation_stands_before_a_block_that_runs() -> None:
    for page in RUN:
        said = sum(bool(_EXPECT.match(line)) for line in page.read_text(encoding="utf-8").splitlines())
        used = sum(b.expect is not None and b.language in ("python", "yaml") for b in blocks(page))
        assert said == used, name_of(page)


def test_number_of_pages() -> None:
    """A page that is added or lost is noticed here."""
    assert len(PAGES) == NUMBER_OF_PAGES


def links(page: Path) -> list[str]:
    """Links outside code."""
    text, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            text.append(re.sub(r"`[^`]*`", "", line))
    return [match["target"] for match in _LINK.finditer("\n".join(text))]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to headings."""
    found = set()
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            words = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_relative_links_resolve(page: Path) -> None:
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name_of(page)}: {target}"


def test_every_page_is_linked_from_the_index() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / t.partition("#")[0]).resolve() for t in links(index) if not re.match(r"[a-z]+:", t)}
    missing = [name_of(page) for page in PAGES if page != index and page.resolve() not in linked]
    assert not missing


def test_every_file_of_likelihood_has_its_page() -> None:
    files = {f.stem for f in (ROOT / "mmframe" / "likelihood").glob("*.py")} - {"__init__"}
    pages = {p.stem for p in (DOCS / "theory").glob("*.md")}
    assert pages - OTHER_THEORY == files


def test_every_page_begins_with_one_heading() -> None:
    for page in PAGES:
        text, inside = [], False
        for line in page.read_text(encoding="utf-8").splitlines():
            inside = not inside if _FENCE.match(line) else inside
            if not inside and line.startswith("# "):
                text.append(line)
        assert len(text) == 1, name_of(page)
        assert page.read_text(encoding="utf-8").startswith(text[0]), name_of(page)
