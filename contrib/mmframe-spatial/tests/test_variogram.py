"""Empirical variograms against nlme and gstat, and against sums over pairs that are written out."""

from __future__ import annotations

import sys
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from mmframe_spatial import great_circle, plot_variogram, variogram
from references import HERE, gstat_tables, nlme_variograms

import mmframe as mm

matplotlib.use("Agg")
PLACE = ["latitude", "longitude"]
NLME = nlme_variograms()


@pytest.mark.parametrize("estimator", ["classical", "robust"])
def test_nlme_by_given_breaks(trial: pd.DataFrame, flat: Any, estimator: str) -> None:
    """Variogram() of nlme on the Pearson residuals of gls(yield ~ variety - 1, Wheat2)."""
    edges = [1, 2, 3, 5, 7, 10, 15, 22, 31, 50]
    found = variogram(flat.residuals("pearson"), trial[PLACE], bins=edges, estimator=estimator)
    want = NLME[f"breaks_{estimator}"]
    assert found["pairs"].tolist() == want["pairs"].tolist()
    np.testing.assert_allclose(found["semivariance"], want["semivariance"], rtol=1e-10)


@pytest.mark.parametrize("estimator", ["classical", "robust"])
def test_nlme_by_quantiles(trial: pd.DataFrame, flat: Any, estimator: str) -> None:
    """All bins but the first: nlme leaves out pairs at the lowest break."""
    found = variogram(flat.residuals("pearson"), trial[PLACE], bins=20, collapse="quantiles", estimator=estimator)
    want = NLME[f"quantiles_{estimator}"]
    assert found["pairs"].tolist()[1:] == want["pairs"].tolist()[1:]
    np.testing.assert_allclose(found["semivariance"][1:], want["semivariance"][1:], rtol=1e-9)
    assert found["pairs"].sum() == 224 * 223 // 2


@pytest.fixture(scope="module")
def meuse() -> pd.DataFrame:
    data = pd.read_csv(HERE / "data" / "meuse.csv")
    return data.assign(log_zinc=np.log(data["zinc"]))


@pytest.fixture(scope="module")
def trend(meuse: pd.DataFrame) -> Any:
    return mm.fit("log_zinc ~ x + y", meuse)


def test_gstat_without_a_trend(meuse: pd.DataFrame) -> None:
    """variogram(log(zinc) ~ 1, meuse), with gstat's own cutoff and 15 bins, as are ours."""
    same_as_gstat(variogram(meuse["log_zinc"], ["x", "y"], data=meuse), gstat_tables()[0])
    edges = [*np.arange(0.0, 1300.0, 90.0), 1300.0]
    same_as_gstat(variogram(meuse["log_zinc"], ["x", "y"], data=meuse, bins=edges), gstat_tables()[3])


def test_gstat_of_residuals(meuse: pd.DataFrame, trend: Any) -> None:
    same_as_gstat(variogram(trend, ["x", "y"], data=meuse), gstat_tables()[1])


def test_gstat_by_direction(meuse: pd.DataFrame, trend: Any) -> None:
    """gstat's angles are clockwise from the axis of y: 0, 45, 90, 135 are 90, 45, 0, -45 here."""
    found = variogram(trend, ["x", "y"], data=meuse, directions=[90, 45, 0, -45])
    same_as_gstat(found, gstat_tables()[2])
    assert (90.0 - found["direction"]).tolist() == gstat_tables()[2]["direction"].tolist()


def same_as_gstat(found: pd.DataFrame, want: pd.DataFrame) -> None:
    """To the digits that it prints."""
    assert found["pairs"].tolist() == want["pairs"].astype(int).tolist()
    np.testing.assert_allclose(found["distance"], want["distance"], atol=6e-6)
    np.testing.assert_allclose(found["semivariance"], want["semivariance"], atol=6e-8)


def test_robust_is_the_formula_of_cressie_and_hawkins() -> None:
    """Four residuals on a line, one bin for each lag; written out."""
    r = np.array([1.0, 3.0, -2.0, 7.0])
    found = variogram(r, np.arange(4.0), bins=[0.5, 1.5, 2.5, 3.5], estimator="robust")
    lag_one = np.mean(np.sqrt([2.0, 5.0, 9.0])) ** 4 / (0.457 + 0.494 / 3) / 2
    lag_three = 6.0**2 / (0.457 + 0.494) / 2
    assert found["semivariance"].tolist()[::2] == pytest.approx([lag_one, lag_three])
    classical = variogram(r, np.arange(4.0), bins=[0.5, 1.5, 2.5, 3.5])
    assert classical["semivariance"].tolist() == pytest.approx([(4 + 25 + 81) / 6, (9 + 16) / 4, 18.0])


