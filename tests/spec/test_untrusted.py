"""Formulas and documents are data from anywhere: whatever stands in them, nothing runs, and the answer comes at once.

Every hostile text is tried in each place that takes a formula, in Python and in YAML. It must be refused with an error
of mmframe within two seconds, and a file that it tries to write must not be there afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mmframe as mm
from mmframe.spec.document import from_dict
from mmframe.spec.yaml_text import read_yaml
from tests.spec.limits import at_most

SECONDS = 2.0
TRACE = "executed.txt"  # what hostile text tries to create in the working directory

# Python that formulaic by itself would evaluate; each creates TRACE, reads a file, or reaches for the interpreter.
EXPRESSIONS = [
    f"__import__('os').system('touch {TRACE}')",
    f"__import__('pathlib').Path('{TRACE}').touch()",
    f"open('{TRACE}', 'w')",
    f"open('{TRACE}', 'w').write('x')",
    f"I(open('{TRACE}', 'w'))",
    f"I(Days + open('{TRACE}', 'w').write('x'))",
    f"log(Days + len(open('{TRACE}', 'w').name))",
    f"eval(\"open('{TRACE}', 'w')\")",
    f"exec(\"open('{TRACE}', 'w')\")",
    f"compile(\"open('{TRACE}', 'w')\", '', 'eval')",
    f"I(eval(\"open('{TRACE}', 'w')\"))",
    f"np.savetxt('{TRACE}', Days)",
    f"np.save('{TRACE}', Days)",
    f"np.log(np.savetxt('{TRACE}', Days))",
    f"I(Days.to_csv('{TRACE}'))",
    f"Days.to_csv('{TRACE}')",
    f"Days.to_pickle('{TRACE}')",
    f"log(Days).to_csv('{TRACE}')",
    f"(lambda: open('{TRACE}', 'w'))()",
    f"I((lambda f: f('{TRACE}', 'w'))(open))",
    f"I([open('{TRACE}', 'w') for _ in [1]])",
    f"I({{open('{TRACE}', 'w') for _ in [1]}})",
    f"I({{1: open('{TRACE}', 'w')}})",
    f"C(Days, levels=[open('{TRACE}', 'w')])",
    f"C(Days, contr.treatment(base=open('{TRACE}', 'w')))",
    f"C(Days, contr.custom([open('{TRACE}', 'w')]))",
    f"bs(Days, df=open('{TRACE}', 'w'))",
    f"poly(Days, degree=open('{TRACE}', 'w'))",
    f"I(f\"{{open('{TRACE}', 'w')}}\")",
    f"I(x := open('{TRACE}', 'w'))",
    f"I(Days if open('{TRACE}', 'w') else Days)",
    f"I(Days and open('{TRACE}', 'w'))",
    f"I(*[open('{TRACE}', 'w')])",
    f"I(**{{'x': open('{TRACE}', 'w')}})",
    f"bs(*open('{TRACE}', 'w'))",
    f"bs(Days, **open('{TRACE}', 'w'))",
    f"I(not open('{TRACE}', 'w'))",
    f"I(~open('{TRACE}', 'w'))",
    f"I(-open('{TRACE}', 'w'))",
    f"I(Days < open('{TRACE}', 'w'))",
    f"I(Days in open('{TRACE}', 'w'))",
    f"I(Days is open('{TRACE}', 'w'))",
    f"I(Days @ open('{TRACE}', 'w'))",
    f"I(Days ** open('{TRACE}', 'w'))",
    f"I(Days[open('{TRACE}', 'w')])",
    f"Days[open('{TRACE}', 'w')]",
    f"I(await open('{TRACE}', 'w'))",
    f"I((yield open('{TRACE}', 'w')))",
    f"{{open('{TRACE}', 'w')}}",
    f"{{open('{TRACE}', 'w') }}",
    f"{{Days}}(open('{TRACE}', 'w'))",
    f"{{log(open('{TRACE}', 'w'))}}",
    f"{{__import__('os').system('touch {TRACE}')}}",
    f"getattr(Days, 'to_csv')('{TRACE}')",
    f"I(getattr(Days, 'to_' + 'csv')('{TRACE}'))",
    f"log(I(C(Days, levels=[open('{TRACE}', 'w')])))",
    f"log(log(log(open('{TRACE}', 'w'))))",
    f"contr.treatment.__init__.__globals__['__builtins__']['open']('{TRACE}', 'w')",
    f"I.__globals__['__builtins__']['open']('{TRACE}', 'w')",
    f"Q(open('{TRACE}', 'w'))",
    f"Q('Days', open('{TRACE}', 'w'))",
    f"Q(f\"{{open('{TRACE}', 'w')}}\")",
    f"ｏｐｅｎ('{TRACE}', 'w')",
    f"I(ｏｐｅｎ('{TRACE}', 'w'))",
    f"log(\nopen('{TRACE}', 'w')\n)",
    f"log(Days); open('{TRACE}', 'w')",
    # a backtick within quotes is text, and hides nothing that stands between two of them
    f"C(Days, levels=[\"`\", open('{TRACE}', 'w'), \"`\"])",
    f"C(Days, contr.treatment(base=\"`\"), levels=[open('{TRACE}', 'w'), \"`\"])",
    f"C(Days, levels=['`', __import__('os').system('touch {TRACE}'), '`'])",
    f"factor(Days, levels=[\"`\", open('{TRACE}', 'w'), \"`\"])",
    f"I(Days^2 + C(Days, levels=[\"`\", open('{TRACE}', 'w'), \"`\"]))",
    f"factor(Days, levels=['quoted_name_0_', `', open(\"{TRACE}\", \"w\"), '`])",
    f'C(Days, levels=["\\"`", open(\'{TRACE}\', \'w\'), "`"])',
    "np.loadtxt('/etc/passwd')",
    "np.load('x.npy', allow_pickle=True)",
    "np.fromfile('/etc/passwd')",
    "np.genfromtxt('/etc/passwd')",
    "I(np.loadtxt('/etc/passwd'))",
    "np.lib.npyio.loadtxt('/etc/passwd')",
    "np.linalg.inv(Days)",
    "np.log.__class__(Days)",
    "Days.__class__",
    "I(Days.__class__)",
    "I(Days.values)",
    "I(Days.T)",
    "log.__self__",
    "I(().__class__.__bases__[0].__subclasses__())",
    "I(''.__class__.__mro__[1].__subclasses__())",
    "__builtins__",
    "I(__builtins__)",
    "__name__",
    "I(__loader__)",
    "I(__import__)",
    "log(__name__)",
    "globals()",
    "locals()",
    "vars()",
    "dir()",
    "input()",
    "breakpoint()",
    "exit()",
    "quit()",
    "help()",
    "print(Days)",
    "type(Days)",
    "getattr(Days, 'T')",
    "setattr(Days, 'x', 1)",
    "delattr(Days, 'x')",
    "I(lambda: 3)",
    "I(x for x in Days)",
    "I([x for x in Days])",
    "I({x: x for x in Days})",
    "I({x for x in Days})",
    "I(Days[0])",
    "I(Days[::2])",
    "Days[0]",
    "I(f'{Days}')",
    "I(b'bytes')",
    "I(...)",
    "I(1j)",
    "I(*Days)",
    "I(**Days)",
    "I(Days, _metadata=1)",
    "C(Days, __class__=1)",
    "I(Days << 3)",
    "I(Days >> 3)",
    "I(Days | 3)",
    "I(Days & 3)",
    "I(~Days)",
    "I(not Days)",
    "I(Days or 1)",
    "I('a' * 999999999)",
    "I([0] * 999999999)",
    "log()()",
    "log(Days)(3)",
    "(log)(Days)(open)",
    "{Days}.values",
    "hashed(Days, levels=3)",
    "lag(Days)",
    "pd.read_csv('/etc/passwd')",
    "pandas.read_pickle('x')",
    "os.system('true')",
    "subprocess.run('true')",
    "Q()",
    "Q(Days)",
    "Q('Days', 'Subject')",
    "Q(*['Days'])",
    "Q(name='Days')",
    "'text'",
    '"text"',
    "Days; Days",
    "Days @ 2",
    "Days = 3",
    "Days := 3",
    "Days # comment",
    "Days \\ Days",
    "Days ? Days",
    "Days & Days",
    "Days $ Days",
    "a\x00b",
    "log(Days\x00)",
]

# Text that nothing should compute to its end.
SLOW = {
    "tower": "I(9**9**9**9)",
    "tower with a column": "I(Days * 9**9**9**9)",
    "tower in a call": "log(9**9**9**9**9)",
    "tower as a keyword": "bs(Days, df=9**9**9)",
    "tower in a comparison": "I(Days < 9**9**9**9)",
    "tower by carets": "I(9^9^9^9)",
    "tower without a call": "9**9**9**9",
    "tower under a sign": "I(Days + 9**-9**9**9)",
    "power of a sum": "(Days + Subject)**99999",
    "power of a sum by a caret": "(Days + Subject)^99999",
    "power in brackets": "(Days + Subject)**(99999)",
    "power in brackets by a caret": "(Days + Subject)^(99999)",
    "power in two brackets": "(Days + Subject)**((99999))",
    "power that is a sum": "(Days + Subject)**(99999 + 1)",
    "power of four terms": "(Days + Subject + Days2 + Days3)**12",
    "power of a power": "((Days + Subject)**12)**12",
    "all interactions of thirty": "*".join(f"x{k}" for k in range(30)),
    "polynomial": "poly(Days, degree=1000000)",
    "polynomial by position": "poly(Days, 1000000)",
    "spline": "bs(Days, df=1000000)",
    "spline of a high degree": "bs(Days, df=999999, degree=999990)",
    "natural spline": "cr(Days, df=1000000)",
    "many digits": "I(Days * " + "9" * 5000 + ")",
    "many digits by itself": "9" * 200_000,
    "product of numbers": "I(Days * " + "*".join(["9" * 1000] * 400) + ")",
    "brackets": "(" * 5000 + "Days" + ")" * 5000,
    "brackets in a call": "log(" + "(" * 5000 + "Days" + ")" * 5000 + ")",
    "few brackets in a call": "log(" + "(" * 900 + "Days" + ")" * 900 + ")",
    "signs in a call": "log(" + "-" * 1900 + "Days)",
    "calls in calls": "log(" * 400 + "Days" + ")" * 400,
    "many calls in calls": "log(" * 20_000 + "Days" + ")" * 20_000,
    "open brackets": "(" * 50_000,
    "closed brackets": ")" * 50_000,
    "braces": "{" * 50_000,
    "backticks": "`" * 50_001,
    "quotes": "'" * 50_001,
    "a huge name": "x" * 1_000_000,
    "a huge backticked name": "`" + "x" * 1_000_000 + "`",
    "a huge text": "C(Days, levels=['" + "x" * 1_000_000 + "'])",
    "many terms": "+".join(["Days"] * 50_000),
    "many columns": "+".join(f"x{k}" for k in range(50_000)),
    "many bars": "|".join(["Days"] * 50_000),
    "many operators": "Days" + "*/:" * 50_000 + "Days",
    "percents": "%" * 50_001,
}

PLACES: dict[str, Callable[[str], str]] = {
    "fixed": lambda text: f"Reaction ~ Days + {text} + (1 | Subject)",
    "fixed product": lambda text: f"Reaction ~ Days * {text} + (1 | Subject)",
    "response": lambda text: f"{text} ~ Days + (1 | Subject)",
    "basis": lambda text: f"Reaction ~ Days + (1 + {text} | Subject)",
    "basis of a structure": lambda text: f"Reaction ~ Days + cs(0 + {text} | Subject)",
    "group": lambda text: f"Reaction ~ Days + (1 | {text})",
    "nested group": lambda text: f"Reaction ~ Days + (1 | Subject/{text})",
    "option": lambda text: f"Reaction ~ Days + cs(1 | Subject, size={text})",
    "option's name": lambda text: f"Reaction ~ Days + cs(1 | Subject, {text}=1)",
    "structure": lambda text: f"Reaction ~ Days + {text}(1 | Subject)",
    "within a call": lambda text: f"Reaction ~ log({text}) + (1 | Subject)",
    "keyword": lambda text: f"Reaction ~ C(Days, levels={text}) + (1 | Subject)",
    "in a list": lambda text: f"Reaction ~ C(Days, levels=[1, {text}]) + (1 | Subject)",
}


@pytest.fixture
def table() -> pd.DataFrame:
    data = mm.datasets.load("sleepstudy")
    more = {f"x{k}": data["Days"] + k for k in range(30)}
    return data.assign(Days2=data["Days"] ** 2, Days3=data["Days"] ** 3, **more)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(run: Callable[[], Any], errors: type[Exception] | tuple[type[Exception], ...] = mm.SpecError) -> str:
    """The message of the refusal; nothing was written, and it did not take long."""
    with at_most(SECONDS):
        try:
            run()
        except errors as problem:
            message = str(problem)
        else:
            pytest.fail("it was accepted")
        finally:
            assert os.listdir() == [], "something ran, and wrote a file"
    assert message
    return message


@pytest.mark.parametrize("text", EXPRESSIONS)
@pytest.mark.parametrize("place", ["fixed", "response", "basis", "group", "option"])
def test_python_in_a_formula(place: str, text: str, table: pd.DataFrame) -> None:
    refused(lambda: mm.fit(PLACES[place](text), table))


@pytest.mark.parametrize(
    "text", [*EXPRESSIONS[:4], "__import__('os')", "Days.values", "lambda: 3", "[x for x in Days]"]
)
@pytest.mark.parametrize("place", list(PLACES))
def test_every_place_of_a_formula(place: str, text: str, table: pd.DataFrame) -> None:
    refused(lambda: mm.fit(PLACES[place](text), table))


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_python_in_a_document(text: str) -> None:
    """The same text in each key of a document that is read as a formula, and in those that only name things."""
    documents: list[dict[str, Any]] = [
        {"formula": f"Reaction ~ Days + {text} + (1 | Subject)"},
        {"formula": f"{text} ~ Days + (1 | Subject)"},
        {"formula": "Reaction ~ Days", "random": [f"1 + {text} | Subject"]},
        {"formula": "Reaction ~ Days", "random": [{"term": f"1 + {text} | Subject", "structure": "cs"}]},
        {"formula": "Reaction ~ Days", "random": [{"term": f"1 | {text}"}]},
        {"formula": "Reaction ~ Days", "random": [f"cs(1 | Subject, size={text})"]},
    ]
    for document in documents:

        def run(document: dict[str, Any] = document) -> Any:
            return mm.fit_spec({**document, "stages": ["newton"]}, mm.datasets.load("sleepstudy"))

        refused(run)


@pytest.mark.parametrize("text", EXPRESSIONS[:8])
@pytest.mark.parametrize(
    "key", ["weights", "offset", "engine", "parameterization", "residual", "variance", "criterion"]
)
def test_python_in_the_keys_that_name_things(key: str, text: str) -> None:
    document = {"formula": "Reaction ~ Days + (1 | Subject)", key: text}
    refused(lambda: mm.fit_spec(document, mm.datasets.load("sleepstudy")))


@pytest.mark.parametrize("text", EXPRESSIONS[:8])
def test_python_in_names_of_structures_stages_and_parameters(text: str) -> None:
    base: dict[str, Any] = {"formula": "Reaction ~ Days", "random": [{"term": "1 | Subject"}]}
    for document in (
        {**base, "stages": [text]},
        {**base, "stages": [{text: {"max_iterations": 3}}]},
        {**base, "random": [{"term": "1 | Subject", "structure": text}]},
        {**base, "random": [{"term": "1 | Subject", "structure": {"name": text}}]},
        {**base, "random": [{"term": "1 | Subject", "structure": {"name": "cs", text: 1}}]},
        {**base, "random": [{"term": "1 | Subject", "parameterization": text}]},
        {**base, "fix": {text: 1.0}},
        {**base, "start": {text: 1.0}},
        {**base, "categorical": {text: None}},
        {**base, "relationship": {"Subject": {text: "file"}}},
    ):

        def run(document: dict[str, Any] = document) -> Any:
            return mm.fit_spec(document, mm.datasets.load("sleepstudy"))

        refused(run)
    for value in (text, {"file": text}):
        document = {**base, "relationship": {"Subject": value}}
        refused(lambda document=document: mm.fit_spec(document, mm.datasets.load("sleepstudy")), mm.DataError)  # type: ignore[misc]


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
@pytest.mark.parametrize("place", ["fixed", "response", "basis"])
def test_what_would_never_end(place: str, text: str, table: pd.DataFrame) -> None:
    refused(lambda: mm.fit(PLACES[place](text), table), (mm.SpecError, mm.DataError))


@pytest.mark.parametrize(
    "text", ["9**9**9**9", "[" * 5000 + "]" * 5000, "'" + "x" * 1_000_000 + "'", "-" * 5000 + "1", "9" * 5000]
)
def test_options_that_would_never_end(text: str, table: pd.DataFrame) -> None:
    refused(lambda: mm.fit(f"Reaction ~ Days + cs(1 | Subject, size={text})", table))


@pytest.mark.parametrize(
    "text", ["/".join(["Subject"] * 20_000), ":".join(["Subject"] * 20_000), "(" * 5000 + "Subject" + ")" * 5000]
)
def test_groups_that_would_never_end(text: str, table: pd.DataFrame) -> None:
    refused(lambda: mm.fit(f"Reaction ~ Days + (1 | {text})", table))


def test_a_response_of_a_name_in_backticks_is_a_name(table: pd.DataFrame) -> None:
    message = refused(lambda: mm.fit(f"`open('{TRACE}', 'w')` ~ Days + (1 | Subject)", table))
    assert 'there is no column "open(' in message


def test_a_column_may_have_any_name(table: pd.DataFrame) -> None:
    """A hostile name in backticks is the name of a column, and no more."""
    name = f"__import__('os').system('touch {TRACE}')"
    plain = mm.fit("Reaction ~ Days + (1 | Subject)", table)
    quoted = mm.fit(f"Reaction ~ `{name}` + (1 | Subject)", table.rename(columns={"Days": name}))
    assert quoted.loglike == pytest.approx(plain.loglike, abs=1e-10)
    assert os.listdir() == []


def test_a_column_with_a_hostile_name_is_put_into_no_text(table: pd.DataFrame) -> None:
    """A text that looks like the stand-in of a backticked name stays a text, while the call is rewritten."""
    name = f'\', open("{TRACE}", "w"), \''
    text = f"Reaction ~ factor(Days, levels=['quoted_name_0_', `{name}`]) + (1 | Subject)"
    refused(lambda: mm.fit(text, table.assign(**{name: table["Days"]})), (mm.SpecError, mm.DataError))


def test_a_document_with_its_data_runs_nothing(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From end to end: a file and its table, as they come from anybody."""
    folder = tmp_path_factory.mktemp("from_anybody")
    table.to_csv(folder / "table.csv", index=False)
    text = f"Reaction ~ C(Days, levels=[\"`\", __import__('os').system('touch {TRACE}'), \"`\"]) + (1 | Subject)"
    (folder / "model.yaml").write_text(f"data: table.csv\nformula: |-\n  {text}\n")
    refused(lambda: mm.fit_spec(folder / "model.yaml"))


