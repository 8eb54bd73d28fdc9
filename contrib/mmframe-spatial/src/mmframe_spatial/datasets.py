"""Data of this package."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd


def wheat2() -> pd.DataFrame:
    """A trial of 56 varieties of winter wheat in four blocks, 224 plots of 4.3 m by 1.2 m; Alliance, Nebraska, 1988/89.

    Columns: block (1 to 4), variety, yld (yield, bushels per acre), latitude and longitude (metres within the field), row (1 to
    11, latitude / 4.3) and column (1 to 22, longitude / 1.2). 18 places of the grid have no plot.

    Stroup, Baenziger & Mulitze (1994), Removing spatial variation from wheat yield trials, Crop Science 34, 62-66; the
    numbers are those of Wheat2 in nlme (Pinheiro & Bates 2000, appendix A).
    """
    with (files("mmframe_spatial") / "data" / "wheat2.csv").open(encoding="utf-8") as source:
        return pd.read_csv(source)
