"""Pictures show what the fit says: the data that are drawn are those of its tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.stats import beta, norm

import mmframe as mm
from mmframe.errors import MissingPackageError, MmframeError
from mmframe.pictures.local_line import local_line
from mmframe.pictures.normal import normal_order, some_ranks
from mmframe.pictures.signed_root import crossings
from mmframe.results.result import FitResult

plt.switch_backend("Agg")
SLEEP = mm.datasets.load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def sleep() -> FitResult:
    return mm.fit(FORMULA, SLEEP, stages=["em", "lbfgs"], start={"sd(Days | Subject)": 1.0})


@pytest.fixture(scope="module")
def crossed() -> FitResult:
    """500 levels beside 6; the second factor's labels hold what matplotlib would take for mathematics."""
    rng = np.random.default_rng(7)
    rows = pd.DataFrame({"g": np.repeat(np.arange(500), 6), "price": np.tile([f"${k}_^$" for k in range(6)], 500)})
    rows["x"] = rng.normal(size=3000)
    effects = rng.normal(size=500)[rows["g"]] + np.tile(rng.normal(size=6), 500)
    return mm.fit("y ~ x + (1 | g) + (1 | price)", rows.assign(y=rows["x"] + effects + rng.normal(size=3000)))


@pytest.fixture(scope="module")
def singular() -> FitResult:
    noise = np.random.default_rng(0).normal(size=(12, 5))
    even = noise - noise.mean(axis=1, keepdims=True)
    fit = mm.fit("y ~ 1 + (1 | g)", pd.DataFrame({"y": even.ravel(), "g": np.repeat(np.arange(12), 5)}))
    assert fit.singular
    return fit


@pytest.fixture(scope="module")
def serial() -> FitResult:
    """A structured residual, and no random effects."""
    return mm.fit("Reaction ~ Days", SLEEP, residual="ar1(Days | Subject)")


@pytest.fixture(scope="module")
def plain() -> FitResult:
    """Neither random effects nor a structured residual."""
    return mm.fit("Reaction ~ Days", SLEEP)


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    found = next(x for x in ax.lines if x.get_label() == label)
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def points(ax: Axes) -> tuple[np.ndarray, np.ndarray]:
    """The only marks without a line."""
    (found,) = [x for x in ax.lines if x.get_linestyle() == "None"]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def drawn(ax: Axes) -> None:
    """Everything is rendered: what cannot be shows only then."""
    ax.figure.canvas.draw()


# residuals


@pytest.mark.parametrize("kind", ["response", "pearson", "normalized"])
@pytest.mark.parametrize("name", ["sleep", "crossed", "singular", "serial", "plain"])
def test_residuals_are_those_of_the_fit(name: str, kind: str, request: pytest.FixtureRequest) -> None:
    fit = request.getfixturevalue(name)
    ax = mm.pictures.residuals(fit, kind=kind)
    x, y = line(ax, "residuals")
    np.testing.assert_array_equal(x, fit.fitted)
    np.testing.assert_array_equal(y, fit.residuals(kind))
    drawn(ax)


def test_a_residual_is_named_with_its_unit(sleep: FitResult) -> None:
    ax = mm.pictures.residuals(sleep, kind="response", smooth=False)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("fitted Reaction", "residual Reaction")
    assert "local mean" not in [x.get_label() for x in ax.lines]
    assert mm.pictures.residuals(sleep).get_ylabel() == "Pearson residual"


def test_the_local_line_of_a_straight_line_is_that_line() -> None:
    x = np.random.default_rng(3).uniform(size=300)
    places, fitted = local_line(x, 2.0 - 3.0 * x)
    np.testing.assert_allclose(fitted, 2.0 - 3.0 * places, atol=1e-12)
    assert (places[0], places[-1]) == (x.min(), x.max()) and np.all(np.diff(places) > 0)


def test_the_local_line_where_many_points_share_a_place() -> None:
    """Their mean; no reach is zero."""
    x, y = np.repeat([0.0, 1.0, 5.0], [80, 10, 10]), np.arange(100.0)
    places, fitted = local_line(x, y)
    assert places.tolist() == [0.0, 1.0, 5.0] and np.isfinite(fitted).all()
    assert fitted[0] == pytest.approx(y[:80].mean())
    assert local_line(np.ones(3), np.array([1.0, 2.0, 6.0]))[1] == pytest.approx([3.0])