def test_names_of_functions_as_columns(table: pd.DataFrame) -> None:
    """Columns called `open`, `eval` or `np` are columns; the names of Python are not reached."""
    for name in ("open", "eval", "np", "os", "exec", "print"):
        with pytest.raises(mm.SpecError, match=f"there is no column '{name}'"):
            mm.fit(f"Reaction ~ {name} + (1 | Subject)", table)
        with pytest.raises(mm.SpecError, match=f"there is no column '{name}'"):
            mm.fit(f"Reaction ~ log({name}) + (1 | Subject)", table)


def test_braces_quote_an_allowed_expression(table: pd.DataFrame) -> None:
    """formulaic's `{...}` is the expression itself, whole."""
    plain = mm.fit("Reaction ~ I(Days + 1) + (1 | Subject)", table)
    braced = mm.fit("Reaction ~ {Days + 1} + (1 | Subject)", table)
    assert braced.loglike == pytest.approx(plain.loglike, abs=1e-10)


def test_only_named_transforms_are_called(table: pd.DataFrame) -> None:
    """transforms= opens the names that it holds, and no others."""
    fit = mm.fit("Reaction ~ twice(Days) + (1 | Subject)", table, transforms={"twice": lambda x: 2 * x})
    plain = mm.fit("Reaction ~ I(2 * Days) + (1 | Subject)", table)
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    refused(lambda: mm.fit("Reaction ~ thrice(Days) + (1 | Subject)", table, transforms={"twice": lambda x: 2 * x}))
    refused(lambda: mm.fit("Reaction ~ twice(Days) + (1 | Subject)", table))
    for name in ("__import__", "_x", "a b", "os.system"):
        with pytest.raises(mm.SpecError, match="an identifier and a function"):
            mm.fit("Reaction ~ Days + (1 | Subject)", table, transforms={name: abs})


