"""Each bad input has its message: where it is, what was given, what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.errors import Issue, MmframeError, UnknownNameError, nearest, unknown

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleepstudy() -> pd.DataFrame:
    return mm.datasets.load("sleepstudy")


@pytest.fixture(scope="module")
def fitted(sleepstudy: pd.DataFrame) -> mm.FitResult:
    return mm.fit(FORMULA, sleepstudy)


def message(error: type[Exception], run: Callable[[], Any]) -> str:
    with pytest.raises(error) as caught:
        run()
    assert isinstance(caught.value, MmframeError)
    assert isinstance(caught.value, ValueError)  # callers who know nothing of mmframe catch this
    return str(caught.value)


def holds(text: str, *words: str) -> None:
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


# the tree and its words


def test_an_issue_in_words() -> None:
    assert str(Issue("here", "it", "that", "do so")) == "here: it · allowed: that · do so"
    assert str(Issue("here", "it")) == "here: it"


def test_a_spec_error_holds_many_issues() -> None:
    error = mm.SpecError([Issue("a", "b"), Issue("c", "d", "e")])
    assert len(error.issues) == 2
    assert str(error) == "a: b\nc: d · allowed: e"


def test_near_names() -> None:
    assert nearest("cholesky", ["cholesky"]) == "did you mean 'cholesky'?"
    assert nearest("zzz", ["cholesky"]) == ""
    holds(str(unknown("stages[0]", "stage", "ne", ["em", "newton"])), "there is no stage 'ne'", "em, newton")
    holds(str(unknown("here", "stage", "x", [])), "(none)")
    assert str(unknown("here", "column", "x", [f"c{k}" for k in range(100)])).count("c") < 90


def test_one_root() -> None:
    for error in (mm.SpecError, mm.DataError, mm.FormulaError, mm.EngineRefusedError, mm.PluginError, mm.StoreError):
        assert issubclass(error, mm.MmframeError)
    assert issubclass(mm.FormulaError, mm.SpecError)


# unknown names


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"formula": "Reaction ~ Days + ctx(1 | Subject)"}, ("structure", "'ctx'", "cs", "unstructured")),
        (
            {"formula": "Reaction ~ Days + unstructred(1 | Subject)"},
            ("random[0] (1 | Subject)", "did you mean 'unstructured'?"),
        ),
        ({"parameterization": "choleski"}, ("parameterization", "'choleski'", "did you mean 'cholesky'?", "profile")),
        ({"parameterization": {"Subjct": "profile"}}, ("parameterization", "'Subjct'", "did you mean 'Subject'?")),
        ({"parameterization": {"Subject": "profil"}}, ("parameterization", "did you mean 'profile'?")),
        ({"stages": ["newtn"]}, ("stages[0]", "'newtn'", "did you mean 'newton'?", "em", "lbfgs")),
        ({"stages": ["em", {"nwton": {}}]}, ("stages[1]", "did you mean 'newton'?")),
        ({"stages": [{"em": {"max_iters": 3}}]}, ("stages[0]", "'max_iters'", "did you mean 'max_iterations'?")),
        ({"engine": "poled"}, ("engine", "'poled'", "did you mean 'pooled'?", "dense")),
        (
            {"formula": "Reaktion ~ Days + (1 | Subject)"},
            ("data", "'Reaktion'", "did you mean 'Reaction'?", "Days, Subject"),
        ),
        ({"formula": "Reaction ~ Dys + (1 | Subject)"}, ("data", "there is no column 'Dys'", "did you mean 'Days'?")),
        ({"formula": "Reaction ~ Days + (Dys | Subject)"}, ("there is no column 'Dys'", "did you mean 'Days'?")),
        ({"formula": "Reaction ~ Days + (1 | Subjekt)"}, ("there is no column 'Subjekt'", "did you mean 'Subject'?")),
        ({"formula": "Reaction ~ log(Dys) + (1 | Subject)"}, ("there is no column 'Dys'",)),
        ({"weights": "w"}, ("there is no column 'w'", "Reaction, Days, Subject")),
        ({"offset": "o"}, ("there is no column 'o'",)),
        ({"categorical": {"Kind": None}}, ("there is no column 'Kind'",)),
        ({"start": {"sd(Intercpt | Subject)": 1}}, ("start", "did you mean 'sd(Intercept | Subject)'?", "sigma")),
        ({"fix": {"sgma": 1}}, ("fix", "'sgma'", "did you mean 'sigma'?")),
    ],
)
def test_unknown_names(arguments: dict[str, Any], words: tuple[str, ...], sleepstudy: pd.DataFrame) -> None:
    given = {"formula": FORMULA, **arguments}
    error = mm.SpecError if {"start", "fix"} & set(given) else UnknownNameError
    holds(message(error, lambda: mm.fit(given.pop("formula"), sleepstudy, **given)), *words)


def test_several_columns_at_once(sleepstudy: pd.DataFrame) -> None:
    with pytest.raises(mm.SpecError) as caught:
        mm.fit("y ~ a + log(b) + (c | d)", sleepstudy, weights="w")
    assert len(caught.value.issues) == 6


def test_a_misspelt_key(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("formula: y ~ x\nstagse: [em]\n")
    holds(
        message(UnknownNameError, lambda: mm.load_spec(path)),
        "model.yaml, line 2",
        "'stagse'",
        "did you mean 'stages'?",
    )


def test_an_unknown_dataset() -> None:
    holds(
        message(UnknownNameError, lambda: mm.datasets.load("slepstudy")),
        "'slepstudy'",
        "did you mean 'sleepstudy'?",
        "dietox",
    )


def test_an_unknown_group(fitted: mm.FitResult) -> None:
    holds(message(UnknownNameError, lambda: fitted.covariance("Subjct")), "'Subjct'", "did you mean 'Subject'?")


# data


@pytest.mark.parametrize("data", [3, None, [1, 2], "nothing.csv", Path("nothing.csv"), np.zeros((3, 3)), object()])
def test_what_is_no_table(data: Any) -> None:
    holds(message(mm.DataError, lambda: mm.fit(FORMULA, data)), "data")


def test_a_file_that_is_not_there(tmp_path: Path, sleepstudy: pd.DataFrame) -> None:
    sleepstudy.to_csv(tmp_path / "sleep.csv")
    text = message(mm.DataError, lambda: mm.fit(FORMULA, tmp_path / "slep.csv"))
    holds(text, "there is no file", "slep.csv", "CSV or Parquet", "did you mean 'sleep.csv'?")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    (tmp_path / "bad.parquet").write_text("no parquet")
    (tmp_path / "folder.csv").mkdir()
    for name in ("empty.csv", "bytes.csv", "ragged.csv", "bad.parquet", "folder.csv"):
        holds(message(mm.DataError, lambda name=name: mm.fit(FORMULA, tmp_path / name)), "data", name)


def test_columns_of_different_lengths() -> None:
    text = message(mm.DataError, lambda: mm.fit("y ~ x + (1 | g)", {"y": [1.0, 2.0], "x": [1.0], "g": [1, 2]}))
    holds(text, "data", "do not make a table")


def test_no_rows(sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy.iloc[:0])), "data", "no rows")
    holds(
        message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy.assign(Days=np.nan))),
        "no row is complete",
        "Days (180)",
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows(rows: int, sleepstudy: pd.DataFrame) -> None:
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ Days + (1 | Subject)", sleepstudy.iloc[[0, 11][:rows]]))
    assert "row" in text


def test_no_more_rows_than_columns(sleepstudy: pd.DataFrame) -> None:
    few = sleepstudy.iloc[[0, 1, 12, 13]]
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ C(Days) + (1 | Subject)", few))
    holds(text, "4 rows for 4 fixed effects", "one row more")


def test_one_level(sleepstudy: pd.DataFrame) -> None:
    text = message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy.iloc[:10]))
    holds(text, "grouping factor 'Subject'", "one level (308)", "at least two")


def test_as_many_effects_as_rows(sleepstudy: pd.DataFrame) -> None:
    """Unrestricted effects for each row cannot be told from a free residual variance; with a known one they can."""
    two = sleepstudy[sleepstudy["Days"].isin([0, 1])]
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ 1 + (1 + Days | Subject)", two))
    holds(text, "term '1 + Days | Subject'", "36 random effects (18 levels x 2) for 36 rows", "fewer effects than rows")
    single = sleepstudy.assign(row=np.arange(180))
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ Days + (1 | row)", single))
    holds(text, "180 random effects", "180 rows")
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ Days + (1 + Days || row)", single))
    holds(text, "180 rows")
    known = mm.fit("Reaction ~ Days + (1 | row)", single, fix={"sigma": 1.0})
    assert known.sigma == pytest.approx(1.0, rel=1e-12)
    # all the variance beyond the known one is the effects': together they make the residual variance of least squares
    X = np.column_stack([np.ones(180), single["Days"]])
    rest = single["Reaction"] - X @ np.linalg.lstsq(X, single["Reaction"], rcond=None)[0]
    assert float(known.covariance("row").iloc[0, 0]) + 1.0 == pytest.approx(rest @ rest / 178, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.assign(Reaction=3.0), ("response 'Reaction'", "constant (3)", "180 rows")),
        (lambda d: d.assign(Reaction=0), ("response 'Reaction'", "constant (0)")),
        (
            lambda d: d.assign(Reaction=d["Reaction"].replace(249.56, np.inf)),
            ("response 'Reaction'", "1 of 180", "infinite"),
        ),
        (lambda d: d.assign(Reaction=-np.inf), ("response 'Reaction'", "180 of 180", "infinite")),
        (lambda d: d.assign(Reaction=np.nan), ("no row is complete", "Reaction (180)")),
        (lambda d: d.assign(Reaction="a"), ("response 'Reaction'", "'a'", "allowed: numbers")),
        (
            lambda d: d.assign(Reaction=d["Reaction"].astype(str)),
            ("response 'Reaction'", "'249.56'", "allowed: numbers"),
        ),
        (
            lambda d: d.assign(Reaction=pd.Categorical(d["Days"])),
            ("response 'Reaction'", "category", "allowed: numbers"),
        ),
        (lambda d: d.assign(Reaction=pd.Timestamp("2020-01-01")), ("response 'Reaction'", "allowed: numbers")),
        (lambda d: d.assign(Reaction=[[1]] * 180), ("response 'Reaction'", "allowed: numbers")),
        (lambda d: d.assign(Reaction=1j * d["Days"]), ("response 'Reaction'", "allowed: numbers")),
        (lambda d: d.assign(Reaction=5.0 * d["Days"] + 3.0), ("response 'Reaction'", "without any residual")),
        (
            lambda d: d.assign(Days=d["Days"].replace(3, np.inf).astype(float)),
            ("fixed effects", "'Days'", "18 values", "infinite"),
        ),
    ],
)
def test_bad_columns(
    change: Callable[[pd.DataFrame], pd.DataFrame], words: tuple[str, ...], sleepstudy: pd.DataFrame
) -> None:
    holds(message(mm.DataError, lambda: mm.fit(FORMULA, change(sleepstudy))), *words)


def test_infinite_values_of_a_basis(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(z=np.where(sleepstudy["Days"] == 3, np.inf, 1.0))
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ Days + (0 + z | Subject)", data))
    holds(text, "term '0 + z | Subject'", "'z'", "18 values")


@pytest.mark.parametrize(
    "text", ["log(Reaction - 250)", "sqrt(Reaction - 250)", "I(1 / (Reaction - 249.56))", "log(0 * Reaction)"]
)
def test_a_transformation_of_the_response_that_fails(text: str, sleepstudy: pd.DataFrame) -> None:
    holds(
        message(mm.DataError, lambda: mm.fit(f"{text} ~ Days + (1 | Subject)", sleepstudy)),
        "response",
        text,
        "of 180 values",
    )


@pytest.mark.parametrize("text", ["log(Days)", "log(Days - 5)", "sqrt(Days - 5)", "I(1 / Days)", "arcsin(Days)"])
def test_a_transformation_of_a_column_that_fails(text: str, sleepstudy: pd.DataFrame) -> None:
    holds(
        message(mm.DataError, lambda: mm.fit(f"Reaction ~ {text} + (1 | Subject)", sleepstudy)),
        "fixed effects",
        text,
        "infinite or not a number",
    )
    holds(message(mm.DataError, lambda: mm.fit(f"Reaction ~ Days + (0 + {text} | Subject)", sleepstudy)), "term", text)


@pytest.mark.parametrize("text", ["log(kind)", "bs(kind, df=4)", "bs(Days, df=1)", "C(Days, contr.nothing)"])
def test_a_call_that_cannot_be_evaluated(text: str, sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(kind=np.where(sleepstudy["Days"] > 4, "late", "early"))
    with pytest.raises((mm.SpecError, mm.DataError), match="formula"):
        mm.fit(f"Reaction ~ {text} + (1 | Subject)", data)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([-1.0] + [1.0] * 179, ("weights", "1 of 180", "not positive")),
        ([0.0] * 3 + [1.0] * 177, ("weights", "3 of 180", "not positive")),
        ([np.inf] + [1.0] * 179, ("weights", "infinite")),
        (["a"] * 180, ("weights", "numbers")),
        ([1.0] * 179, ("lengths differ", "179", "180")),
        (np.ones((180, 2)), ("weights",)),
        (3.0, ("weights",)),
    ],
)
def test_weights(weights: Any, words: tuple[str, ...], sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy, weights=weights)), *words)


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        ([np.inf] + [1.0] * 179, ("offset", "infinite")),
        (["a"] * 180, ("offset", "numbers")),
        ([1.0] * 181, ("lengths differ", "181")),
    ],
)
def test_offset(offset: Any, words: tuple[str, ...], sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy, offset=offset)), *words)


def test_an_offset_that_takes_all(sleepstudy: pd.DataFrame) -> None:
    holds(
        message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy, offset="Reaction")),
        "response 'Reaction'",
        "constant (0)",
    )


def test_a_name_of_a_weight_that_is_text(sleepstudy: pd.DataFrame) -> None:
    text = message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy.assign(w="a"), weights="w"))
    holds(text, "weights 'w'", "allowed: numbers")


def test_arrays_of_different_lengths() -> None:
    X, y, groups = np.ones((10, 1)), np.arange(10.0), np.arange(10) // 2
    for builder in (
        mm.ModelBuilder().fixed(X[:9], y).random(Z=X, groups=groups),
        mm.ModelBuilder().fixed(X, y[:9]).random(Z=X, groups=groups),
        mm.ModelBuilder().fixed(X, y).random(Z=X[:9], groups=groups),
        mm.ModelBuilder().fixed(X, y).random(Z=X, groups=groups[:9]),
    ):
        holds(message(mm.DataError, builder.build), "lengths differ", "9", "10")
    holds(message(mm.DataError, lambda: mm.ModelBuilder().fixed(np.ones((2, 2, 2)), y)), "3 dimensions")
    holds(message(mm.SpecError, lambda: mm.ModelBuilder().fixed(X, np.ones((10, 2)))), "y has 2 columns")
    holds(message(mm.SpecError, lambda: mm.ModelBuilder().random(Z=X)), "Z=... and groups=...")
    holds(message(mm.SpecError, lambda: mm.ModelBuilder().fixed(X)), "two arrays X and y")


# what is held, and where to start


@pytest.mark.parametrize("where", ["fix", "start"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sd(Intercept | Subject)": -1.0}, ("sd(Intercept | Subject)", "-1.0", "0 to inf")),
        ({"corr(Intercept, Days | Subject)": 1.5}, ("corr(Intercept, Days | Subject)", "1.5", "-1 to 1")),
        ({"sigma": 0.0}, ("sigma", "0.0", "0 to inf")),
        ({"sigma": -2.0}, ("sigma", "-2.0")),
        ({"sigma": np.inf}, ("sigma", "inf")),
        ({"sigma": np.nan}, ("sigma", "nan")),
        ({"sigma": "much"}, ("sigma", "'much'", "a number in data units")),
        ({"sd(Intercept | Subject)": None}, ("None", "a number in data units")),
        ({"sd(Nothing | Subject)": 1.0}, ("there is no parameter 'sd(Nothing | Subject)'", "sd(Days | Subject)")),
    ],
)
def test_values_of_parameters(
    where: str, values: dict[str, Any], words: tuple[str, ...], sleepstudy: pd.DataFrame
) -> None:
    arguments: dict[str, Any] = {where: values}
    holds(message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, **arguments)), where, *words)


def test_all_wrong_values_at_once(sleepstudy: pd.DataFrame) -> None:
    with pytest.raises(mm.SpecError) as caught:
        mm.fit(FORMULA, sleepstudy, fix={"sigma": -1, "x": 1}, start={"corr(Intercept, Days | Subject)": 2})
    assert len(caught.value.issues) == 3


def test_scales_do_not_mix(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(half=sleepstudy["Subject"] % 2)
    formula = "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)"
    text = message(
        mm.SpecError,
        lambda: mm.fit(formula, data, parameterization={"1 | Subject": "natural", "0 + Days | Subject": "profile"}),
    )
    holds(text, "parameterization", "two scales", "natural, profile", "all relative", "all absolute")


# the residual


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"residual": "ar1"}, ("residual", "structure(points | group)")),
        ({"residual": "ar1(Days)"}, ("residual", "one bar", "ar1(visit | subject)")),
        ({"residual": "ar1(log(Days) | Subject)"}, ("residual", "columns by name", "make a column of it first")),
        ({"residual": "ar1(Days + Reaction | Subject)"}, ("residual", "one column of ordered points")),
        ({"residual": "sp_exp(1 | Subject)"}, ("residual", "coordinates", "spatial_exponential(x + y | subject)")),
        ({"residual": "arr1(Days | Subject)"}, ("residual", "there is no covariance structure 'arr1'", "ar1")),
        ({"residual": "rr(Days | Subject)"}, ("residual", "reduced_rank", "positive definite")),
        ({"residual": "power(Days | Subject)"}, ("'power' is a variance function", 'variance="power(covariate)"')),
        ({"residual": "kronecker(us(Days) | Subject, ar1(Days))"}, ("the option", "of 'kronecker'")),
        ({"residual": "kronecker(us(Days), us(Half) | Subject)"}, ("more than one variance", "put it first")),
        ({"residual": "block(us(Days), ar1(Half) | Subject)"}, ("block", "by='column'")),
        ({"residual": "kronecker(us(Days), block(ar1(Half)) | Subject)"}, ("'block' inside 'kronecker'", "outermost")),
        ({"residual": "ar1(Days | Half)"}, ("more than one row at the point", "one row for each point")),
        ({"residual": "cs(Days | Subject, by='Half')"}, ("by='Half'", "ident(Half)")),
        ({"variance": "ar1(Days)"}, ("variance", "'ar1' is a covariance structure", "ident")),
        ({"variance": "power(log(Days))"}, ("variance", "function(covariate)")),
        ({"variance": "power(Days)"}, ("power", "which is 0 in some rows")),
        ({"variance": "ident(sex)"}, ("there is no column 'sex'",)),
    ],
)
def test_the_residual(arguments: dict[str, Any], words: tuple[str, ...], sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(Half=sleepstudy["Days"] % 2)
    holds(message(mm.MmframeError, lambda: mm.fit("Reaction ~ Days", data, **arguments)), *words)


def test_an_engine_that_cannot(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(half=sleepstudy["Days"] % 2)
    text = message(
        mm.EngineRefusedError, lambda: mm.fit("Reaction ~ Days + (1 | Subject) + (1 | half)", data, engine="pooled")
    )
    holds(text, "engine", "pooled")


# choices


@pytest.mark.parametrize("value", ["mlr", "", 3, None, True])
def test_criterion(value: Any) -> None:
    holds(message(mm.SpecError, lambda: mm.ModelBuilder().criterion(value)), "criterion", "reml, ml")


@pytest.mark.parametrize("value", ["dorp", "", None, True])
def test_missing(value: Any, sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, missing=value)), "missing", "drop, raise")


@pytest.mark.parametrize("stages", [[3], [None], [{"em": {}, "cg": {}}], [{"em": 3}]])
def test_stages(stages: list[Any], sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, stages=stages)), "stages[0]", "a name")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("fix", [1]),
        ("fix", 3),
        ("start", 3),
        ("stages", 3),
        ("stages", "newton"),
        ("engine", 3),
        ("parameterization", 3),
        ("categorical", ["Days"]),
        ("categorical", {"Days": 3}),
        ("transforms", ["log"]),
        ("relationship", 3),
    ],
)
def test_arguments_of_a_wrong_type(argument: str, value: Any, sleepstudy: pd.DataFrame) -> None:
    arguments: dict[str, Any] = {argument: value}
    holds(message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, **arguments)), argument)


@pytest.mark.parametrize(
    "levels", [[*range(10), 9], [None, *range(10)], [[k] for k in range(10)]], ids=["twice", "none", "lists"]
)
def test_levels_that_are_no_levels(levels: list[Any], sleepstudy: pd.DataFrame) -> None:
    with pytest.raises((mm.SpecError, mm.DataError), match="Days"):
        mm.fit(FORMULA, sleepstudy, categorical={"Days": levels})


@pytest.mark.parametrize("kind", [list, lambda g: {"a": g[0]}, set], ids=["lists", "dicts", "sets"])
def test_groups_that_cannot_be_told_apart(kind: Callable[[Any], Any], sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(who=[kind([s]) for s in sleepstudy["Subject"]])
    holds(message(mm.DataError, lambda: mm.fit("Reaction ~ Days + (1 | who)", data)), "'who'")


@pytest.mark.parametrize("option", [{"max_iterations": 1.5}, {"max_iterations": "many"}, {"max_iterations": True}])
def test_options_of_a_wrong_type(option: dict[str, Any], sleepstudy: pd.DataFrame) -> None:
    text = message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, stages=[{"newton": option}]))
    holds(text, "stages[0]", "max_iterations")


def test_two_structures_for_one_term() -> None:
    text = message(mm.SpecError, lambda: mm.ModelBuilder().random("cs(1 + x | g)", structure="us"))
    holds(text, "random", "one structure", "name it once")


@pytest.mark.parametrize("method", ["Profile", "wold", None])
def test_conf_int(method: Any, fitted: mm.FitResult) -> None:
    holds(message(mm.SpecError, lambda: fitted.conf_int(method=method)), "conf_int", repr(method), "'wald'")


@pytest.mark.parametrize("df", ["Satterthwaite", "between", "t", None, 3])
def test_df(df: Any, fitted: mm.FitResult) -> None:
    holds(
        message(mm.SpecError, lambda: fitted.coefficients(df=df)),
        "df",
        repr(df),
        "'normal', 'residual', 'between_within', 'containment', 'satterthwaite', 'kenward_roger'",
    )


@pytest.mark.parametrize("kind", ["normalised", "raw", None])
def test_kind_of_residuals(kind: Any, fitted: mm.FitResult) -> None:
    holds(
        message(mm.SpecError, lambda: fitted.residuals(kind)),
        "residuals",
        repr(kind),
        "response",
        "pearson",
        "normalized",
    )


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"level": "group"}, ("level", "'group'", "'conditional', 'population'")),
        ({"level": None}, ("level", "None")),
        ({"interval": "both"}, ("interval", "'both'", "'confidence'", "'prediction'")),
        ({"new_levels": "allow"}, ("new_levels", "'allow'", "'raise', 'population'")),
    ],
)
@pytest.mark.parametrize("new", [False, True])
def test_choices_of_predict(
    new: bool, choice: dict[str, Any], words: tuple[str, ...], fitted: mm.FitResult, sleepstudy: pd.DataFrame
) -> None:
    holds(message(mm.SpecError, lambda: fitted.predict(sleepstudy if new else None, **choice)), *words)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, -0.5, np.nan])
def test_confidence(confidence: float, fitted: mm.FitResult) -> None:
    for run in (
        lambda: fitted.predict(interval="confidence", confidence=confidence),
        lambda: fitted.coefficients(confidence=confidence),
        lambda: fitted.conf_int(confidence=confidence),
        lambda: fitted.tidy(confidence=confidence),
    ):
        holds(message(mm.SpecError, run), "confidence", "0", "1")


@pytest.mark.parametrize("n", [-1, 1.5, "many"])
def test_number_of_simulations(n: Any, fitted: mm.FitResult) -> None:
    holds(message(mm.SpecError, lambda: fitted.simulate(n, 1)), "n", repr(n))


# new data


def test_new_levels(fitted: mm.FitResult, sleepstudy: pd.DataFrame) -> None:
    new = sleepstudy.iloc[[0, 11]].assign(Subject=[308, 999])
    text = message(mm.DataError, lambda: fitted.predict(new))
    holds(text, "new data", "1 rows", "'Subject'", "new_levels='population'", "level='population'")
    population = fitted.predict(new, level="population")
    np.testing.assert_allclose(fitted.predict(new, new_levels="population").iloc[1], population.iloc[1])


def test_unseen_categories() -> None:
    dietox = mm.datasets.load("dietox")
    fit = mm.fit("Weight ~ Time + Cu + (1 | Pig)", dietox)
    new = dietox.iloc[:2].assign(Cu="Cu999")
    holds(message(mm.DataError, lambda: fit.predict(new)), "new data", "Cu999")
    given = mm.fit("Weight ~ Time + Cu + (1 | Pig)", dietox, categorical={"Cu": None})
    holds(message(mm.DataError, lambda: given.predict(new)), "new data", "'Cu'", "'Cu999'", "levels that were fitted")


def test_columns_that_new_data_lack(fitted: mm.FitResult, sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.SpecError, lambda: fitted.predict(sleepstudy.drop(columns="Days"))), "there is no column 'Days'")
    holds(
        message(mm.SpecError, lambda: fitted.predict(sleepstudy.drop(columns="Subject"))),
        "there is no column 'Subject'",
    )
    assert len(fitted.predict(sleepstudy.drop(columns="Subject"), level="population")) == 180


@pytest.mark.parametrize("data", [3, "nothing.csv", [1], object()])
def test_new_data_that_are_no_table(data: Any, fitted: mm.FitResult) -> None:
    holds(message(mm.DataError, lambda: fitted.predict(data)), "data")


def test_new_data_of_the_wrong_type(fitted: mm.FitResult, sleepstudy: pd.DataFrame) -> None:
    holds(message(mm.DataError, lambda: fitted.predict(sleepstudy.assign(Days="three"))), "Days")
    holds(message(mm.DataError, lambda: fitted.predict(sleepstudy.iloc[:2].assign(Days="three"))), "Days")


def test_an_offset_that_was_an_array(sleepstudy: pd.DataFrame) -> None:
    fit = mm.fit(FORMULA, sleepstudy, offset=np.zeros(180))
    holds(message(mm.DataError, lambda: fit.predict(sleepstudy)), "offset", "array", "a column's name")


def test_a_saved_fit_holds_no_data(fitted: mm.FitResult, tmp_path: Path) -> None:
    loaded = mm.load(fitted.save(tmp_path / "fit.mmframe"))
    holds(message(mm.StoreError, lambda: loaded.simulate(1, 1)), "holds no data")
    holds(message(mm.StoreError, lambda: loaded.predict()), "pass data=")


def test_what_is_no_saved_fit(tmp_path: Path, fitted: mm.FitResult) -> None:
    holds(message(mm.StoreError, lambda: mm.load(tmp_path / "nothing.mmframe")), "there is no file")
    (tmp_path / "text").write_text("text")
    holds(message(mm.StoreError, lambda: mm.load(tmp_path / "text")), "not a saved fit")
    whole = fitted.save(tmp_path / "fit.mmframe").read_bytes()
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
    holds(message(mm.StoreError, lambda: mm.load(tmp_path / "half")), "not a saved fit")
    holds(message(mm.StoreError, lambda: mm.load(tmp_path)), "not a saved fit")


def test_functions_are_not_saved(sleepstudy: pd.DataFrame, tmp_path: Path) -> None:
    fit = mm.fit("Reaction ~ twice(Days) + (1 | Subject)", sleepstudy, transforms={"twice": lambda x: 2 * x})
    holds(message(mm.StoreError, lambda: fit.save(tmp_path / "fit")), "cannot save the functions twice")
    assert not (tmp_path / "fit").exists()


def test_a_model_without_random_effects(sleepstudy: pd.DataFrame) -> None:
    """Ordinary least squares, by the formula for its likelihood; or, if that is not offered, an error with words."""
    X = np.column_stack([np.ones(180), sleepstudy["Days"]])
    rest = sleepstudy["Reaction"] - X @ np.linalg.lstsq(X, sleepstudy["Reaction"], rcond=None)[0]
    sigma2 = float(rest @ rest) / 180
    fit = mm.fit("Reaction ~ Days", sleepstudy, reml=False)
    assert fit.loglike == pytest.approx(-90 * (np.log(2 * np.pi * sigma2) + 1), abs=1e-8)


def test_issues_are_frozen() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Issue("a", "b").where = "c"  # type: ignore[misc]


# relationships between levels


def subjects(sleepstudy: pd.DataFrame, change: Callable[[pd.DataFrame], Any] = lambda K: K) -> Any:
    labels = sleepstudy["Subject"].unique()
    return change(pd.DataFrame(np.eye(18), index=labels, columns=labels))


def _put(K: pd.DataFrame, *entries: tuple[int, int, float]) -> pd.DataFrame:
    values = K.to_numpy().copy()
    for i, j, value in entries:
        values[i, j] = value
    return pd.DataFrame(values, K.index, K.columns)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda K: K.iloc[1:, 1:], ("relationship of 'Subject'", "lacks 1 of the 18 levels", "308", "add these rows")),
        (lambda K: _put(K, (0, 1, 2.0), (1, 0, 2.0)), ("not positive semidefinite", "-1", "covariance or correlation")),
        (lambda K: _put(K, (0, 1, 0.5)), ("not symmetric", "0.5")),
        (lambda K: _put(K, (0, 0, np.nan)), ("infinite or not a number",)),
        (lambda K: K.iloc[:, 1:], ("different labels",)),
        (lambda K: K.to_numpy(), ("without labels", "Relationship(matrix, levels=[...])")),
        (lambda K: "no_such_file.csv", ("relationship", "there is no file 'no_such_file.csv'")),
    ],
)
def test_relationships(change: Callable[[pd.DataFrame], Any], words: tuple[str, ...], sleepstudy: pd.DataFrame) -> None:
    given = subjects(sleepstudy, change)
    holds(message(mm.DataError, lambda: mm.fit(FORMULA, sleepstudy, relationship={"Subject": given})), *words)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mm.Relationship(np.eye(3), ["a", "b"]), ("2 labels for 3 rows",)),
        (lambda: mm.Relationship(np.eye(2), ["a", "a"]), ("'a' occurs twice",)),
        (lambda: mm.Relationship(np.ones((2, 3)), ["a", "b"]), ("shape (2, 3)", "as many rows as columns")),
        (
            lambda: mm.Relationship(np.array([[1.0, 2.0], [2.0, 1.0]]), ["a", "b"], inverse=True).precision,
            ("inverse that was given is not positive definite", "give a singular K itself"),
        ),
        (
            lambda: mm.Relationship(np.ones((2, 2)), ["a", "b"], inverse=True).precision,
            ("inverse that was given is not positive definite",),
        ),
    ],
)
def test_relationship_matrices(make: Callable[[], Any], words: tuple[str, ...]) -> None:
    holds(message(mm.DataError, make), *words)


def test_relationships_of_what_is_not_there(sleepstudy: pd.DataFrame) -> None:
    K = subjects(sleepstudy)
    text = message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, relationship={"Subjct": K}))
    holds(text, "relationship", "Subjct", "Subject")
    text = message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, relationship={"Subject": 3}))
    holds(text, "relationship['Subject']", "int", "a DataFrame with labels")
    text = message(mm.SpecError, lambda: mm.fit(FORMULA, sleepstudy, relationship={"Subject": {"fil": "x"}}))
    holds(text, "relationship['Subject']", "{file: ..., inverse: true or false}")
    data = sleepstudy.assign(half=sleepstudy["Days"] % 2)
    text = message(
        mm.SpecError,
        lambda: mm.fit("Reaction ~ Days + (1 | Subject:half)", data, relationship={"Subject:half": K}),
    )
    holds(text, "an interaction", "a factor of one column")
    text = message(
        mm.EngineRefusedError, lambda: mm.fit(FORMULA, sleepstudy, relationship={"Subject": K}, engine="pooled")
    )
    holds(text, "pooled", "independent", "those of Subject are related")


# several factors


def test_a_factor_with_one_level_among_several(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(site="A")
    text = message(mm.DataError, lambda: mm.fit("Reaction ~ Days + (1 | Subject) + (1 | site)", data))
    holds(text, "grouping factor 'site'", "one level", "at least two")


def test_as_many_effects_as_rows_among_several_factors(sleepstudy: pd.DataFrame) -> None:
    formula = "Reaction ~ Days + (1 | Subject) + (1 | Subject:Days)"
    text = message(mm.DataError, lambda: mm.fit(formula, sleepstudy))
    holds(text, "1 | Subject:Days", "180 random effects", "180 rows", "told from the residual")
    fit = mm.fit(formula, sleepstudy, fix={"sigma": 20.0})  # with the residual's variance known they can
    assert fit.converged
