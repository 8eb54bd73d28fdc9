"""Reads the reference cases: real data with published or independently computed numbers, each with its source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

import mmframe as mm

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = [json.loads(line) for line in (HERE / "cases.jsonl").read_text().splitlines()]
BY_ID = {case["id"]: case for case in CASES}
STRUCTURES = {"scalar": "unstructured"}


def data_of(case: dict[str, Any]) -> pd.DataFrame:
    """The table of a case; missing is `NA` alone, so that a level may be called `None`."""
    return pd.read_csv(HERE / case["data"], keep_default_na=False, na_values=["NA"])


def fixed_formula(case: dict[str, Any]) -> str:
    text: str = case["fixed"]
    for name, how in case["categorical"].items():
        if how["coding"] != "treatment":
            text = re.sub(rf"\b{name}\b", f"C({name}, contr.{how['coding']})", text)
    return text


def builder_of(case: dict[str, Any]) -> mm.ModelBuilder:
    """The model of a case; a random part that the formula holds comes from the formula."""
    # Only columns of the model: cases list levels for the whole data set.
    words = set(re.findall(r"[A-Za-z_.][\w.]*", f"{case['formula']} {json.dumps(case['random'])}"))
    categorical = {name: how["levels"] for name, how in case["categorical"].items() if name in words}
    left, right = fixed_formula(case).split("~", 1)
    bars = re.findall(r"\([^()]*\|[^()]*\)", case["formula"])
    builder = mm.ModelBuilder().criterion("reml" if case["reml"] else "ml").categorical(categorical)
    builder = builder.fixed(" + ".join([f"{left.strip()} ~ {without_bars(right)}", *bars]))
    for random in case["random"]:
        if random.get("formula"):
            structure = STRUCTURES.get(random["structure"], random["structure"])
            builder = builder.random(f"{random['formula']} | {random['group']}", structure=structure)
    return builder.weights(case["weights"]).offset(case["offset"])


def without_bars(right: str) -> str:
    text = re.sub(r"\([^()]*\|[^()]*\)", "", right).strip()
    return re.sub(r"(\+\s*)+$", "", text).strip() or "1"


def label_of(case: dict[str, Any], term: dict[str, Any], labels: list[str]) -> str:
    """The label that formulaic gives a coefficient: `recipe[T.B]:temp`, or without `T.` where no level is left out."""
    if not term["parts"]:
        return "Intercept"
    choices: list[list[str]] = [[""]]
    options = []
    for column, level in term["parts"]:
        column = column.replace("^", " ** ")
        if level is None:
            options.append([column, column.replace(" ** ", "**")])
            continue
        how = case["categorical"].get(column)
        names = [column, *(f"C({column}, contr.{how['coding']})" for _ in [0] if how and how["coding"] != "treatment")]
        tags = [f"T.{level}", level]
        if how and how["coding"] != "treatment":
            shown = how["levels"][int(level) - (0 if how["coding"] == "helmert" else 1)]
            tags += [f"S.{shown}", f"H.{shown}"]
        options.append([f"{n}[{t}]" for n in names for t in tags])
    choices = [[]]
    for option in options:
        choices = [[*c, o] for c in choices for o in option]
    for choice in choices:
        for order in (choice, choice[::-1]):
            if ":".join(order) in labels:
                return ":".join(order)
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