def test_pairs_within_groups_only(trial: pd.DataFrame, flat: Any) -> None:
    found = variogram(flat, PLACE, data=trial, groups="block", bins=[0, 5, 10])
    r, place = flat.residuals().to_numpy(), trial[PLACE].to_numpy()
    gaps, squares = [], []
    for block in trial["block"].unique():
        mine = np.flatnonzero(trial["block"] == block)
        for a in range(mine.size):
            for b in range(a):
                gaps.append(np.hypot(*(place[mine[a]] - place[mine[b]])))
                squares.append((r[mine[a]] - r[mine[b]]) ** 2)
    gaps, squares = np.array(gaps), np.array(squares)
    first, second = gaps <= 5, (gaps > 5) & (gaps <= 10)
    assert found["pairs"].tolist() == [first.sum(), second.sum()]
    assert found["semivariance"].tolist() == pytest.approx([squares[first].mean() / 2, squares[second].mean() / 2])


def test_great_circle_distances() -> None:
    place = np.array([[0.0, 0.0], [0.0, 10.0], [20.0, 50.0]])
    found = variogram([1.0, 2.0, 4.0], place, bins=[0, 2000, 20000], metric="great_circle")
    gap = great_circle(place)
    assert found["distance"].tolist() == pytest.approx([gap[0, 1], (gap[0, 2] + gap[1, 2]) / 2])
    assert found["semivariance"].tolist() == pytest.approx([0.5, (9 + 4) / 4])


def test_blocks_of_rows_change_nothing() -> None:
    """More rows than are held at a time, against all pairs at once."""
    rng = np.random.default_rng(1)
    r, place = rng.normal(size=1100), rng.uniform(size=(1100, 2))
    i, j = np.triu_indices(1100, 1)
    gap = np.hypot(*(place[i] - place[j]).T)
    near = gap <= 0.1
    found = variogram(r, place, bins=[0, 0.1])
    assert found.loc[0, "pairs"] == near.sum()
    assert found.loc[0, "semivariance"] == pytest.approx(0.5 * np.mean((r[i] - r[j])[near] ** 2))


def test_the_model_is_that_of_the_fit(trial: pd.DataFrame, flat: Any) -> None:
    """Semivariances of a spherical field with a nugget, written out, over the very pairs of each bin."""
    fit = mm.fit("yld ~ 0 + variety", trial, residual="sp_sph(latitude + longitude | 1, nugget=True)")
    table = variogram(flat, PLACE, data=trial, model=fit, bins=[0, 1.3, 10, 60])
    p = dict(zip(fit.parameters["name"], fit.parameters["estimate"], strict=True))
    i, j = np.triu_indices(224, 1)
    place = trial[PLACE].to_numpy()
    gap = np.hypot(*(place[i] - place[j]).T)
    u = np.minimum(gap / p["residual.range"], 1.0)
    gamma = p["sigma"] ** 2 * (1 - (1 - p["residual.nugget"]) * (1 - 1.5 * u + 0.5 * u**3))
    want = [gamma[(gap > low) & (gap <= high)].mean() for low, high in [(0, 1.3), (1.3, 10), (10, 60)]]
    assert table["model"].tolist() == pytest.approx(want)
    matrix = fit.residual_covariance()
    order = trial.sort_values(PLACE).index
    by_matrix = np.empty((224, 224))
    by_matrix[np.ix_(order, order)] = matrix.to_numpy()
    again = variogram(flat, PLACE, data=trial, model=by_matrix, bins=[0, 1.3, 10, 60])
    pd.testing.assert_frame_equal(table, again)


def test_the_model_of_a_product(trial: pd.DataFrame, flat: Any) -> None:
    """Points of a Kronecker product, whose labels say a number once where row and column are equal."""
    fit = mm.fit("yld ~ 0 + variety", trial, residual="kronecker(ar1(row), ar1(column) | 1)")
    table = variogram(flat, ["row", "column"], data=trial, model=fit, bins=[0.5, 1.0], directions=[0, 90])
    p = dict(zip(fit.parameters["name"], fit.parameters["estimate"], strict=True))
    want = [p["sigma"] ** 2 * (1 - p["residual.rho_1"]), p["sigma"] ** 2 * (1 - p["residual.rho_2"])]
    assert table["model"].tolist() == pytest.approx(want)


