"""Formulas: patsy's spellings, names and order of columns; variance components by group; subsets; no code of the caller's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.formula.api as smf
from statsmodels.regression.mixed_linear_model import MixedLMParams as SMParams

import mmframe as mm
from mmframe.compat.statsmodels import MixedLM, MixedLMParams, mixedlm
from mmframe.errors import DataError, FormulaError
from tests.compat.theirs import DIETOX, quietly, ready


def table(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = 240
    g = np.repeat(np.arange(24), 10)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n) + rng.normal(size=24)[g],
            "x": rng.normal(size=n),
            "z": rng.uniform(1, 3, size=n),
            "a b": rng.normal(size=n),
            "f": rng.choice(list("abc"), size=n),
            "k": rng.integers(1, 4, size=n),
            "g": g,
            "sub": rng.integers(0, 3, size=n),
            "site": rng.choice(["s1", "s2"], size=n),
            "b": rng.random(n) < 0.4,
        },
        index=np.arange(n)[::-1] + 5,
    )


TABLE = table()


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x", "y ~ 0 + x", "y ~ C(k)", "y ~ 0 + C(k)", "y ~ f", "y ~ x*f", "y ~ f*x", "y ~ x:f", "y ~ np.log(z)", "y ~ I(x**2)",
        'y ~ Q("a b")',
        "y ~ Q('z') + Q(\"x\")", "y ~ x + C(f) + z:C(k)", "y ~ x*z*f", "np.log(z) ~ x", "y ~ f*C(k)*x",
        "y ~ C(f, Treatment('b'))", "y ~ (x + z)**2",
        "y ~ x:f + z", "y ~ x:z + k", "y ~ x:z + x", "y ~ z + x:z + x", "y ~ k:f + x:f + z",
        "y ~ x:z:k + x:z", "y ~ b", "y ~ x:b", "y ~ 0 + b",
        "y ~ x*b", "y ~ b:f", "y ~ scale(x)", "y ~ scale(np.log(z)) + f", "y ~ np.cos(2*np.pi*x)", "y ~ np.where(x > 0, 1, 0)",
        "y ~ np.power(x, 2)", "y ~ x/f", "y ~ center(x)", "y ~ C(f, Sum)", "y ~ 0 + x + C(f)", "y ~ 1", "y ~ x - 1", "y ~ f:C(k) + x",
    ],
)  # fmt: skip
def test_slopes_have_statsmodels_names_and_places(formula: str) -> None:
    mine, their = mixedlm(formula, TABLE, groups="g"), smf.mixedlm(formula, TABLE, groups="g")
    assert mine.exog_names == their.exog_names
    assert mine.endog_names == their.endog_names
    np.testing.assert_allclose(mine.exog, their.exog, rtol=1e-10, atol=1e-12)
    assert mine.data.param_names == their.data.param_names
    ready(their, reml=True)
    assert np.isclose(mine.loglike(np.array([0.7])), their.loglike(np.array([0.7])), rtol=1e-10)


@pytest.mark.parametrize(
    "re_formula", [None, "1", "~1", "1 + x", "~x", "0 + x", "x + z", "0 + C(k)", "~ 0 + x + I(x**2)"]
)
@pytest.mark.parametrize("by_name", [True, False])
def test_random_effects_have_statsmodels_names(re_formula: str | None, by_name: bool) -> None:
    groups: Any = "g" if by_name else TABLE["g"]
    mine = mixedlm("y ~ z", TABLE, re_formula=re_formula, groups=groups)
    their = smf.mixedlm("y ~ z", TABLE, re_formula=re_formula, groups=groups)
    assert mine.data.exog_re_names_full == their.data.exog_re_names_full
    assert mine.data.exog_re_names == their.data.exog_re_names
    np.testing.assert_allclose(mine.exog_re, their.exog_re, rtol=1e-10)
    k = mine.k_re
    p = MixedLMParams.from_components(
        np.zeros(mine.k_fe), 0.2 * np.eye(k) + 0.05 * np.arange(1, k + 1)[:, None] * np.arange(1, k + 1)
    )
    q = SMParams.from_components(p.fe_params.copy(), p.cov_re.copy())
    ready(their, reml=True)
    assert np.isclose(mine.loglike(p), their.loglike(q), rtol=1e-10)
    np.testing.assert_allclose(mine.score_full(p)[1], their.score_full(q, True)[1], rtol=1e-6, atol=1e-6)


COMPONENTS: list[dict[str, str]] = [
    {"sub": "0 + C(sub)"},
    {"site": "0 + site"},
    {"sub": "~ 0 + C(sub)", "site": "0 + C(site)"},
    {"x": "0 + x"},
    {"both": "0 + x + z"},
    {"one": "1 + x"},
    {"byx": "0 + C(sub):x"},
    {"coded": "C(sub)"},
    {"centred": "0 + center(x)"},
    {"logged": "0 + np.log(z)"},
    {"yes": "0 + b"},
]


@pytest.mark.parametrize("vc", COMPONENTS, ids=lambda v: "; ".join(v.values()))
@pytest.mark.parametrize("re_formula", [None, "1"])
def test_components_by_formula(vc: dict[str, str], re_formula: str | None) -> None:
    mine = mixedlm("y ~ x", TABLE, groups="g", re_formula=re_formula, vc_formula=vc)
    their = ready(smf.mixedlm("y ~ x", TABLE, groups="g", re_formula=re_formula, vc_formula=vc), reml=True)
    assert mine.exog_vc.names == their.exog_vc.names
    for k in range(mine.k_vc):
        for i in range(mine.n_groups):
            assert mine.exog_vc.colnames[k][i] == list(their.exog_vc.colnames[k][i])
            np.testing.assert_allclose(mine.exog_vc.mats[k][i], their.exog_vc.mats[k][i], atol=1e-12)
    packed = np.full(mine.k_re2 + mine.k_vc, 0.8)
    assert np.isclose(mine.loglike(packed), their.loglike(packed), rtol=1e-10)


def test_sparse_components_are_the_same() -> None:
    vc = {"sub": "0 + C(sub)"}
    dense = mixedlm("y ~ x", TABLE, groups="g", re_formula="1", vc_formula=vc)
    thin = mixedlm("y ~ x", TABLE, groups="g", re_formula="1", vc_formula=vc, use_sparse=True)
    assert hasattr(thin.exog_vc.mats[0][0], "indptr") and isinstance(dense.exog_vc.mats[0][0], np.ndarray)
    one, other = dense.fit(), thin.fit()
    np.testing.assert_allclose(one.params, other.params)
    np.testing.assert_allclose(one.fittedvalues, other.fittedvalues)
    pd.testing.assert_frame_equal(one.random_effects_cov[3], other.random_effects_cov[3])


def test_crossed_effects_by_one_group() -> None:
    """statsmodels' way to crossed effects: all rows one group, each factor a component. It is lme4's model of two factors."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"a": rng.integers(0, 15, size=400), "b": rng.integers(0, 12, size=400)})
    frame["y"] = rng.normal(size=15)[frame.a] + 0.7 * rng.normal(size=12)[frame.b] + rng.normal(size=400)
    vc = {"a": "0 + C(a)", "b": "0 + C(b)"}
    model = mixedlm("y ~ 1", frame, groups=np.ones(400), vc_formula=vc)
    result = model.fit(reml=False)
    crossed = mm.fit("y ~ 1 + (1 | a) + (1 | b)", frame, reml=False)
    assert np.isclose(result.llf, crossed.loglike, atol=1e-8)
    sds = [crossed.covariance("a").iloc[0, 0], crossed.covariance("b").iloc[0, 0]]
    np.testing.assert_allclose(result.vcomp, sds, rtol=1e-5)
    effects = result.random_effects[1.0]
    assert list(effects.index[:2]) == ["a[C(a)[0]]", "a[C(a)[1]]"] and len(effects) == 27
    np.testing.assert_allclose(effects[:15], crossed.random_effects["a"]["Intercept"], rtol=1e-5, atol=1e-8)
    cov = result.random_effects_cov[1.0]
    np.testing.assert_allclose(
        np.diag(cov)[:15], [crossed.random_effects_cov["a"][k].iloc[0, 0] for k in range(15)], rtol=1e-5
    )


