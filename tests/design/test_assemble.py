"""The design follows the data, not their order, their labels, their container or their index."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from attrs import frozen

import mmframe as mm
from mmframe.api import POSITION, CovarianceStructure, Interval, Param, Phi, Points, Positive, lags

DATA = Path(__file__).resolve().parents[1] / "reference" / "data"
FORMULA = "Reaction ~ Days + (Days | Subject)"
# lme4 1.1-31, as in the reference case sleepstudy_rs_reml
REML_LOGLIK = -871.814136


@pytest.fixture(scope="module")
def sleepstudy() -> pd.DataFrame:
    return mm.datasets.load("sleepstudy")


@pytest.fixture(scope="module")
def plain(sleepstudy: pd.DataFrame) -> mm.FitResult:
    return mm.fit(FORMULA, sleepstudy)


def test_the_plain_fit_is_the_published_one(plain: mm.FitResult) -> None:
    assert plain.loglike == pytest.approx(REML_LOGLIK, abs=5e-6)


# labels of groups

LABELS: dict[str, Callable[[int], Any]] = {
    "ints": lambda s: s,
    "negative ints": lambda s: -s,
    "large ints": lambda s: s * 10**15,
    "floats": lambda s: s + 0.5,
    "text": str,
    "text with odd characters": lambda s: f"a/b:c | {s}`'\"",
    "unicode": lambda s: f"č{s}–é",
    "tuples": lambda s: (s % 3, str(s)),
    "frozensets": lambda s: frozenset({s, -s}),
    "bytes": lambda s: str(s).encode(),
    "dates": lambda s: datetime.date(2020, 1, 1) + datetime.timedelta(days=s),
    "datetimes": lambda s: datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=s),
    "timestamps": lambda s: pd.Timestamp("2020-01-01") + pd.Timedelta(hours=s),
    "timestamps in a zone": lambda s: pd.Timestamp("2020-01-01", tz="Europe/Prague") + pd.Timedelta(hours=s),
    "timedeltas": lambda s: pd.Timedelta(hours=s),
    "periods": lambda s: pd.Period("2020-01", freq="M") + s,
    "intervals": lambda s: pd.Interval(s, s + 1),
    "mixed types": lambda s: s if s % 2 else str(s),
    "ints and floats and text": lambda s: (s, float(s) + 0.25, f"{s}")[s % 3],
    "tuples and text": lambda s: (s, s) if s % 2 else str(s),
}


AS_OBJECTS = ("tuples", "frozensets", "bytes", "dates", "mixed types", "ints and floats and text", "tuples and text")


@pytest.mark.parametrize("order", ["sorted", "shuffled", "interleaved", "reversed"])
@pytest.mark.parametrize("kind", LABELS)
def test_groups_of_any_hashable_label(kind: str, order: str, sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    make = LABELS[kind]
    labels = [make(int(s)) for s in sleepstudy["Subject"]]
    column = pd.Series(np.empty(len(labels), dtype=object), index=sleepstudy.index)
    for k, label in enumerate(labels):
        column.iat[k] = label
    natural = kind in (
        "ints",
        "negative ints",
        "large ints",
        "floats",
        "text",
        "timestamps",
        "timedeltas",
        "datetimes",
        "periods",
        "intervals",
    )
    data = sleepstudy.assign(who=column.infer_objects() if natural else column)
    rows = {
        "sorted": np.arange(180),
        "shuffled": np.random.default_rng(1).permutation(180),
        "interleaved": np.arange(180).reshape(18, 10).T.ravel(),
        "reversed": np.arange(180)[::-1],
    }[order]
    fit = mm.fit("Reaction ~ Days + (Days | who)", data.iloc[rows])
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    assert len(fit.random_effects["who"]) == 18
    table, expected = fit.random_effects["who"], plain.random_effects["Subject"]
    places = {label: k for k, label in enumerate(table.index.tolist())}
    for subject in (308, 335, 372):
        np.testing.assert_allclose(table.iloc[places[make(subject)]], expected.loc[subject], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["category", "string", "Int64", "int8", "uint64", "float32", "bool", "object", "str"])
def test_groups_of_any_dtype(dtype: str, sleepstudy: pd.DataFrame) -> None:
    codes = sleepstudy["Subject"].rank(method="dense").astype(int) - 1
    codes = codes % 2 if dtype == "bool" else codes
    expected = mm.fit("Reaction ~ Days + (1 | who)", sleepstudy.assign(who=codes))
    for rows in (np.arange(180), np.random.default_rng(2).permutation(180)):
        fit = mm.fit("Reaction ~ Days + (1 | who)", sleepstudy.assign(who=codes.astype(dtype)).iloc[rows])
        assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)


def test_unused_categories_are_no_levels(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    kept = pd.Categorical(sleepstudy["Subject"], categories=[*range(300, 400)])
    fit = mm.fit(FORMULA, sleepstudy.assign(Subject=kept))
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    assert list(fit.random_effects["Subject"].index) == list(plain.random_effects["Subject"].index)


def test_categories_keep_their_order(sleepstudy: pd.DataFrame) -> None:
    order = sorted(sleepstudy["Subject"].unique(), reverse=True)
    fit = mm.fit(FORMULA, sleepstudy.assign(Subject=pd.Categorical(sleepstudy["Subject"], categories=order)))
    assert list(fit.random_effects["Subject"].index) == order


def test_interactions_of_groups_of_any_type() -> None:
    """A batch and a cask as text, as numbers, in either order and in any row order: one model (Pastes of lme4)."""
    pastes = pd.read_csv(DATA / "pastes.csv")
    expected = mm.fit("strength ~ 1 + (1 | sample)", pastes)
    numbers = pastes.assign(batch=pastes["batch"].rank(method="dense"), when=pd.to_datetime("2020-01-01"))
    for data in (pastes, pastes.iloc[::-1], pastes.sample(frac=1, random_state=3), numbers):
        for text in ("batch:cask", "cask:batch"):
            fit = mm.fit(f"strength ~ 1 + (1 | {text})", data)
            assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)
            assert fit.random_effects[text].index.names == text.split(":")
            assert len(fit.random_effects[text]) == 30
    assert list(mm.fit("strength ~ 1 + (1 | batch:cask)", pastes).random_effects["batch:cask"].index[0]) == ["A", "a"]


# rows


def test_shuffled_rows(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    shuffled = sleepstudy.sample(frac=1, random_state=5)
    fit = mm.fit(FORMULA, shuffled)
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    pd.testing.assert_frame_equal(fit.random_effects["Subject"], plain.random_effects["Subject"], rtol=1e-6)
    pd.testing.assert_series_equal(fit.fitted.sort_index(), plain.fitted, rtol=1e-8)
    pd.testing.assert_series_equal(fit.residuals().sort_index(), plain.residuals(), rtol=1e-6)
    assert list(fit.fitted.index) == list(shuffled.index)


@pytest.mark.parametrize(
    "index",
    [
        np.arange(180) * 7 + 3,
        [f"row {k}" for k in range(180)],
        pd.date_range("2020-01-01", periods=180),
        pd.MultiIndex.from_product([range(18), range(10)], names=["a", "b"]),
        np.zeros(180, dtype=int),
        np.arange(180)[::-1],
    ],
    ids=["numbers", "text", "dates", "two levels", "all the same", "descending"],
)
def test_the_index_is_kept(index: Any, sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    data = sleepstudy.set_axis(pd.Index(index) if not isinstance(index, pd.MultiIndex) else index)
    fit = mm.fit(FORMULA, data)
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    for series in (fit.fitted, fit.residuals(), fit.predict(), fit.predict(level="population"), fit.predict(data)):
        assert series.index.equals(data.index)
    np.testing.assert_allclose(fit.predict(data), fit.fitted, rtol=1e-10)
    assert fit.augment().index.equals(data.index)


def test_an_array_beside_an_index_that_repeats(sleepstudy: pd.DataFrame) -> None:
    """Arrays go by position: labels of rows that repeat do not multiply them."""
    weights = np.linspace(0.5, 2.0, 180)
    expected = mm.fit(FORMULA, sleepstudy.assign(w=weights), weights="w")
    fit = mm.fit(FORMULA, sleepstudy.set_axis(np.zeros(180, dtype=int)), weights=weights)
    assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)


# missing values


@pytest.fixture(scope="module")
def full(sleepstudy: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    return sleepstudy.assign(
        w=rng.uniform(0.5, 2.0, 180),
        o=rng.normal(size=180),
        z=rng.normal(size=180),
        kind=np.where(sleepstudy["Days"] % 2, "a", "b"),
    )


WIDE = "Reaction ~ Days + kind + (0 + z | Subject)"


@pytest.mark.parametrize("column", ["Reaction", "Days", "kind", "z", "Subject", "w", "o"])
def test_a_row_goes_wherever_its_hole_is(column: str, full: pd.DataFrame) -> None:
    holes = [0, 17, 99, 100, 179]
    data = full.astype({"Subject": object, "Days": float})
    data.loc[holes, column] = None
    fit = mm.fit(WIDE, data, weights="w", offset="o")
    expected = mm.fit(WIDE, full.drop(index=holes), weights="w", offset="o")
    assert fit.nobs == 175
    assert fit.estimates.n_missing == 5
    assert "5 more dropped" in fit.summary()
    assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)
    assert list(fit.fitted.index) == [k for k in range(180) if k not in holes]
    np.testing.assert_allclose(fit.fitted, expected.fitted, rtol=1e-8)


def test_holes_in_several_columns_count_once(full: pd.DataFrame) -> None:
    data = full.astype({"Days": float})
    data.loc[[1, 2], "Reaction"] = np.nan
    data.loc[[2, 3], "Days"] = np.nan
    data.loc[[3, 4], "w"] = np.nan
    data.loc[[50], "unused"] = np.nan
    fit = mm.fit(WIDE, data, weights="w", offset="o")
    assert fit.estimates.n_missing == 4
    assert fit.nobs == 176


@pytest.mark.parametrize("hole", [None, np.nan, pd.NA, pd.NaT])
def test_every_kind_of_hole_in_text(hole: Any, full: pd.DataFrame) -> None:
    kind = full["kind"].astype(object)
    kind[[3, 4]] = hole
    assert mm.fit(WIDE, full.assign(kind=kind)).nobs == 178


def test_holes_in_arrays(full: pd.DataFrame) -> None:
    weights, offset = full["w"].to_numpy(copy=True), full["o"].to_numpy(copy=True)
    weights[3], offset[4] = np.nan, np.nan
    expected = mm.fit(WIDE, full.drop(index=[3, 4]), weights="w", offset="o")
    fit = mm.fit(WIDE, full, weights=weights, offset=offset)
    assert fit.estimates.n_missing == 2
    assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)


def test_nullable_dtypes_with_holes(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.astype({"Reaction": "Float64", "Days": "Int64", "Subject": "Int64"})
    data.loc[3, "Days"] = pd.NA
    data.loc[4, "Reaction"] = pd.NA
    data.loc[5, "Subject"] = pd.NA
    fit = mm.fit(FORMULA, data)
    assert fit.loglike == pytest.approx(mm.fit(FORMULA, sleepstudy.drop(index=[3, 4, 5])).loglike, abs=1e-10)
    assert fit.estimates.n_missing == 3


def test_missing_raise(full: pd.DataFrame) -> None:
    data = full.copy()
    data.loc[[3, 4], "kind"] = None
    data.loc[4, "z"] = np.nan
    with pytest.raises(mm.DataError, match=r"2 of 180 rows have missing values: kind \(2\), z \(1\)"):
        mm.fit(WIDE, data, missing="raise")
    assert mm.fit(WIDE, full, missing="raise").nobs == 180


def test_a_level_that_only_missing_rows_have(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.copy()
    data.loc[data["Subject"] == 308, "Reaction"] = np.nan
    fit = mm.fit(FORMULA, data)
    assert 308 not in fit.random_effects["Subject"].index
    assert len(fit.random_effects["Subject"]) == 17
    extra = sleepstudy.assign(kind=pd.Categorical(["a", "b", "c"] * 60, categories=["a", "b", "c", "d"]))
    extra.loc[extra["kind"] == "c", "Reaction"] = np.nan
    left = mm.fit("Reaction ~ kind + (1 | Subject)", extra)
    right = mm.fit("Reaction ~ kind + (1 | Subject)", extra.dropna().assign(kind=lambda d: d["kind"].astype(str)))
    assert left.loglike == pytest.approx(right.loglike, abs=1e-8)


# rank


def test_dependent_columns_are_named_and_left_out(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    data = sleepstudy.assign(hours=24.0 * sleepstudy["Days"], both=sleepstudy["Days"] + 1.0, zero=0.0)
    fit = mm.fit("Reaction ~ Days + hours + both + zero + (Days | Subject)", data)
    assert fit.dropped == ("hours", "both", "zero")
    assert list(fit.fixed_effects.index) == ["Intercept", "Days"]
    assert "hours, both, zero" in fit.summary()
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    np.testing.assert_allclose(fit.predict(data), plain.fitted, rtol=1e-8)


def test_the_first_of_dependent_columns_stays(sleepstudy: pd.DataFrame) -> None:
    data = sleepstudy.assign(hours=24.0 * sleepstudy["Days"])
    assert mm.fit("Reaction ~ hours + Days + (1 | Subject)", data).dropped == ("Days",)
    assert mm.fit("Reaction ~ Days + hours + (1 | Subject)", data).dropped == ("hours",)


def test_an_empty_cell_of_two_factors(full: pd.DataFrame) -> None:
    data = full.assign(late=np.where(full["Days"] > 4, "late", "early"))
    data = data[~((data["kind"] == "a") & (data["late"] == "late"))]
    fit = mm.fit("Reaction ~ kind * late + (1 | Subject)", data)
    assert len(fit.dropped) == 1
    assert len(fit.fixed_effects) == 3


def test_nearly_dependent_columns_stay(sleepstudy: pd.DataFrame) -> None:
    wiggle = np.random.default_rng(1).normal(size=180)
    fit = mm.fit("Reaction ~ Days + near + (1 | Subject)", sleepstudy.assign(near=sleepstudy["Days"] + 1e-4 * wiggle))
    assert fit.dropped == ()
    exact = mm.fit("Reaction ~ Days + wiggle + (1 | Subject)", sleepstudy.assign(wiggle=wiggle), reml=False)
    ml = mm.fit(
        "Reaction ~ Days + near + (1 | Subject)", sleepstudy.assign(near=sleepstudy["Days"] + 1e-4 * wiggle), reml=False
    )
    assert ml.loglike == pytest.approx(exact.loglike, abs=1e-6)


# weights and offset


def test_weights_and_offset_as_column_and_as_array(full: pd.DataFrame) -> None:
    by_name = mm.fit(FORMULA, full, weights="w", offset="o")
    kinds: list[Callable[[pd.Series], Any]] = [
        lambda s: s.to_numpy(),
        list,
        lambda s: s,
        tuple,
        lambda s: pl.Series(s.to_numpy()),
    ]
    for kind in kinds:
        by_array = mm.fit(FORMULA, full, weights=kind(full["w"]), offset=kind(full["o"]))
        assert by_array.loglike == pytest.approx(by_name.loglike, abs=1e-10)
        np.testing.assert_allclose(by_array.fitted, by_name.fitted, rtol=1e-10)


def test_an_offset_is_taken_from_the_response(full: pd.DataFrame) -> None:
    with_offset = mm.fit(FORMULA, full, offset="o")
    moved = mm.fit(FORMULA, full.assign(Reaction=full["Reaction"] - full["o"]))
    assert with_offset.loglike == pytest.approx(moved.loglike, abs=1e-10)
    np.testing.assert_allclose(with_offset.fitted, moved.fitted + full["o"], rtol=1e-10)
    np.testing.assert_allclose(with_offset.fitted + with_offset.residuals(), full["Reaction"], rtol=1e-12)
    np.testing.assert_allclose(with_offset.predict(full), with_offset.fitted, rtol=1e-10)


def test_the_scale_of_weights_is_in_sigma(full: pd.DataFrame) -> None:
    """Var(ε) = σ²/w: weights times c leave the likelihood alone and make σ² c times as large."""
    once, four = mm.fit(FORMULA, full, weights="w"), mm.fit(FORMULA, full.assign(w=4 * full["w"]), weights="w")
    assert four.loglike == pytest.approx(once.loglike, abs=1e-8)
    assert four.sigma == pytest.approx(2 * once.sigma, rel=1e-6)


def test_integer_weights_and_ones(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    assert mm.fit(FORMULA, sleepstudy.assign(w=1), weights="w").loglike == pytest.approx(plain.loglike, abs=1e-10)
    assert mm.fit(FORMULA, sleepstudy, weights=[1] * 180, offset=[0] * 180).loglike == pytest.approx(
        plain.loglike, abs=1e-10
    )


# containers


def test_every_container(sleepstudy: pd.DataFrame, plain: mm.FitResult, tmp_path: Path) -> None:
    sleepstudy.to_csv(tmp_path / "d.csv", index=False)
    sleepstudy.to_csv(tmp_path / "d.csv.gz", index=False)
    sleepstudy.to_parquet(tmp_path / "d.parquet")
    tables: list[Any] = [
        pl.from_pandas(sleepstudy),
        pa.Table.from_pandas(sleepstudy),
        {name: sleepstudy[name].to_numpy() for name in sleepstudy},
        {name: sleepstudy[name].tolist() for name in sleepstudy},
        {name: sleepstudy[name] for name in sleepstudy},
        tmp_path / "d.csv",
        str(tmp_path / "d.csv"),
        tmp_path / "d.csv.gz",
        tmp_path / "d.parquet",
        sleepstudy.assign(unused=[[k] for k in range(180)]),
        sleepstudy.convert_dtypes(),
        sleepstudy.convert_dtypes(dtype_backend="pyarrow"),
    ]
    for table in tables:
        fit = mm.fit(FORMULA, table)
        assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
        np.testing.assert_allclose(fit.predict(table), plain.fitted, rtol=1e-8)


def test_text_and_categories_of_every_container() -> None:
    dietox = mm.datasets.load("dietox")
    formula = "Weight ~ Time + Cu + (1 | Pig)"
    expected = mm.fit(formula, dietox)
    polars = pl.from_pandas(dietox)
    for table in (polars, polars.with_columns(pl.col("Cu").cast(pl.Categorical)), pa.Table.from_pandas(dietox)):
        fit = mm.fit(formula, table)
        assert list(fit.fixed_effects.index) == list(expected.fixed_effects.index)
        assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)


def test_holes_of_polars_and_pyarrow(sleepstudy: pd.DataFrame) -> None:
    expected = mm.fit(FORMULA, sleepstudy.drop(index=[3, 4]))
    polars = pl.from_pandas(sleepstudy).with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise(pl.col("Days")).alias("Days"),
        pl.when(pl.int_range(pl.len()) == 4).then(None).otherwise(pl.col("Subject")).alias("Subject"),
    )
    for table in (polars, polars.to_arrow()):
        fit = mm.fit(FORMULA, table)
        assert fit.estimates.n_missing == 2
        assert fit.loglike == pytest.approx(expected.loglike, abs=1e-10)


def test_the_data_are_not_changed(full: pd.DataFrame) -> None:
    before = full.copy(deep=True)
    mm.fit(WIDE, full, weights="w", offset="o", categorical={"kind": ["b", "a"], "Subject": None})
    pd.testing.assert_frame_equal(full, before)


def test_duplicate_column_names(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    twice = pd.concat([sleepstudy, sleepstudy[["Days"]]], axis=1)
    with pytest.raises(mm.DataError, match="'Days' stands 2 times"):
        mm.fit(FORMULA, twice)
    unused = pd.concat([sleepstudy.assign(a=1), pd.DataFrame({"a": np.arange(180)})], axis=1)
    assert mm.fit(FORMULA, unused).loglike == pytest.approx(plain.loglike, abs=1e-10)


def test_columns_without_text_names(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    fit = mm.fit(FORMULA, sleepstudy.assign(**{"x": 1}).rename(columns={"x": 5}))
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)


# categories


def test_categorical_sets_the_order(full: pd.DataFrame) -> None:
    formula = "Reaction ~ kind + (1 | Subject)"
    assert list(mm.fit(formula, full).fixed_effects.index) == ["Intercept", "kind[T.b]"]
    assert list(mm.fit(formula, full, categorical={"kind": ["b", "a"]}).fixed_effects.index) == [
        "Intercept",
        "kind[T.a]",
    ]
    # as they come: the first row has day 0, which is "b"
    assert list(mm.fit(formula, full, categorical={"kind": None}).fixed_effects.index) == ["Intercept", "kind[T.a]"]


def test_categorical_makes_a_factor_of_numbers(sleepstudy: pd.DataFrame) -> None:
    by_call = mm.fit("Reaction ~ C(Days) + (1 | Subject)", sleepstudy)
    for levels in (list(range(10)), [str(k) for k in range(10)], None):
        fit = mm.fit("Reaction ~ Days + (1 | Subject)", sleepstudy, categorical={"Days": levels})
        assert fit.loglike == pytest.approx(by_call.loglike, abs=1e-10)
        np.testing.assert_allclose(fit.fixed_effects, by_call.fixed_effects, rtol=1e-8)
    turned = mm.fit("Reaction ~ Days + (1 | Subject)", sleepstudy, categorical={"Days": list(range(9, -1, -1))})
    assert turned.fixed_effects.index[1] == "Days[T.8]"
    assert turned.loglike == pytest.approx(by_call.loglike, abs=1e-8)


def test_categorical_orders_the_levels_of_a_group(sleepstudy: pd.DataFrame, plain: mm.FitResult) -> None:
    order = sorted(sleepstudy["Subject"].unique(), reverse=True)
    fit = mm.fit(FORMULA, sleepstudy, categorical={"Subject": order})
    assert list(fit.random_effects["Subject"].index) == order
    assert fit.loglike == pytest.approx(plain.loglike, abs=1e-10)
    assert mm.fit(FORMULA, sleepstudy, categorical={"Subject": None}).loglike == pytest.approx(plain.loglike, abs=1e-10)


def test_categorical_levels_that_are_not_all(full: pd.DataFrame) -> None:
    with pytest.raises(mm.DataError, match="'b', which is not among the levels"):
        mm.fit("Reaction ~ kind + (1 | Subject)", full, categorical={"kind": ["a"]})
    fit = mm.fit("Reaction ~ kind + (1 | Subject)", full, categorical={"kind": ["a", "b", "c"]})
    assert "kind[T.c]" not in fit.fixed_effects.index  # no row has it


def test_categorical_is_remembered_for_new_data(sleepstudy: pd.DataFrame) -> None:
    fit = mm.fit("Reaction ~ Days + (1 | Subject)", sleepstudy, categorical={"Days": None})
    np.testing.assert_allclose(fit.predict(sleepstudy.iloc[[25, 3]]), fit.fitted.iloc[[25, 3]], rtol=1e-10)
    np.testing.assert_allclose(fit.predict(sleepstudy.iloc[[25]].astype(str)), fit.fitted.iloc[[25]], rtol=1e-10)


# points


@frozen
class DampedExponential(CovarianceStructure):
    """Σ_ij = variance · rho^(|i−j|^power); Muñoz et al. (1992), Biometrics 48."""

    name = "damped_exponential"
    index_kind = POSITION
    power: float = 1.0

    def params(self, points: Points) -> tuple[Param, ...]:
        return Param("variance", Positive(), scale_power=2), Param("rho", Interval(0, 1))

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * phi.rho ** (lags(index) ** self.power)


@pytest.fixture(scope="module")
def visits() -> pd.DataFrame:
    """Each subject at four days, three times a day's reaction with known noise, so that the residual is separate."""
    data = mm.datasets.load("sleepstudy")
    data = data[data["Days"].isin([0, 1, 3, 7])]
    rng = np.random.default_rng(4)
    parts = [data.assign(Reaction=data["Reaction"] + rng.normal(0, 5, len(data))) for _ in range(3)]
    return pd.concat(parts, ignore_index=True).assign(visit=lambda d: d["Days"])


