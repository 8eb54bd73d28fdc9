"""Each package of contrib/: installed into a new environment, its own tests run there against the checkout, its pages too."""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.environments import ROOT, Environment

PACKAGES = sorted(path.parent for path in ROOT.glob("contrib/*/pyproject.toml"))
# What a package may know of mmframe; its tests are users too.
SURFACE = {"mmframe.api", "mmframe.testing"}


def project(package: Path) -> dict[str, Any]:
    with (package / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file)["project"])


def test_the_packages_are_there() -> None:
    names = {package.name for package in PACKAGES}
    assert names == {
        "mmframe-kinship",
        "mmframe-matrix-log",
        "mmframe-optimizers",
        "mmframe-spatial",
        "mmframe-trace",
    }


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_in_a_new_environment(package: Path, tmp_path: Path) -> None:
    """Installed, listed, its own tests, its pages; in that order, since the later rest on the earlier."""
    environment = Environment.create(tmp_path / "environment")
    environment.install(package)
    listed = environment.mmframe("plugins", "--json", cwd=tmp_path)
    assert listed.returncode == 0 and not listed.stderr, listed.stderr
    found = json.loads(listed.stdout)
    assert not found["failed"]
    if "entry-points" in project(package):
        assert project(package)["name"] in {p["distribution"] for p in found["packages"]}
    where = environment.run("-c", "import mmframe; print(mmframe.__file__)", cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(ROOT), "against the checkout"
    tests = environment.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(package),
        cwd=tmp_path, timeout=1200,
    )  # fmt: skip
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert " passed" in tests.stdout
    for page in [package / "README.md", *sorted((package / "docs").glob("*.md"))]:
        done = environment.run("-m", "tests.docs.blocks", str(page), cwd=tmp_path)
        assert done.returncode == 0, f"{page.name}: {done.stderr}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_has_what_a_user_looks_for(package: Path) -> None:
    said = project(package)
    assert said["name"] == package.name
    for key in ("version", "description", "readme", "license", "requires-python", "dependencies"):
        assert said.get(key), key
    assert any(d.startswith("mmframe") for d in said["dependencies"])
    assert (package / "README.md").read_text(encoding="utf-8").startswith("# ")
    assert list((package / "tests").glob("test_*.py"))
    assert set(said.get("entry-points", {})) <= {"mmframe.v1"}


def imported(file: Path) -> set[str]:
    """Every module of mmframe that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
            if node.module == "mmframe":
                found |= {f"mmframe.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)}
    return {name for name in found if name.split(".")[0] == "mmframe"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_imports_only_the_surface(package: Path) -> None:
    """Its code `mmframe.api` and `mmframe.testing`; its tests also `import mmframe`, as users do."""
    files = sorted(package.rglob("*.py"))
    assert files
    for file in files:
        allowed = SURFACE if "src" in file.relative_to(package).parts else SURFACE | {"mmframe"}
        assert imported(file) <= allowed, f"{file.relative_to(ROOT)}: {imported(file) - allowed}"


def test_what_they_depend_on_is_in_the_environment_of_the_tests() -> None:
    """They are installed without their dependencies, so that the tests need no network."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        ours = tomllib.load(file)["project"]
    wanted = [*ours["optional-dependencies"]["test"], *ours["dependencies"]]
    known = {d.split(">")[0].split("[")[0].split("<")[0].strip().lower().replace("_", "-") for d in wanted} | {
        "mmframe"
    }
    for package in PACKAGES:
        said = project(package)
        extras = [d for name in said.get("optional-dependencies", {}) for d in said["optional-dependencies"][name]]
        for dependency in [*said["dependencies"], *extras]:
            name = dependency.split(">")[0].split("[")[0].split(";")[0].split("<")[0].strip().lower().replace("_", "-")
            assert name in known, f"{package.name}: {dependency} is not in the test extra"
