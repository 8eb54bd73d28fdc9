"""The road of docs/howto/write-a-covariance-structure.md from nothing to a package, followed to the letter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.docs.blocks import ROOT, blocks
from tests.environments import Environment

PAGE = ROOT / "docs" / "howto" / "write-a-covariance-structure.md"
# What stands in a step is done by its own means here: pip with a network, and a second environment.
BY_OTHER_MEANS = ("python3 -m venv", ". .venv", "python -m pip", "python -m build", "fresh/bin/")


def test_the_road_from_nothing_to_a_package(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = text.splitlines()
    first = lines.index("## From nothing to a package") + 1
    last = next(n for n, line in enumerate(lines, 1) if line.startswith("Packages to learn from"))
    section = "\n".join(lines[first:last])
    said = re.search(r"^(\w+) steps\.", section, flags=re.MULTILINE)
    assert said is not None and said[1] == "Seven" and len(re.findall(r"^\d\. ", section, flags=re.MULTILINE)) == 7
    files = iter(re.findall(r"in\s+`(mmframe-sine/\S+\.py)`", section))
    environment = Environment.create(tmp_path / "environment")
    ran, changed = [], False
    for block in [b for b in blocks(PAGE) if first < b.line < last]:
        if block.language == "python":
            (tmp_path / next(files)).write_text(block.text, encoding="utf-8")
            changed = True
            continue
        assert block.language == "sh"
        for command in block.text.splitlines():
            if command.startswith("python -m pip install --editable") or (changed and "mmframe-sine" in command):
                environment.install(tmp_path / "mmframe-sine")  # an editable one would follow its files
                changed = False
            if command.startswith(BY_OTHER_MEANS):
                continue
            words = shlex.split(command)
            if words[0] == "mmframe":
                done = environment.mmframe(*words[1:], cwd=tmp_path)
            else:
                assert words[0] == "python"
                done = environment.run(*words[1:], cwd=tmp_path)
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            ran.append(command)
    assert next(files, None) is None
    assert ran == [
        "mmframe new-plugin mmframe-sine",
        "python -m pytest mmframe-sine",
        "mmframe conformance mmframe_sine.structure:Sine",
        "python -m pytest mmframe-sine",
    ]
