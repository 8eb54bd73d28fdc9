"""Reads the reference cases: real data with published or independently computed numbers, each with its source."""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

import mmframe as mm

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = [json.loads(line) for line in (HERE / "cases.jsonl").read_text().splitlines()]
BY_ID = {case["id"]: case for case in CASES}
STRUCTURES = {
    "scalar": "us",
    "unstructured": "us",
    "diagonal": "diag",
    "compound_symmetry": "cs",
    "compound_symmetry_heterogeneous": "csh",
    "compound_symmetry_heterogeneous (2x2: unstructured with |rho|<=1)": "csh",
    "ar1": "ar1",
    "ar1_heterogeneous": "ar1h",
    "arma(1,1)": "arma11",
    "car1": "car1",
    "toeplitz": "toep",
    "toeplitz_heterogeneous": "toeph",
    "ante_dependence_homogeneous": "ad",
    "ante_dependence_heterogeneous": "adh",
    "exponential": "sp_exp",
    "spatial_exponential": "sp_exp",
    "spatial_gaussian": "sp_gau",
    "rational_quadratic": "sp_ratio",
}
VARIANCES = {"by_group": "ident({by})", "power": "power({covariate})", "exponential": "exp({covariate})"}


def data_of(case: dict[str, Any]) -> pd.DataFrame:
    """The table of a case; missing is `NA` alone, so that a level may be called `None`."""
    data = pd.read_csv(HERE / case["data"], keep_default_na=False, na_values=["NA"])
    for column in numeric_visits(case):
        data[visit(column)] = data[column].astype(str)
    return data


def numeric_visits(case: dict[str, Any]) -> dict[str, list[str]]:
    """Numeric columns of which a structure uses the ranks, not the values, with their levels in order."""
    found: dict[str, list[str]] = {}
    how = case.get("residual") or {}
    if how.get("time") and how.get("time_levels", ["-"])[0].isdigit():
        found[how["time"]] = how["time_levels"]
    for random in case["random"]:
        for column in re.findall(r"factor\((\w+)\)", random.get("formula") or ""):
            found[column] = [term.removeprefix(column) for term in random["terms"]]
    return found


def visit(column: str) -> str:
    return f"{column}_visit"


def residual_of(case: dict[str, Any]) -> str | None:
    """The residual's structure, `ar1(AVISIT | USUBJID, by='ARMCD')`; None where residuals are independent."""
    how = case.get("residual") or {"structure": "iid"}
    if how["structure"] == "iid":
        return None
    points = " + ".join(how.get("coordinates") or [how["time"]])
    points = visit(points) if points in numeric_visits(case) else points
    by = f", by='{how['separate_parameters_by']}'" if "separate_parameters_by" in how else ""
    nugget = ", nugget=True" if "nugget" in case["expected"]["residual"] else ""
    return f"{STRUCTURES[how['structure']]}({points} | {':'.join(how['subject']) or '1'}{by}{nugget})"


def variance_of(case: dict[str, Any]) -> str | None:
    how = (case.get("residual") or {}).get("variance")
    return VARIANCES[how["type"]].format(**how) if how else None


def fixed_formula(case: dict[str, Any]) -> str:
    text: str = case["fixed"]
    for name, how in case["categorical"].items():
        if how["coding"] != "treatment":
            text = re.sub(rf"\b{name}\b", f"C({name}, contr.{how['coding']})", text)
    return text


