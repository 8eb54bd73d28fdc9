"""Fits with related levels: Python, files and YAML agree; levels without rows, prediction, simulation, saving."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import mmframe as mm
from mmframe.results.bundle import write_bundle

FORMULA = "y ~ x + (1 | animal) + (1 | pen)"


@pytest.fixture(scope="module")
def kinship() -> pd.DataFrame:
    """Twelve families of two parents and four full sibs; parents unrelated."""
    family = np.zeros((6, 6))
    family[:2, :2] = np.eye(2)
    family[2:, :2] = family[:2, 2:] = 0.5
    family[2:, 2:] = 0.5 + 0.5 * np.eye(4)
    K = np.kron(np.eye(12), family)
    labels = [f"a{k:02d}" for k in range(72)]
    return pd.DataFrame(K, index=labels, columns=labels)


@pytest.fixture(scope="module")
def data(kinship: pd.DataFrame) -> pd.DataFrame:
    """Records of the sibs only."""
    rng = np.random.default_rng(5)
    breeding = np.linalg.cholesky(kinship.to_numpy()) @ rng.normal(size=72)
    who = np.repeat([k for k in range(72) if k % 6 > 1], 3)
    pen = rng.integers(0, 8, size=who.size)
    x = rng.normal(size=who.size)
    y = 10 + x + 1.2 * breeding[who] + 0.5 * rng.normal(size=8)[pen] + 0.8 * rng.normal(size=who.size)
    return pd.DataFrame({"y": y, "x": x, "animal": kinship.index[who], "pen": pen})


@pytest.fixture(scope="module")
def fit(data: pd.DataFrame, kinship: pd.DataFrame) -> mm.FitResult:
    return mm.fit(FORMULA, data, relationship={"animal": kinship})


def test_every_way_to_give_it_is_one_model(data: pd.DataFrame, kinship: pd.DataFrame, fit: mm.FitResult) -> None:
    inverse = np.linalg.inv(kinship.to_numpy())
    shuffled = kinship.sample(frac=1.0, random_state=1)
    for given in (
        shuffled.loc[:, shuffled.index],
        mm.Relationship(sp.csr_array(kinship.to_numpy()), kinship.index),
        mm.Relationship(inverse, kinship.index, inverse=True),
        mm.Relationship(sp.csr_array(np.where(np.abs(inverse) > 1e-12, inverse, 0.0)), kinship.index, inverse=True),
    ):
        other = mm.fit(FORMULA, data, relationship={"animal": given})
        assert other.loglike == pytest.approx(fit.loglike, abs=1e-7)
        np.testing.assert_allclose(other.covariance("animal"), fit.covariance("animal"), rtol=1e-4)
        b = other.random_effects["animal"].loc[fit.random_effects["animal"].index]
        np.testing.assert_allclose(b, fit.random_effects["animal"], atol=1e-4)
        np.testing.assert_allclose(other.parameters["std_error"], fit.parameters["std_error"], rtol=1e-3)
    dense = mm.fit(FORMULA, data, relationship={"animal": kinship}, engine="dense")
    assert dense.loglike == pytest.approx(fit.loglike, abs=1e-7)
    assert fit.estimates.engine == "blocked"


def test_levels_without_rows_get_predictions(fit: mm.FitResult, kinship: pd.DataFrame) -> None:
    """A parent's prediction is half the sum of its offspring's regressions: here, by the covariance with them."""
    b = fit.random_effects["animal"]["Intercept"]
    assert list(b.index) == list(kinship.index)
    sibs = [k for k in kinship.index if int(k[1:]) % 6 > 1]
    parents = [k for k in kinship.index if int(k[1:]) % 6 < 2]
    K = kinship.to_numpy()
    own, other = kinship.index.get_indexer(sibs), kinship.index.get_indexer(parents)
    expected = K[np.ix_(other, own)] @ np.linalg.solve(K[np.ix_(own, own)], b[sibs])
    np.testing.assert_allclose(b[parents], expected, atol=1e-8)
    new = pd.DataFrame({"x": [0.0], "animal": ["a00"], "pen": [1]})
    assert fit.predict(new).iloc[0] == pytest.approx(
        fit.fixed_effects["Intercept"] + b["a00"] + fit.random_effects["pen"]["Intercept"][1]
    )
    table = fit.predict(new, interval="prediction")
    assert table["lower"].iloc[0] < table["estimate"].iloc[0] < table["upper"].iloc[0]


def test_files_and_yaml(tmp_path: Path, data: pd.DataFrame, kinship: pd.DataFrame, fit: mm.FitResult) -> None:
    kinship.to_csv(tmp_path / "kinship.csv", index_label="animal")
    data.to_csv(tmp_path / "data.csv", index=False)
    inverse = pd.DataFrame(np.linalg.inv(kinship.to_numpy()), kinship.index, kinship.columns)
    long = inverse.rename_axis(index="row", columns="column").stack().rename("value").reset_index()
    long = long[(long["row"] >= long["column"]) & (long["value"].abs() > 1e-12)]
    long.to_csv(tmp_path / "inverse.csv", index=False)
    for name, lines in (("plain", "{animal: kinship.csv}"), ("sparse", "{animal: {file: inverse.csv, inverse: true}}")):
        spec = tmp_path / f"{name}.yaml"
        spec.write_text(f"mmframe: 1\ndata: data.csv\nformula: {FORMULA}\nrelationship: {lines}\n")
        found = mm.fit_spec(spec)
        assert found.loglike == pytest.approx(fit.loglike, abs=1e-7)


def test_simulation_keeps_the_relationship(fit: mm.FitResult, data: pd.DataFrame) -> None:
    """Means of full sibs of one family vary together: their covariance is half the variance."""
    drawn = fit.simulate(3000, seed=1)
    rows = [np.flatnonzero((data["animal"] == name).to_numpy())[0] for name in ("a02", "a03", "a08")]
    cov = np.cov(drawn[rows])
    variance = fit.covariance("animal").iloc[0, 0]
    assert cov[0, 1] == pytest.approx(0.5 * variance, abs=0.25)
    assert cov[0, 2] == pytest.approx(0.0, abs=0.25)


def test_a_saved_fit_predicts(tmp_path: Path, fit: mm.FitResult, data: pd.DataFrame) -> None:
    again = mm.load(fit.save(tmp_path / "fit.mmf"))
    np.testing.assert_allclose(again.predict(data), fit.predict(data), rtol=1e-12)
    np.testing.assert_allclose(
        again.predict(data.head(5), interval="confidence"), fit.predict(data.head(5), interval="confidence"), rtol=1e-9
    )
    with pytest.raises(mm.StoreError):
        again.simulate(1, seed=0)


def test_repeated_measures_of_related_levels_may_be_fewer_than_the_levels(kinship: pd.DataFrame) -> None:
    """One record for each of 48 animals: what relatives share tells the breeding values from the residuals."""
    rng = np.random.default_rng(8)
    breeding = np.linalg.cholesky(kinship.to_numpy()) @ rng.normal(size=72)
    who = [k for k in range(72) if k % 6 > 1]
    table = pd.DataFrame({"y": breeding[who] + rng.normal(size=48), "animal": kinship.index[who]})
    found = mm.fit("y ~ 1 + (1 | animal)", table, relationship={"animal": kinship})
    assert found.converged
    assert found.nobs == 48


def test_the_description_names_it(data: pd.DataFrame, kinship: pd.DataFrame) -> None:
    text = mm.ModelBuilder().fixed(FORMULA).relationship({"animal": kinship}).build(data).describe()
    assert "animal: 72 levels x 1 column: Intercept, related by K" in text
    assert "not pooled" in text


def _triplets(K: pd.DataFrame) -> pd.DataFrame:
    long = K.rename_axis(index="row", columns="column").stack().rename("value").reset_index()
    return long[long["value"] != 0.0]


def test_triplets_with_both_triangles_may_differ_by_rounding(tmp_path: Path, kinship: pd.DataFrame) -> None:
    table = _triplets(kinship)
    table.iloc[1, 2] = np.nextafter(table.iloc[1, 2], 1.0)
    file = tmp_path / "both.csv"
    table.to_csv(file, index=False)
    read = mm.Relationship.read(file)
    order = read.levels.get_indexer(kinship.index)
    np.testing.assert_allclose(read.covariance[np.ix_(order, order)], kinship, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: pd.concat([t, t.head(1)]), "twice"),
        (lambda t: t[~((t["row"] == "a02") & (t["column"] == "a03"))], "mirrors some entries and others not"),
        (lambda t: t.assign(row=t["row"].where(t["row"] != "a05")), "rows without a label"),
        (lambda t: t.assign(value="abc"), "not real numbers"),
    ],
)
def test_triplets_that_contradict_themselves(
    change: Callable[[pd.DataFrame], pd.DataFrame], words: str, tmp_path: Path, kinship: pd.DataFrame
) -> None:
    file = tmp_path / "wrong.csv"
    change(_triplets(kinship)).to_csv(file, index=False)
    with pytest.raises(mm.DataError, match=words):
        mm.Relationship.read(file)


@pytest.mark.parametrize(
    ("matrix", "levels", "words"),
    [
        (pd.DataFrame([["a"]], index=["x"], columns=["x"]), None, "not real numbers"),
        (np.eye(2) * 1j, ["a", "b"], "not real numbers"),
        (pd.DataFrame(), None, "empty"),
        (np.eye(2), ["a", None], "labels are missing"),
    ],
)
def test_matrices_that_are_none(matrix: object, levels: list[str] | None, words: str) -> None:
    with pytest.raises(mm.DataError, match=words):
        mm.Relationship(matrix, levels)


def test_a_singular_fit_with_an_inverse_has_errors_for_the_rest(kinship: pd.DataFrame) -> None:
    """Slopes that do not vary: their standard deviation is at its bound, and the others have standard errors."""
    rng = np.random.default_rng(3)
    who = np.repeat([k for k in range(72) if k % 6 > 1], 6)
    x = rng.normal(size=who.size)
    breeding = np.linalg.cholesky(kinship.to_numpy()) @ rng.normal(size=72)
    table = pd.DataFrame({"x": x, "animal": kinship.index[who]})
    inverse = mm.Relationship(np.linalg.inv(kinship.to_numpy()), kinship.index, inverse=True)
    for seed in range(20):  # the sign of what is estimated of the slopes' variance is that of the noise
        table["y"] = x + breeding[who] + np.random.default_rng(seed).normal(size=who.size)
        found = mm.fit("y ~ x + (1 + x | animal)", table, relationship={"animal": inverse})
        if found.singular:
            break
    assert found.singular
    errors = found.parameters.set_index("name")["std_error"]
    plain = mm.fit("y ~ x + (1 + x | animal)", table, relationship={"animal": kinship})
    exact = plain.parameters.set_index("name")["std_error"]
    assert plain.loglike == pytest.approx(found.loglike, abs=1e-5)
    for name in ("sigma", "sd(Intercept | animal)"):  # by average information with the inverse
        assert errors[name] == pytest.approx(exact[name], rel=0.1)


def test_a_saved_fit_says_that_there_was_a_relationship(tmp_path: Path, fit: mm.FitResult) -> None:
    again = mm.load(fit.save(tmp_path / "fit.mmf"))
    assert again.spec.relationship == {"animal": "(a matrix)"}
    assert "72 levels (related)" in again.summary()


def test_a_bundle_runs_again_from_its_own_folder(tmp_path: Path, data: pd.DataFrame, kinship: pd.DataFrame) -> None:
    kinship.to_csv(tmp_path / "kinship.csv", index_label="animal")
    data.to_csv(tmp_path / "data.csv", index=False)
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"mmframe: 1\ndata: data.csv\nformula: {FORMULA}\nrelationship: {{animal: kinship.csv}}\n")
    first = mm.fit_spec(spec)
    folder = write_bundle(first, tmp_path / "results")
    again = mm.fit_spec(folder / "spec.yaml")
    assert again.loglike == pytest.approx(first.loglike, abs=1e-9)
    run = json.loads((folder / "run.json").read_text())
    assert run["relationship"]["animal"]["file"] == "kinship.csv"
    assert len(run["relationship"]["animal"]["sha256"]) == 64
    assert run["seconds"] > 0