def test_a_specification_made_by_hand_is_checked_too(table: pd.DataFrame) -> None:
    """Nobody gets round the check by building the ModelSpec themselves."""
    spec = mm.ModelSpec(formula=f"Reaction ~ I(open('{TRACE}', 'w'))")
    refused(lambda: mm.fit_spec(spec, table))


# YAML

TAGS = [
    f"formula: !!python/object/apply:os.system ['touch {TRACE}']",
    f"!!python/object/apply:os.system ['touch {TRACE}']",
    f"formula: !!python/object/new:os.system ['touch {TRACE}']",
    f"formula: !!python/object/apply:subprocess.check_output {{args: [[touch, {TRACE}]]}}",
    f"formula: !!python/object/apply:builtins.eval [\"open('{TRACE}', 'w')\"]",
    f"formula: y ~ x\ndata: !!python/object/apply:builtins.open ['{TRACE}', 'w']",
    f"formula: y ~ x\nfix: {{sigma: !!python/object/apply:os.system ['touch {TRACE}']}}",
    f"formula: y ~ x\nstages: [!!python/object/apply:os.system ['touch {TRACE}']]",
    f"formula: y ~ x\nrandom: [!!python/object/apply:os.system ['touch {TRACE}']]",
    f"formula: y ~ x\nrandom: [{{term: !!python/object/apply:os.system ['touch {TRACE}']}}]",
    f"formula: y ~ x\n!!python/object/apply:os.system ['touch {TRACE}']: 3",
    f"formula: y ~ x\ncategorical: {{g: !!python/object/apply:os.system ['touch {TRACE}']}}",
    f"formula: y ~ x\noutput: !!python/object/apply:os.system ['touch {TRACE}']",
    "formula: y ~ x\nweights: !!python/name:os.system",
    "formula: y ~ x\ndata: !!python/module:os",
    "formula: !!python/tuple [a, b]",
    "formula: !mine y ~ x",
    "formula: !!binary aGVsbG8=",
]