def builder_of(case: dict[str, Any]) -> mm.ModelBuilder:
    """The model of a case; a random part that the formula holds comes from the formula."""
    # Only columns of the model: cases list levels for the whole data set.
    how = case.get("residual") or {}
    words = set(re.findall(r"[A-Za-z_.][\w.]*", f"{case['formula']} {json.dumps(case['random'])} {json.dumps(how)}"))
    categorical = {name: how["levels"] for name, how in case["categorical"].items() if name in words}
    visits = {visit(column): levels for column, levels in numeric_visits(case).items()}
    if how.get("time") and "time_levels" in how and how["time"] not in numeric_visits(case):
        visits[how["time"]] = how["time_levels"]
    left, right = fixed_formula(case).split("~", 1)
    bars = re.findall(r"\([^()]*\|[^()]*\)", case["formula"])
    builder = mm.ModelBuilder().criterion("reml" if case["reml"] else "ml").categorical({**visits, **categorical})
    builder = builder.fixed(" + ".join([f"{left.strip()} ~ {without_bars(right)}", *bars]))
    for random in case["random"]:
        if random.get("formula"):
            basis = re.sub(r"factor\((\w+)\)", lambda match: visit(match[1]), random["formula"])
            builder = builder.random(f"{basis} | {random['group']}", structure=STRUCTURES[random["structure"]])
    if residual_of(case):
        builder = builder.residual(residual_of(case))
    if variance_of(case):
        builder = builder.variance(variance_of(case))
    return builder.weights(case["weights"]).offset(case["offset"])


@cache
def fitted(case_id: str) -> mm.FitResult:
    case = BY_ID[case_id]
    with warnings.catch_warnings():
        if covariance_tolerance(case) is None:
            warnings.simplefilter("ignore", mm.IdentifiabilityWarning)
        return builder_of(case).build(data_of(case)).fit()


def covariance_tolerance(case: dict[str, Any]) -> float | None:
    """Relative, of a standard deviation; None where the covariance parameters are not identified."""
    tolerance = case["tolerance"]
    if "sd_rel" in tolerance:
        return float(tolerance["sd_rel"])
    given = tolerance.get("cov_rel", tolerance["se_rel"])
    return given if given is None else float(given) / 2


def without_bars(right: str) -> str:
    text = re.sub(r"\([^()]*\|[^()]*\)", "", right).strip()
    return re.sub(r"(\+\s*)+$", "", text).strip() or "1"


def label_of(case: dict[str, Any], term: dict[str, Any], labels: list[str]) -> str:
    """The label that formulaic gives a coefficient: `recipe[T.B]:temp`, or without `T.` where no level is left out."""
    if not term["parts"]:
        return "Intercept"
    found = {re.sub(r"\s", "", label): label for label in labels}
    options = []
    for column, level in term["parts"]:
        if level is None:
            options.append([column.replace("^", "**")])
            continue
        how = case["categorical"].get(column)
        names = [column, *(f"C({column}, contr.{how['coding']})" for _ in [0] if how and how["coding"] != "treatment")]
        tags = [f"T.{level}", level]
        if how and how["coding"] != "treatment":
            shown = how["levels"][int(level) - (0 if how["coding"] == "helmert" else 1)]
            tags += [f"S.{shown}", f"H.{shown}"]
        options.append([f"{n}[{t}]" for n in names for t in tags])
    for choice in itertools.product(*options):
        for order in (choice, choice[::-1]):
            name = re.sub(r"\s", "", ":".join(order))
            if name in found:
                return found[name]
    raise KeyError(f"{term} among {labels}")


def columns_of(case: dict[str, Any], group: str) -> list[str]:
    """The columns of a grouping factor, in the order in which the case joins them in a level's label."""
    return next(list(random["group_vars"]) for random in case["random"] if random["group"] == group)


def group_of(case: dict[str, Any], group: str, names: Iterable[str]) -> str:
    """The name that a fit gives a grouping factor of a case: an interaction's columns come in the formula's order."""
    columns = sorted(columns_of(case, group))
    return next(name for name in names if sorted(name.split(":")) == columns)


def level_labels(case: dict[str, Any], group: str, levels: pd.Index) -> list[str]:
    """A fit's levels as the case writes them: an interaction's parts are joined in the order of the case's columns."""
    if isinstance(levels, pd.MultiIndex):
        return [":".join(map(str, level)) for level in levels.reorder_levels(columns_of(case, group))]
    return [str(level) for level in levels]
