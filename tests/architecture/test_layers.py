"""The layers hold: a module imports only from its own layer and those before it; plugins import only the API."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "mmframe"
LAYERS = ["errors", "spec", "design", "covariance", "likelihood", "optimize", "results", "pictures", "registry"]
LAYERS += [
    "resolution",
    "identifiable",
    "model",
    "refits",
    "builder",
    "fitting",
    "comparison",
    "template",
    "cli",
    "compat",
]
# What the layers share below them: the vocabulary of matrices (domains, points) belongs to covariance but names no data.
VOCABULARY = {"mmframe.covariance.domain", "mmframe.covariance.structure", "mmframe.covariance.tree"}
# These stand beside the layers.
BESIDE = {"api", "plugins", "datasets", "testing", "__init__"}
ORDER = {name: place for place, name in enumerate(LAYERS)}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    """Imports that run: those for type checkers, or inside a function that breaks a cycle on purpose, do not count."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    own = part_of(path)
    if own in BESIDE:
        return
    for name in imports_of(path):
        if not name.startswith("mmframe.") or name in VOCABULARY:
            continue
        other = name.split(".")[1]
        if other in ("errors", "datasets"):
            continue
        assert other in ORDER, f"{own} imports {name}"
        assert ORDER[other] <= ORDER[own], f"{own} must not import {name}"


@pytest.mark.parametrize(
    "path", [p for p in modules() if part_of(p) == "plugins"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_plugins_import_only_the_api(path: Path) -> None:
    allowed = {"mmframe.api", "numpy", "scipy", "attrs"} | sys.stdlib_module_names
    for name in imports_of(path):
        own = name.startswith("mmframe.plugins.")  # a package's own modules, as any third party has them
        assert own or name == "mmframe.api" or name.split(".")[0] in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path.name} has no docstring"
    assert len(text.splitlines()) <= 400, f"{path.name} is more than one idea"


def test_nothing_is_pickled_or_evaluated() -> None:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), f"{path.name} calls {node.func.id}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
                forbidden = {"pickle", "dill", "cloudpickle", "joblib"}
                if path.name == "many.py":  # to processes of its own, in memory: nothing that comes from a file
                    forbidden.remove("joblib")
                assert not forbidden & set(names), path.name