def test_a_component_of_a_formula_reads_labels_within_groups() -> None:
    """Labels used again in another group are other levels: the same as labels of their own."""
    frame = TABLE.assign(own=TABLE["g"].astype(str) + "/" + TABLE["sub"].astype(str))
    one = mixedlm("y ~ x", frame, groups="g", re_formula="1", vc_formula={"s": "0 + C(sub)"}).fit(reml=False)
    other = mixedlm("y ~ x", frame, groups="g", re_formula="1", vc_formula={"s": "0 + own"}).fit(reml=False)
    nested = mm.fit("y ~ x + (1 | g/sub)", frame, reml=False)
    assert np.isclose(one.llf, other.llf) and np.isclose(one.llf, nested.loglike, atol=1e-8)


@pytest.mark.parametrize("subset", ["mask", "labels"])
def test_a_subset_is_used(subset: str) -> None:
    """statsmodels takes the argument and does nothing with it."""
    chosen: Any = TABLE["z"] > 1.5 if subset == "mask" else TABLE.index[TABLE["z"] > 1.5]
    part = mixedlm("y ~ x", TABLE, groups="g", subset=chosen)
    by_hand = mixedlm("y ~ x", TABLE[TABLE["z"] > 1.5], groups="g")
    assert part.nobs == by_hand.nobs < len(TABLE)
    assert np.isclose(part.loglike(np.array([0.5])), by_hand.loglike(np.array([0.5])))