def _points_fit(data: Any, basis: str = "0 + visit") -> mm.FitResult:
    builder = mm.ModelBuilder().fixed("Reaction ~ Days").random(f"{basis} | Subject", structure=DampedExponential())
    return builder.build(data).fit()


def test_positions_are_points_not_a_slope(visits: pd.DataFrame) -> None:
    fit = _points_fit(visits)
    G = fit.covariance("Subject").to_numpy()
    assert G.shape == (4, 4)
    assert list(fit.covariance("Subject").columns) == ["visit0", "visit1", "visit3", "visit7"]
    rho = float(fit.parameters.set_index("name")["estimate"]["Subject.rho"])
    at = np.array([0.0, 1.0, 3.0, 7.0])
    np.testing.assert_allclose(G, G[0, 0] * rho ** np.abs(at[:, None] - at), rtol=1e-8)


def test_positions_have_no_origin(visits: pd.DataFrame) -> None:
    expected = _points_fit(visits)
    for moved in (visits["visit"] + 100.0, visits["visit"] - 3.5, -visits["visit"]):
        assert _points_fit(visits.assign(visit=moved)).loglike == pytest.approx(expected.loglike, abs=1e-7)
    wider = _points_fit(visits.assign(visit=2.0 * visits["visit"]))
    assert wider.loglike == pytest.approx(expected.loglike, abs=1e-7)
    names = ("Subject.rho",)
    once, twice = (f.parameters.set_index("name")["estimate"][names[0]] for f in (expected, wider))
    assert twice == pytest.approx(np.sqrt(once), rel=1e-4)  # rho^lag = (sqrt rho)^(2 lag)


