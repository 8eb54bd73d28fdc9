"""Plugins: loaded, vetted, named, failing alone; and a package installed from outside that works everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import types
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import mmframe as mm
from mmframe.api import CovarianceStructure, Param, Positive, hookimpl
from mmframe.errors import AmbiguousNameError, PluginError, UnknownNameError
from mmframe.registry import loader
from mmframe.registry.registry import PARAMETERIZATION, STAGE, STRUCTURE, Registry, default_registry


class Scaled(CovarianceStructure):
    """Σ = variance · 2I: different from any built-in, so that a mix-up would show in the numbers."""

    name = "scaled"

    def params(self, points: Any) -> tuple[Param, ...]:
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi: Any, index: Any) -> Any:
        same = index[..., 0][..., :, None] == index[..., 0][..., None, :]
        return 2 * phi.variance * same


def module_of(*classes: type, hook: str = "mmframe_covariance_structures") -> types.ModuleType:
    @hookimpl
    def offer() -> list[type]:
        return list(classes)

    module = types.ModuleType("given")
    setattr(module, hook, offer)
    return module


def record(distribution: str, module: Any) -> loader.PluginRecord:
    return loader.examined(loader.PluginRecord("plugin", distribution, "1.0", None, module))


def test_built_ins_are_registered_as_third_parties_are() -> None:
    registry = default_registry()
    assert {e.name for e in registry.of_kind(STRUCTURE)} >= {
        "variance_component",
        "diagonal",
        "unstructured",
        "compound_symmetry",
    }
    assert {e.name for e in registry.of_kind(PARAMETERIZATION)} >= {"natural", "profile", "cholesky", "log_cholesky"}
    assert {e.name for e in registry.of_kind(STAGE)} >= {"em", "gradient", "cg", "lbfgs", "newton", "simplex"}
    for alias, name in {"vc": "variance_component", "identity": "variance_component", "us": "unstructured",
                        "cs": "compound_symmetry", "diag": "diagonal"}.items():  # fmt: skip
        assert registry.find(STRUCTURE, alias, "test").name == name
        assert registry.find(STRUCTURE, f"mmframe/{alias}", "test").name == name


def test_a_built_ins_bare_name_cannot_be_taken() -> None:
    """Installing a plugin never changes a number."""
    usurper = type("Usurper", (Scaled,), {"name": "unstructured"})
    registry = Registry.from_records((*loader.built_ins(), record("other", module_of(usurper))))
    assert registry.find(STRUCTURE, "unstructured", "test").distribution == "mmframe"
    assert registry.find(STRUCTURE, "other/unstructured", "test").cls is usurper


def test_a_name_that_two_packages_share_raises_on_use() -> None:
    first, second = type("A", (Scaled,), {}), type("B", (Scaled,), {})
    registry = Registry.from_records(
        (*loader.built_ins(), record("one", module_of(first)), record("two", module_of(second)))
    )
    with pytest.raises(AmbiguousNameError, match=r"one and two.*one/scaled, two/scaled"):
        registry.find(STRUCTURE, "scaled", "test")
    assert registry.find(STRUCTURE, "two/scaled", "test").cls is second


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (type("Bad", (Scaled,), {"name": "Bad Name"}), r"'Bad Name'.*allowed"),
        (int, "classes derived from CovarianceStructure"),
        (
            type("Half", (CovarianceStructure,), {"name": "half", "params": Scaled.params}),
            "lacks the methods covariance",
        ),
    ],
)
def test_a_class_that_breaks_a_rule_is_refused_and_the_rest_loads(broken: type, said: str) -> None:
    registry = Registry.from_records(
        (*loader.built_ins(), record("bad", module_of(broken)), record("good", module_of(Scaled)))
    )
    with pytest.warns(UserWarning, match=said):
        loader.warn_of(registry.records)
    assert registry.find(STRUCTURE, "scaled", "test").distribution == "good"
    assert [r.distribution for r in registry.failures] == ["bad"]
    with pytest.raises(UnknownNameError, match="failed to load"):
        registry.find(STRUCTURE, "half", "test")


def test_built_ins_keep_the_rules_that_third_parties_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "built_in_modules", lambda: [types.ModuleType("mmframe.plugins.empty")])
    with pytest.raises(PluginError, match=r"'empty' of mmframe.*implements no hook"):
        loader.built_ins()


@pytest.mark.parametrize(("limit", "wanted"), [("none", False), ("other", False), ("gone", True), ("a, gone", True)])
def test_the_environment_limits_what_loads(monkeypatch: pytest.MonkeyPatch, limit: str, wanted: bool) -> None:
    monkeypatch.setenv("MMFRAME_PLUGINS", limit)
    entry = EntryPoint("gone", "no_such_module_at_all", "mmframe.v1")
    assert [r.name for r in loader.load_all([entry]) if r.error] == (["gone"] if wanted else [])


def test_options_are_checked_with_the_nearest_name() -> None:
    registry = default_registry()
    with pytest.raises(mm.SpecError, match=r"em: there is no option 'max_iteration'.*max_iterations"):
        registry.create(STAGE, "em", {"max_iteration": 3}, "stages[0]")
    with pytest.raises(mm.SpecError, match="a whole number"):
        registry.create(STAGE, "em", {"max_iterations": "many"}, "stages[0]")


PLUGIN = '''
from attrs import frozen
from mmframe.api import CovarianceStructure, Interval, POSITION, Param, Positive, hookimpl, lags


@frozen
class DampedExponential(CovarianceStructure):
    """variance * rho^(|i - j|^power). Munoz et al. (1992)."""

    name = "damped_exponential"
    aliases = ("dexp",)
    index_kind = POSITION
    power: float = 1.0

    def params(self, points):
        return Param("variance", Positive(), scale_power=2), Param("rho", Interval(0, 1))

    def covariance(self, phi, index):
        return phi.variance * phi.rho ** (lags(index) ** self.power)


@hookimpl
def mmframe_covariance_structures():
    return [DampedExponential]
'''

USE = '''
from pathlib import Path
import mmframe as mm
from mmframe.testing import check_covariance_structure
from damped import DampedExponential

data = mm.datasets.load("sleepstudy")
by_formula = mm.fit("Reaction ~ Days + damped_exponential(0 + Days | Subject, power=1.25)", data)
by_alias = mm.fit("Reaction ~ Days + mmframe-damped/dexp(0 + Days | Subject, power=1.25)", data)
by_instance = (
    mm.ModelBuilder().fixed("Reaction ~ Days").random("0 + Days | Subject", structure=DampedExponential(power=1.25)).build(data).fit()
)
data.to_csv("data.csv", index=False)
Path("spec.yaml").write_text("""mmframe: 1
data: data.csv
formula: Reaction ~ Days
random:
  - {term: 0 + Days | Subject, structure: {name: damped_exponential, power: 1.25}, parameterization: profile}
