"""`mmframe new-plugin`: what it writes installs, passes its tests, and fits, at once."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from mmframe.errors import SpecError
from mmframe.template.write import PARTS, write_plugin
from tests.environments import Environment


@pytest.mark.parametrize(
    ("name", "kind", "module"),
    [
        ("mmframe-wobble", "structure", "mmframe_wobble"),
        ("sd-scale", "parameterization", "sd_scale"),
        ("mmframe-descent", "stage", "mmframe_descent"),
    ],
)
def test_a_new_plugin_installs_passes_its_tests_and_fits(name: str, kind: str, module: str, tmp_path: Path) -> None:
    environment = Environment.create(tmp_path / "environment")
    made = environment.mmframe("new-plugin", name, "--kind", kind, cwd=tmp_path)
    assert made.returncode == 0 and name in made.stdout, made.stderr
    environment.install(tmp_path / name)
    listed = json.loads(environment.mmframe("plugins", "--json", cwd=tmp_path).stdout)
    own = name.removeprefix("mmframe-").replace("-", "_")
    assert {"distribution": name, "version": "0.1.0", "offers": [own], "observes": []} in listed["packages"]
    tests = environment.run("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", name, cwd=tmp_path)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    readme = environment.run("-m", "tests.docs.blocks", str(tmp_path / name / "README.md"), cwd=tmp_path)
    assert readme.returncode == 0, readme.stderr
    (tmp_path / "elsewhere").mkdir()
    again = environment.mmframe("new-plugin", name, "--into", "elsewhere", cwd=tmp_path)
    assert again.returncode == 1 and f"a module {module!r} is installed already" in again.stderr


@pytest.mark.parametrize("kind", PARTS)
def test_nothing_is_left_to_fill_in(kind: str, tmp_path: Path) -> None:
    folder = write_plugin("my-new-thing", kind, tmp_path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"pyproject.toml", "README.md", "test_conformance.py", "test_fit.py"}
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert "$" not in text and path.suffix != ".txt", path
        if path.suffix == ".py":
            ast.parse(text)
    assert "MyNewThing" in (folder / "src" / "my_new_thing" / f"{kind}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My Plugin", "allowed: lower-case letters"),
        ("../outside", "allowed: lower-case letters"),
        ("mmframe-ar1", "'ar1' is the name of a built-in"),
        ("mmframe-us", "'us' is the name of a built-in"),
        ("mmframe", "'mmframe' is the name of a built-in"),
        ("mmframe-none", "'none' means something else"),
        ("mmframe-1", "'1' means something else"),
        ("class", "'class' means something else"),
        ("mmframe-kronecker", "'kronecker' means something else"),
        ("mmframe-covariance-structure", "CovarianceStructure is a class of mmframe.api"),
        ("mmframe-squared", "Squared is a class"),
        ("numpy", "a module 'numpy' is installed already"),
        ("json", "a module 'json' is installed already"),
        ("there", "is there already"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_before_anything_is_written(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(SpecError, match=said):
        write_plugin(name, "structure", tmp_path)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "there"] and not list((tmp_path / "there").iterdir())