def test_dates_are_days(visits: pd.DataFrame) -> None:
    expected = _points_fit(visits)
    start = pd.Timestamp("2024-02-27 06:00")
    for unit in ("s", "ms", "us", "ns"):
        when = (start + pd.to_timedelta(visits["visit"], unit="D")).astype(f"datetime64[{unit}]")
        fit = _points_fit(visits.assign(visit=when))
        assert fit.loglike == pytest.approx(expected.loglike, abs=1e-7)
        assert fit.covariance("Subject").columns[1] == "visit2024-02-28 06:00:00"


def test_dates_in_a_time_zone_are_days_of_24_hours(visits: pd.DataFrame) -> None:
    expected = _points_fit(visits)
    start = pd.Timestamp("2024-06-01", tz="Europe/Prague")
    fit = _points_fit(visits.assign(visit=start + pd.to_timedelta(visits["visit"], unit="D")))
    assert fit.loglike == pytest.approx(expected.loglike, abs=1e-7)


def test_categories_are_ranks(visits: pd.DataFrame) -> None:
    names = {0: "base", 1: "early", 3: "late", 7: "end"}
    expected = _points_fit(visits.assign(visit=visits["visit"].map({0: 0, 1: 1, 3: 2, 7: 3})))
    labelled = visits["visit"].map(names)
    ordered = pd.Categorical(labelled, categories=list(names.values()))
    fit = _points_fit(visits.assign(visit=ordered))
    assert fit.loglike == pytest.approx(expected.loglike, abs=1e-7)
    assert list(fit.covariance("Subject").columns) == ["visitbase", "visitearly", "visitlate", "visitend"]
    # text has its alphabetical order, unless `categorical` gives another
    other = _points_fit(visits.assign(visit=labelled))
    assert list(other.covariance("Subject").columns) == ["visitbase", "visitearly", "visitend", "visitlate"]
    builder = mm.ModelBuilder().fixed("Reaction ~ Days").random("0 + visit | Subject", structure=DampedExponential())
    given = builder.categorical({"visit": list(names.values())}).build(visits.assign(visit=labelled)).fit()
    assert given.loglike == pytest.approx(expected.loglike, abs=1e-7)


