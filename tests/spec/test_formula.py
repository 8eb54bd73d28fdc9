"""lme4's language: what each piece of a formula means, and what is refused with words."""

from __future__ import annotations

import pandas as pd
import pytest

import mmframe as mm
from mmframe.spec.formula import parse_formula, read_term, split_top
from mmframe.spec.model import Choice, ModelSpec, TermSpec
from mmframe.spec.sides import columns_of
from mmframe.spec.written import formula_of

UNSTRUCTURED = Choice("unstructured")


def terms_of(text: str) -> tuple[TermSpec, ...]:
    return parse_formula(text).random


@pytest.mark.parametrize(
    ("text", "fixed", "basis", "group"),
    [
        ("y ~ x + (1 + x | g)", "y ~ x", "1 + x", ("g",)),
        ("y ~ x + (1+x|g)", "y ~ x", "1 + x", ("g",)),
        ("y ~ x + (x | g)", "y ~ x", "x", ("g",)),
        ("y ~ x + (0 + x | g)", "y ~ x", "0 + x", ("g",)),
        ("y ~ x + (-1 + x | g)", "y ~ x", "- 1 + x", ("g",)),
        ("y ~ x + (x - 1 | g)", "y ~ x", "x - 1", ("g",)),
        ("y ~ (1 | g) + x", "y ~ x", "1", ("g",)),
        ("y ~ (1 | g)", "y ~ 1", "1", ("g",)),
        ("y ~ 1 + (1 | g)", "y ~ 1", "1", ("g",)),
        ("y ~ 0 + x + (1 | g)", "y ~ 0 + x", "1", ("g",)),
        ("y ~ x - 1 + (1 | g)", "y ~ x - 1", "1", ("g",)),
        ("y ~ -1 + x + (1 | g)", "y ~ - 1 + x", "1", ("g",)),
        ("y ~ x*z + (1 | g)", "y ~ x*z", "1", ("g",)),
        ("y ~ x:z + (1 | g)", "y ~ x:z", "1", ("g",)),
        ("y ~ x + ((1 | g))", "y ~ x", "1", ("g",)),
        ("y ~ x + (1 | a:b)", "y ~ x", "1", ("a", "b")),
        ("y ~ x + (1 | a : b : c)", "y ~ x", "1", ("a", "b", "c")),
        ("y ~ x + (1 | (g))", "y ~ x", "1", ("g",)),
        ("  y~x+(1|g)  ", "y ~ x", "1", ("g",)),
        ("y ~\n  x +\n  (1 | g)\n", "y ~ x", "1", ("g",)),
        ("y ~ x + (log(x) | g)", "y ~ x", "log(x)", ("g",)),
        ("y ~ x + (I(x^2) | g)", "y ~ x", "I(x**2)", ("g",)),
        ("y ~ x + (1 + x*z | g)", "y ~ x", "1 + x*z", ("g",)),
        ("y ~ x + (1 | g.one)", "y ~ x", "1", ("g.one",)),
        ("y ~ x + (1 | größe)", "y ~ x", "1", ("größe",)),
        ("`a y` ~ `a x` + (1 + `a x` | `a g`)", "`a y` ~ `a x`", "1 + `a x`", ("a g",)),
        ("log(y) ~ x + (1 | g)", "log(y) ~ x", "1", ("g",)),
    ],
)
def test_one_term(text: str, fixed: str, basis: str, group: tuple[str, ...]) -> None:
    parsed = parse_formula(text)
    assert parsed.fixed == fixed
    assert parsed.random == (TermSpec(basis, group, UNSTRUCTURED),)


def test_several_terms_keep_their_order() -> None:
    found = terms_of("y ~ (1 | g) + x + (0 + x | g) + (1 | h)")
    assert [t.label for t in found] == ["1 | g", "0 + x | g", "1 | h"]
    assert parse_formula("y ~ (1 | g) + x + (0 + x | g) + z + (1 | h)").fixed == "y ~ x + z"


def test_two_bars_mean_independent_effects() -> None:
    assert terms_of("y ~ (1 + x || g)") == (TermSpec("1 + x", ("g",), Choice("diagonal")),)


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("(1 | a/b)", [("a",), ("a", "b")]),
        ("(1 | a/b/c)", [("a",), ("a", "b"), ("a", "b", "c")]),
        ("(1 | a:b/c)", [("a", "b"), ("a", "b", "c")]),
        ("(1 + x || a/b)", [("a",), ("a", "b")]),
    ],
)
def test_nesting_is_a_term_a_level(text: str, groups: list[tuple[str, ...]]) -> None:
    found = terms_of(f"y ~ x + {text}")
    assert [t.group for t in found] == groups
    assert len({(t.basis, t.structure.name) for t in found}) == 1