def test_rows_without_a_response_have_no_residual(trial: pd.DataFrame) -> None:
    gone = trial.assign(yld=trial["yld"].where(trial.index % 10 != 3))
    fit = mm.fit("yld ~ 0 + variety", gone)
    found = variogram(fit, PLACE, data=gone, bins=[0, 20])
    kept = gone.dropna()
    pd.testing.assert_frame_equal(found, variogram(fit.residuals().to_numpy(), kept[PLACE], bins=[0, 20]))


def test_a_picture(trial: pd.DataFrame, flat: Any) -> None:
    fit = mm.fit("yld ~ 0 + variety", trial, residual="sp_exp(latitude + longitude | 1)")
    table = variogram(flat, PLACE, data=trial, model=fit, directions=[0, 90])
    ax = plot_variogram(table)
    assert len(ax.collections) == len(ax.lines) == 2
    dots = np.vstack([c.get_offsets() for c in ax.collections])
    np.testing.assert_allclose(dots, table[["distance", "semivariance"]])
    np.testing.assert_allclose(np.concatenate([line.get_ydata() for line in ax.lines]), table["model"])
    plain = plot_variogram(table.drop(columns=["direction", "model"]), ax=ax.figure.add_subplot())
    assert not plain.lines and len(plain.collections) == 1
    with pytest.raises(ValueError, match="no column distance, semivariance"):
        plot_variogram(table[["pairs"]])
    matplotlib.pyplot.close(ax.figure)


def test_matplotlib_is_asked_for_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    table = variogram([1.0, 2.0, 3.0], np.arange(3.0), bins=[0, 3])
    with pytest.raises(ImportError, match=r"pip install 'mmframe-spatial\[plot\]'"):
        plot_variogram(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimator": "median"}, "estimator='median'; allowed: 'classical', 'robust'"),
        ({"collapse": "log"}, "collapse='log'; allowed"),
        ({"metric": "manhattan"}, "metric='manhattan'; allowed"),
        ({"bins": 0}, "bins=0; allowed: 1 or more"),
        ({"bins": [0, 3, 2]}, "edges in ascending order"),
        ({"cutoff": -1.0}, "cutoff=-1.0; allowed: above 0"),
        ({"directions": []}, "directions is empty"),
        ({"directions": [0], "tolerance": 120}, "tolerance=120; allowed"),
        ({"coordinates": ["x", "z"]}, "no column 'z' in the data; there are x, y"),
        ({"coordinates": np.zeros((4, 2))}, "no pair of rows is apart"),
        ({"coordinates": np.zeros((3, 2))}, "4 residuals and 3 places"),
        ({"coordinates": np.full((4, 2), np.nan)}, "missing or infinite"),
        ({"coordinates": np.arange(4.0), "directions": [0]}, "directions need two coordinates"),
        ({"data": None}, "columns are named, x, y; give their table by data="),
        ({"residuals": [1.0, np.nan, 2.0, 3.0]}, "1 residuals are not finite"),
        ({"residuals": [1.0], "coordinates": [[0.0, 0.0]]}, "two rows or more"),
        ({"model": np.eye(3)}, "model has the shape"),
        ({"groups": [1, 2]}, "4 residuals and 2 labels of groups"),
    ],
)
def test_wrong_arguments_are_told(change: dict[str, Any], message: str) -> None:
    data = pd.DataFrame({"x": [0.0, 1, 2, 3], "y": [0.0, 1, 0, 1]})
    given: dict[str, Any] = {"residuals": [1.0, 2.0, 3.0, 4.0], "coordinates": ["x", "y"], "data": data} | change
    with pytest.raises(ValueError, match=message):
        variogram(given.pop("residuals"), given.pop("coordinates"), **given)


def test_a_model_over_other_places_is_refused(trial: pd.DataFrame, flat: Any) -> None:
    fit = mm.fit("yld ~ 0 + variety", trial, residual="sp_exp(latitude + longitude | 1)")
    with pytest.raises(
        ValueError, match=r"the 224 points of the fit's residual, '4.3:19.2' first, are not the 224 places"
    ):
        variogram(flat, ["longitude", "latitude"], data=trial, model=fit)


def test_bins_without_a_pair_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"no pair of rows is within 0\.3.*cutoff"):
        variogram([1.0, 2.0], [[0.0, 0.0], [1.0, 1.0]], cutoff=0.3)
