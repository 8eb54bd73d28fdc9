"""Real packages, installed into an environment, each broken in its own way: one says what is wrong, and every other fit runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.environments import Environment, write_wheel

STRUCTURE = '''
from attrs import frozen
from mmframe.api import CovarianceStructure, Param, Positive, hookimpl, same_point


@frozen
class Scaled(CovarianceStructure):
    """variance * factor * I: another than any built-in, so that a mix-up would show."""

    name = "{name}"
    factor: float = {factor}

    def params(self, points):
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi, index):
        {covariance}


@hookimpl
def {hook}():
    return [{given}]
'''


def structure(
    name: str = "scaled",
    factor: float = 2.0,
    covariance: str = "return self.factor * phi.variance * same_point(index)",
    hook: str = "mmframe_covariance_structures",
    given: str = "Scaled",
) -> str:
    return STRUCTURE.format(name=name, factor=factor, covariance=covariance, hook=hook, given=given)


# distribution: (module and its text, group, what is said of it)
BROKEN = {
    "mmf-import": (
        "broken_import",
        "import no_such_module_at_all\n",
        "mmframe.v1",
        "ModuleNotFoundError.*no_such_module",
    ),
    "mmf-syntax": ("broken_syntax", "def f(:\n", "mmframe.v1", "SyntaxError"),
    "mmf-misspelt": (
        "broken_misspelt",
        structure(hook="mmframe_covariance_structure"),
        "mmframe.v1",
        "did you mean 'mmframe_covariance_structures'",
    ),
    "mmf-arguments": (
        "broken_arguments",
        "from mmframe.api import hookimpl\n\n@hookimpl\ndef mmframe_fit_finished(result, verdict): ...\n",
        "mmframe.v1",
        "verdict",
    ),
    "mmf-unmarked": (
        "broken_unmarked",
        structure().replace("@hookimpl\n", ""),
        "mmframe.v1",
        "mmframe_covariance_structures is not marked as a hook.*@hookimpl",
    ),
    "mmf-empty": ("broken_empty", "nothing = 1\n", "mmframe.v1", "implements no hook"),
    "mmf-class": (
        "broken_class",
        structure(given="dict"),
        "mmframe.v1",
        "dict.*classes derived from CovarianceStructure",
    ),
    "mmf-instance": ("broken_instance", structure(given="Scaled()"), "mmframe.v1", "give the class, Scaled"),
    "mmf-abstract": (
        "broken_abstract",
        structure().replace("def covariance", "def sigma"),
        "mmframe.v1",
        "Scaled lacks the methods covariance",
    ),
    "mmf-name": (
        "broken_name",
        structure(name="Scaled Identity"),
        "mmframe.v1",
        r"'Scaled Identity'; allowed: \^\[a-z\]",
    ),
    "mmf-raises": ("broken_raises", structure(given="1 / 0"), "mmframe.v1", "ZeroDivisionError"),
    "mmf-reserved": (
        "broken_reserved",
        structure().replace("factor: float", "by: float").replace("self.factor", "self.by"),
        "mmframe.v1",
        "the option 'by'",
    ),
    "mmf-exit": ("broken_exit", "import sys\nsys.exit(3)\n", "mmframe.v1", "SystemExit: 3"),
    "mmf-hookexit": ("broken_hookexit", structure(given="exit('no licence')"), "mmframe.v1", "SystemExit: no licence"),
    "mmf-unprintable": (
        "broken_unprintable",
        "class E(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise E\n",
        "mmframe.v1",
        "it cannot be printed",
    ),
    "mmf-long": ("broken_long", "raise ValueError('a\\nb\\n' * 2000)\n", "mmframe.v1", r"ValueError: a b a b.*\.\.\."),
    "mmf-none": (
        "broken_none",
        structure().replace("return [Scaled]", "[Scaled]"),
        "mmframe.v1",
        "mmframe_covariance_structures gave None.*return it",
    ),
    "mmf-newer": (
        "broken_newer",
        "raise SystemExit('never imported')\n",
        "mmframe.v2",
        "version 2 of the plugin surface.*has version 1.*upgrade mmframe",
    ),
    "mmf-group": ("broken_group", structure(), "mmframe", "in the group 'mmframe'; allowed: 'mmframe.v1'"),
}
# These load; what they do is seen at use.
SOUND = {
    "mmf-alone": ("sound_alone", structure(name="alone", factor=2.0)),
    "mmf-first": ("sound_first", structure(name="shared", factor=3.0)),
    "mmf-second": ("sound_second", structure(name="shared", factor=5.0)),
    "mmf-usurper": ("sound_usurper", structure(name="variance_component", factor=7.0)),
    "mmf-combinator": ("sound_combinator", structure(name="kronecker", factor=7.0)),
    "mmf-fails": ("sound_fails", structure(name="fails", covariance='raise ZeroDivisionError("no points left")')),
    "mmf-shapeless": ("sound_shapeless", structure(name="shapeless", covariance="return phi.variance")),
}

SPEC = """mmframe: 1
data: data.csv
formula: Reaction ~ Days
random:
  - {{term: 1 | Subject, structure: {structure}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mmframe import datasets

    made = tmp_path_factory.mktemp("plugins")
    datasets.load("sleepstudy").to_csv(made / "data.csv", index=False)
    return made


@pytest.fixture(scope="module")
def environment(folder: Path) -> Environment:
    made = Environment.create(folder / "environment")
    wheels = [write_wheel(folder, d, {module: text}, group=group) for d, (module, text, group, _) in BROKEN.items()]
    wheels += [write_wheel(folder, d, {module: text}) for d, (module, text) in SOUND.items()]
    made.install(*wheels)
    (packages,) = made.folder.glob("lib/python*/site-packages")
    half = packages / "mmf_half-1.0.dist-info"  # as after an interrupted removal: no metadata, and no module
    half.mkdir()
    (half / "entry_points.txt").write_text("[mmframe.v1]\nhalf = half_removed\n", encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def listed(environment: Environment, folder: Path) -> dict[str, list[dict[str, object]]]:
    done = environment.mmframe("plugins", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return found


def spec(folder: Path, structure: str) -> str:
    path = folder / (re.sub(r"\W", "_", structure) + ".yaml")
    path.write_text(SPEC.format(structure=structure), encoding="utf-8")
    return path.name


def test_each_is_listed_with_what_is_wrong(listed: dict[str, list[dict[str, object]]]) -> None:
    failed = {str(f["distribution"]): f for f in listed["failed"]}
    assert set(failed) == {*BROKEN, "half-removed"}
    assert "No module named 'half_removed'" in str(failed["half-removed"]["error"])
    for distribution, (module, _, _, said) in BROKEN.items():
        record = failed[distribution]
        assert record["name"] == module and record["version"] == "1.0"
        assert re.search(said, str(record["error"])), record["error"]
    packages = {p["distribution"]: p for p in listed["packages"]}
    assert set(packages) >= {"mmframe", *SOUND}
    assert packages["mmf-alone"]["version"] == "1.0" and packages["mmf-alone"]["offers"] == ["alone"]


@pytest.fixture(scope="module")
def plain(environment: Environment, folder: Path) -> str:
    """What a fit prints with no plugin."""
    done = environment.mmframe("fit", spec(folder, "variance_component"), cwd=folder, MMFRAME_PLUGINS="none")
    assert done.returncode == 0 and not done.stderr
    return done.stdout


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_fit_that_does_not_name_it_runs_with_one_clear_warning(
    environment: Environment, folder: Path, distribution: str, plain: str
) -> None:
    done = environment.mmframe("fit", spec(folder, "variance_component"), cwd=folder, MMFRAME_PLUGINS=distribution)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    module, _, _, said = BROKEN[distribution]
    assert line.startswith(f"warning: mmframe: plugin {module!r} of {distribution} 1.0 was not loaded: ")
    assert re.search(said, line)
    assert without_times(done.stdout) == without_times(plain)


def without_times(printed: str) -> str:
    """How long a fit took is the only thing that may differ."""
    shown = re.sub(r"in [\d.e-]+ seconds", "", printed)
    assert shown != printed
    return shown


def test_under_strict_plugins_it_is_an_error(environment: Environment, folder: Path) -> None:
    done = environment.mmframe(
        "--strict-plugins", "fit", spec(folder, "variance_component"), cwd=folder, MMFRAME_PLUGINS="mmf-import"
    )
    assert done.returncode == 1
    assert "error: plugin 'broken_import' of mmf-import 1.0 failed" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["nothing", "mmf-import/nothing"])
def test_a_fit_that_names_it_says_that_it_failed(environment: Environment, folder: Path, name: str) -> None:
    done = environment.mmframe("fit", spec(folder, name), cwd=folder, MMFRAME_PLUGINS="mmf-import")
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert "broken_import of mmf-import failed to load (ModuleNotFoundError" in error


def loglikes(environment: Environment, folder: Path, plugins: str, *structures: str) -> list[str]:
    """The log-likelihoods, to the last digit, with these plugins installed."""
    code = "import sys, mmframe as mm\nfor spec in sys.argv[1:]: print(repr(mm.fit_spec(spec).loglike))"
    specs = [spec(folder, structure) for structure in structures]
    done = environment.run("-c", code, *specs, cwd=folder, MMFRAME_PLUGINS=plugins)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_installing_a_plugin_never_changes_a_number(environment: Environment, folder: Path) -> None:
    """A specification runs as before, or stops and shows both spellings."""
    before = loglikes(environment, folder, "none", "variance_component", "vc")
    everything = ",".join(SOUND)
    assert loglikes(environment, folder, everything, "variance_component", "vc") == before
    (first,) = loglikes(environment, folder, "mmf-first", "shared")
    done = environment.mmframe("fit", spec(folder, "shared"), cwd=folder, MMFRAME_PLUGINS="mmf-first,mmf-second")
    assert done.returncode == 1
    assert "offered by mmf-first and mmf-second" in done.stderr
    assert "mmf-first/shared, mmf-second/shared" in done.stderr
    assert loglikes(environment, folder, everything, "mmf-first/shared") == [first]


def test_each_of_two_spellings_means_its_own_package(environment: Environment, folder: Path) -> None:
    """The factors differ, so the variances do; the model is one. The name of a distribution may be written in any form."""
    names = {"mmf-first/shared": 3, "MMF_Second/shared": 5, "mmf-usurper/variance_component": 7}
    code = """
import sys, mmframe as mm
for name in sys.argv[1:]:
    fit = mm.ModelBuilder().fixed("Reaction ~ Days").random("1 | Subject", structure=name).build("data.csv").fit()
    print(fit.parameters["estimate"][0])
"""
    done = environment.run("-c", code, *names, cwd=folder, MMFRAME_PLUGINS=",".join(SOUND))
    assert done.returncode == 0, done.stderr
    variances = dict(zip(names.values(), map(float, done.stdout.split()), strict=True))
    # sd(Intercept | Subject) of Reaction ~ Days + (1 | Subject), REML, by lme4: 37.124 (its 2015 article, section 5.2)
    for factor, sd in variances.items():
        assert sd * factor**0.5 == pytest.approx(37.124, abs=2e-3)


def test_a_combinator_cannot_be_taken(environment: Environment, folder: Path) -> None:
    code = """
import mmframe as mm
data = mm.datasets.load("sleepstudy").assign(side="a")
for residual in ("ar1(Days | Subject)", "kronecker(ar1(Days) | Subject)"):
    print(mm.fit("Reaction ~ Days", data, residual=residual).loglike)
"""
    one = environment.run("-c", code, cwd=folder, MMFRAME_PLUGINS="none")
    other = environment.run("-c", code, cwd=folder, MMFRAME_PLUGINS="mmf-combinator")
    assert one.returncode == other.returncode == 0, other.stderr
    assert one.stdout == other.stdout


def test_a_plugin_that_raises_at_use_is_named(environment: Environment, folder: Path) -> None:
    done = environment.mmframe("fit", spec(folder, "fails"), cwd=folder, MMFRAME_PLUGINS="mmf-fails")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = "the covariance structure mmf-fails/fails 1.0, in covariance(), raised ZeroDivisionError: no points left"
    assert said in done.stderr
    assert done.stderr.startswith("error: ")


def test_a_matrix_of_another_shape_is_not_broadcast(environment: Environment, folder: Path) -> None:
    done = environment.mmframe("fit", spec(folder, "shapeless"), cwd=folder, MMFRAME_PLUGINS="mmf-shapeless")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the covariance structure 'shapeless' (sound_shapeless.Scaled): covariance() gave an array ()" in done.stderr
    assert "for an index (1, 1); allowed: real numbers (1, 1)" in done.stderr


def test_the_workers_of_a_bootstrap_warn_no_more(environment: Environment, folder: Path) -> None:
    code = """
import mmframe as mm
if __name__ == "__main__":
    fit = mm.fit("Reaction ~ Days + (1 | Subject)", mm.datasets.load("sleepstudy"))
    print(len(fit.bootstrap(8, seed=1, workers=2).estimates))
"""
    (folder / "boot.py").write_text(code, encoding="utf-8")
    done = environment.run("boot.py", cwd=folder, MMFRAME_PLUGINS="mmf-import")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no_such_module_at_all") == 1


def test_entry_points_that_cannot_be_read_hide_no_others(folder: Path) -> None:
    made = Environment.create(folder / "unreadable")
    made.install(write_wheel(folder, "mmf-alone", {"sound_alone": SOUND["mmf-alone"][1]}))
    (packages,) = made.folder.glob("lib/python*/site-packages")
    odd = packages / "odd-1.0.dist-info"
    odd.mkdir()
    (odd / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n", encoding="utf-8")
    (odd / "entry_points.txt").write_text("[mmframe.v1]\nno equals sign\n", encoding="utf-8")
    listed = made.mmframe("plugins", "--json", cwd=folder)
    assert listed.returncode == 0, listed.stderr
    assert {"mmf-alone", "mmframe"} <= {p["distribution"] for p in json.loads(listed.stdout)["packages"]}


def test_where_warnings_are_errors_one_is_enough(environment: Environment, folder: Path) -> None:
    code = """
import mmframe as mm
data = mm.datasets.load("sleepstudy")
for k in range(2):
    try:
        print(mm.fit("Reaction ~ Days + (1 | Subject)", data).converged)
    except UserWarning as warning:
        print(type(warning).__name__)
"""
    done = environment.run("-W", "error::UserWarning", "-c", code, cwd=folder, MMFRAME_PLUGINS="mmf-import")
    assert done.stdout.split() == ["PluginWarning", "True"], done.stderr


def test_a_saved_fit_names_the_package(environment: Environment, folder: Path) -> None:
    """So it is found again where another package offers the same name."""
    code = """
import mmframe as mm
fit = mm.fit("Reaction ~ Days + shared(1 | Subject)", mm.datasets.load("sleepstudy"))
fit.save("shared.mm")
print(fit.spec.random[0].structure.name, fit.estimates.terms[0].structure, fit.loglike)
"""
    done = environment.run("-c", code, cwd=folder, MMFRAME_PLUGINS="mmf-first")
    assert done.returncode == 0, done.stderr
    name, structure, value = done.stdout.split()
    assert name == structure == "mmf-first/shared"
    again = "import mmframe as mm; fit = mm.load('shared.mm'); print(mm.fit_spec(fit.spec, 'data.csv').loglike)"
    done = environment.run("-c", again, cwd=folder, MMFRAME_PLUGINS="mmf-first,mmf-second")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == float(value)
