"""What the class is built from: arrays, pandas, lists, names, variance components, missing values, and errors in words."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.regression.mixed_linear_model as sm
from scipy import sparse

from mmframe.compat.statsmodels import MixedLM, MixedLMParams, VCSpec
from mmframe.errors import DataError
from tests.compat.theirs import DIETOX, pair, quietly, random_data, ready

Array = np.ndarray
N = len(DIETOX)
X = np.column_stack([np.ones(N), DIETOX["Time"]])
POINT = MixedLMParams.from_components(np.array([15.0, 7.0]), np.full((1, 1), 3.0))


@pytest.mark.parametrize(
    ("endog", "exog", "groups"),
    [
        (DIETOX["Weight"].to_numpy(), X, DIETOX["Pig"].to_numpy()),
        (DIETOX["Weight"], pd.DataFrame(X, columns=["const", "Time"]), DIETOX["Pig"]),
        (DIETOX["Weight"].tolist(), X.tolist(), DIETOX["Pig"].tolist()),
        (DIETOX[["Weight"]], X, DIETOX["Pig"].astype(str)),
        (DIETOX["Weight"], X, DIETOX["Pig"].astype(float)),
        (DIETOX["Weight"], X, DIETOX["Pig"].astype("category")),
        (DIETOX["Weight"], X, [("pig", int(p)) for p in DIETOX["Pig"]]),
        (DIETOX["Weight"], X, pd.to_datetime(DIETOX["Pig"], unit="D")),
    ],
)
def test_any_input_gives_one_likelihood(endog: Any, exog: Any, groups: Any) -> None:
    labels = pd.Series(groups, index=range(N)).array if isinstance(groups, list) else groups
    model = MixedLM(endog, exog, labels)
    assert np.isclose(model.loglike(POINT, False), MixedLM(DIETOX["Weight"], X, DIETOX["Pig"]).loglike(POINT, False))
    assert model.n_groups == 72 and list(model.row_indices) == model.group_labels


def test_rows_in_any_order() -> None:
    order = np.random.default_rng(0).permutation(N)
    one = MixedLM(DIETOX["Weight"], X, DIETOX["Pig"]).fit()
    other = MixedLM(DIETOX["Weight"].to_numpy()[order], X[order], DIETOX["Pig"].to_numpy()[order]).fit()
    np.testing.assert_allclose(other.params, np.asarray(one.params), rtol=1e-8)
    np.testing.assert_allclose(other.fittedvalues, np.asarray(one.fittedvalues)[order], rtol=1e-8)


def test_attributes_are_those_of_statsmodels() -> None:
    mine, their = pair(random_data(2))
    for name in ("k_fe", "k_re", "k_re2", "k_vc", "k_params", "nobs", "n_totobs", "n_groups", "use_sqrt"):
        assert getattr(mine, name) == getattr(their, name), name
    for name in ("endog", "exog", "exog_re"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(their, name))
    assert list(mine.group_labels) == list(their.group_labels)
    assert mine.row_indices == their.row_indices
    assert mine.exog_names == their.exog_names and mine.endog_names == their.endog_names
    assert mine.data.param_names == their.data.param_names
    for name in ("endog_li", "exog_li", "exog_re_li", "exog_re2_li"):
        for a, b in zip(getattr(mine, name), getattr(their, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    assert mine.group_list(None) is None
    assert mine.df_resid == mine.nobs - 3 and mine.df_model == 2


@pytest.mark.parametrize(
    ("exog", "exog_re", "names", "effects"),
    [
        (X, None, ["const", "x1"], ["Group Var"]),
        (X[:, 1], X, ["x1"], ["x_re1 Var", "x_re1 x x_re2 Cov", "x_re2 Var"]),
        (pd.DataFrame(X, columns=["a", "b"]), DIETOX["Time"], ["a", "b"], ["Time Var"]),
        (DIETOX[["Time"]], pd.DataFrame(X, columns=["u", "Time"]), ["Time"], ["u Var", "u x Time Cov", "Time Var"]),
    ],
)
def test_names(exog: Any, exog_re: Any, names: list[str], effects: list[str]) -> None:
    mine = MixedLM(DIETOX["Weight"], exog, DIETOX["Pig"], exog_re)
    their = sm.MixedLM(DIETOX["Weight"], exog, DIETOX["Pig"], exog_re)
    assert mine.exog_names == names == their.exog_names
    assert mine.data.exog_re_names_full == effects == their.data.exog_re_names_full
    assert mine.data.exog_re_names == their.data.exog_re_names
    assert mine.endog_names == "Weight"


def test_components_as_specification_and_as_dicts() -> None:
    data = random_data(6)
    names, columns, mats = data.vc
    groups = sorted(set(data.groups))
    dicts = {name: dict(zip(groups, mats[k], strict=True)) for k, name in enumerate(names)}
    with pytest.warns(FutureWarning, match="Using deprecated variance"):
        one = MixedLM(data.endog, data.exog, data.groups, data.exog_re, dicts)
    framed = {
        name: {g: pd.DataFrame(m, columns=columns[k][i]) for i, (g, m) in enumerate(per.items())}
        for k, (name, per) in enumerate(dicts.items())
    }
    with pytest.warns(FutureWarning, match="Using deprecated variance"):
        framed_model = MixedLM(data.endog, data.exog, data.groups, data.exog_re, framed)
    assert framed_model.exog_vc.colnames[0][0] == ["p", "q"]
    whole = MixedLM(data.endog, data.exog, data.groups, data.exog_re, VCSpec(*data.vc))
    thin = [[sparse.csr_array(m) for m in per] for per in mats]
    light = MixedLM(data.endog, data.exog, data.groups, data.exog_re, VCSpec(names, columns, thin))
    assert one.exog_vc.names == whole.exog_vc.names == ["a", "b"]
    for model in (one, framed_model, light):
        np.testing.assert_allclose(model.fit().params, whole.fit().params, rtol=1e-9)


def test_dicts_are_matched_by_label() -> None:
    """statsmodels goes by the order of the sorted keys, whatever they are."""
    data = random_data(6)
    mats = dict(zip(sorted(set(data.groups)), data.vc[2][1], strict=True))
    expected = (
        MixedLM(data.endog, data.exog, data.groups, exog_vc=VCSpec(["b"], data.vc[1][1:], [data.vc[2][1]])).fit().llf
    )
    turned = {"b": dict(reversed(mats.items()))} | {"b": {99: np.ones((2, 1)), **mats}}
    with pytest.warns(FutureWarning):
        assert np.isclose(MixedLM(data.endog, data.exog, data.groups, exog_vc=turned).fit().llf, expected)
    by_text = {"b": {str(k): m for k, m in mats.items()}}
    with (
        pytest.warns(FutureWarning),
        pytest.raises(DataError, match=r"exog_vc\['b'\]: there is no design for the group 0"),
    ):
        MixedLM(data.endog, data.exog, data.groups, exog_vc=by_text)


def test_unequal_numbers_of_columns() -> None:
    data = random_data(9)
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(data.groups == g) for g in range(25)]
    mats = [rng.normal(size=(len(r), 1 + k % 3)) for k, r in enumerate(rows)]
    names = [[f"c{j}" for j in range(m.shape[1])] for m in mats]
    mine = MixedLM(data.endog, data.exog, data.groups, exog_vc=VCSpec(["v"], [names], [mats]))
    their = ready(sm.MixedLM(data.endog, data.exog, data.groups, exog_vc=sm.VCSpec(["v"], [names], [mats])), reml=True)
    assert mine.k_re == 0 and mine.exog_re is None
    p = MixedLMParams.from_components(np.ones(3), vcomp=np.array([0.7]))
    q = sm.MixedLMParams.from_components(np.ones(3), np.zeros((0, 0)), vcomp=np.array([0.7]))
    assert np.isclose(mine.loglike(p, False), their.loglike(q, False), rtol=1e-12)
    result = mine.fit()
    other = quietly(lambda: their.fit(start_params=result.params, method="lbfgs"))
    for k, g in enumerate(mine.group_labels):
        assert list(result.random_effects[g].index) == [f"v[c{j}]" for j in range(1 + k % 3)]
        np.testing.assert_allclose(result.random_effects[g], other.random_effects[g], rtol=1e-3, atol=1e-4)


def test_the_class_page_s_fourth_example() -> None:
    """`vcomp=` never was an argument; it is taken as exog_vc, with a warning, and a Series is one column."""
    exog_re = pd.DataFrame({0: np.ones(N), 1: DIETOX["Time"]})
    groups = DIETOX["Pig"]
    g = groups.groupby(groups).groups
    vc = {str(j + 1): {k: exog_re.loc[g[k], j] for k in g} for j in (0, 1)}
    with pytest.warns(FutureWarning, match="vcomp is taken as exog_vc"):
        model = MixedLM(DIETOX["Weight"], X, groups, vcomp=vc)
    free = MixedLMParams.from_components(np.ones(2), np.eye(2))
    independent = MixedLM(DIETOX["Weight"], X, groups, exog_re=exog_re).fit(free=free)
    np.testing.assert_allclose(model.fit().llf, independent.llf, atol=1e-8)


def spoiled(what: str) -> dict[str, Any]:
    data = random_data(3)
    names, columns, mats = data.vc
    parts: dict[str, Any] = {
        "endog": data.endog.copy(), "exog": data.exog.copy(), "groups": data.groups.astype(float), "exog_re": data.exog_re.copy(),
        "exog_vc": VCSpec(names, columns, [[m.copy() for m in per] for per in mats]),
    }  # fmt: skip
    if what == "exog_vc":
        parts["exog_vc"].mats[0][2][1, 0] = np.nan
    elif what == "groups":
        parts["groups"][4] = np.nan
        parts["exog_vc"] = None
    else:
        parts[what][4, ...] = np.nan
    return parts


@pytest.mark.parametrize("what", ["endog", "exog", "groups", "exog_re", "exog_vc"])
def test_missing_values(what: str) -> None:
    parts = spoiled(what)
    for missing in ("none", "raise"):
        with pytest.raises(DataError, match=r"1 of \d+ rows have missing values"):
            MixedLM(**parts, missing=missing)
    model = MixedLM(**parts, missing="drop")
    assert model.nobs == len(parts["endog"]) - 1
    bad = int(np.flatnonzero(parts["groups"] == 2)[1]) if what == "exog_vc" else 4
    keep = np.arange(len(parts["endog"])) != bad
    vc = None
    if parts["exog_vc"] is not None:
        rows = [np.flatnonzero(parts["groups"] == g) for g in range(25)]
        mats = [[m[keep[r]] for r, m in zip(rows, per, strict=True)] for per in parts["exog_vc"].mats]
        vc = VCSpec(parts["exog_vc"].names, parts["exog_vc"].colnames, mats)
    by_hand = MixedLM(*(parts[k][keep] for k in ("endog", "exog", "groups", "exog_re")), exog_vc=vc)
    np.testing.assert_allclose(model.fit().params, by_hand.fit().params, rtol=1e-9)


def test_columns_without_names_are_the_columns() -> None:
    """The label 1 is no intercept."""
    rng = np.random.default_rng(0)
    matrix = np.column_stack([np.ones(N), rng.normal(size=(N, 3)), DIETOX["Time"]])
    plain = MixedLM(DIETOX["Weight"], matrix, DIETOX["Pig"]).fit()
    for columns in (None, ["a", "1", ".", "d", "e"], [1, 2, 3, 4, 5]):
        framed = MixedLM(DIETOX["Weight"], pd.DataFrame(matrix, columns=columns), DIETOX["Pig"]).fit()
        np.testing.assert_allclose(framed.params, plain.params, rtol=1e-9)
        assert framed.model.exog_names == [str(c) for c in (columns or range(5))]


def test_groups_of_any_shape_and_order() -> None:
    """Sorted labels, as statsmodels has them, whatever the order of categories; tuples; columns of a table."""
    labels = DIETOX["Pig"]
    turned = pd.Categorical(labels, categories=sorted(set(labels), reverse=True))
    for groups in (turned, labels.to_frame(), labels.to_numpy()[:, None], pd.Series(turned)):
        model = MixedLM(DIETOX["Weight"], X, groups)
        assert list(model.group_labels) == sorted(set(labels))
        assert np.isclose(model.loglike(POINT, False), MixedLM(DIETOX["Weight"], X, labels).loglike(POINT, False))
    pairs = [(int(p) // 100, int(p) % 100) for p in labels]
    by_tuples = MixedLM(DIETOX["Weight"], X, pairs).fit()
    plain = MixedLM(DIETOX["Weight"], X, labels).fit()
    np.testing.assert_allclose(by_tuples.random_effects[46, 1], plain.random_effects[4601])
    with pytest.raises(DataError, match="groups: an array of shape"):
        MixedLM(DIETOX["Weight"], X, None)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"exog_vc": [1]}, "exog_vc: a list · allowed: a VCSpec"),
    ({"exog_vc": VCSpec(["a", "b"], [[]], [[]])}, "exog_vc: 2 names, 1 colnames and 1 mats"),
    ({"exog": X[:-1]}, "exog: 860 rows · allowed: those of endog, 861"),
    ({"groups": DIETOX["Pig"][:-1]}, "groups: 860 rows"),
    ({"exog": np.column_stack([X, X[:, 1]])}, "exog: the columns x2 depend on the columns before them"),
    ({"exog": DIETOX[["Evit"]].assign(Evit="a")}, "exog: values that are not numbers"),
    ({"endog": X}, "endog: 2 columns · allowed: one"),
    ({"missing": "skip"}, "missing: 'skip' · allowed: 'none', 'drop', 'raise'"),
    ({"weights": np.ones(N)}, "argument weights not permitted"),
    ({"groups": np.ones(N)}, "it has one level"),
    ({"exog_vc": VCSpec(["a"], [[["c"]]], [[np.ones((3, 1))]])}, "exog_vc 'a': its design for group number 0 has 3 rows"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_input_is_refused_in_words(change: dict[str, Any], message: str) -> None:
    given = {"endog": DIETOX["Weight"], "exog": X, "groups": DIETOX["Pig"], **change}
    with pytest.raises(ValueError) as caught:
        MixedLM(**given)
    assert message in str(caught.value)


def test_more_effects_than_rows_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    z = np.column_stack([np.ones(40), rng.normal(size=40)])
    with pytest.warns(UserWarning, match="40 random effects"):
        MixedLM(rng.normal(size=40), np.ones(40), np.repeat(np.arange(20), 2), z)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MixedLM(rng.normal(size=40), np.ones(40), np.repeat(np.arange(10), 4), z)