def test_effects_keep_their_places() -> None:
    """Where patsy's order is another than formulaic's, masks, profiles and effects mean the effects by their places."""
    rng = np.random.default_rng(2)
    frame = TABLE.assign(y=TABLE["y"] + rng.normal(size=24)[TABLE["g"]] * (TABLE["f"] == "b") * 2)
    model = mixedlm("y ~ x", frame, groups="g", re_formula="x + f")
    assert model.data.exog_re_names == ["g", "f[T.b]", "f[T.c]", "x"]
    free = MixedLMParams.from_components(np.ones(2), np.eye(4))
    result = quietly(lambda: model.fit(free=free))
    table = mm.fit("y ~ x + (1 | g) + (0 + I(f == 'b') | g) + (0 + I(f == 'c') | g) + (0 + x | g)", frame)
    assert np.isclose(result.llf, table.loglike, atol=1e-6)
    assert np.argmax(np.diag(result.cov_re)) == 1
    effects = np.array([v["f[T.b]"] for v in result.random_effects.values()])
    b = table.random_effects["g"].to_numpy()[:, 1]
    np.testing.assert_allclose(effects, b, atol=1e-3)
    cov = next(iter(result.random_effects_cov.values()))
    np.testing.assert_allclose(cov.loc["f[T.b]", "f[T.b]"], table.random_effects_cov["g"][0].iloc[1, 1], rtol=1e-3)
    whole = quietly(model.fit)
    found = quietly(lambda: whole.profile_re(1, "re", 1, 0.3, 1, 0.3))
    assert np.isclose(found[1, 0], whole.cov_re.loc["f[T.b]", "f[T.b]"]) and np.isclose(
        found[1, 1], whole.llf, atol=1e-6
    )


@pytest.mark.parametrize("dtype", ["string", "string[pyarrow]", object, "category"])
def test_text_of_any_dtype(dtype: Any) -> None:
    frame = TABLE.assign(f=TABLE["f"].astype(dtype))
    packed = np.array([0.5])
    assert np.isclose(
        mixedlm("y ~ f", frame, groups="g").loglike(packed), mixedlm("y ~ f", TABLE, groups="g").loglike(packed)
    )


