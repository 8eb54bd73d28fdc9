"""The command line: what it prints, what it writes, its exit codes; errors are messages, never tracebacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import mmframe as mm
from mmframe.cli import main

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "data"
# lme4 1.1-31, as in the reference case sleepstudy_rs_reml
REML_LOGLIK = -871.814136
MODEL = "formula: Reaction ~ 1 + Days\nrandom:\n  - {term: 1 + Days | Subject}\n"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def timeless(text: str) -> str:
    """A summary without its seconds, which differ from run to run."""
    return re.sub(r"in \S+ seconds", "in ... seconds", text.strip())


def fails(result: Result, *words: str, code: int = 1) -> None:
    """An error of the command line: its exit code, its words, no traceback, and nothing that escaped."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr, f"{word!r} is not in {result.stderr!r}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mm.datasets.load("sleepstudy").to_csv(tmp_path / "sleep.csv", index=False)
    (tmp_path / "model.yaml").write_text(MODEL + "data: sleep.csv\n")
    return tmp_path


def write(folder: Path, text: str, name: str = "other.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# fit


def test_fit_prints_a_summary(folder: Path) -> None:
    result = run("fit", folder / "model.yaml")
    assert result.exit_code == 0
    fit = mm.fit_spec(folder / "model.yaml")
    assert timeless(result.stdout) == timeless(fit.summary())
    assert f"{REML_LOGLIK:.4f}" in result.stdout
    assert "Traceback" not in result.output


def test_fit_json(folder: Path) -> None:
    result = run("fit", folder / "model.yaml", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["loglike"] == pytest.approx(REML_LOGLIK, abs=5e-6)
    assert document["nobs"] == 180
    assert document["converged"] is True
    assert document["reml"] is True
    fit = mm.fit_spec(folder / "model.yaml")
    assert document["fixed_effects"]["Days"]["estimate"] == pytest.approx(fit.fixed_effects["Days"], rel=1e-10)
    assert [row["name"] for row in document["parameters"]] == list(fit.parameters["name"])
    assert len(document["trace"]) == len(fit.trace)
    assert document["versions"]["mmframe"] == mm.__version__
    assert document["formula"] == fit.formula
    assert document["engine"] == "pooled"
    assert document["evaluations"] == fit.estimates.evaluations
    assert list(document["phases"]) == ["design", "reduce", "start", "newton", "check"]
    assert sum(document["phases"].values()) == pytest.approx(document["seconds"])


def test_json_has_no_numbers_that_are_not_json(folder: Path) -> None:
    """A singular fit has standard errors that are not there: null, since JSON knows no NaN."""
    shutil.copy(REFERENCE / "dyestuff2.csv", folder / "dye.csv")
    path = write(folder, "formula: Yield ~ 1 + (1 | Batch)\ndata: dye.csv\n")
    result = run("fit", path, "--json")

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is no JSON")

    document = json.loads(result.stdout, parse_constant=refuse)
    assert document["singular"] is True
    assert any(row["std_error"] is None for row in document["parameters"])


def test_fit_with_degrees_of_freedom(folder: Path) -> None:
    """pbkrtest 0.5.2 and lmerTest 3.1: 17 for both coefficients."""
    assert "Kenward and Roger's" in run("fit", folder / "model.yaml", "--df", "kenward_roger").stdout
    document = json.loads(run("fit", folder / "model.yaml", "--df", "satterthwaite", "--json").stdout)
    np.testing.assert_allclose([row["df"] for row in document["fixed_effects"].values()], 17.0, rtol=1e-5)
    fails(run("fit", folder / "model.yaml", "--df", "exact"), "--df", code=2)
    crossed = write(folder, "formula: Reaction ~ 1 + (1 | Subject) + (1 | Days)\ndata: sleep.csv\n")
    fails(
        run("fit", crossed, "--df", "between_within", "--save", folder / "kept.mm"), "crossed factors Days and Subject"
    )
    assert mm.load(folder / "kept.mm").converged  # the fit is not lost


def test_fit_trace(folder: Path) -> None:
    result = run("fit", folder / "model.yaml", "--trace")
    assert result.exit_code == 0
    head, _, tail = result.stdout.partition("\nTrace\n")
    assert "log-likelihood" in head
    lines = tail.strip().splitlines()
    assert lines[0].split() == ["stage", "iteration", "evaluations", "value", "gradient_norm", "seconds"]
    assert len(lines) == len(mm.fit_spec(folder / "model.yaml").trace) + 1


def test_fit_save(folder: Path) -> None:
    result = run("fit", folder / "model.yaml", "--save", folder / "fit.mmframe")
    assert result.exit_code == 0
    loaded = mm.load(folder / "fit.mmframe")
    data = pd.read_csv(folder / "sleep.csv")
    expected = mm.fit_spec(folder / "model.yaml")
    assert loaded.loglike == pytest.approx(expected.loglike, abs=1e-10)
    np.testing.assert_allclose(loaded.predict(data), expected.fitted, rtol=1e-8)


FILES = {
    "spec.yaml",
    "run.json",
    "summary.txt",
    "trace.csv",
    "coefficients.csv",
    "parameters.csv",
    "random_effects_Subject.csv",
    "fit.mmframe",
}


def check_bundle(bundle: Path, expected: mm.FitResult) -> None:
    assert {p.name for p in bundle.iterdir()} == FILES
    again = mm.fit_spec(bundle / "spec.yaml")
    assert again.loglike == pytest.approx(expected.loglike, abs=1e-10)
    told = json.loads((bundle / "run.json").read_text())
    assert told["loglike"] == pytest.approx(expected.loglike, abs=1e-10)
    assert told["data"]["file"] == "sleep.csv"
    assert len(told["data"]["sha256"]) == 64
    assert mm.load(bundle / "fit.mmframe").loglike == pytest.approx(expected.loglike, abs=1e-10)
    coefficients = pd.read_csv(bundle / "coefficients.csv", index_col="term")
    np.testing.assert_allclose(coefficients["estimate"], expected.fixed_effects, rtol=1e-10)
    effects = pd.read_csv(bundle / "random_effects_Subject.csv", index_col=0)
    np.testing.assert_allclose(effects, expected.random_effects["Subject"], rtol=1e-6)
    assert list(pd.read_csv(bundle / "parameters.csv")["name"]) == list(expected.parameters["name"])
    assert timeless((bundle / "summary.txt").read_text()) == timeless(expected.summary())
    assert (bundle / "summary.txt").read_text().strip() == mm.load(bundle / "fit.mmframe").summary()


def test_fit_bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("fit", folder / "model.yaml", "--bundle", folder / "deep" / "bundle")
    assert result.exit_code == 0
    assert "bundle:" in result.stderr
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    check_bundle(folder / "deep" / "bundle", mm.fit_spec(folder / "model.yaml"))


def test_output_bundle_is_relative_to_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, MODEL + "data: sleep.csv\noutput: {summary: false, bundle: results/}\n")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    result = run("fit", path)
    assert result.exit_code == 0
    assert result.stdout.strip() == ""
    assert list(elsewhere.iterdir()) == []
    check_bundle(folder / "results", mm.fit_spec(path))
    assert run("fit", folder / "results" / "spec.yaml").exit_code == 0


def test_a_bundle_is_written_over(folder: Path) -> None:
    for _ in range(2):
        assert run("fit", folder / "model.yaml", "--bundle", folder / "bundle", "--quiet").exit_code == 0
    check_bundle(folder / "bundle", mm.fit_spec(folder / "model.yaml"))


def test_a_bundle_of_groups_with_odd_names(folder: Path) -> None:
    """What stands in a group's name stays within the folder."""
    data = pd.read_csv(folder / "sleep.csv").rename(columns={"Subject": "../who/where"})
    data.to_csv(folder / "odd.csv", index=False)
    path = write(folder, "formula: Reaction ~ Days + (1 | `../who/where`)\ndata: odd.csv\n")
    result = run("fit", path, "--bundle", folder / "bundle")
    assert result.exception is None or result.exit_code == 0, repr(result.exception)
    assert len(list((folder / "bundle").glob("random_effects_*.csv"))) == 1
    assert len(list((folder / "bundle").iterdir())) == len(FILES)


def test_quiet(folder: Path) -> None:
    for more in ((), ("--trace",), ("--json",), ("--bundle", folder / "b"), ("--save", folder / "s")):
        result = run("fit", folder / "model.yaml", "--quiet", *more)
        assert result.exit_code == 0
        assert result.output == ""


def test_other_data(folder: Path) -> None:
    data = pd.read_csv(folder / "sleep.csv")
    data.iloc[:90].to_csv(folder / "half.csv", index=False)
    data.iloc[:90].to_parquet(folder / "half.parquet")
    for name in ("half.csv", "half.parquet"):
        result = run("fit", folder / "model.yaml", "--data", folder / name, "--json")
        assert json.loads(result.stdout)["nobs"] == 90


def test_exit_code_of_a_fit_that_does_not_converge(folder: Path) -> None:
    mm.datasets.load("dietox").to_csv(folder / "pigs.csv", index=False)
    path = write(
        folder, "formula: Weight ~ Time + (Time | Pig)\ndata: pigs.csv\nstages: [{gradient: {max_iterations: 1}}]\n"
    )
    result = run("fit", path)
    assert result.exit_code == 3
    assert "NOT CONVERGED" in result.stdout
    assert mm.fit_spec(path).converged is False


INVALID = {
    "no file": (None, ("no such file",)),
    "empty": ("", ("an empty document",)),
    "no mapping": ("- a", ("a mapping with the keys",)),
    "no YAML": ("formula: [y", ("YAML 1.2", "line 1")),
    "a duplicate key": ("formula: y ~ x\nformula: y ~ z\n", ("line 2", "duplicate key")),
    "no formula": ("data: sleep.csv\n", ("formula: it is missing",)),
    "an unknown key": (MODEL + "dta: sleep.csv\n", ("line 4: dta", "did you mean 'data'?")),
    "a bad formula": ("formula: Reaction ~ (1 | \ndata: sleep.csv\n", ("line 1: formula",)),
    "code": ("formula: Reaction ~ open('x')\ndata: sleep.csv\n", ("the call of 'open'",)),
    "an unknown structure": (
        "formula: Reaction ~ Days + unstructred(1 | Subject)\ndata: sleep.csv\n",
        ("there is no covariance structure 'unstructred'", "did you mean 'unstructured'?"),
    ),
    "an unknown option": ("formula: Reaction ~ Days + cs(1 | Subject, a=1)\ndata: sleep.csv\n", ("option", "'a'")),
    "an unknown stage": (MODEL + "stages: [newtn]\ndata: sleep.csv\n", ("stages[0]", "did you mean 'newton'?")),
    "an unknown parameterization": (
        MODEL + "parameterization: choleski\ndata: sleep.csv\n",
        ("did you mean 'cholesky'?",),
    ),
    "an unknown engine": (MODEL + "engine: poled\ndata: sleep.csv\n", ("did you mean 'pooled'?",)),
    "an unknown column": (
        "formula: Reaction ~ Dys + (1 | Subject)\ndata: sleep.csv\n",
        ("'Dys'", "did you mean 'Days'?"),
    ),
    "an unknown parameter": (
        MODEL + "fix: {sgma: 1}\ndata: sleep.csv\n",
        ("there is no parameter 'sgma'", "did you mean 'sigma'?"),
    ),
    "a value out of range": (MODEL + "fix: {sigma: -1}\ndata: sleep.csv\n", ("fix['sigma']", "0 to inf")),
    "a residual structure": (
        MODEL + "residual: {term: Days | Subject, structure: arr1}\ndata: sleep.csv\n",
        ("residual", "there is no covariance structure 'arr1'"),
    ),
    "no data file": (MODEL + "data: slep.csv\n", ("there is no file", "did you mean 'sleep.csv'?")),
    "a folder as data": (MODEL + "data: .\n", ("this is no file",)),
    "constant data": (MODEL + "data: constant.csv\n", ("response 'Reaction'", "constant")),
    "no rows": (MODEL + "data: headers.csv\n", ("no rows",)),
    "one level": (MODEL + "data: one.csv\n", ("one level",)),
    "too many effects": (
        "formula: Reaction ~ Days + (1 | row)\ndata: rows.csv\n",
        ("cannot be told from the residual",),
    ),
    "several mistakes": (
        MODEL + "criterion: rmel\nmissing: dorp\nstags: []\n",
        ("did you mean 'reml'?", "did you mean 'drop'?", "'stages'?"),
    ),
}


@pytest.mark.parametrize("command", ["check", "fit", "describe"])
@pytest.mark.parametrize("kind", list(INVALID))
def test_every_kind_of_invalid(command: str, kind: str, folder: Path) -> None:
    text, words = INVALID[kind]
    data = pd.read_csv(folder / "sleep.csv")
    data.assign(Reaction=1.0).to_csv(folder / "constant.csv", index=False)
    data.iloc[:0].to_csv(folder / "headers.csv", index=False)
    data.iloc[:10].to_csv(folder / "one.csv", index=False)
    data.assign(row=range(180)).to_csv(folder / "rows.csv", index=False)
    path = folder / "bad.yaml"
    if text is not None:
        path.write_text(text)
    before = sorted(p.name for p in folder.iterdir())
    result = run(command, path)
    fails(result, *words)
    assert all(line.startswith("error: ") for line in result.stderr.strip().splitlines())
    assert result.stdout == ""
    assert sorted(p.name for p in folder.iterdir()) == before


def test_several_errors_are_several_lines(folder: Path) -> None:
    text, _ = INVALID["several mistakes"]
    assert text is not None
    result = run("check", write(folder, text))
    assert len(result.stderr.strip().splitlines()) == 3


def test_places_that_cannot_be_written(folder: Path) -> None:
    """A target that cannot be made is a message, too."""
    (folder / "file").write_text("")
    for option, target in (
        ("--save", folder / "nowhere" / "fit.mmframe"),
        ("--save", folder),
        ("--bundle", folder / "file"),
        ("--bundle", folder / "file" / "bundle"),
    ):
        fails(run("fit", folder / "model.yaml", option, target), "error: ")


def test_usage_errors(folder: Path) -> None:
    fails(run("fit"), "Missing argument", code=2)
    fails(run("fit", folder / "model.yaml", "--nothing"), "No such option", code=2)
    fails(run("ft"), "No such command", code=2)
    fails(run("check"), "Missing argument", code=2)


def test_a_folder_is_no_specification(folder: Path) -> None:
    for command in ("fit", "check"):
        fails(run(command, folder), "error: ")


# check


SIMPLER = "formula: Reaction ~ 1 + Days\ndata: sleep.csv\nrandom:\n  - {term: 1 | Subject}\n"


def test_compare(folder: Path) -> None:
    """The likelihood-ratio table of two files, from the simpler model to the richer, whatever their order."""
    (folder / "simpler.yaml").write_text(SIMPLER)
    result = run("compare", folder / "model.yaml", folder / "simpler.yaml")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("1  Reaction ~ 1 + Days + (1 | Subject)") and lines[1].startswith("2  ")
    assert "p_boundary" in result.stdout and f"{REML_LOGLIK:.6g}" in result.stdout
    rows = json.loads(run("compare", folder / "simpler.yaml", folder / "model.yaml", "--json").stdout)
    expected = mm.compare(
        mm.fit("Reaction ~ Days + (1 | Subject)", mm.datasets.load("sleepstudy")),
        mm.fit("Reaction ~ Days + (Days | Subject)", mm.datasets.load("sleepstudy")),
    )
    assert rows[0]["chisq"] is None and rows[1]["df"] == 2
    np.testing.assert_allclose(rows[1]["chisq"], expected["chisq"].iloc[1], rtol=1e-6)
    np.testing.assert_allclose(rows[1]["p_boundary"], expected["p_boundary"].iloc[1], rtol=1e-6)
    asked = ("compare", folder / "simpler.yaml", folder / "model.yaml", "--bootstrap", "5", "--seed", "1", "--json")
    assert json.loads(run(*asked).stdout)[1]["p_bootstrap"] == pytest.approx(1 / 6)


def test_compare_of_what_cannot_be_compared(folder: Path) -> None:
    fails(run("compare", folder / "model.yaml"), "two or more", code=2)
    mm.datasets.load("sleepstudy").iloc[:-1].to_csv(folder / "less.csv", index=False)
    (folder / "less.yaml").write_text(SIMPLER.replace("sleep.csv", "less.csv"))
    fails(run("compare", folder / "model.yaml", folder / "less.yaml"), "responses of 180 and 179 rows")
    both = run("compare", folder / "model.yaml", folder / "less.yaml", "--data", folder / "sleep.csv")
    assert both.exit_code == 0, both.stderr
    mm.datasets.load("dietox").to_csv(folder / "pigs.csv", index=False)
    slow = "formula: Weight ~ Time + (Time | Pig)\ndata: pigs.csv\nstages: [{gradient: {max_iterations: 1}}]\n"
    (folder / "slow.yaml").write_text(slow)
    (folder / "simpler.yaml").write_text("formula: Weight ~ Time + (1 | Pig)\ndata: pigs.csv\n")
    assert run("compare", folder / "simpler.yaml", folder / "slow.yaml").exit_code == 3


def test_check_valid(folder: Path) -> None:
    result = run("check", folder / "model.yaml")
    assert result.exit_code == 0
    for word in ("valid", "180 rows", "0 dropped", "2 fixed effects", "3 covariance parameters", "pooled", "newton"):
        assert word in result.stdout
    assert result.stderr == ""


def test_check_without_data(folder: Path) -> None:
    result = run("check", write(folder, MODEL))
    assert result.exit_code == 0
    assert "names no data" in result.stdout
    fails(run("fit", folder / "other.yaml"), "none were given")
    fails(run("check", write(folder, MODEL + "stages: [newtn]\n")), "did you mean 'newton'?")


def test_check_fits_nothing(folder: Path) -> None:
    before = sorted(folder.iterdir())
    assert (
        run("check", write(folder, MODEL + "data: sleep.csv\noutput: {bundle: results}\n", "model.yaml")).exit_code == 0
    )
    assert sorted(folder.iterdir()) == before


# plugins and describe


def test_plugins() -> None:
    result = run("plugins")
    assert result.exit_code == 0
    for name in (
        "unstructured",
        "compound_symmetry",
        "cholesky",
        "natural",
        "newton",
        "em",
        "us",
        f"mmframe {mm.__version__}",
    ):
        assert name in result.stdout
    assert "packages (entry points of the group mmframe.v1):" in result.stdout
    rows = json.loads(run("plugins", "--json").stdout)
    assert rows["api_version"] == 1 and set(rows) == {"api_version", "packages", "registered", "failed"}
    names = {(row["kind"], row["name"]) for row in rows["registered"]}
    assert {("covariance structure", "unstructured"), ("parameterization", "cholesky"), ("stage", "newton")} <= names
    assert all(set(row) == {"kind", "name", "aliases", "distribution", "version"} for row in rows["registered"])
    assert isinstance(rows["failed"], list)
    assert {row["name"] for row in rows["registered"] if row["distribution"] == "mmframe"} >= {
        "lbfgs",
        "cg",
        "gradient",
        "simplex",
    }


def test_every_registered_name_is_described() -> None:
    for row in json.loads(run("plugins", "--json").stdout)["registered"]:
        for name in (row["name"], *row["aliases"], f"{row['distribution']}/{row['name']}"):
            result = run("describe", name)
            assert result.exit_code == 0, name
            assert (
                f"{row['name']} ({row['kind']}, {row['distribution']}/{row['name']} {row['version']})" in result.stdout
            )
            assert all(f"aliases: {', '.join(row['aliases'])}" in result.stdout for _ in row["aliases"])


def test_describe_shows_options_and_kind() -> None:
    assert "option max_iterations" in run("describe", "em").stdout
    assert "index_kind: unordered" in run("describe", "cs").stdout
    assert "scale: relative" in run("describe", "profile").stdout
    assert "scale: absolute" in run("describe", "natural").stdout
    assert "finishes: True" in run("describe", "newton").stdout


def test_describe_a_specification(folder: Path) -> None:
    result = run("describe", folder / "model.yaml")
    assert result.exit_code == 0
    for word in (
        "formula      Reaction ~ 1 + Days + (1 + Days | Subject)",
        "criterion    REML",
        "term         1 + Days | Subject: unstructured, cholesky (relative)",
        "stages       newton",
        "data         180 rows, 0 dropped",
        "fixed        2 columns: Intercept, Days",
        "grouping     Subject: 18 levels x 2 columns: Intercept, Days",
        "covariance   3 parameters and σ²",
        "engine       pooled",
        "not blocked, dense: pooled comes before it",
        "18 levels, a block of 2 x 2 each",
    ):
        assert word in result.stdout
    model = mm.ModelBuilder.from_spec(mm.load_spec(folder / "model.yaml")).build()
    assert result.stdout == model.describe() + "\n"


def test_describe_crossed_factors(folder: Path) -> None:
    shutil.copy(REFERENCE / "penicillin.csv", folder)
    text = "formula: diameter ~ 1 + (1 | plate) + (1 | sample)\ndata: penicillin.csv\n"
    path = write(folder, text + "stages: [{em: {max_iterations: 3}}, newton]\nfix: {sigma: 0.5}\n")
    lines = run("describe", path).stdout.splitlines()
    for line in (
        "term         1 | sample: unstructured, cholesky (relative)",
        "held         sigma = 0.5",
        "stages       em(max_iterations=3), newton",
        "grouping     plate: 24 levels x 1 column: Intercept",
        "engine       blocked",
        "  not pooled: it takes one grouping factor, and this design has 2 (plate, sample)",
        "  not dense: blocked comes before it",
    ):
        assert line in lines
    table = [line.split() for line in lines[lines.index("blocks") + 1 :]]
    assert table[0] == ["factor", "levels", "columns", "block", "eliminated"]
    assert {row[0]: row[1] for row in table[1:3]} == {"plate": "24", "sample": "6"}
    assert lines[-1].endswith("dense core: 30 x 30")
    dense = run("describe", write(folder, text + "engine: dense\n")).stdout
    assert "engine       dense" in dense
    assert "not blocked: it was not asked for" in dense
    assert "V as one matrix of 144 x 144" in dense
    fails(run("describe", write(folder, text + "engine: pooled\n")), "pooled: it takes one grouping factor")


def test_describe_without_data_or_random_effects(folder: Path) -> None:
    bare = run("describe", write(folder, MODEL, "bare.YML"))
    assert bare.exit_code == 0
    assert "data         none named" in bare.stdout
    assert "blocks" not in bare.stdout
    fixed = run("describe", write(folder, "formula: Reaction ~ Days\ndata: sleep.csv\n"))
    assert "engine       plain" in fixed.stdout
    assert "not pooled, blocked: it takes a design with random effects, and this one has none" in fixed.stdout


def test_describe_a_file_of_any_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, MODEL + "data: sleep.csv\n", "model.txt")
    (folder / "newton").mkdir()
    monkeypatch.chdir(folder)
    assert run("describe", "model.txt").stdout == run("describe", "model.yaml").stdout
    assert "newton (stage" in run("describe", "newton").stdout, "a folder hides no plugin"