def test_points_do_not_mind_the_order_of_rows(visits: pd.DataFrame) -> None:
    expected, fit = _points_fit(visits), _points_fit(visits.sample(frac=1, random_state=1))
    assert fit.loglike == pytest.approx(expected.loglike, abs=1e-9)
    pd.testing.assert_frame_equal(fit.random_effects["Subject"], expected.random_effects["Subject"], rtol=1e-4)


def test_a_column_in_backticks_is_a_point(visits: pd.DataFrame) -> None:
    fit = _points_fit(visits.rename(columns={"visit": "the visit"}), "0 + `the visit`")
    assert fit.loglike == pytest.approx(_points_fit(visits).loglike, abs=1e-9)


@pytest.mark.parametrize("basis", ["visit", "1 + visit", "1", "0 + visit + Days", "0 + log(visit)", "0", "0 + visit*2"])
def test_a_wrong_basis_of_points_shows_the_right_one(basis: str, visits: pd.DataFrame) -> None:
    with pytest.raises(
        mm.SpecError,
        match=r"damped_exponential needs ordered points.*write damped_exponential\(0 \+ visit \| Subject\)",
    ):
        _points_fit(visits, basis)


def test_points_that_are_missing_or_infinite(visits: pd.DataFrame) -> None:
    holes = visits.assign(visit=visits["visit"].astype(float))
    holes.loc[[0, 1], "visit"] = np.nan
    assert _points_fit(holes).estimates.n_missing == 2
    with pytest.raises(mm.DataError, match="points of visit are not all finite"):
        _points_fit(visits.assign(visit=visits["visit"].astype(float).replace(7.0, np.inf)))
    when = pd.Timestamp("2024-01-01") + pd.to_timedelta(visits["visit"], unit="D")
    when.iloc[:2] = pd.NaT
    assert _points_fit(visits.assign(visit=when)).nobs == len(visits) - 2


def test_prediction_at_points(visits: pd.DataFrame) -> None:
    fit = _points_fit(visits)
    np.testing.assert_allclose(fit.predict(visits.iloc[::7]), fit.fitted.iloc[::7], rtol=1e-10)
    with pytest.raises(mm.DataError, match="was not in the data that were fitted"):
        fit.predict(visits.iloc[:2].assign(visit=2.0))