# quantiles


@pytest.mark.parametrize("name", ["sleep", "crossed", "serial", "plain"])
def test_quantiles_of_residuals(name: str, request: pytest.FixtureRequest) -> None:
    fit = request.getfixturevalue(name)
    ax = mm.pictures.quantiles(fit)
    x, y = points(ax)
    np.testing.assert_array_equal(y, np.sort(fit.residuals("normalized")))
    n = len(y)
    np.testing.assert_allclose(x, norm.ppf(beta(np.arange(1, n + 1), np.arange(n, 0, -1)).median()))
    drawn(ax)


def test_quantiles_of_random_effects(sleep: FitResult, crossed: FitResult) -> None:
    np.testing.assert_array_equal(
        points(mm.pictures.quantiles(sleep, of="Subject", column="Days"))[1],
        np.sort(sleep.random_effects["Subject"]["Days"]),
    )
    ax = mm.pictures.quantiles(crossed, of="g")
    np.testing.assert_array_equal(points(ax)[1], np.sort(crossed.random_effects["g"]["Intercept"]))
    assert ax.get_title() == "Intercept | g"


def test_the_band_holds_each_ordered_value_95_times_in_100() -> None:
    """Against simulated normals."""
    n, tries = 12, 20_000
    ranks = np.arange(1, n + 1)
    lower, upper = normal_order(n, ranks, 0.025), normal_order(n, ranks, 0.975)
    values = np.sort(np.random.default_rng(5).normal(size=(tries, n)), axis=1)
    np.testing.assert_allclose(np.mean((lower < values) & (values < upper), axis=0), 0.95, atol=0.006)


def test_the_band_is_that_of_the_values_scale(sleep: FitResult) -> None:
    ax = mm.pictures.quantiles(sleep, of="Subject")
    values = sleep.random_effects["Subject"]["Intercept"].to_numpy()
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    ends = [values.mean() + values.std() * normal_order(18, np.arange(1, 19), p) for p in (0.025, 0.975)]
    assert corners[:, 1].min() == pytest.approx(ends[0].min()) and corners[:, 1].max() == pytest.approx(ends[1].max())


def test_a_band_of_many_values_has_few_corners() -> None:
    ranks = some_ranks(100_001)
    assert len(ranks) <= 200 and np.all(np.diff(ranks) > 0)
    assert ranks[:3].tolist() == [1, 2, 3] and ranks[-1] == 100_001


# random effects


def intervals(ax: Axes) -> np.ndarray:
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return np.array([[s[0, 0], s[1, 0]] for s in lines.get_segments()])


@pytest.mark.parametrize(("group", "column"), [(None, None), ("Subject", "Days")])
def test_intervals_are_those_of_the_tables(sleep: FitResult, group: str | None, column: str | None) -> None:
    ax = mm.pictures.random_effects(sleep, group, column, confidence=0.8)
    name = column or "Intercept"
    means = sleep.random_effects["Subject"][name].sort_values()
    covariances = sleep.random_effects_cov["Subject"]
    sd = np.array([covariances[level].loc[name, name] for level in means.index]) ** 0.5
    np.testing.assert_array_equal(points(ax)[0], means)
    found = intervals(ax)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], 2 * norm.ppf(0.9) * sd)
    np.testing.assert_allclose(found.mean(axis=1), means)
    assert [t.get_text() for t in ax.get_yticklabels()] == means.index.astype(str).tolist()
    assert (ax.get_title(), ax.get_xlabel()) == (f"{name} | Subject", "effect on Reaction, with 80 % intervals")


def test_levels_in_their_own_order(sleep: FitResult) -> None:
    ax = mm.pictures.random_effects(sleep, order=False)
    np.testing.assert_array_equal(points(ax)[0], sleep.random_effects["Subject"]["Intercept"])


def test_labels_where_there_is_room(crossed: FitResult) -> None:
    many, few = mm.pictures.random_effects(crossed), mm.pictures.random_effects(crossed, "price")
    assert not len(many.get_yticks()) and many.get_ylabel() == "500 levels of g"
    assert len(few.get_yticks()) == 6 and few.get_ylabel() == "price"
    drawn(many)
    drawn(few)


