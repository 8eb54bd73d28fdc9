"""Tests of terms and marginal means: what does not depend on coding, what is averaged, families, what cannot be estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, studentized_range, t

import mmframe as mm
from mmframe.errors import SpecError, UnknownNameError
from mmframe.results.emmeans import contrasts, read_specs
from mmframe.results.multiplicity import adjusted


def made(seed: int = 1, missing: bool = False) -> pd.DataFrame:
    """Two factors and a covariate, unbalanced, in 12 groups; missing: one cell is empty."""
    rng = np.random.default_rng(seed)
    n = 150
    data = pd.DataFrame({
        "a": rng.choice(list("pqr"), n, p=[0.5, 0.3, 0.2]), "b": rng.choice(["u", "v"], n), "x": rng.normal(3, 2, n),
        "g": rng.integers(0, 12, n),
    })  # fmt: skip
    data["y"] = data["x"] + (data["a"] == "q") * 2 + rng.normal(size=12)[data["g"]] + rng.normal(size=n)
    return data[~((data["a"] == "r") & (data["b"] == "v"))].reset_index(drop=True) if missing else data


def fitted(right: str, data: pd.DataFrame) -> mm.FitResult:
    return mm.fit(f"y ~ {right} + (1 | g)", data)


@pytest.mark.parametrize("type", [1, 2, 3])
def test_no_type_depends_on_the_coding(type: int) -> None:
    data = made()
    one, two = fitted("a * b * x", data), fitted("C(a, contr.sum) * C(b, contr.helmert) * x", data)
    columns = ["num_df", "statistic"]
    np.testing.assert_allclose(one.anova(type)[columns], two.anova(type)[columns], rtol=1e-6)
    kenward = [fit.anova(type, df="kenward_roger") for fit in (one, two)]
    np.testing.assert_allclose(kenward[0], kenward[1], rtol=1e-5)


def test_type_three_of_sum_coding_is_its_coefficients() -> None:
    """With all cells filled the hypothesis is that the term's coefficients in sum coding are zero."""
    fit = fitted("C(a, contr.sum) * C(b, contr.sum)", made())
    names = list(fit.fixed_effects.index)
    table = fit.anova()
    for term in table.index:
        rows = [j for j, name in enumerate(names) if name.count("[S.") == term.count("C(") and all(
            part.split("[")[0] in term for part in name.split(":"))]  # fmt: skip
        L = np.eye(len(names))[rows]
        joint = fit.contrast(L, joint=True).iloc[0]
        assert table.loc[term, "statistic"] == pytest.approx(joint["statistic"], rel=1e-8)
        assert table.loc[term, "num_df"] == len(rows)


def test_type_one_is_sequential_and_type_two_marginal() -> None:
    """The last term of type I, and every main effect of type II, is the joint test of its coefficients without the interaction."""
    data = made()
    fit = fitted("a + x + b", data)
    names = list(fit.fixed_effects.index)
    last = fit.contrast(np.eye(len(names))[[names.index("b[T.v]")]], joint=True)
    np.testing.assert_allclose(fit.anova(1).loc["b"], last.iloc[0], rtol=1e-8)
    for term in ("a", "x", "b"):
        rows = [j for j, name in enumerate(names) if name.split("[")[0] == term]
        joint = fit.contrast(np.eye(len(names))[rows], joint=True).iloc[0]
        assert fit.anova(2).loc[term, "statistic"] == pytest.approx(joint["statistic"], rel=1e-8)
    np.testing.assert_allclose(fit.anova("II")["statistic"], fit.anova("III")["statistic"], rtol=1e-8)


def test_a_saved_fit_has_them(tmp_path: Path) -> None:
    fit = fitted("a * b + x", made())
    again = mm.load(fit.save(tmp_path / "fit.mmf"))
    for type in (1, 2, 3):
        pd.testing.assert_frame_equal(fit.anova(type), again.anova(type))
    pd.testing.assert_frame_equal(fit.emmeans("pairwise ~ a | b"), again.emmeans("pairwise ~ a | b"))


