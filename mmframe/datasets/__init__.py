"""Small real data sets, with their sources."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from mmframe.errors import UnknownNameError, unknown

SOURCES = {
    "sleepstudy": (
        "Reaction times (ms) of 18 subjects on ten days of sleep deprivation. Belenky et al. (2003), J. Sleep Res. 12,"
        " 1-12; as in the R package lme4."
    ),
    "dietox": (
        "Weights (kg) of 72 pigs over 12 weeks with vitamin E and copper in the diet. Lauridsen, Højsgaard & Sørensen"
        " (1999), J. Anim. Sci. 77, 906-916; as in the R package geepack."
    ),
}


def load(name: str) -> pd.DataFrame:
    """A data set by name. Raises UnknownNameError."""
    if name not in SOURCES:
        raise UnknownNameError(unknown("datasets", "data set", name, SOURCES))
    with (files(__name__) / f"{name}.csv").open("r", encoding="utf-8") as file:
        return pd.read_csv(file)