stages: [em, lbfgs]
""")
by_yaml = mm.fit_spec("spec.yaml")
check_covariance_structure(DampedExponential(power=1.25))
print(*[f"{f.loglike:.6f}" for f in (by_formula, by_alias, by_instance, by_yaml)])
print(by_formula.covariance("Subject").shape, by_formula.estimates.terms[0].structure, by_formula.converged)
print(sorted(by_formula.parameters["name"]))
'''


def test_a_package_from_outside_fits_by_formula_yaml_and_python(tmp_path: Path) -> None:
    """A structure of a few lines, registered by an entry point of an installed distribution, with no other change."""
    site = tmp_path / "site"
    info = site / "mmframe_damped-0.3.dist-info"
    info.mkdir(parents=True)
    (site / "damped.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mmframe-damped\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text("[mmframe.v1]\ndamped = damped\n")
    (info / "RECORD").write_text("damped.py,,\n")
    script = tmp_path / "use.py"
    script.write_text(textwrap.dedent(USE))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    values, shape, names = done.stdout.splitlines()
    assert len(set(values.split())) == 1, "every way gives the same log-likelihood"
    assert shape == "(10, 10) mmframe-damped/damped_exponential True"
    assert names == "['Subject.rho', 'Subject.sd', 'sigma']"