def test_a_mean_is_an_average_of_predictions() -> None:
    """Of population predictions at every combination of the other factors, the covariate at its mean."""
    data = made()
    fit = fitted("a * b * x", data)
    means = fit.emmeans("a")
    grid = pd.DataFrame([(a, b, data["x"].mean()) for a in "pqr" for b in "uv"], columns=["a", "b", "x"])
    predicted = fit.predict(grid, level="population").to_numpy().reshape(3, 2)
    np.testing.assert_allclose(means["estimate"], predicted.mean(axis=1), rtol=1e-10)
    share = data["b"].value_counts(normalize=True)[["u", "v"]].to_numpy()
    weighted = fit.emmeans("a", weights="proportional")
    np.testing.assert_allclose(weighted["estimate"], predicted @ share, rtol=1e-10)
    within = fit.emmeans("a | b", at={"x": 1.5})
    grid["x"] = 1.5
    by_b = fit.predict(grid, level="population").to_numpy().reshape(3, 2).T.ravel()
    np.testing.assert_allclose(within["estimate"], by_b, rtol=1e-10)
    assert within["b"].tolist() == ["u"] * 3 + ["v"] * 3 and list(within.columns[:2]) == ["b", "a"]


def test_slopes() -> None:
    """The slope of a covariate in each level is the sum of its coefficients; of a polynomial, its derivative."""
    data = made()
    fit = fitted("a * x", data)
    beta = fit.fixed_effects
    slopes = fit.emmeans("a", trend="x")["estimate"]
    expected = [beta["x"], beta["x"] + beta["a[T.q]:x"], beta["x"] + beta["a[T.r]:x"]]
    np.testing.assert_allclose(slopes, expected, rtol=1e-9)
    bent = fitted("x + I(x ** 2)", data)
    at = bent.emmeans(["x"], at={"x": [0.0, 2.0]}, trend="x")
    np.testing.assert_allclose(
        at["estimate"], bent.fixed_effects["x"] + 2 * np.array([0.0, 2.0]) * bent.fixed_effects["I(x ** 2)"], rtol=1e-9
    )
    assert at["x"].tolist() == [0.0, 2.0]


def test_what_an_empty_cell_leaves_undetermined() -> None:
    """The mean of r needs the cell (r, v), which is empty; the means of p and q do not, nor does their difference."""
    fit = fitted("a * b", made(missing=True))
    assert fit.dropped
    means = fit.emmeans("a").set_index("a")
    assert np.isnan(means.loc["r", "estimate"]) and means.loc[["p", "q"], "estimate"].notna().all()
    pairs = fit.emmeans("pairwise ~ a").set_index("contrast")
    assert pairs["estimate"].notna().tolist() == [True, False, False]
    cells = fit.emmeans("a * b")
    assert cells["estimate"].isna().tolist() == [False] * 5 + [True]
    weighted = fit.emmeans("b", weights="proportional")
    assert len(weighted) == 2


def test_named_contrasts() -> None:
    """Orthogonal polynomials: Fisher & Yates's tables (6 levels). The others by their definition."""
    names, C = contrasts("poly", list("abcdef"))
    assert names[:3] == ["linear", "quadratic", "cubic"]
    np.testing.assert_array_equal(C[0], [-5, -3, -1, 1, 3, 5])
    np.testing.assert_array_equal(C[1], [5, -1, -4, -4, -1, 5])
    np.testing.assert_array_equal(C[2], [-5, 7, 4, -4, -7, 5])
    np.testing.assert_allclose(C @ C.T - np.diag(np.diag(C @ C.T)), 0, atol=1e-12)
    assert contrasts("trt.vs.ctrl", "abc")[0] == ["b - a", "c - a"]
    assert contrasts("revpairwise", "abc")[0] == ["b - a", "c - a", "c - b"]
    assert contrasts("consec", "abc")[0] == ["b - a", "c - b"]
    np.testing.assert_allclose(contrasts("eff", "abc")[1].sum(axis=1), 0, atol=1e-15)
    assert read_specs("pairwise ~ a * b | c") == (["a", "b"], ["c"], "pairwise")


# families of tests