@pytest.mark.parametrize("text", TAGS)
def test_tags_make_no_objects(text: str) -> None:
    refused(lambda: read_yaml(text))


def _bomb(width: int, depth: int) -> str:
    lines = [f"a0: &a0 [{','.join(['x'] * width)}]"]
    lines += [f"a{k}: &a{k} [{','.join([f'*a{k - 1}'] * width)}]" for k in range(1, depth)]
    return "\n".join(lines)


DOCUMENTS = {
    "billion laughs in unknown keys": _bomb(9, 9) + "\nformula: y ~ x\n",
    "billion laughs in a known key": "formula: y ~ x\ncategorical:\n"
    + "\n".join("  " + x for x in _bomb(9, 9).splitlines()),
    "billion laughs of mappings": "a0: &a0 {x: 1}\n"
    + "\n".join(f"a{k}: &a{k} {{p: *a{k - 1}, q: *a{k - 1}, r: *a{k - 1}}}" for k in range(1, 20)),
    "an alias of itself": "formula: &a [*a]",
    "an alias of itself in a list": "formula: y ~ x\nrandom: &a [*a]",
    "an alias of itself in a mapping": "formula: y ~ x\nstages:\n  - &a {em: *a}",
    "an alias of itself in levels": "formula: y ~ x\ncategorical: {g: &a [*a]}",
    "an undefined alias": "formula: *a",
    "deep lists": "formula: " + "[" * 3000 + "]" * 3000,
    "deep mappings": "formula: y ~ x\nstages: " + "{a: " * 900 + "1" + "}" * 900,
    "deep blocks": "formula: y ~ x\nstages:\n" + "\n".join(" " * k + "- " for k in range(1, 1500)),
    "a huge scalar": "formula: " + "x" * 3_000_000,
    "a huge quoted scalar": "formula: '" + "x" * 3_000_000 + "'",
    "a huge list": "formula: y ~ x\nstages: [" + ",".join(["3"] * 1_000_000) + "]",
    "a huge number": "formula: y ~ x\nfix: {sigma: " + "9" * 5000 + "}",
    "a duplicate key": "formula: y ~ x\nformula: y ~ z",
    "a duplicate key below": "formula: y ~ x\nrandom: [{term: 1 | g, term: 1 | h}]",
    "a duplicate key in another spelling": 'formula: y ~ x\n"formula": y ~ z',
    "two documents": "formula: y ~ x\n---\nformula: y ~ z",
    "nothing": "",
    "a comment": "# nothing",
    "a scalar": "y ~ x",
    "a list": "- y ~ x",
    "a control character": "formula: y ~ x\x07",
    "a tab": "formula:\n\t- y ~ x",
    "an unclosed bracket": "formula: [y ~ x",
    "an unclosed quote": "formula: 'y ~ x",
    "a percent": "%formula: y ~ x",
    "a list as key": "formula: y ~ x\n? [a, b]\n: 3",
    "a mapping as key": "formula: y ~ x\n? {a: b}\n: 3",
}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents_that_nobody_should_read_to_their_end(text: str) -> None:
    refused(lambda: read_yaml(text))


@pytest.mark.parametrize("document", [None, 3, "y ~ x", [], (), {1, 2}, b"formula", object()])
def test_what_is_no_document(document: Any) -> None:
    refused(lambda: from_dict(document))


def test_a_dict_that_holds_itself() -> None:
    document: dict[str, Any] = {"formula": "y ~ x"}
    document["stages"] = [{"em": document}]
    levels: list[Any] = []
    levels.append(levels)
    refused(lambda: from_dict(document))
    refused(lambda: from_dict({"formula": "y ~ x", "categorical": {"g": levels}}))


def test_data_that_never_end(tmp_path: Path) -> None:
    """A named pipe is no table: reading it would wait for ever."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    os.mkfifo(folder / "pipe.csv")
    document = {"formula": "y ~ x + (1 | g)", "data": str(folder / "pipe.csv")}
    with at_most(SECONDS), pytest.raises(mm.DataError, match=r"pipe\.csv"):
        mm.fit_spec(document)