def test_describe_what_is_not_there(folder: Path) -> None:
    fails(run("describe", folder / "modl.yaml"), "modl.yaml: there is no such file", "did you mean 'model.yaml'?")
    fails(run("describe", "unstructred"), "there is no plugin 'unstructred'", "did you mean 'unstructured'?")
    fails(run("describe", "other-package/ar1"), "there is no plugin")
    fails(run("describe", ""), "there is no plugin")


# conformance


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_plugins.py").write_text(
        "from attrs import frozen\n"
        "from mmframe.api import CovarianceStructure, Param, Positive\n"
        "import numpy as np\n"
        "@frozen\n"
        "class Same(CovarianceStructure):\n"
        "    name = 'same_variance'\n"
        "    def params(self, points):\n"
        "        return (Param('variance', Positive(), scale_power=2),)\n"
        "    def covariance(self, phi, index):\n"
        "        return phi.variance * (index[..., :, None, 0] == index[..., None, :, 0]).astype(float)\n"
        "@frozen\n"
        "class Wrong(Same):\n"
        "    name = 'wrong_scale'\n"
        "    def params(self, points):\n"
        "        return (Param('variance', Positive(), scale_power=1),)\n"
        "@frozen\n"
        "class Needs(Same):\n"
        "    name = 'needs_an_option'\n"
        "    bands: int\n"
        "@frozen\n"
        "class Raises(Same):\n"
        "    name = 'raises'\n"
        "    def covariance(self, phi, index):\n"
        "        raise RuntimeError('not written yet')\n"
        "with_option = Needs(3)\n"
        "number = 3\n"
    )
    (tmp_path / "own_broken.py").write_text("def (:\n")
    (tmp_path / "own_raises.py").write_text("raise RuntimeError('at import')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_plugins", "own_broken", "own_raises"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("target", ["Same", "with_option"])
def test_conformance_ok(target: str, modules: Path) -> None:
    result = run("conformance", f"own_plugins:{target}")
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().splitlines()
    assert len(lines) > 5
    assert all(line.startswith("ok  ") for line in lines)


def test_conformance_of_some_rules_at_some_sizes(modules: Path) -> None:
    result = run("conformance", "own_plugins:Same", "--rule", "symmetric", "--rule", "jacobian", "--size", "2")
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 2
    fails(run("conformance", "own_plugins:Same", "--rule", "symetric"), "did you mean 'symmetric'", code=2)


def test_conformance_shows_every_rule_that_is_broken(modules: Path) -> None:
    result = run("conformance", "own_plugins:Raises")
    assert result.exit_code == 1
    assert result.stderr.count("FAILED  rule ") > 3 and "rules broken" in result.stderr
    assert "to do: " in result.stderr and "again: from own_plugins import Raises; " in result.stderr
    assert "ok  names are lower case" in result.stdout


def test_conformance_of_a_built_in_parameterization() -> None:
    result = run("conformance", "mmframe.plugins.parameterizations.profile:Profile")
    assert result.exit_code == 0, result.output
    assert "ok  " in result.stdout


def test_conformance_failed(modules: Path) -> None:
    fails(run("conformance", "own_plugins:Wrong"), "FAILED", "wrong_scale", "Σ(c^power φ) is not c² Σ(φ)")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("own_plugins", ("module:Object",)),
        ("own_plugins:", ()),
        (":Same", ()),
        ("", ("module:Object",)),
        ("own_plugins:Nothing", ("Nothing",)),
        ("no_such_module:Same", ("no_such_module",)),
        (".relative:Same", ()),
        ("own_plugins:number", ("covariance structure",)),
        ("own_plugins:Needs", ("bands",)),
        ("own_broken:Same", ("own_broken",)),
        ("own_raises:Same", ("at import",)),
        ("os:getcwd", ("covariance structure",)),
    ],
)
def test_conformance_of_a_bad_target(target: str, words: tuple[str, ...], modules: Path) -> None:
    fails(run("conformance", target), *words, code=2)


def test_conformance_of_a_plugin_that_raises(modules: Path) -> None:
    fails(run("conformance", "own_plugins:Raises"), "FAILED", "not written yet")


# the program itself


def test_version_and_help() -> None:
    assert mm.__version__ in run("--version").stdout
    text = run("--help").stdout
    for command in ("fit", "check", "plugins", "describe", "conformance", "new-plugin"):
        assert command in text
        assert run(command, "--help").exit_code == 0


def test_strict_plugins(folder: Path) -> None:
    assert run("--strict-plugins", "check", folder / "model.yaml").exit_code == 0


def test_as_a_program(folder: Path) -> None:
    """One run of each kind in a process of its own."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MMFRAME_PLUGINS": "none"}

    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mmframe.cli", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            check=False,
        )

    good = program("fit", "model.yaml", "--json")
    assert good.returncode == 0, good.stderr
    assert json.loads(good.stdout)["loglike"] == pytest.approx(REML_LOGLIK, abs=5e-6)
    assert "Traceback" not in good.stderr
    bad = program("fit", "nothing.yaml")
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert bad.stderr.startswith("error: ")
    assert "Traceback" not in bad.stderr