def test_mvt_is_the_studentized_range_of_all_pairs() -> None:
    """With equal errors the largest of all pairwise t variables is Tukey's range over the root of 2."""
    _, C = contrasts("pairwise", "abcde")
    statistic, df = np.linspace(0.5, 8.0, 10), np.full(10, 17.3)
    p, half = adjusted(statistic, df, C @ C.T / 2, means=5, adjust="mvt", confidence=0.95)
    exact, wide = adjusted(statistic, df, C @ C.T / 2, means=5, adjust="tukey", confidence=0.95)
    np.testing.assert_allclose(p[:-2], exact[:-2], rtol=2e-3)
    np.testing.assert_allclose(half, wide, rtol=5e-4)
    assert half[0] == pytest.approx(studentized_range.ppf(0.95, 5, 17.3) / np.sqrt(2), rel=5e-4)


def test_mvt_of_correlated_normals() -> None:
    correlation = np.array([[1.0, 0.6, -0.2], [0.6, 1.0, 0.3], [-0.2, 0.3, 1.0]])
    p, _ = adjusted(np.full(3, 2.1), np.full(3, np.inf), correlation, means=3, adjust="mvt", confidence=0.9)
    box = multivariate_normal(cov=correlation).cdf(np.full(3, 2.1), lower_limit=np.full(3, -2.1), rng=0)
    np.testing.assert_allclose(p, 1 - box, rtol=1e-3)


def test_the_other_adjustments() -> None:
    statistic, df = np.array([3.0, -2.2, 1.0]), np.full(3, 12.0)
    single = 2 * t.sf(np.abs(statistic), 12)
    how = {"correlation": np.eye(3), "means": 3, "confidence": 0.95}
    np.testing.assert_allclose(adjusted(statistic, df, adjust="bonferroni", **how)[0], np.minimum(3 * single, 1))  # type: ignore[arg-type]
    np.testing.assert_allclose(adjusted(statistic, df, adjust="sidak", **how)[0], 1 - (1 - single) ** 3)  # type: ignore[arg-type]
    holm = adjusted(statistic, df, adjust="holm", **how)[0]  # type: ignore[arg-type]
    np.testing.assert_allclose(holm, [3 * single[0], 2 * single[1], single[2]])
    # of independent variables the largest is Sidak's but for the denominator that they share
    assert adjusted(statistic, df, adjust="mvt", **how)[0][0] < 3 * single[0]  # type: ignore[arg-type]


def test_a_family_is_within_a_level_of_by() -> None:
    fit = fitted("a * b", made())
    both = fit.emmeans("pairwise ~ a | b")
    assert both["contrast"].tolist() == ["p - q", "p - r", "q - r"] * 2
    alone = fit.emmeans("pairwise ~ a", at={"b": "u"})
    np.testing.assert_allclose(both["p_value"].iloc[:3], alone["p_value"], rtol=1e-8)
    plain = fit.emmeans("pairwise ~ a | b", adjust="none")
    assert (both["p_value"] >= plain["p_value"]).all() and (both["upper"] > plain["upper"]).all()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"specs": "z"}, ["there is no factor of the reference grid 'z'", "a, b"]),
        ({"specs": "a", "at": {"z": 1}}, ["there is no column of the fixed effects 'z'"]),
        ({"specs": "a", "at": {"x": "low"}}, ["emmeans: at['x']", "a number"]),
        ({"specs": "a", "at": {"b": "w"}}, ["'w'", "levels among ['u', 'v']"]),
        ({"specs": "a", "trend": "b"}, ["there is no numeric column", "'b'"]),
        ({"specs": "a", "contrast": "all"}, ["'all'", "'pairwise'"]),
        ({"specs": "a", "contrast": [[1, -1]]}, ["2 coefficients", "3 coefficients each, for p, q, r"]),
        ({"specs": "a", "contrast": "eff", "adjust": "tukey"}, ["'tukey'", "'mvt'"]),
        ({"specs": "a", "adjust": "fdr"}, ["'fdr'", "'holm'"]),
        ({"specs": "a", "weights": "cells"}, ["'cells'", "'proportional'"]),
        ({"specs": " | b"}, ["emmeans: specs"]),
        ({"specs": "a", "by": "a", "contrast": "pairwise"}, ["no factor is left beside by=['a']"]),
        ({"specs": "a", "contrast": {"q": "z"}}, ["{'q': 'z'}", "a matrix of numbers"]),
        ({"specs": "a", "contrast": ["p", "q"]}, ["['p', 'q']"]),
    ],
)
def test_errors(how: dict[str, object], words: list[str]) -> None:
    fit = fitted("a * b + x", made())
    with pytest.raises((SpecError, UnknownNameError)) as caught:
        fit.emmeans(**how)  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


