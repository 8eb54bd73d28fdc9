"""Documents: YAML and dicts to a specification and back, and every mistake told with its place."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.errors import UnknownNameError
from mmframe.registry.registry import default_registry
from mmframe.resolution import resolve
from mmframe.spec.document import from_dict
from mmframe.spec.formula import read_term
from mmframe.spec.model import Choice, ModelSpec, OutputSpec, TermSpec
from mmframe.spec.residual import read_residual, read_variance
from mmframe.spec.written import to_dict
from mmframe.spec.yaml_text import read_yaml, write_yaml

DATA = Path(__file__).resolve().parents[1] / "reference" / "data"
SLEEP = "Reaction ~ 1 + Days"

SPECS = {
    "least": ModelSpec("y ~ 1"),
    "one term": ModelSpec("y ~ x", (TermSpec("1 + x", ("g",)),)),
    "several terms": ModelSpec("y ~ x", (TermSpec("1", ("g",)), TermSpec("0 + x", ("g",)), TermSpec("1", ("h",)))),
    "a structure": ModelSpec("y ~ x", (TermSpec("0 + m", ("w",), Choice("cs")),)),
    "options": ModelSpec("y ~ x", (TermSpec("0 + m", ("w",), Choice("mine", {"power": 0.5, "bands": 3, "kind": "no"})),)),
    "nested options": ModelSpec("y ~ x", (TermSpec("1", ("g",), Choice("mine", {"a": [1, 2.5, "x", None, True]})),)),
    "parameterization of a term": ModelSpec("y ~ x", (TermSpec("1", ("g",), parameterization="profile"),)),
    "parameterization by term": ModelSpec("y ~ x", (TermSpec("1", ("g",)),), parameterization={"g": "profile"}),
    "parameterization": ModelSpec("y ~ x", (TermSpec("1", ("g",)),), parameterization="natural"),
    "interaction": ModelSpec("y ~ x", (TermSpec("1", ("a", "b", "c")),)),
    "odd group": ModelSpec("y ~ x", (TermSpec("1", ("a g",)), TermSpec("1", ("a/b", "c:d")))),
    "group with a digit": ModelSpec("y ~ x", (TermSpec("1", ("2nd",)),)),
    "group with a dot": ModelSpec("y ~ x", (TermSpec("1", ("g.one",)),)),
    "group in another script": ModelSpec("y ~ x", (TermSpec("1", ("größe",)),)),
    "odd columns": ModelSpec("`a y` ~ `a x` + I(`a x` ** 2)", (TermSpec("1 + `a x`", ("g",)),)),
    "weights and offset": ModelSpec("y ~ x", (TermSpec("1", ("g",)),), weights="w", offset="o"),
    "ml": ModelSpec("y ~ x", (TermSpec("1", ("g",)),), criterion="ml"),
    "stages": ModelSpec("y ~ x", stages=(Choice("em", {"max_iterations": 20}), Choice("gradient"), Choice("cg"))),
    "start and fix": ModelSpec("y ~ x", start={"sigma": 1.5}, fix={"sd(Intercept | g)": 1e-300, "corr(a, b | g)": -1.0}),
    "numbers": ModelSpec("y ~ x", start={"a": 0.1 + 0.2, "b": 1e22, "c": 5e-324, "d": -0.0, "e": 1 / 3, "f": 123456789.0}),
    "engine": ModelSpec("y ~ x", engine="dense"),
    "missing": ModelSpec("y ~ x", missing="raise"),
    "data": ModelSpec("y ~ x", data="some folder/data.csv"),
    "output": ModelSpec("y ~ x", output=OutputSpec(False, "results/")),
    "output without bundle": ModelSpec("y ~ x", output=OutputSpec(False)),
    "residual": ModelSpec(
        "y ~ x", residual=read_residual("ar1(visit | subject, by=arm)"), variance=read_variance("ident(sex:arm) * power(fitted)")
    ),
    "residual of all rows": ModelSpec("y ~ x", residual=read_residual("sp_exp(x + y | 1, nugget=True)")),
    "residual by a combinator": ModelSpec("y ~ x", residual=read_residual("kronecker(us(trait), toep(time, bands=2) | g:h)")),
    "ties": ModelSpec("y ~ x", tie=(("a", "b"), ("c", "d", "e"))),
    "terms by strata": ModelSpec("y ~ x", random=tuple(read_term("us(1 + x | g, by='arm')", "t"))),
    "relationship": ModelSpec("y ~ x", relationship={"g": "kinship.csv"}),
    "categories": ModelSpec("y ~ x", categorical={"a": ["no", "yes"], "b": None, "c": [1, 2, 3], "d": [1.5, 2.5]}),
    "words that YAML 1.1 reads otherwise": ModelSpec(
        "y ~ x", categorical={"no": ["no", "yes", "on", "off", "y", "n", "true", "null", "~", "1e3", "0x10", "1_000", "12:30:45"]}
    ),
    "strings that look like others": ModelSpec(
        "y ~ x",
        categorical={
            "a": ["1", "1.0", "true", "", " ", "a: b", "# c", "- d", "é", "\n", "\t", "'", '"', "2001-01-01", "=", "<<"]
        },
    ),
    "types of levels": ModelSpec("y ~ x", categorical={"a": [1, "1", 1.5, True, False, None]}),
    "long formula": ModelSpec("y ~ " + " + ".join(f"a_rather_long_name_of_a_column_{k}" for k in range(40))),
    "all": ModelSpec(
        "log(y) ~ x * z", (TermSpec("1 + x", ("a", "b"), Choice("us"), "cholesky"),), weights="w", criterion="ml",
        stages=(Choice("newton"),), start={"sigma": 2.0}, engine="pooled", categorical={"z": ["b", "a"]}, missing="raise",
        data="d.csv", output=OutputSpec(True, "out"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_dict_round_trip(spec: ModelSpec) -> None:
    assert from_dict(to_dict(spec)) == spec


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_yaml_round_trip(spec: ModelSpec) -> None:
    again = read_yaml(write_yaml(spec))
    assert again == spec
    assert repr(again) == repr(spec)  # types too: 1 is not "1", nor True


def test_signed_zero_survives() -> None:
    again = read_yaml(write_yaml(SPECS["numbers"]))
    assert math.copysign(1.0, again.start["d"]) == -1.0


def test_a_document_cannot_hold_functions() -> None:
    builder = mm.ModelBuilder().transforms({"twice": lambda x: 2 * x}).fixed("y ~ twice(x)")
    with pytest.raises(mm.SpecError, match="documents hold no functions"):
        write_yaml(builder.spec)


def test_yaml_1_2() -> None:
    """`no`, `on` and `y` are text, as YAML 1.2 has it; `true` is a truth value, 0o17 a number, 010 is ten."""
    spec = read_yaml(
        "formula: y ~ no + (1 | on)\n"
        "categorical: {no: [no, yes, off], flag: [true, false]}\n"
        "fix: {a: 0o17, b: 010, c: 1e3}\n"
    )
    assert spec.categorical == {"no": ["no", "yes", "off"], "flag": [True, False]}
    assert all(isinstance(level, bool) for level in spec.categorical["flag"] or [])
    assert spec.fix == {"a": 15.0, "b": 10.0, "c": 1000.0}


def test_every_spelling_of_a_choice() -> None:
    spec = read_yaml(
        "formula: y ~ x\n"
        "random:\n"
        "  - {term: 0 + m | w, structure: {name: mine, power: 0.5}}\n"
        "  - {term: 0 + m | w, structure: {mine: {power: 0.5}}}\n"
        "  - mine(0 + m | w, power=0.5)\n"
        "stages: [{em: {max_iterations: 20}}, {name: em, max_iterations: 20}, {cg: null}, cg]\n"
    )
    assert [t.structure for t in spec.random] == [Choice("mine", {"power": 0.5})] * 3
    assert spec.stages == (*[Choice("em", {"max_iterations": 20})] * 2, Choice("cg"), Choice("cg"))


def test_terms_of_the_formula_come_before_those_of_the_list() -> None:
    spec = from_dict({"formula": "y ~ x + (1 | g)", "random": ["1 | a/b", {"term": "x || h"}]})
    assert [t.label for t in spec.random] == ["1 | g", "1 | a", "1 | a:b", "x | h"]
    assert spec.random[3].structure == Choice("diagonal")


# mistakes


def test_errors_name_path_line_and_nearest_key() -> None:
    text = "formula: y ~ x\nrandom:\n  - {term: 1 | g}\n  - term: 1 | h\n    strcture: cs\noutput:\n  bundel: here\n"
    with pytest.raises(UnknownNameError) as caught:
        read_yaml(text, "model.yaml")
    first, second = caught.value.issues
    assert first.where == "model.yaml, line 5: random[1].strcture"
    assert "did you mean 'structure'?" in str(first)
    assert second.where == "model.yaml, line 7: output.bundel"
    assert "did you mean 'bundle'?" in str(second)


def test_five_mistakes_are_five_issues() -> None:
    text = "formla: y ~ x\nformula: y ~ open('f')\ncriterion: rmel\nrandom: [1 + x]\nfix: {sigma: much}\n"
    with pytest.raises(mm.SpecError) as caught:
        read_yaml(text, "model.yaml")
    issues = caught.value.issues
    assert len(issues) == 5
    for line, path in ((1, "formla"), (2, "formula"), (3, "criterion"), (4, "random[0]"), (5, "fix.sigma")):
        assert any(i.where.startswith(f"model.yaml, line {line}: {path}") for i in issues), (line, path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("mmframe", 2, "reads documents of that version"),
        ("formula", None, "a formula such as"),
        ("formula", 3, "a formula such as"),
        ("formula", "", "a formula such as"),
        ("random", "1 | g", "a list of terms"),
        ("random", {"term": "1 | g"}, "a list of terms"),
        ("random", [3], "a term in words"),
        ("random", ["1 + x"], "there is no bar in it"),
        ("random", [{"structure": "cs"}], "'term' is missing"),
        ("random", [{"term": "1 | g", "structure": 3}], "a name, {name: ..., option: ...}"),
        ("random", [{"term": "1 | g", "structure": ["cs"]}], "a name, {name: ..., option: ...}"),
        ("random", [{"term": "1 | g", "parameterization": 3}], "text"),
        ("random", [{"term": "cs(1 | g)", "structure": "us"}], "one structure"),
        ("random", [{"term": 3}], "a term such as"),
        ("weights", 3, "text"),
        ("offset", [1, 2], "text"),
        ("engine", {"a": 1}, "text"),
        ("data", 3, "text"),
        ("criterion", "rmel", "did you mean 'reml'?"),
        ("criterion", True, "reml, ml"),
        ("missing", "dorp", "did you mean 'drop'?"),
        ("parameterization", ["cholesky"], "a mapping"),
        ("parameterization", {"g": 3}, "text"),
        ("stages", "em", "a list such as"),
        ("stages", [3], "a name, {name: ..., option: ...}"),
        ("stages", [{"em": 3}], "a name, {name: ..., option: ...}"),
        ("stages", [{"em": {}, "cg": {}}], "a name, {name: ..., option: ...}"),
        ("start", [1], "a mapping"),
        ("start", {"sigma": "big"}, "a number in data units"),
        ("fix", {"sigma": True}, "a number in data units"),
        ("fix", {"sigma": None}, "a number in data units"),
        ("categorical", ["g"], "a mapping"),
        ("categorical", {"g": "a"}, "a list of levels in order"),
        ("output", True, "a mapping"),
        ("output", {"summary": "yes"}, "true or false"),
        ("output", {"bundle": 3}, "text"),
        ("output", {"sumary": True}, "did you mean 'summary'?"),
        ("relationship", ["g"], "a mapping"),
    ],
)
def test_wrong_values(key: str, value: Any, words: str) -> None:
    document = {"formula": "y ~ x", key: value}
    with pytest.raises(mm.SpecError) as caught:
        from_dict(document, "here")
    assert words in str(caught.value)
    assert f"here: {key}" in str(caught.value)


def test_a_missing_formula() -> None:
    with pytest.raises(mm.SpecError, match="formula: it is missing"):
        from_dict({"data": "x.csv"})


@pytest.mark.parametrize("value", [True, "1", 1.5, [1], None])
def test_a_version_is_the_number_one(value: Any) -> None:
    with pytest.raises(mm.SpecError, match="mmframe"):
        from_dict({"mmframe": value, "formula": "y ~ x"})


def test_a_formula_error_in_a_document_keeps_its_reason() -> None:
    with pytest.raises(mm.SpecError, match=r"line 2: formula: .*call of 'open'"):
        read_yaml("mmframe: 1\nformula: y ~ open('f')\n")


@pytest.mark.parametrize("name", ["nothing.yaml", "slepstudy.yaml"])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    (tmp_path / "sleepstudy.yaml").write_text("formula: y ~ x\n")
    with pytest.raises(mm.SpecError, match="there is no such file") as caught:
        mm.load_spec(tmp_path / name)
    assert ("did you mean 'sleepstudy.yaml'?" in str(caught.value)) == (name == "slepstudy.yaml")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00formula")
    with pytest.raises(mm.SpecError, match="not UTF-8"):
        mm.load_spec(tmp_path / "bytes.yaml")
    with pytest.raises(mm.SpecError):
        mm.load_spec(tmp_path)


# names that only the registry knows


def test_unknown_names_come_together_with_suggestions() -> None:
    spec = from_dict(
        {
            "formula": "y ~ x",
            "random": [{"term": "1 | g", "structure": "unstructred", "parameterization": "choleski"}],
            "stages": ["newtn"],
            "engine": "poled",
        }
    )
    with pytest.raises(UnknownNameError) as caught:
        resolve(spec, default_registry())
    text = str(caught.value)
    assert len(caught.value.issues) == 4
    for given, meant in (
        ("unstructred", "unstructured"),
        ("choleski", "cholesky"),
        ("newtn", "newton"),
        ("poled", "pooled"),
    ):
        assert f"{given!r}" in text
        assert f"did you mean {meant!r}?" in text
    assert "random[0] (1 | g): structure" in text
    assert "stages[0]" in text


def test_unknown_options() -> None:
    spec = from_dict({"formula": "y ~ x", "random": [{"term": "1 | g", "structure": {"name": "cs", "powr": 1}}]})
    with pytest.raises(mm.SpecError, match="powr"):
        resolve(spec, default_registry())
    stages = from_dict(
        {"formula": "y ~ x", "stages": [{"em": {"max_iteration": 1}}, {"em": {"max_iterations": "many"}}]}
    )
    with pytest.raises(mm.SpecError) as caught:
        resolve(stages, default_registry())
    assert "did you mean 'max_iterations'?" in str(caught.value)
    assert "a whole number" in str(caught.value)


def test_unknown_terms_of_a_parameterization() -> None:
    spec = from_dict({"formula": "y ~ x + (1 | school)", "parameterization": {"scool": "profile"}})
    with pytest.raises(mm.SpecError, match="did you mean 'school'"):
        resolve(spec, default_registry())


# one model in every language


@pytest.fixture(scope="module")
def sleepstudy() -> pd.DataFrame:
    return mm.datasets.load("sleepstudy")


def test_data_are_relative_to_the_file(
    tmp_path: Path, sleepstudy: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study" / "data"
    folder.mkdir(parents=True)
    sleepstudy.to_csv(folder / "sleep.csv", index=False)
    path = tmp_path / "study" / "model.yaml"
    path.write_text(f"formula: {SLEEP} + (1 | Subject)\ndata: data/sleep.csv\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    spec = mm.load_spec(path)
    assert Path(spec.data or "").resolve() == (folder / "sleep.csv").resolve()
    expected = mm.fit(f"{SLEEP} + (1 | Subject)", sleepstudy).loglike
    assert mm.fit_spec(path).loglike == pytest.approx(expected, abs=1e-10)
    assert mm.fit_spec(str(path)).loglike == pytest.approx(expected, abs=1e-10)
    assert mm.fit_spec(path, sleepstudy.iloc[:90]).nobs == 90
    path.write_text(f"formula: {SLEEP} + (1 | Subject)\ndata: {folder / 'sleep.csv'}\n")
    assert mm.load_spec(path).data == str(folder / "sleep.csv")


def test_a_specification_without_data(sleepstudy: pd.DataFrame) -> None:
    document = {"formula": f"{SLEEP} + (1 | Subject)"}
    with pytest.raises(mm.DataError, match="none were given"):
        mm.fit_spec(document)
    assert mm.fit_spec(document, sleepstudy).nobs == 180


MODELS: list[tuple[str, str, str, list[dict[str, Any]], bool]] = [
    ("sleepstudy.csv", "Reaction ~ 1 + Days", "(1 + Days | Subject)", [{"term": "1 + Days | Subject"}], True),
    (
        "sleepstudy.csv",
        "Reaction ~ 1 + Days",
        "(Days || Subject)",
        [{"term": "Days | Subject", "structure": "diagonal"}],
        False,
    ),
    ("dietox.csv", "Weight ~ Time + Cu", "(1 | Pig)", [{"term": "1 | Pig", "structure": "us"}], True),
    (
        "machines.csv",
        "score ~ Machine",
        "cs(0 + Machine | Worker)",
        [{"term": "0 + Machine | Worker", "structure": "cs"}],
        True,
    ),
    ("oxboys.csv", "height ~ age + I(age ** 2)", "(age | Subject)", [{"term": "age | Subject"}], False),
    ("rail.csv", "travel ~ 1", "vc(1 | Rail)", [{"term": "1 | Rail", "structure": "vc"}], True),
]


@pytest.mark.parametrize(("file", "fixed", "bars", "random", "reml"), MODELS)
def test_formula_builder_and_yaml_are_one_model(
    file: str, fixed: str, bars: str, random: list[dict[str, Any]], reml: bool, tmp_path: Path
) -> None:
    data = pd.read_csv(DATA / file)
    by_formula = mm.fit(f"{fixed} + {bars}", data, reml=reml)
    builder = mm.ModelBuilder().fixed(fixed).criterion("reml" if reml else "ml")
    for term in random:
        builder = builder.random(term["term"], structure=term.get("structure"))
    model = builder.build(data)
    path = tmp_path / "model.yaml"
    path.write_text(write_yaml(from_dict({"formula": fixed, "random": random, "criterion": "reml" if reml else "ml"})))
    for other in (
        model.fit(),
        mm.fit_spec(path, data),
        mm.fit_spec(model.spec, data),
        mm.fit_spec(to_dict(model.spec), data),
    ):
        assert other.loglike == pytest.approx(by_formula.loglike, abs=1e-10)
        np.testing.assert_allclose(other.fixed_effects, by_formula.fixed_effects, rtol=1e-8)


def test_arrays_are_the_same_model(sleepstudy: pd.DataFrame) -> None:
    by_formula = mm.fit("Reaction ~ 1 + Days + (1 + Days | Subject)", sleepstudy)
    X = np.column_stack([np.ones(180), sleepstudy["Days"]])
    y, groups = sleepstudy["Reaction"].to_numpy(), sleepstudy["Subject"].to_numpy()
    builder = mm.ModelBuilder().fixed(X, y).random(Z=X, groups=groups)
    by_array = builder.build().fit()
    assert by_array.loglike == pytest.approx(by_formula.loglike, abs=1e-10)
    np.testing.assert_allclose(by_array.fixed_effects, by_formula.fixed_effects, rtol=1e-8)
    np.testing.assert_allclose(by_array.covariance(), by_formula.covariance(), rtol=1e-6)
    named = pd.DataFrame(X, columns=["one", "the days"])
    table = (
        mm.ModelBuilder().fixed(named, sleepstudy["Reaction"]).random(Z=X, groups=sleepstudy["Subject"]).build().fit()
    )
    assert table.loglike == pytest.approx(by_formula.loglike, abs=1e-10)
    assert list(table.fixed_effects.index) == ["one", "the days"]
    assert list(table.random_effects) == ["Subject"]


def test_one_table_serves_both_parts(sleepstudy: pd.DataFrame) -> None:
    """The same named columns in X and Z are one set of columns, not two of the same name."""
    expected = mm.fit("Reaction ~ 1 + Days + (1 + Days | Subject)", sleepstudy).loglike
    table = pd.DataFrame({"one": 1.0, "Days": sleepstudy["Days"]})
    model = mm.ModelBuilder().fixed(table, sleepstudy["Reaction"]).random(Z=table, groups=sleepstudy["Subject"])
    assert model.build().fit().loglike == pytest.approx(expected, abs=1e-10)
    other = table.assign(Days=0.5)
    with pytest.raises(mm.SpecError, match="two columns named 'Days'"):
        mm.ModelBuilder().fixed(table, sleepstudy["Reaction"]).random(Z=other, groups=sleepstudy["Subject"])


def test_arrays_beside_data(sleepstudy: pd.DataFrame) -> None:
    """A term of arrays joins a formula on a table, also one whose index is not 0, 1, 2, ..."""
    expected = mm.fit("Reaction ~ Days + (1 | Subject)", sleepstudy)
    moved = sleepstudy.set_index(np.arange(1000, 1180))
    model = mm.ModelBuilder().fixed("Reaction ~ Days").random(Z=np.ones(180), groups=sleepstudy["Subject"].to_numpy())
    assert model.build(moved).fit().loglike == pytest.approx(expected.loglike, abs=1e-10)


def test_a_builder_is_never_changed(sleepstudy: pd.DataFrame) -> None:
    base = mm.ModelBuilder().fixed(SLEEP)
    first = base.random("1 | Subject")
    second = base.random("1 + Days | Subject")
    assert len(base.spec.random) == 0
    assert first.spec.random != second.spec.random
    model = second.build(sleepstudy)
    assert model.fit().loglike == model.fit().loglike
    assert model.spec == second.spec