def test_many_crossed_effects_have_their_covariances() -> None:
    """More columns than small matrices take, but not too many effects to write their joint covariance out."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"a": rng.integers(0, 90, size=900), "b": rng.integers(0, 40, size=900)})
    frame["y"] = rng.normal(size=90)[frame.a] + rng.normal(size=40)[frame.b] + rng.normal(size=900)
    result = mixedlm("y ~ 1", frame, groups=np.ones(900), vc_formula={"a": "0 + C(a)", "b": "0 + C(b)"}).fit()
    cov = result.random_effects_cov[1.0]
    crossed = mm.fit("y ~ 1 + (1 | a) + (1 | b)", frame)
    expected = [crossed.random_effects_cov["b"][k].iloc[0, 0] for k in range(40)]
    np.testing.assert_allclose(np.diag(cov)[90:], expected, rtol=1e-4)
    assert cov.shape == (130, 130) and np.all(np.linalg.eigvalsh(cov) > 0)


@pytest.mark.parametrize("column", ["y", "x", "z", "g", "sub"])
def test_missing_values(column: str) -> None:
    frame = TABLE.astype({"g": float, "sub": float})
    frame.iloc[3, frame.columns.get_loc(column)] = np.nan
    options = {"groups": "g", "re_formula": "1 + z", "vc_formula": {"s": "0 + C(sub)"}}
    for missing in ("none", "raise"):
        with pytest.raises(DataError, match="1 of 240 rows have missing values"):
            mixedlm("y ~ x", frame, missing=missing, **options)
    model = mixedlm("y ~ x", frame, missing="drop", **options)
    by_hand = mixedlm("y ~ x", frame.drop(index=frame.index[3]), **options)
    assert model.nobs == 239
    packed = np.full(4, 0.6)
    assert np.isclose(model.loglike(packed), by_hand.loglike(packed))


def test_functions_of_the_caller_need_a_word() -> None:
    def twice(x: Any) -> Any:
        return 2 * x

    with pytest.raises(FormulaError, match="transforms="):
        mixedlm("y ~ twice(x)", TABLE, groups="g")
    plain = mixedlm("y ~ x", TABLE, groups="g").fit()
    for options in ({"transforms": {"twice": twice}}, {"eval_env": 0}):
        model = mixedlm("y ~ twice(x)", TABLE, groups="g", **options)
        assert model.exog_names == ["Intercept", "twice(x)"]
        assert np.isclose(model.fit().params["twice(x)"], plain.params["x"] / 2)
    with pytest.raises(FormulaError):
        mixedlm("y ~ print(x)", TABLE, groups="g", eval_env=0)
    with pytest.raises(FormulaError):
        mixedlm("y ~ pd.eval('1')", TABLE, groups="g", eval_env=0)


def test_other_tables() -> None:
    packed = np.array([0.5])
    expected = mixedlm("y ~ x", TABLE, groups="g").loglike(packed)
    as_dict = {name: TABLE[name].to_numpy() for name in TABLE}
    for data in (as_dict, pl.DataFrame(as_dict), pl.DataFrame(as_dict).to_arrow()):
        assert np.isclose(mixedlm("y ~ x", data, groups="g").loglike(packed), expected)
        assert np.isclose(mixedlm("y ~ x", data, groups=TABLE["g"]).loglike(packed), expected)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"groups": None}, "'groups' is a required keyword argument"),
    ({"groups": "h"}, "there is no column 'h'"),
    ({"groups": np.ones(3)}, "groups: 3 labels"),
    ({"re_formula": ""}, "re_formula: ''"),
    ({"vc_formula": {"a": " ~ "}}, "vc_formula['a']"),
    ({"vc_formula": {"a": "0 + w"}}, "there is no column 'w'"),
    ({"formula": "y ~ w"}, "there is no column 'w'"),
    ({"formula": "y ~ __import__('os').system('true')"}, "the call of '__import__'"),
    ({"missing": "ignore"}, "missing: 'ignore'"),
    ({"formula": "y ~ x + (1 | sub)"}, "the term (1 | sub) · allowed: fixed effects · write re_formula="),
    ({"formula": "y ~ x % 2"}, "cannot be read"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_wrong_input_is_refused_in_words(change: dict[str, Any], message: str) -> None:
    given = {"formula": "y ~ x", "data": TABLE, "groups": "g", **change}
    with pytest.raises((ValueError, AttributeError)) as caught:
        MixedLM.from_formula(**given)
    assert message in str(caught.value)


def test_the_overview_s_example() -> None:
    """`smf.mixedlm("Weight ~ Time", data, groups=data["Pig"])`, as statsmodels' documentation has it; lme4's numbers."""
    result = mixedlm("Weight ~ Time", DIETOX, groups=DIETOX["Pig"]).fit()
    assert list(result.params.index) == ["Intercept", "Time", "Group Var"]
    np.testing.assert_allclose(result.fe_params, [15.723523, 6.942505], rtol=1e-6)
    their = quietly(lambda: smf.mixedlm("Weight ~ Time", DIETOX, groups=DIETOX["Pig"]).fit())
    np.testing.assert_allclose(result.params, their.params, rtol=1e-4)
    np.testing.assert_allclose(result.bse, their.bse, rtol=1e-4)