CATEGORIES: dict[str, Any] = {
    "whole numbers": pd.Categorical([1, 2, 3]),
    "numbers": pd.Categorical([0.5, 1.0, 1.5]),
    "booleans": pd.Categorical([False, True, True]),
    "dates": pd.Categorical(pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"])),
    "intervals": pd.cut(pd.Series([1.0, 2.0, 3.0]), 3).array,
    "an unused level": pd.Categorical(["u", "v", "w"], categories=["w", "v", "u", "none"]),
    "nullable booleans": pd.array([True, False, True], dtype="boolean"),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_levels_of_any_kind(name: str, tmp_path: Path) -> None:
    """Means of a factor, and of another beside it, are averages of predictions for its levels."""
    data = made()
    values = CATEGORIES[name]
    which = np.array(["pqr".index(v) for v in data["a"]])
    data["k"] = values.take(which)
    fit = mm.fit("y ~ k + b + (1 | g)", data)
    means = fit.emmeans("k")
    assert means["estimate"].notna().all() and len(means) == len(set(values))
    other = fit.emmeans("b")
    predicted = [
        fit.predict(data[data["k"] == level].head(1).assign(b=b), level="population").iloc[0]
        for b in "uv"
        for level in means["k"]
    ]
    np.testing.assert_allclose(other["estimate"], np.reshape(predicted, (2, -1)).mean(axis=1), rtol=1e-10)
    assert (fit.anova()["num_df"] == [len(means) - 1, 1]).all()


def test_a_term_that_adds_nothing_has_no_test() -> None:
    data = made().assign(twice=lambda d: 2 * d["x"])
    fit = fitted("x + twice + b", data)
    for type in (1, 2, 3):
        table = fit.anova(type)
        assert table.loc["twice", "num_df"] == 0 and np.isnan(table.loc["twice", "p_value"])
        assert table.loc[["x", "b"], "p_value"].notna().all()


def test_what_is_said_twice_counts_once() -> None:
    fit = fitted("a * x + b", made())
    assert len(fit.emmeans("a", at={"a": ["p", "p"]})) == 1
    assert list(fit.emmeans("a * a").columns[:2]) == ["a", "estimate"]
    assert len(fit.emmeans("a", at={"x": pd.Index([1, 1, 2])}, by="x")) == 6
    assert len(fit.emmeans("a, b")) == 6
    grand = fit.emmeans("~ 1")
    assert len(grand) == 1
    assert grand["estimate"].iloc[0] == pytest.approx(fit.emmeans("a")["estimate"].mean())


def test_a_factor_with_the_name_of_a_column() -> None:
    data = made().rename(columns={"a": "contrast", "b": "estimate"})
    fit = mm.fit("y ~ contrast + estimate + (1 | g)", data)
    assert len(fit.emmeans("contrast")) == 3
    for how in ({"specs": "estimate"}, {"specs": "pairwise ~ contrast"}):
        with pytest.raises(SpecError, match="as a column of the table · allowed: other names · rename it"):
            fit.emmeans(**how)


def test_tukey_of_many_means_is_interpolated() -> None:
    """The quantile at many degrees of freedom, by a few of them."""
    df = np.linspace(8.3, 60.0, 20)
    _, half = adjusted(np.full(20, 2.0), df, np.eye(20), means=6, adjust="tukey", confidence=0.95)
    some = [0, 7, 13, 19]
    exact = studentized_range.ppf(0.95, 6, df[some]) / np.sqrt(2)
    np.testing.assert_allclose(half[some], exact, rtol=1e-7)


def test_an_unknown_type() -> None:
    with pytest.raises(SpecError, match="anova: type: 4"):
        fitted("a", made()).anova(4)
    with pytest.raises(SpecError, match="anova: type"):
        fitted("a", made()).anova([3])  # type: ignore[arg-type]


def test_a_model_of_an_intercept_has_no_terms() -> None:
    table = fitted("1", made()).anova()
    assert table.empty and list(table.columns) == ["num_df", "den_df", "statistic", "p_value"]