@pytest.mark.parametrize(
    "name", ["cs", "us", "vc", "diag", "diagonal", "unstructured", "variance_component", "identity"]
)
def test_a_structure_is_called_around_a_term(name: str) -> None:
    assert terms_of(f"y ~ x + {name}(0 + m | w)") == (TermSpec("0 + m", ("w",), Choice(name)),)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3", 3), ("-0.5", -0.5), ("'text'", "text"), ('"a, b | c"', "a, b | c"), ("[1, 2]", [1, 2]), ("(1, 2)", (1, 2)),
        ("True", True), ("None", None), ("{'a': 1}", {"a": 1}),
    ],
)  # fmt: skip
def test_options_of_a_structure_are_literals(written: str, value: object) -> None:
    (term,) = terms_of(f"y ~ x + mine(0 + m | w, power={written}, other=1)")
    assert term.structure == Choice("mine", {"power": value, "other": 1})


def test_a_structure_of_a_package_is_called_by_its_qualified_name() -> None:
    (term,) = terms_of("y ~ x + mmframe-spatial/matern(0 + m | w, nu=1.5)")
    assert term.structure == Choice("mmframe-spatial/matern", {"nu": 1.5})


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x | g",
        "y ~ x + 1 | g",
        "y ~ (x + (1 | g))",
        "y ~ x:(1 | g)",
        "y ~ x*(1 | g)",
        "y ~ x/(1 | g)",
        "y ~ (1 | g)*x",
        "y ~ (1 | g)^2",
        "y ~ (1 | g)[0]",
        "y ~ (1 | g) * (1 | h)",
        "y ~ (1 | g):(1 | h)",
        "y ~ (x + z)*(1 | g)",
        "y ~ (x)*(x | g)",
        "y ~ log((1 | g))",
        "y ~ (1 | g | h)",
        "y ~ (1 ||| g)",
        "(1 | g) ~ x",
        "y | g ~ x",
        "y ~ cs(cs(1 | g))",
        "y ~ cs(1 | g)(2)",
        "y ~ cs(x)(1 | g)",
        "y ~ ((1 | g) + (1 | h))",
        "y ~ (z ~ x | g)",
        "y ~ (x | g ~ h)",
    ],
)
def test_bars_in_wrong_places(text: str) -> None:
    with pytest.raises(mm.FormulaError, match="formula:"):
        parse_formula(text)


@pytest.mark.parametrize("text", ["y ~ x - (1 | g)", "y ~ -(1 | g)", "y ~ x - cs(1 | g)", "y ~ x +- (1 | g)"])
def test_random_terms_are_not_taken_away(text: str) -> None:
    with pytest.raises(mm.FormulaError, match="added, not taken away"):
        parse_formula(text)


@pytest.mark.parametrize(
    "text", ["y ~ (1 | )", "y ~ (| g)", "y ~ (|)", "y ~ (1 || )", "y ~ (|| g)", "y ~ cs(1 |)", "y ~ cs(| g)"]
)
def test_missing_basis_or_group(text: str) -> None:
    with pytest.raises(mm.FormulaError, match="a basis before and a grouping factor after it"):
        parse_formula(text)


@pytest.mark.parametrize(
    "group", ["factor(g)", "g + h", "g*h", "1", "g h", "a//b", "a:", "/a", "a/", "g[0]", "g.h()", "-g", "'g'"]
)
def test_what_is_no_grouping_factor(group: str) -> None:
    with pytest.raises(mm.FormulaError, match="formula:"):
        parse_formula(f"y ~ (1 | {group})")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a formula such as"),
        ("   ", "a formula such as"),
        ("~ x", "a response before '~'"),
        ("y ~ x ~ z", "one '~'"),
        ("y ~ (x", "closing"),
        ("y ~ x)", "closing"),
        ("y ~ log(x", "cannot be read"),
        ("y ~ 'x", "cannot be read"),
        ("y ~ `x", "cannot be read"),
        ("y ~ .", "name the columns"),
        ("y ~ x ^ 13", "at most 12"),
        ("y ~ x ** 13", "at most 12"),
        ("y ~ cs(1 | g, 3)", "option=value"),
        ("y ~ cs(1 | g, power=x)", "option=value"),
        ("y ~ cs(1 | g, power=)", "option=value"),
        ("y ~ cs(1 || g)", "one bar inside a structure"),
        ("y ~ lgo(x)", "did you mean 'log'"),
        ("y ~ x@z", "the operator '@'"),
    ],
)
def test_messages(text: str, words: str) -> None:
    with pytest.raises(mm.FormulaError) as caught:
        parse_formula(text)
    assert words in str(caught.value)
    assert all(issue.where == "formula" for issue in caught.value.issues)