def test_labels_of_an_interaction() -> None:
    pigs = mm.datasets.load("dietox")
    ax = mm.pictures.random_effects(mm.fit("Weight ~ Time + (1 | Evit:Cu)", pigs), "Cu:Evit")
    assert {t.get_text() for t in ax.get_yticklabels()} == {f"{e}:{c}" for e in pigs["Evit"] for c in pigs["Cu"]}


# the trace


def test_the_trace_above_its_end(sleep: FitResult) -> None:
    ax = mm.pictures.trace(sleep)
    table, end = sleep.trace, min(sleep.trace["value"].min(), sleep.deviance)
    assert ax.get_yscale() == "log"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["start", "em", "lbfgs"]
    for stage, rows in table.groupby("stage"):
        x, y = line(ax, str(stage))
        np.testing.assert_array_equal(x, rows["evaluations"])
        np.testing.assert_allclose(y, np.maximum(rows["value"] - end, 1e-12 * abs(end)))
    colours = [x.get_color() for x in ax.lines]
    assert len(set(colours)) == len(colours)


# profiles


def profile_table(**attrs: Any) -> pd.DataFrame:
    """Of the standard deviation of n = 20 normal values around a known mean, estimated at 2: closed forms."""
    sd = np.linspace(1.2, 4.0, 15)
    deviance = 40 * np.log(sd) + 80 / sd**2
    rise = deviance - (40 * np.log(2.0) + 20.0)
    table = pd.DataFrame({"value": sd, "deviance": deviance, "zeta": np.sign(sd - 2) * np.sqrt(np.maximum(rise, 0))})
    table.attrs.update({"name": "sigma", "estimate": 2.0} | attrs)
    return table


def test_a_profile_with_its_interval() -> None:
    table = profile_table()
    ax = mm.pictures.profile(table, confidence=0.9)
    x, y = points(ax)
    np.testing.assert_array_equal(x, table["value"])
    np.testing.assert_array_equal(y, table["zeta"])
    z = norm.ppf(0.95)
    levels = [v.get_ydata()[0] for v in ax.lines if v.get_linestyle() == "--"]
    np.testing.assert_allclose(levels, [-z, z])
    ends = [v for v in ax.lines if v.get_color() == "C1"]
    for end, level in zip(ends, [-z, z], strict=True):
        sd = end.get_xdata()[0]
        rise = 40 * np.log(sd / 2) + 80 / sd**2 - 20.0
        assert rise == pytest.approx(z**2, rel=5e-3)
        assert end.get_ydata()[1] == pytest.approx(level)
    assert ax.get_xlabel() == "sigma"


def test_an_interval_that_is_open_has_one_end() -> None:
    table = profile_table()
    ax = mm.pictures.profile(table[table["zeta"] > -1.0])
    assert len([v for v in ax.lines if v.get_color() == "C1"]) == 1


def test_rows_of_a_profile_come_in_any_order_and_some_without_a_value() -> None:
    table = profile_table()
    table.loc[3, "zeta"] = np.nan
    x, _ = points(mm.pictures.profile(table.iloc[::-1]))
    np.testing.assert_array_equal(x, table["value"].drop(3))


def test_crossings() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert crossings(x, np.array([-1.0, 1.0, 3.0, 1.0]), 2.0).tolist() == [1.5, 2.5]
    assert crossings(x, x, 4.0).size == 0


# all of them


PICTURES: dict[str, Callable[..., Axes]] = {
    "residuals": mm.pictures.residuals,
    "quantiles": mm.pictures.quantiles,
    "random_effects": mm.pictures.random_effects,
    "trace": mm.pictures.trace,
}


