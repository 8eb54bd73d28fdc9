"""Saved fits: loaded in a new process, predicting new data; no pickle; damaged files are said to be so."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmframe as mm

DIETOX = mm.datasets.load("dietox")

MODELS = {
    "splines": "Weight ~ bs(Time, df=4) + (1 + center(Time) | Pig)",
    "contrasts": "Weight ~ C(Cu, contr.sum) * center(Time) + poly(Start, 2) + (Time | Pig)",
    "nested groups": "Weight ~ Time + Evit + (1 | Pig:Litter)",
    "points": "Weight ~ Time + cs(0 + Evit | Litter)",
    "log response": "log(Weight) ~ scale(Time) + I(Time^2) + (Time || Pig)",
}


@pytest.mark.parametrize("name", list(MODELS))
def test_a_saved_fit_predicts_new_data_in_a_new_process(name: str, tmp_path: Path) -> None:
    fit = mm.fit(MODELS[name], DIETOX)
    file = fit.save(tmp_path / "fit.mmframe")
    new = DIETOX.iloc[[3, 500, 77, 210]].assign(Time=[2.5, 7.25, 11.0, 1.0])
    new.to_csv(tmp_path / "new.csv", index=False)
    script = (
        "import mmframe as mm, pandas as pd; fit = mm.load('fit.mmframe'); new = pd.read_csv('new.csv');"
        "print(list(map(repr, map(float, fit.predict(new)))));"
        "print(list(map(repr, map(float, fit.predict(new, interval='prediction')['std_error']))));"
        "print(repr(float(fit.loglike)), fit.formula); print(fit.summary())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    values = np.array([float(v.strip("' ")) for v in lines[0].strip("[]").split(",")])
    errors = np.array([float(v.strip("' ")) for v in lines[1].strip("[]").split(",")])
    np.testing.assert_allclose(values, fit.predict(new), rtol=1e-12)
    np.testing.assert_allclose(errors, fit.predict(new, interval="prediction")["std_error"], rtol=1e-12)
    assert float(lines[2].split(" ")[0]) == fit.loglike
    assert "\n".join(lines[3:]) == fit.summary()
    assert file.exists()


def test_everything_but_simulation_survives(tmp_path: Path) -> None:
    fit = mm.fit("Weight ~ Time + (Time | Pig)", DIETOX, weights=np.linspace(1, 2, len(DIETOX)))
    again = mm.load(fit.save(tmp_path / "fit"))
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    pd.testing.assert_frame_equal(again.coefficients(), fit.coefficients())
    pd.testing.assert_frame_equal(again.random_effects["Pig"], fit.random_effects["Pig"])
    level = fit.random_effects["Pig"].index[5]
    pd.testing.assert_frame_equal(again.random_effects_cov["Pig"][level], fit.random_effects_cov["Pig"][level])
    pd.testing.assert_frame_equal(again.augment(), fit.augment())
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(again.glance(), fit.glance())
    pd.testing.assert_frame_equal(again.trace, fit.trace)
    assert str(again.diagnostics) == str(fit.diagnostics)
    pd.testing.assert_frame_equal(again.diagnostics.phases, fit.diagnostics.phases)
    pd.testing.assert_series_equal(again.fitted, fit.fitted)
    pd.testing.assert_series_equal(again.residuals("pearson"), fit.residuals("pearson"))
    pd.testing.assert_frame_equal(again.covariance("Pig"), fit.covariance("Pig"))
    assert (again.aic, again.bic, again.converged, again.singular, again.stop_reason) == (
        fit.aic, fit.bic, fit.converged, fit.singular, fit.stop_reason,
    )  # fmt: skip
    with pytest.raises(mm.StoreError, match="holds no data"):
        again.simulate(1)


def test_levels_of_many_types_survive(tmp_path: Path) -> None:
    data = DIETOX.assign(
        Day=pd.Timestamp("2024-01-01") + pd.to_timedelta(DIETOX["Pig"] % 50, unit="D"), Half=DIETOX["Pig"] / 2
    )
    for group in ("Day", "Half", "Litter:Evit"):
        fit = mm.fit(f"Weight ~ Time + (1 | {group})", data)
        again = mm.load(fit.save(tmp_path / "fit"))
        np.testing.assert_allclose(again.predict(data.head(30)), fit.predict(data.head(30)), rtol=1e-12)
        assert list(again.random_effects[group].index) == list(fit.random_effects[group].index)


def test_the_file_is_json_and_plain_arrays(tmp_path: Path) -> None:
    file = mm.fit("Weight ~ Time + (1 | Pig)", DIETOX).save(tmp_path / "fit")
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == ["arrays.npz", "fit.json"]
        assert json.loads(archive.read("fit.json"))["mmframe_fit"] == 3
        with np.load(archive.open("arrays.npz"), allow_pickle=False) as arrays:
            assert all(arrays[name].dtype.kind in "fiub" for name in arrays.files)


def test_what_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(mm.StoreError, match="there is no file"):
        mm.load(tmp_path / "gone")
    (tmp_path / "text").write_text("not a zip")
    with pytest.raises(mm.StoreError, match="is not a saved fit"):
        mm.load(tmp_path / "text")
    file = mm.fit("Weight ~ Time + (1 | Pig)", DIETOX).save(tmp_path / "fit")
    with zipfile.ZipFile(file) as archive:
        document, arrays = json.loads(archive.read("fit.json")), archive.read("arrays.npz")
    for change, said in (({"mmframe_fit": 99}, "this version reads 3"), ({"effects": None}, "damaged")):
        with zipfile.ZipFile(tmp_path / "changed", "w") as archive:
            archive.writestr("fit.json", json.dumps({**document, **change}))
            archive.writestr("arrays.npz", arrays)
        with pytest.raises(mm.StoreError, match=said):
            mm.load(tmp_path / "changed")


def test_a_fit_that_was_saved_without_phases_loads(tmp_path: Path) -> None:
    fit = mm.fit("Weight ~ Time + (1 | Pig)", DIETOX)
    file = fit.save(tmp_path / "fit")
    with zipfile.ZipFile(file) as archive:
        document, arrays = json.loads(archive.read("fit.json")), archive.read("arrays.npz")
    document["estimates"]["@dict"] = [pair for pair in document["estimates"]["@dict"] if pair[0] != "phases"]
    with zipfile.ZipFile(tmp_path / "old", "w") as archive:
        archive.writestr("fit.json", json.dumps(document))
        archive.writestr("arrays.npz", arrays)
    old = mm.load(tmp_path / "old")
    assert old.diagnostics.phases.empty
    assert old.diagnostics.line == fit.diagnostics.line
    assert old.summary() == fit.summary()
    assert str(old.diagnostics)


def test_functions_of_ones_own_cannot_be_saved(tmp_path: Path) -> None:
    fit = mm.fit("Weight ~ double(Time) + (1 | Pig)", DIETOX, transforms={"double": lambda x: 2 * x})
    assert fit.fixed_effects["double(Time)"] * 2 == pytest.approx(
        mm.fit("Weight ~ Time + (1 | Pig)", DIETOX).fixed_effects["Time"]
    )
    with pytest.raises(mm.StoreError, match="double"):
        fit.save(tmp_path / "fit")
    assert not list(tmp_path.iterdir()), "nothing half-written stays"