@pytest.mark.parametrize("text", ["y ~ log(x", "y ~ 'x", "y ~ x + cs(0 + m | w", "y ~ `x"])
def test_messages_hold_no_control_marks(text: str) -> None:
    """What formulaic marks for a terminal is plain text in a message of ours."""
    with pytest.raises(mm.FormulaError) as caught:
        parse_formula(text)
    assert "⧛" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, ["y ~ x"], b"y ~ x"])
def test_a_formula_is_text(value: object) -> None:
    with pytest.raises(mm.FormulaError, match="a formula such as"):
        parse_formula(value)  # type: ignore[arg-type]


def test_all_errors_of_a_formula_at_once() -> None:
    with pytest.raises(mm.FormulaError) as caught:
        parse_formula("y ~ open('f') + x:(1 | g) - (1 | h) + (1 | k + l)")
    assert len(caught.value.issues) == 4


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("I(Days^2)", "I(Days ** 2)"),
        ("I(Days^2 + Days)", "I(Days ** 2 + Days)"),
        ("I(z + Days^2)", "I(z + Days ** 2)"),
        ("I(z - 3 * Days^2)", "I(z - 3 * Days ** 2)"),
        ("I(z^2 - Days^2)", "I(z ** 2 - Days ** 2)"),
        ("I(Days^2 / 10)", "I(Days ** 2 / 10)"),
        ("log(1 + Days^2)", "log(1 + Days ** 2)"),
        ("factor(Days)", "C(Days)"),
        ("(Days + z)^2", "Days + z + Days:z"),
        ("(Days + z)**2", "Days * z"),
        ("np.log(Days + 1)", "log(Days + 1)"),
        ("Days + z - z", "Days"),
        ("Days - 1", "0 + Days"),
        ("Days^2", "Days"),
    ],
)
def test_habits_of_r(theirs: str, ours: str, sleepstudy: pd.DataFrame) -> None:
    """`I(x^2)`, `factor(x)` and `^` at the top mean what they mean in R: a power binds tighter than + and *."""
    left = mm.fit(f"Reaction ~ {theirs} + (1 | Subject)", sleepstudy)
    right = mm.fit(f"Reaction ~ {ours} + (1 | Subject)", sleepstudy)
    assert left.loglike == pytest.approx(right.loglike, abs=1e-10)
    assert list(left.fixed_effects) == pytest.approx(list(right.fixed_effects), rel=1e-8)


def test_a_power_in_the_response_and_in_a_basis(sleepstudy: pd.DataFrame) -> None:
    squared = sleepstudy.assign(r2=sleepstudy["Reaction"] ** 2 / 1e5, d2=sleepstudy["Days"] ** 2)
    by_formula = mm.fit("I(Reaction^2 / 1e5) ~ Days + (0 + I(Days^2) | Subject)", sleepstudy)
    by_columns = mm.fit("r2 ~ Days + (0 + d2 | Subject)", squared)
    assert by_formula.loglike == pytest.approx(by_columns.loglike, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["cs(Days, df=4)", "bs(Days, df=4)", "cr(Days, df=4)", "cc(Days, df=4)", "poly(Days, 2)"]
)
def test_splines_stay_transforms(text: str, sleepstudy: pd.DataFrame) -> None:
    """A call without a bar is a transform, also where a structure has the same name."""
    parsed = parse_formula(f"Reaction ~ {text} + (1 | Subject)")
    assert parsed.fixed == f"Reaction ~ {text}"
    assert [t.label for t in parsed.random] == ["1 | Subject"]
    columns = 2 if text.startswith("poly") else 4
    fit = mm.fit(f"Reaction ~ {text} + (1 | Subject)", sleepstudy)
    assert len(fit.fixed_effects) + len(fit.dropped) in (columns, columns + 1)


def test_a_spline_and_a_structure_of_the_same_name_together(sleepstudy: pd.DataFrame) -> None:
    parsed = parse_formula("Reaction ~ cs(Days, df=4) + cs(0 + C(Days) | Subject)")
    assert parsed.fixed == "Reaction ~ cs(Days, df=4)"
    assert parsed.random == (TermSpec("0 + C(Days)", ("Subject",), Choice("cs")),)


