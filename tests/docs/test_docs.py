"""The documentation is run: every Python block, every YAML document, every link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmframe.spec.document import from_dict
from mmframe.spec.written import to_dict
from mmframe.spec.yaml_text import read_yaml
from tests.docs.blocks import EXPECT, FENCE, ROOT, blocks, name_of, run_page

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RUN = [ROOT / "README.md", *PAGES]
NUMBER_OF_PAGES = 67
# Theory pages about things that are not a file of mmframe/likelihood.
OTHER_THEORY = {"pipeline", "em", "derivatives"}

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def of_language(language: str) -> list[Path]:
    return [page for page in RUN if any(b.language == language for b in blocks(page))]


@pytest.mark.parametrize("page", of_language("python"), ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")  # pictures need no screen
    run_page(page)


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
        said = sum(bool(EXPECT.match(line)) for line in page.read_text(encoding="utf-8").splitlines())
        used = sum(b.expect is not None and b.language in ("python", "yaml") for b in blocks(page))
        assert said == used, name_of(page)


def test_number_of_pages() -> None:
    """A page that is added or lost is noticed here."""
    assert len(PAGES) == NUMBER_OF_PAGES


def links(page: Path) -> list[str]:
    """Links outside code."""
    text, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
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
            inside = not inside if FENCE.match(line) else inside
            if not inside and line.startswith("# "):
                text.append(line)
        assert len(text) == 1, name_of(page)
        assert page.read_text(encoding="utf-8").startswith(text[0]), name_of(page)