@pytest.mark.parametrize("name", [*PICTURES, "profile"])
def test_the_axes_are_those_given_or_new(name: str, sleep: FitResult) -> None:
    draw, of = PICTURES.get(name, mm.pictures.profile), profile_table() if name == "profile" else sleep
    _, (first, second) = plt.subplots(1, 2)
    assert draw(of, ax=first) is first
    assert not second.lines and len(plt.get_fignums()) == 1
    assert draw(of).figure is not first.figure and len(plt.get_fignums()) == 2


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("of", ["sleep", "crossed", "singular", "serial", "plain"])
def test_a_saved_fit_is_drawn_alike(name: str, of: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fit = request.getfixturevalue(of)
    if name == "random_effects" and not fit.estimates.grouping_names:
        return
    again = mm.load(fit.save(tmp_path / "fit.mm"))
    one, other = PICTURES[name](fit), PICTURES[name](again)
    for a, b in zip(one.lines, other.lines, strict=True):
        np.testing.assert_allclose(np.asarray(a.get_xydata()), np.asarray(b.get_xydata()), rtol=1e-12)
    drawn(other)


def test_a_zero_variance_is_drawn_at_zero(singular: FitResult) -> None:
    assert not np.any(intervals(mm.pictures.random_effects(singular)))
    assert not np.any(points(mm.pictures.quantiles(singular, of="g"))[1])


def test_a_result_of_mixedlm_is_taken() -> None:
    result = mm.MixedLM.from_formula("Reaction ~ Days", SLEEP, groups="Subject").fit()
    assert len(points(mm.pictures.random_effects(result))[0]) == 18


# errors


def without(table: pd.DataFrame, *, column: str) -> pd.DataFrame:
    return table.drop(columns=column)


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda f: mm.pictures.residuals(f, kind="raw"), ["residuals: 'raw' · allowed: 'response'"]),
        (lambda f: mm.pictures.residuals(SLEEP), ["fit: a DataFrame · allowed: a FitResult · fit a model first"]),
        (lambda f: mm.pictures.trace(None), ["fit: a NoneType"]),
        (
            lambda f: mm.pictures.quantiles(f, of="Subjct"),
            ["of: there is no grouping factor 'Subjct'", "mean 'Subject'?"],
        ),
        (lambda f: mm.pictures.quantiles(f, column="Days"), ["column: 'Days', of residuals", "of="]),
        (lambda f: mm.pictures.random_effects(f, "Item"), ["group: there is no grouping factor 'Item'", "Subject"]),
        (
            lambda f: mm.pictures.random_effects(f, column="Day"),
            ["column of 'Subject': there is no column 'Day'", "mean 'Days'?"],
        ),
        (
            lambda f: mm.pictures.random_effects(f, confidence=95),
            ["confidence: 95 · allowed: a number between 0 and 1"],
        ),
        (lambda f: mm.pictures.profile(f), ["profile_table: a FitResult · allowed: a DataFrame"]),
        (
            lambda f: mm.pictures.profile(without(profile_table(), column="zeta")),
            ["no column 'zeta'", "attrs name, estimate"],
        ),
        (lambda f: mm.pictures.profile(pd.DataFrame(profile_table().to_dict())), ["no 'name' in attrs, no 'estimate'"]),
        (lambda f: mm.pictures.profile(profile_table().head(1)), ["profile_table: 1 finite rows", "two or more"]),
        (lambda f: mm.pictures.profile(profile_table(), confidence=0), ["confidence: 0"]),
    ],
)
def test_errors_in_words(draw: Callable[[FitResult], Axes], words: list[str], sleep: FitResult) -> None:
    with pytest.raises(mm.SpecError) as caught:
        draw(sleep)
    for word in words:
        assert word in str(caught.value)
    assert not plt.get_fignums()  # an error leaves no empty figure behind


def test_without_random_effects(plain: FitResult, serial: FitResult) -> None:
    with pytest.raises(
        mm.SpecError, match=r"group: the model 'Reaction ~ Days' has no random effects · allowed: .*\| group"
    ):
        mm.pictures.random_effects(plain)
    with pytest.raises(mm.SpecError, match=r"of: the model .* has no random effects"):
        mm.pictures.quantiles(serial, of="Subject")


def test_without_matplotlib(sleep: FitResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")
    for draw in PICTURES.values():
        with pytest.raises(MissingPackageError) as caught:
            draw(sleep)
        assert isinstance(caught.value, MmframeError) and isinstance(caught.value, ImportError)
        for word in ("mmframe.pictures: matplotlib", "allowed: 3.8 or later", "pip install 'mmframe[plot]'"):
            assert word in str(caught.value)


def test_matplotlib_is_imported_by_the_first_picture_only() -> None:
    code = "import sys, mmframe as mm; mm.pictures.residuals; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