def test_backticks_name_columns_of_any_kind(sleepstudy: pd.DataFrame) -> None:
    names = {"Reaction": "reaction time (ms)", "Days": "days ~ of | sleep + loss", "Subject": "who/where: a"}
    odd = sleepstudy.rename(columns=names)
    plain = mm.fit("Reaction ~ Days + (1 + Days | Subject)", sleepstudy)
    quoted = mm.fit(
        "`reaction time (ms)` ~ `days ~ of | sleep + loss` + (1 + `days ~ of | sleep + loss` | `who/where: a`)", odd
    )
    assert quoted.loglike == pytest.approx(plain.loglike, abs=1e-10)
    assert list(quoted.random_effects) == ["who/where: a"]


def test_backticks_in_a_call(sleepstudy: pd.DataFrame) -> None:
    odd = sleepstudy.rename(columns={"Days": "the days"})
    plain = mm.fit("Reaction ~ I(Days ** 2) + log(Days + 1) + (1 | Subject)", sleepstudy)
    for text in ("I(`the days`^2) + log(`the days` + 1)", "I(Q('the days') ** 2) + log(Q('the days') + 1)"):
        assert mm.fit(f"Reaction ~ {text} + (1 | Subject)", odd).loglike == pytest.approx(plain.loglike, abs=1e-10)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1 + x", {"x"}),
        ("x*z + log(w)", {"x", "z", "w"}),
        ("`a b` + I(`c d` ** 2)", {"a b", "c d"}),
        ("Q('a b')", {"a b"}),
        ("C(x, contr.sum)", {"x"}),
        ("C(x, levels=['a', 'b'])", {"x"}),
        ("bs(x, df=4)", {"x"}),
        ("0", set()),
    ],
)
def test_the_columns_of_a_formula(text: str, columns: set[str]) -> None:
    assert columns_of(text) == columns


def test_splitting_minds_brackets_and_quotes() -> None:
    assert split_top("a, (b, c), 'd, e', [f, g], `h, i`", ",") == ["a", " (b, c)", " 'd, e'", " [f, g]", " `h, i`"]
    assert split_top("", ",") == [""]


@pytest.mark.parametrize("text", ["1 + x | g", "(1 + x | g)", "us(1 + x | g)", " ( 1+x | g ) "])
def test_a_term_by_itself(text: str) -> None:
    (term,) = read_term(text, "random")
    assert (term.basis, term.group) == ("1 + x", ("g",))


@pytest.mark.parametrize("text", ["1 + x", "", "y ~ x | g", "(1 | g) + (1 | h)"])
def test_what_is_no_term(text: str) -> None:
    with pytest.raises(mm.FormulaError, match="random:"):
        read_term(text, "random")


ROUND_TRIPS = [
    "y ~ x + (1 + x | g)",
    "y ~ 1",
    "y ~ 0 + x + (1 | g) + (0 + x | g)",
    "y ~ x + (1 + x || g)",
    "y ~ x + (1 | a/b/c)",
    "y ~ x + (1 | a:b)",
    "y ~ x - 1 + (x - 1 | g)",
    "y ~ x + cs(0 + m | w)",
    "y ~ x + mine(0 + m | w, power=0.5, name='a', flags=[True, None], pair=(1, 2))",
    "log(y) ~ I(x^2) + factor(z) + bs(x, df=4) + (1 | g)",
    "`a y` ~ `a x` + (1 + `a x` | g)",
    "y ~ x + (1 | `a g`)",
    "y ~ x + (1 | `a/b`:c)",
    "y ~ x + cs(0 + m | `2nd`)",
    "np.log(y) ~ C(x, contr.sum) + Q('a b') + (1 | g)",
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_round_trip_through_one_line(text: str) -> None:
    parsed = parse_formula(text)
    spec = ModelSpec(parsed.fixed, parsed.random)
    again = parse_formula(formula_of(spec))
    assert again == parsed


def test_round_trip_of_a_fitted_formula(sleepstudy: pd.DataFrame) -> None:
    odd = sleepstudy.rename(columns={"Subject": "a/b"})
    fit = mm.fit("Reaction ~ Days + (1 + Days | `a/b`)", odd)
    assert mm.fit(fit.formula, odd).loglike == pytest.approx(fit.loglike, abs=1e-10)


@pytest.fixture(scope="module")
def sleepstudy() -> pd.DataFrame:
    data = mm.datasets.load("sleepstudy")
    return data.assign(z=(data["Subject"] % 7) + data["Days"] % 3)
