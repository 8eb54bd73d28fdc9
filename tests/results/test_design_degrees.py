"""Degrees of freedom of the design: nlme's runs, and balanced designs, where containment is exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.errors import EngineRefusedError, SpecError, StoreError
from tests.reference.cases import fitted

ROOT = Path(__file__).parents[2]
RUNS = [
    json.loads(line) for line in (ROOT / "contrib/reference-values/nlme/inner_outer.jsonl").read_text().splitlines()
]
CATEGORICAL = ("Subject", "Sex", "Block", "Variety", "Litter", "Treatment", "sex")


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / f"tests/reference/data/{name.removesuffix('_origin')}.csv")


def _label(theirs: str) -> str:
    """Our label of one of nlme's coefficients: `VarietyVictory:nitro` is `Variety[T.Victory]:nitro`."""
    parts = []
    for part in theirs.replace("(Intercept)", "Intercept").split(":"):
        factor = next((c for c in CATEGORICAL if part.startswith(c) and part != c), None)
        parts.append(part if factor is None else f"{factor}[T.{part.removeprefix(factor)}]")
    return ":".join(parts)


@pytest.mark.parametrize("run", RUNS, ids=lambda r: r["id"])
def test_between_within_is_nlme_s_inner_outer_rule(run: dict[str, Any]) -> None:
    data = table(run["id"])
    fit = mm.fit(f"{run['formula']} + ({run['random']})", data)
    found = fit.coefficients(df="between_within")["df"]
    # without an intercept nlme leaves the first column out of the count all the same
    extra = 0 if "(Intercept)" in run["df"] else 1
    for name, df in run["df"].items():
        assert found[_label(name)] == df - extra, name


def test_the_subject_of_a_residual_is_a_group() -> None:
    """The same as with a random effect of the subject (mmrm's and SAS's one-level rule)."""
    data = table("orthodont")
    fit = mm.fit("distance ~ age * Sex", data, residual="ar1(age | Subject)")
    random = mm.fit("distance ~ age * Sex + (1 | Subject)", data)
    pd.testing.assert_series_equal(
        fit.coefficients(df="between_within")["df"], random.coefficients(df="between_within")["df"]
    )


@pytest.mark.parametrize("case", ["sm_cultivation_reml", "alfalfa_reml", "ergostool_reml", "oats_fac_reml"])
def test_containment_is_exact_in_balanced_split_plots(case: str) -> None:
    """There Satterthwaite's degrees of freedom are whole numbers, those of the stratum in which a term is tested."""
    fit = fitted(case)
    exact, found = fit.anova(2), fit.anova(2, df="containment")
    np.testing.assert_allclose(found["den_df"], exact["den_df"], rtol=1e-6)
    np.testing.assert_allclose(found["statistic"], exact["statistic"], rtol=1e-9)


def test_containment_of_slopes() -> None:
    """Days is contained in Days x Subject, the intercept in Subject: 17 each; the residual has 180 - 36."""
    fit = mm.fit("Reaction ~ Days + I(Days ** 2) + (Days | Subject)", mm.datasets.load("sleepstudy"))
    found = fit.coefficients(df="containment")["df"]
    assert found.tolist() == [17.0, 17.0, 17.0]
    other = mm.datasets.load("sleepstudy").assign(x=np.random.default_rng(1).normal(size=180))
    fit = mm.fit("Reaction ~ Days + x + (Days | Subject)", other)
    assert fit.coefficients(df="containment")["df"].tolist() == [17.0, 17.0, 180.0 - 36 - 1]


def test_a_contrast_has_the_smallest_of_its_coefficients() -> None:
    data = table("oats")
    fit = mm.fit("yld ~ Variety + nitro + (1 | Block/Variety)", data)
    both = fit.contrast("Variety[T.Victory] - nitro", df="between_within")
    assert both["df"].iloc[0] == 10
    joint = fit.contrast("Variety[T.Victory] = 0, Variety[T.Marvellous] = 0", df="between_within", joint=True).iloc[0]
    assert joint["num_df"] == 2 and joint["den_df"] == 10


@pytest.mark.parametrize("df", ["between_within", "containment"])
def test_a_term_has_its_own_in_every_type(df: str) -> None:
    """Type 1 of a first term involves the coefficients of later ones, by elimination only (nlme's anova: 227 and 4)."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"b": np.repeat(np.arange(6), 39)})
    data["bt"] = np.where(data["b"] % 2, "t", "c")
    data["x"] = rng.normal(size=len(data))
    data["y"] = data["x"] + rng.normal(size=6)[data["b"]] + rng.normal(size=len(data))
    fit = mm.fit("y ~ x + bt + (1 | b)", data)
    own = fit.coefficients(df=df)["df"]
    for type in (1, 2, 3):
        assert fit.anova(type, df)["den_df"].tolist() == [own["x"], own["bt[T.t]"]]
    assert own["x"] == 227 and own["bt[T.t]"] == (4 if df == "between_within" else 227)


def test_what_they_refuse(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"a": np.tile(np.arange(6), 10), "b": np.repeat(np.arange(10), 6), "y": rng.normal(size=60)})
    data["y"] += rng.normal(size=6)[data["a"]] + rng.normal(size=10)[data["b"]]
    fit = mm.fit("y ~ 1 + (1 | a) + (1 | b)", data)
    with pytest.raises(SpecError, match="'between_within' of the crossed factors a and b"):
        fit.coefficients(df="between_within")
    again = mm.load(fit.save(tmp_path / "fit.mmf"))
    with pytest.raises(StoreError, match="fit again for df='containment'"):
        again.coefficients(df="containment")
    wide = pd.DataFrame({"g": np.repeat(np.arange(2100), 2), "y": rng.normal(size=4200)})
    wide["y"] += rng.normal(size=2100)[wide["g"]]
    with pytest.raises(EngineRefusedError, match=r"\[X Z\] has 2,101 columns"):
        mm.fit("y ~ 1 + (1 | g)", wide).coefficients(df="containment")
